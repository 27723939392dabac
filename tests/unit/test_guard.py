from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from gitops.reproduce.guard import only_one

# Holds the lock until its stdin ends.
HOLD = """
import sys
from pathlib import Path
from gitops.reproduce.guard import only_one
with only_one(Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


def waits(code: str, *words: str | Path, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    """A Python that runs `code`, for which its stdin is open."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code, *words]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, pass_fds=pass_fds)


def let_go(process: subprocess.Popen[str], said: list[str]) -> Callable[[str], None]:
    """What hears that we wait for a process, and ends its stdin."""

    def say(text: str) -> None:
        said.append(text)
        assert process.stdin is not None
        process.stdin.close()

    return say


def test_the_second_waits_and_says_for_whom(tmp_path: Path) -> None:
    first = waits(HOLD, tmp_path)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    said: list[str] = []
    with only_one(tmp_path, let_go(first, said)):
        assert first.wait(60) == 0
    assert said == [f"another build is running here (process {first.pid}): waiting for it"]


def test_a_killed_build_leaves_no_lock_behind(tmp_path: Path) -> None:
    first = waits(HOLD, tmp_path)
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
        child = waits("import sys; sys.stdin.read()", pass_fds=(descriptor,))
    said: list[str] = []
    with only_one(tmp_path, let_go(child, said)):
        assert child.wait(60) == 0
    assert said
