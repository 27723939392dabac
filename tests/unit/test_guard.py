from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from gitops.reproduce.guard import only_one

HOLD = """
import sys, time
from pathlib import Path
from gitops.reproduce.guard import only_one
with only_one(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_the_second_waits_and_says_for_whom(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path, "1"], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    said: list[str] = []
    with only_one(tmp_path, said.append):
        assert first.wait(10) == 0
    assert said == [f"another build is running here (process {first.pid}): waiting for it"]


def test_a_killed_build_leaves_no_lock_behind(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path, "60"], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    first.kill()
    first.wait()
    said: list[str] = []
    with only_one(tmp_path, said.append):
        pass
    assert said == []


def test_what_a_killed_build_left_running_keeps_the_lock(tmp_path: Path) -> None:
    with only_one(tmp_path, print) as descriptor:
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(1)"], pass_fds=[descriptor]
        )
    begun = time.monotonic()
    said: list[str] = []
    with only_one(tmp_path, said.append):
        assert child.wait(10) == 0
    assert said
    assert time.monotonic() - begun < 30
