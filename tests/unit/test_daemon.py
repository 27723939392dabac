from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gitops import daemon, proc
from gitops.errors import ToolError


def test_a_detached_process_outlives_what_started_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gitops import daemon\n"
        "one = daemon.start([sys.executable, '-c', 'import time; print(1, flush=True);"
        " time.sleep(600)'], log=Path('log'), cwd=Path('.'))\n"
        "print(one.pid, one.since, sep='|')"
    )
    done = proc.run([sys.executable, "-c", code], cwd=tmp_path)
    pid, since = done.out.strip().split("|")
    started = daemon.Started(int(pid), since)
    assert daemon.is_alive(started)
    # Another process that has got the same number isn't it.
    assert not daemon.is_alive(daemon.Started(started.pid, "another start"))
    daemon.end(daemon.Started(started.pid, "another start"))
    assert daemon.is_alive(started)
    daemon.end(started)
    assert not daemon.is_alive(started)
    assert (tmp_path / "log").read_text() in ("", "1\n")


def test_a_process_that_doesn_t_listen_is_ended_even_so(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    log = tmp_path / "log"
    started = daemon.start(
        [sys.executable, "-c", f"{code}; time.sleep(600)"], log=log, cwd=tmp_path
    )
    while log.read_text() != "1\n":
        assert daemon.is_alive(started)
    daemon.end(started, seconds=0.1)
    assert not daemon.is_alive(started)


def test_processes_are_found_by_words_and_by_text_in_any_of_them(tmp_path: Path) -> None:
    code = "print('running', flush=True); input()"
    words = [sys.executable, "-c", code, "found-by", f'{{"state": "{tmp_path}"}}']
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the system knows its words only a moment after it was started
        for text in ("", f'"{tmp_path}"'):
            assert [one.pid for one in daemon.find("found-by", text=text)] == [process.pid]
        assert daemon.find("found-by", text=f'"{tmp_path}/other"') == []
        assert daemon.find("found", text=f'"{tmp_path}"') == []
        process.communicate(b"\n")


def test_our_own_dead_child_is_not_alive(tmp_path: Path) -> None:
    started = daemon.start([sys.executable, "-c", "input()"], log=tmp_path / "log", cwd=tmp_path)
    while daemon.is_alive(started):
        pass
    assert daemon.since(started.pid) is None


def test_a_detached_program_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no-such-program was not found"):
        daemon.start(["no-such-program"], log=tmp_path / "log", cwd=tmp_path)
