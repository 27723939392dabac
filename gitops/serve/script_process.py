"""The process of a scoring script, in the project's locked environment (scoring_worker.py).

One call at a time. A process that ends is started again: at once if it has answered, ever more
slowly if it hasn't.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gitops import proc, uv
from gitops.errors import EvidenceError, Where
from gitops.serve.refusal import Refusal
from gitops.serve.say import say

_WORKER = Path(__file__).with_name("scoring_worker.py")
_LONGEST = 64_000_000  # bytes of an answer
_GRACE_SECONDS = 5.0
_SLOWEST_START = 30.0  # seconds between two starts


@dataclass(frozen=True)
class Limits:
    """`queue`: calls that may wait for the script; the times are seconds."""

    start: float = 120.0
    call: float = 10.0
    queue: int = 64


class Failure(Refusal):
    """The script's fault: a 500. `detail` is for the server's side, and never in an answer."""

    def __init__(self, message: str, detail: str) -> None:
        super().__init__(500, message, fix="see the server's log")
        self.detail = detail


def version(path: Path) -> str:
    """Which script it is: the id that git (SHA-1) gives the file's bytes."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class Script:
    """A script's process; `steps` are the functions that it has."""

    def __init__(
        self, workdir: Path, script: str, *, quiet: bool = False, limits: Limits | None = None
    ) -> None:
        """`quiet`: texts of exceptions stay out of the log, since they may have redacted values."""
        self._workdir = workdir
        self._script = script
        self._detail = "places" if quiet else "full"
        self._limits = limits or Limits()
        self._lock = asyncio.Lock()
        self._up = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._rest: asyncio.Task[None] | None = None
        self._waiting = self._answered = 0
        self.steps: tuple[str, ...] = ()
        self.version = ""

    async def start(self) -> None:
        """Start it, and keep it going from then on.

        Raises:
            EvidenceError: there is no such file, or it fails when it is loaded.
        """
        where = Where(self._workdir / self._script)
        try:
            self.version = version(self._workdir / self._script)
        except OSError as error:
            fix = "write the script's path, from the top of the project, to models.NAME.serve"
            raise EvidenceError("there is no scoring script", fix=fix, where=where) from error
        await self._begin()
        self._keeper = asyncio.create_task(self._keep())

    async def call(self, step: str, *given: object) -> Any:  # noqa: ANN401
        """What a function of the script gives.

        Raises:
            Failure: it raised something, or ended.
            Refusal: 503 too many wait; 504 it took too long.
        """
        if self._waiting >= self._limits.queue:
            raise Refusal(503, "too many requests wait for the scoring script", fix="try again")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._limits.call), self._lock:
                await self._up.wait()
                return await self._ask(step, given)
        except TimeoutError:
            raise Refusal(504, "the scoring script took too long", fix="try again") from None
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """End the process: it has a few seconds to do so itself."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        await self._end()

    async def _begin(self) -> None:
        line, env = uv.within(self._workdir, ["python", str(_WORKER), self._script, self._detail])
        process = self._process = await proc.connected(line, cwd=self._workdir, env=env)
        try:
            async with asyncio.timeout(self._limits.start):
                said = await _read(process)
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            await self._end()
            raise self._broken(
                "it isn't ready in time"
                if isinstance(error, TimeoutError)
                else f"it ended with exit code {process.returncode}"
            ) from error
        except BaseException:
            await self._end()
            raise
        if "ready" not in said:
            await self._end()
            raise self._broken(_told(said))
        self.steps = tuple(said["ready"])
        self._up.set()

    def _broken(self, why: str) -> EvidenceError:
        return EvidenceError(
            f"the scoring script can't be loaded: {why}",
            fix="the server's log has more; try it with `uv run --locked python` and the script",
            where=Where(self._workdir / self._script),
        )

    async def _keep(self) -> None:
        """Start it again whenever it ends."""
        failures = 0
        while True:
            answered = self._answered
            if self._process is not None:
                code = await self._process.wait()
                self._up.clear()
                say("scoring script ended", level="error", script=self._script, code=code)
            await self._end()
            failures = 0 if self._answered > answered else failures + 1
            await asyncio.sleep(min(_SLOWEST_START, 0.1 * 2.0**failures))
            try:
                await self._begin()
            except Exception as error:
                say("scoring script", level="error", script=self._script, error=str(error))

    async def _ask(self, step: str, given: Sequence[object]) -> Any:  # noqa: ANN401
        process = self._process
        assert process is not None and process.stdin is not None  # noqa: S101
        text = msgspec.json.encode({"do": step, "with": given})
        try:
            process.stdin.write(struct.pack(">I", len(text)) + text)
            await process.stdin.drain()
            said = await _read(process)
        except (ConnectionError, asyncio.IncompleteReadError):
            self._kill(process)
            raise Failure("the scoring script failed", f"{step}: the process ended") from None
        except BaseException:  # what it would still answer belongs to nobody
            self._kill(process)
            raise
        self._answered += 1
        if "failed" in said:
            say("scoring script failed", level="error", step=step, **said["failed"])
            raise Failure("the scoring script failed", f"{step}: {_told(said)}")
        return said["answer"]

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        self._up.clear()
        proc.end_session(process.pid)
        self._rest = asyncio.create_task(_drained(process))

    async def _end(self) -> None:
        process, self._process = self._process, None
        self._up.clear()
        if process is None:
            return
        assert process.stdin is not None  # noqa: S101
        process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await process.wait()
        proc.end_session(process.pid)
        with suppress(RuntimeError):  # whoever asks it still reads it
            await _drained(process)
        await process.wait()


def _told(said: dict[str, Any]) -> str:
    return f"{said['failed']['kind']} at {said['failed']['at']}"


async def _read(process: asyncio.subprocess.Process) -> Any:  # noqa: ANN401
    assert process.stdout is not None  # noqa: S101
    (size,) = struct.unpack(">I", await process.stdout.readexactly(4))
    if size > _LONGEST:
        raise ConnectionError(f"an answer of {size:,} bytes")
    return msgspec.json.decode(await process.stdout.readexactly(size))


async def _drained(process: asyncio.subprocess.Process) -> None:
    """asyncio tells of a process's end only once all that it wrote is read."""
    assert process.stdout is not None  # noqa: S101
    while await process.stdout.read(1 << 16):
        pass
