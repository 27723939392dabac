from __future__ import annotations

import getpass
import os
import signal
import sys
from pathlib import Path

import pexpect
import pytest

from gitops import proc
from gitops.errors import ToolError


def test_run_gives_back_what_was_written() -> None:
    done = proc.run([sys.executable, "-c", "import sys; print('ä'); print('e', file=sys.stderr)"])
    assert (done.code, done.out, done.err) == (0, "ä\n", "e\n")


def test_a_failure_shows_the_end_of_what_was_said() -> None:
    with pytest.raises(ToolError, match=r"exit code 3(.|\n)*the reason"):
        proc.run([sys.executable, "-c", "print('the reason'); raise SystemExit(3)"])


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ToolError, match="no-such-program was not found"):
        proc.run(["no-such-program"])


def test_a_missing_folder_is_not_mistaken_for_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="gone is gone"):
        proc.run([sys.executable, "-c", ""], cwd=tmp_path / "gone")


def test_a_program_that_hangs_is_ended() -> None:
    with pytest.raises(ToolError, match=r"no answer within 0\.2 seconds"):
        proc.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.2)


def test_stream_hands_over_each_line() -> None:
    lines: list[str] = []
    code = proc.stream(
        [sys.executable, "-c", "print('a'); print('b'); raise SystemExit(5)"], lines.append
    )
    assert (code, lines) == (5, ["a", "b"])


CLEANS = """
import signal, sys, time
from pathlib import Path

place = Path(sys.argv[1])
def told(number, frame):
    time.sleep(0.5)  # longer than subprocess.run waits for what Ctrl-C reached, too
    (place / "cleaned").touch()
    raise SystemExit(130)

signal.signal(signal.SIGINT, told)
signal.signal(signal.SIGTERM, told)
print("ready", flush=True)
time.sleep(60)
"""
WATCHES = f"""
import sys
from pathlib import Path
from gitops import proc

proc.GRACE_SECONDS = 20.0
proc.attached([sys.executable, "-c", {CLEANS!r}, sys.argv[1]], cwd=Path(sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["ctrl-c", "kill"])
def test_what_is_watched_may_clean_up_when_we_are_interrupted(tmp_path: Path, how: str) -> None:
    terminal = pexpect.spawn(sys.executable, ["-c", WATCHES, str(tmp_path)], timeout=60)
    terminal.expect("ready")
    terminal.sendintr() if how == "ctrl-c" else terminal.kill(signal.SIGINT)
    terminal.expect("KeyboardInterrupt")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert (tmp_path / "cleaned").exists()


def test_a_user_without_a_name_is_called_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    proc.name_user()
    assert "LOGNAME" not in os.environ or getpass.getuser() == str(os.getuid())
    monkeypatch.delenv("LOGNAME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2_000_000_001)
    proc.name_user()
    assert getpass.getuser() == os.environ["LOGNAME"] == "2000000001"
    monkeypatch.setenv("LOGNAME", "ada")
    proc.name_user()
    assert getpass.getuser() == "ada"


def test_the_tools_environment_is_not_the_projects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    monkeypatch.setenv("PATH", "/first")
    env = proc.environment({"ADDED": "1", "HOME": None})
    assert "VIRTUAL_ENV" not in env
    assert "HOME" not in env
    assert env["ADDED"] == "1"
    assert env["PATH"].startswith("/first")
    assert env["PATH"].endswith(str(Path(sys.executable).parent))
