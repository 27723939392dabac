"""The process that holds the listening socket, starts the workers, and starts again what dies."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from gitops import proc
from gitops.errors import ToolError, UsageError
from gitops.serve import metrics
from gitops.serve.options import Options
from gitops.serve.say import say

_TICK = 0.05
_STEADY = 10.0  # a worker that lived so long is started again at once
_LONGEST = 30.0
_OTHER_FILES = 256  # beside the connections


@dataclass
class Slot:
    """A worker's place: who is in it, how often it died young, and when the next may start."""

    process: proc.Process | None = None
    started: float = 0.0
    deaths: int = 0
    not_before: float = 0.0


class Supervisor:
    """`prepare` is called before each start of a worker: what it needs may be gone by then."""

    def __init__(
        self,
        options: Options,
        listening: socket.socket,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._options = options
        self._prepare = prepare
        self._listening = listening
        self._slots = [Slot() for _ in range(options.workers)]
        self._alive, self._held = os.pipe()  # workers see it close when we are gone
        self._ending = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then the workers finish what they have begun.

        Raises:
            ToolError: workers had to be killed.
        """
        before = {n: signal.signal(n, self._end) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._tidy()
            while not self._ending:
                self._look()
                time.sleep(_TICK)
            self._drain()
        finally:
            for slot in self._slots:
                if slot.process is not None:
                    slot.process.kill()
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._held)
            os.close(self._alive)

    def end(self) -> None:
        """Let `run` come to its end."""
        self._ending = True

    def pids(self) -> list[int]:
        """The workers."""
        return [slot.process.pid for slot in self._slots if slot.process is not None]

    def wait_until_serving(self) -> None:
        """Until every worker has said that it serves. Raises ToolError if we end before."""
        workers = self._options.state / "workers"
        while len(list(workers.glob("[0-9]*.json"))) < len(self._slots):
            if self._ending:
                raise ToolError("the server ended", fix="see what it said")
            time.sleep(_TICK)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ending = True

    def _look(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            if slot.process is None:
                if now >= slot.not_before:
                    self._start(slot, now)
            elif (code := slot.process.poll()) is not None:
                self._died(slot, code, now)

    def _start(self, slot: Slot, now: float) -> None:
        slot.started = now
        with suppress(OSError):  # no room: the worker says what it lacks
            self._prepare()
        slot.process = proc.start(
            [
                sys.executable, "-m", "gitops.serve.worker", self._options.text(),
                str(self._listening.fileno()), str(self._alive),
            ],
            pass_fds=(self._listening.fileno(), self._alive),
        )  # fmt: skip

    def _died(self, slot: Slot, code: int, now: float) -> None:
        assert slot.process is not None  # noqa: S101
        lived = now - slot.started
        slot.deaths = 0 if lived >= _STEADY else slot.deaths + 1
        wait = min(_LONGEST, 0.25 * 2 ** (slot.deaths - 1)) if slot.deaths > 1 else 0.0
        slot.not_before = now + wait
        say(
            "worker died", level="error", worker=slot.process.pid, code=code,
            lived=round(lived, 1), again_in=wait,
        )  # fmt: skip
        self._forget(slot.process.pid)
        slot.process = None

    def _forget(self, pid: int) -> None:
        """What a dead worker said of itself is not true any more."""
        with suppress(OSError):
            (self._options.state / "workers" / f"{pid}.json").unlink()
        metrics.bury(metrics_folder(self._options.state), pid)

    def _tidy(self) -> None:
        shutil.rmtree(metrics_folder(self._options.state), ignore_errors=True)
        with suppress(OSError):  # workers count for themselves where it can't be had
            metrics_folder(self._options.state).mkdir(parents=True)
        for file in (self._options.state / "workers").glob("*.json"):
            file.unlink(missing_ok=True)

    def _drain(self) -> None:
        say("draining")
        self._listening.close()
        running = [slot.process for slot in self._slots if slot.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self._options.drain_timeout + 5
        while any(process.poll() is None for process in running):
            if time.monotonic() > deadline:
                raise ToolError(
                    "workers didn't end in time and were killed",
                    fix="give requests a shorter --timeout",
                )
            time.sleep(_TICK)


def metrics_folder(state: Path) -> Path:
    return state / "metrics"


def listen(host: str, port: int) -> socket.socket:
    """The listening socket that all workers share; port 0 is any free one.

    Raises:
        UsageError: the address can't be had.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, number)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(2048)
    except OSError as error:
        raise UsageError(
            f"can't listen on {host}:{port}: {error.strerror or error}",
            fix="give another address with --listen",
        ) from error
    return made


def raise_limit(connections: int) -> int:
    """Let processes open as many files as the connections need, as far as the system lets us; the
    number of connections that this is enough for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else min(connections, soft - _OTHER_FILES)
