"""What tests fork answers what the binary answers: see tests/forked.py."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.forked import DVC, Forks

if TYPE_CHECKING:
    from tests.conftest import Repository

pytestmark = pytest.mark.functional

SEEN = """
import json, os, signal, sys, threading
print(json.dumps({
    "argv": sys.argv,
    "cwd": os.getcwd(),
    "encoding": [sys.stdin.encoding, sys.stdout.encoding, sys.stderr.errors],
    "env": dict(os.environ),
    "files": sorted(os.listdir("/proc/self/fd"))[:3],
    "main": sorted(set(vars(sys.modules["__main__"])) & {"SEEN", "main", "os"}),
    "path": sys.path,
    "python": [sys.executable, sys.prefix, sys.flags.utf8_mode],
    "session": [os.getpgid(0), os.getsid(0)],
    "signals": [str(signal.getsignal(one)) for one in sorted(signal.valid_signals())],
    "stdin": sys.stdin.read(),
    "terminals": [os.isatty(one) for one in range(3)],
    "threads": threading.active_count(),
    "umask": os.umask(0o22),
}))
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["status"],
        ["status", "--json"],
        ["doctor"],
        ["verify", "--json"],
        ["lint"],
        ["schema", "gitops"],
        ["deploy", "nowhere"],
        ["nonsense"],
        ["build", "--help"],
    ],
    ids=" ".join,
)
def test_a_fork_answers_as_the_binary(
    light: Repository, installed: Path, forks: Forks, git_identity: dict[str, str], words: list[str]
) -> None:
    env = {**git_identity, "NO_COLOR": "1", "COLUMNS": "70"}
    binary = subprocess.run(
        [installed / "gitops", *words],
        cwd=light.root,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    forked = forks.run(words, cwd=light.root, env=env, timeout=300)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        binary.returncode,
        binary.stdout,
        binary.stderr,
    )
    assert forked.stdout or forked.stderr


@pytest.mark.parametrize("words", [["--version"], ["remote", "list"], ["nonsense"]], ids=" ".join)
def test_dvc_answers_as_its_binary(
    light: Repository, installed: Path, forks: Forks, git_identity: dict[str, str], words: list[str]
) -> None:
    env = {**git_identity, "DVC_NO_ANALYTICS": "1", "NO_COLOR": "1"}
    binary = subprocess.run(
        [installed / "dvc", *words], cwd=light.root, env=env, capture_output=True, text=True
    )
    forked = forks.run(words, code=DVC, cwd=light.root, env=env, timeout=300)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        binary.returncode,
        binary.stdout,
        binary.stderr,
    )


def test_a_fork_is_a_process_like_any_other(
    installed: Path, forks: Forks, git_identity: dict[str, str], tmp_path: Path
) -> None:
    env = {**git_identity, "ÄNDERUNG": "ä\udcff"}
    usual = subprocess.run(
        [installed / "python", "-c", SEEN, "a b"],
        cwd=tmp_path,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    forked = forks.run(["a b"], code=SEEN, cwd=tmp_path, env=env, timeout=60)
    assert (forked.stderr, forked.returncode) == (usual.stderr, usual.returncode) == ("", 0)
    assert forked.stdout == usual.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit('no such luck')",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import atexit, os; atexit.register(print, 'at last'); print('first')",
        "import sys, threading; threading.Thread(target=print, args=['late']).start()",
        "import os; os.write(2, b'raw'); os._exit(7)",
        "import sys; sys.stdout.write('x' * 300_000)",
    ],
)
def test_a_fork_ends_as_a_program_ends(
    installed: Path, forks: Forks, git_identity: dict[str, str], tmp_path: Path, code: str
) -> None:
    usual = subprocess.run(
        [installed / "python", "-c", code],
        cwd=tmp_path,
        env=git_identity,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    forked = forks.run([], code=code, cwd=tmp_path, env=git_identity, timeout=60)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        usual.returncode,
        usual.stdout,
        usual.stderr,
    )


def test_a_fork_that_takes_too_long_is_killed_and_the_next_one_runs(
    forks: Forks, git_identity: dict[str, str], tmp_path: Path
) -> None:
    code = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"
    with pytest.raises(subprocess.TimeoutExpired):
        forks.run([], code=code, cwd=tmp_path, env=git_identity, timeout=0.5)
    done = forks.run([], code="print(6 * 7)", cwd=tmp_path, env=git_identity, timeout=60)
    assert done.stdout == "42\n"


def test_an_environment_of_another_interpreter_gets_one(
    forks: Forks, git_identity: dict[str, str], tmp_path: Path
) -> None:
    code = "import sys; print(sys.flags.hash_randomization, 'gitops' in sys.modules)"

    def told(**more: str) -> str:
        env = {**git_identity, **more}
        return forks.run([], code=code, cwd=tmp_path, env=env, timeout=60).stdout

    assert [told(), told(PYTHONHASHSEED="0"), told()] == ["1 True\n", "0 False\n", "1 True\n"]


def test_two_at_once_run_at_once(
    forks: Forks, git_identity: dict[str, str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")  # each end waits for the other to be opened

    def opened(mode: str) -> int:
        code = f"open('pipe', {mode!r}).close()"
        return forks.run([], code=code, cwd=tmp_path, env=git_identity, timeout=60).returncode

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(opened, "rw")) == [0, 0]
