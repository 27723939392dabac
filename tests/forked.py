"""Python programs as processes of their own that needn't import most of `gitops` anew.

Most of what a short command costs goes into its imports, and the tests run thousands of them. So a
parent imports once what many commands need, which starts no thread and nothing else, and forks for
each program; the child takes the arguments, the folder, the environment and the pipes of its call,
and ends as programs end. What an interpreter takes from the environment when it starts can't be
changed afterwards: a call whose environment differs there starts as usual, and so does one that
comes while another is under way.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

IMPORTED = (
    "gitops.cli.app",
    "gitops.doctor",
    "gitops.promote.overview",
    "gitops.reproduce.build",
    "gitops.reproduce.status",
    "configobj",
    "dvc.repo",
    "dvc_data.hashfile.db",
    "jinja2",
    "jsonschema",
    "typer._adapters",
)
AT_START = (
    "DVC_SHOW",
    "FSSPEC_",
    "LANG",
    "LC_",
    "LD_",
    "MALLOC_",
    "PYDANTIC_",
    "PYTHON",
    "TYPER_",
    "TZ",
)
GITOPS = "import sys; from gitops.__main__ import main; sys.exit(main())"
DVC = "import sys; from dvc.cli import main; sys.exit(main())"


class Forks:
    """Programs of one Python; `script` is where `gitops` is installed, if it is."""

    def __init__(self, python: Path, script: Path | None = None) -> None:
        self._python, self._script = python, script
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._at_start: dict[str, str] = {}

    def run(
        self,
        words: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        timeout: float,
        code: str = GITOPS,
    ) -> subprocess.CompletedProcess[str]:
        """What the program answers that has this `code`, and nothing on stdin.

        Raises:
            subprocess.TimeoutExpired: no answer within `timeout` seconds; it was killed.
        """
        installed = self._script is not None and code == GITOPS
        argv = [str(self._script) if installed else "-c", *words]
        command = argv if installed else [str(self._python), "-c", code, *words]
        if self._lock.acquire(blocking=False):
            try:
                if channel := self._parent(env):
                    call = {"argv": argv, "code": code, "cwd": str(cwd), "env": dict(env)}
                    return _call(channel, command, call, timeout)
            finally:
                self._lock.release()
        return subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def _parent(self, env: Mapping[str, str]) -> socket.socket | None:
        """The way to the parent, started at the first call; None if it can't have this child."""
        at_start = {name: value for name, value in env.items() if name.startswith(AT_START)}
        if self._channel is None:
            ours, its = socket.socketpair()
            with its:
                # Not /dev/null: what its children write to are pipes too. It ends when we do.
                subprocess.Popen(
                    [self._python, __file__, str(its.fileno())],
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=[its.fileno()],
                )
            self._channel, self._at_start = ours, at_start
        return self._channel if self._at_start == at_start else None


HERE = Forks(Path(sys.executable))


def _call(
    channel: socket.socket, command: Sequence[str], call: Mapping[str, Any], timeout: float
) -> subprocess.CompletedProcess[str]:
    body = json.dumps(call).encode()
    ends = [os.pipe(), os.pipe()]
    socket.send_fds(channel, [len(body).to_bytes(8, "big")], [write for _, write in ends])
    for _, write in ends:
        os.close(write)
    channel.sendall(body)
    process = _number(channel)
    try:
        out, err = _read([read for read, _ in ends], time.monotonic() + timeout)
    except TimeoutError:
        os.kill(process, signal.SIGKILL)
        raise subprocess.TimeoutExpired(command, timeout) from None
    finally:
        for read, _ in ends:
            os.close(read)
        code = _number(channel)
    return subprocess.CompletedProcess(command, code, out, err)


def _number(channel: socket.socket) -> int:
    raw = channel.recv(8, socket.MSG_WAITALL)
    assert raw, "the parent of forked programs is gone"
    return int.from_bytes(raw, "big", signed=True)


def _read(pipes: Sequence[int], deadline: float) -> list[str]:
    """All that comes out of these, to their ends, as text."""
    read: dict[int, list[bytes]] = {pipe: [] for pipe in pipes}
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            if not (ready := selector.select(max(0.0, deadline - time.monotonic()))):
                raise TimeoutError
            for key, _ in ready:
                if some := os.read(key.fd, 65536):
                    read[key.fd].append(some)
                else:
                    selector.unregister(key.fd)
    texts = [b"".join(parts).decode() for parts in read.values()]
    return [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]


def parent(channel: socket.socket) -> dict[str, Any]:
    """Fork for each call, and tell process and exit code; only children return, with their call."""
    interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    while True:
        size, pipes, _, _ = socket.recv_fds(channel, 8, 2)
        if not size:
            os._exit(0)
        body = channel.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        if not (process := os.fork()):
            break
        for pipe in pipes:
            os.close(pipe)
        channel.sendall(process.to_bytes(8, "big"))
        _, status = os.waitpid(process, 0)
        channel.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))
    channel.close()
    for number, pipe in enumerate(pipes, start=1):
        os.dup2(pipe, number)
        os.close(pipe)
    signal.signal(signal.SIGINT, interrupt)
    call: dict[str, Any] = json.loads(body)
    return call


def main() -> None:
    """Import, and become what is asked for."""
    del sys.path[0]  # ours
    for name in IMPORTED:
        importlib.import_module(name)
    if (threads := Path("/proc/self/task")).is_dir():  # those of libraries too, as polars has
        assert len(list(threads.iterdir())) == 1
    gc.freeze()  # what all have in common needn't be looked through by each
    call = parent(socket.socket(fileno=int(sys.argv[1])))
    os.chdir(call["cwd"])
    at_start = {name: value for name, value in os.environ.items() if name.startswith(AT_START)}
    os.environ.clear()
    os.environ.update(call["env"] | at_start)  # the interpreter may have added LC_CTYPE
    sys.argv[:] = call["argv"]
    sys.path.insert(0, "" if sys.argv[0] == "-c" else str(Path(sys.argv[0]).parent))
    program = types.ModuleType("__main__")
    sys.modules["__main__"] = program
    exec(compile(call["code"], "<string>", "exec"), program.__dict__)


if __name__ == "__main__":
    main()
