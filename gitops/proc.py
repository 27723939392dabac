"""The one place that starts processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops.errors import ToolError

if TYPE_CHECKING:
    import asyncio

GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class Done:
    """A finished process: its exit code and what it wrote, decoded as UTF-8."""

    code: int
    out: str
    err: str


def environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """This process's environment with `changes` (None removes), our own `bin` last on PATH.

    Our `bin` holds `dvc` and `uv`, so that a stage finds them in whatever shell the user sits;
    last, so that a stage's `python` is never the tool's where the user has one.
    VIRTUAL_ENV is dropped: the user's environment is the project's, never the tool's.
    """
    env = dict(os.environ)
    env.pop("VIRTUAL_ENV", None)
    env["PATH"] = os.pathsep.join([env.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    for name, value in (changes or {}).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env


def name_user() -> None:
    """Name this user by number where the system has no name, as in many a container: DVC asks."""
    import getpass

    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = str(os.getuid())


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    input: str | None = None,
    timeout: float | None = None,
    check: bool = True,
    pass_fds: Sequence[int] = (),
) -> Done:
    """Run to the end and return what it wrote.

    Raises:
        ToolError: the program is missing, took longer than `timeout` seconds, or (with `check`)
            ended with a code other than 0.
    """
    try:
        done = subprocess.run(
            list(command),
            cwd=cwd,
            env=environment(env),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            pass_fds=tuple(pass_fds),
        )
    except FileNotFoundError as error:
        raise _missing(command[0], cwd) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{shown(command)} gave no answer within {timeout:g} seconds") from error
    result = Done(done.returncode, done.stdout, done.stderr)
    if check and result.code:
        raise failed(command, result)
    return result


def output(command: Sequence[str], *, cwd: Path, input: bytes = b"") -> bytes:
    """Run to the end, and return what it wrote, as it is.

    Raises:
        ToolError: the program is missing, or ended with a code other than 0.
    """
    try:
        done = subprocess.run(
            list(command), cwd=cwd, env=environment(), input=input, capture_output=True
        )
    except FileNotFoundError as error:
        raise _missing(command[0], cwd) from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace")
        raise failed(command, Done(done.returncode, "", said))
    return done.stdout


def stream(
    command: Sequence[str],
    on_line: Callable[[str], None],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    pass_fds: Sequence[int] = (),
    grace: float = GRACE_SECONDS,
) -> int:
    """Run and hand over each line (stdout and stderr together) as it comes; return the exit code.

    Whatever interrupts us ends the process, and all that it started: as Ctrl-C does, and for good
    after `grace` seconds.

    Raises:
        ToolError: the program is missing.
    """
    try:
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise _missing(command[0], cwd) from error
    # Polars chains a handler of its own before Python's, under which a read goes on after Ctrl-C.
    signal.siginterrupt(signal.SIGINT, True)
    with process:
        assert process.stdout is not None  # noqa: S101
        try:
            for line in process.stdout:
                on_line(line.rstrip("\n"))
        except BaseException:
            _stop(process, grace=grace)
            raise
    return process.returncode


class Process:
    """A process that runs beside us."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code (-n: killed by signal n); None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it, and wait until it is gone."""
        self._process.kill()
        self._process.wait()


def start(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start a process that writes where we write; the caller ends it.

    Raises:
        ToolError: the program is missing.
    """
    try:
        return Process(
            subprocess.Popen(
                list(command),
                cwd=cwd,
                env=environment(env),
                stdin=subprocess.DEVNULL,
                pass_fds=tuple(pass_fds),
            )
        )
    except FileNotFoundError as error:
        raise _missing(command[0], cwd) from error


def logged(
    command: Sequence[str],
    log: Path,
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float,
    pass_fds: Sequence[int] = (),
) -> int | None:
    """Run with exactly the environment `env`, appending stdout and stderr to the file `log`.

    The exit code; None if it took longer than `timeout` seconds. Whatever it has left running is
    ended with it, and if we are interrupted.

    Raises:
        ToolError: the program is missing.
    """
    process = _apart(command, log, cwd, env, pass_fds)
    try:
        return process.wait(max(0.0, timeout))
    except subprocess.TimeoutExpired:
        return None
    finally:
        # A shell may miss an interrupt. What we are, run in it, has sessions of its own to end.
        _stop(process, signal.SIGTERM, 1.5 * GRACE_SECONDS)


def detached(
    command: Sequence[str], log: Path, *, cwd: Path, env: Mapping[str, str | None] | None = None
) -> Process:
    """Start a process in a session of its own, which goes on when we end; it writes to `log`.

    `daemon` keeps track of such ones.

    Raises:
        ToolError: the program is missing.
    """
    return Process(_apart(command, log, cwd, environment(env)))


def _apart(
    command: Sequence[str],
    log: Path,
    cwd: Path,
    env: Mapping[str, str],
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """A process in a session of its own, with exactly `env`, that appends all it says to `log`."""
    with log.open("ab") as out:
        try:
            return subprocess.Popen(
                list(command),
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                pass_fds=tuple(pass_fds),
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise _missing(command[0], cwd) from error


def _stop(
    process: subprocess.Popen[str] | subprocess.Popen[bytes],
    first: signal.Signals = signal.SIGINT,
    grace: float = GRACE_SECONDS,
) -> None:
    """End a session: as Ctrl-C does, so that DVC frees its locks, then for good."""
    try:
        os.killpg(process.pid, first)
        process.wait(grace)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def connected(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str | None] | None = None
) -> asyncio.subprocess.Process:
    """Start a process whose stdin and stdout are ours, in a session of its own; `end_session`.

    What it writes to stderr goes where ours does.

    Raises:
        ToolError: the program is missing.
    """
    import asyncio

    try:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise _missing(command[0], cwd) from error


def end_session(leader: int) -> None:
    """End the process that was started in a session of its own, and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def attached(command: Sequence[str], *, cwd: Path) -> int:
    """Run with our own terminal, for a person to watch; the exit code.

    Whatever interrupts us ends it too: with time to end what it has started.
    """
    try:
        process = subprocess.Popen(list(command), cwd=cwd, env=environment())
    except FileNotFoundError as error:
        raise _missing(command[0], cwd) from error
    signal.siginterrupt(signal.SIGINT, True)  # as in `stream`
    try:
        return process.wait()
    except BaseException:
        # Ctrl-C went to both of us; `kill` only to us, and then it must be told.
        for tell in (None, process.terminate, process.kill):
            if tell is not None:
                tell()
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS / 2)
                break
        raise


def failed(command: Sequence[str], done: Done) -> ToolError:
    """The error for a process that ended badly, with the end of what it said."""
    said = (done.err.strip() or done.out.strip()).splitlines()[-15:]
    return ToolError("\n  ".join([f"{shown(command)} failed with exit code {done.code}", *said]))


def _missing(program: str, cwd: Path | None) -> ToolError:
    if cwd is not None and not cwd.is_dir():
        return ToolError(f"the folder {cwd} is gone")
    return ToolError(f"{program} was not found", fix=f"install {program}, or put it on PATH")


def shown(command: Sequence[str]) -> str:
    """A command line as an error shows it."""
    text = " ".join(command)
    return f"`{text}`" if len(text) <= 120 else f"`{text[:117]}...`"
