"""The writer of segments: a bounded buffer, and a thread that writes and fsyncs it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gitops import whole
from gitops.serve import segments

_BUFFER = 32_000_000  # bytes that may wait for the disk
_BATCH = 4_000_000  # bytes written and synced at once
_RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class State:
    """How a writer is: `trouble` is empty, or why lines can't be written at this moment.

    `written` lines are on the disk, `waiting` ones in memory, `dropped` ones lost.
    """

    trouble: str
    written: int
    waiting: int
    dropped: int
    segment: str | None

    @property
    def healthy(self) -> bool:
        return not self.trouble


class Writer:
    """Appends lines to segments of its own. `add` is for one thread, `state` for any.

    Lines are on the disk within `sync_seconds` of `add`, as long as the disk takes less than half
    of that; with 0, each is written at once, and `durable` waits for it.
    """

    def __init__(
        self, folder: Path, *, sync_seconds: float, segment_bytes: int, keep_bytes: int
    ) -> None:
        self.folder = folder
        self._sync_seconds = sync_seconds
        self._segment_bytes = segment_bytes
        self._keep_bytes = keep_bytes
        # Counters that one thread alone writes need no lock: the left by `add`, the right by us.
        self._lines: deque[bytes] = deque()
        self._added = self._added_bytes = self._dropped = 0
        self._written = self._written_bytes = 0
        self._batch: list[bytes] = []  # taken from the lines, not yet on the disk
        self._waiters: deque[tuple[int, asyncio.AbstractEventLoop, asyncio.Future[bool]]] = deque()
        self._descriptor = -1  # of the open segment
        self._name = ""
        self._number = self._size = 0
        self._trouble = ""
        self._retry_at = 0.0
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"log {folder.name}", daemon=True)
        self._thread.start()

    def add(self, line: bytes) -> bool:
        """Take a line, which ends in a line break; returns at once. False: it was dropped."""
        size = len(line)
        waiting = self._added_bytes - self._written_bytes + size
        if waiting > _BUFFER or size > segments.LONGEST or self._closing:
            self._dropped += 1
            self._wake.set()
            return False
        self._lines.append(line)
        self._added += 1
        self._added_bytes += size
        if not self._sync_seconds or waiting > _BATCH:
            self._wake.set()
        return True

    async def durable(self) -> bool:
        """Wait until all that was added is on the disk; False if it can't be written now."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        if self._closing:
            return self._written >= self._added
        self._waiters.append((self._added, loop, waiter))
        self._wake.set()
        return await waiter

    @property
    def state(self) -> State:
        waiting = max(0, self._added - self._written)
        return State(self._trouble, self._written, waiting, self._dropped, self._name or None)

    def close(self, seconds: float = 5.0) -> State:
        """Write what waits, and end; what can't be written within `seconds` is dropped."""
        self._closing = True
        self._wake.set()
        self._thread.join(seconds)
        if not self._thread.is_alive():
            self._settle(False)
            self._dropped += self._added - self._written
            self._added = self._written
        return self.state

    def _run(self) -> None:
        while True:
            self._wake.wait(self._pause())
            self._wake.clear()
            closing = self._closing
            try:
                done = self._flush(closing)
            except Exception as error:  # the thread must outlive any bug: requests go on
                self._fail(f"can't be written: {type(error).__name__}")
                done = False
            self._settle(done)
            if closing:
                self._shut()
                return

    def _pause(self) -> float | None:
        if self._trouble:
            return _RETRY_SECONDS
        return self._sync_seconds / 2 or None

    def _flush(self, at_once: bool) -> bool:
        """Write all lines; False if that can't be done, or wasn't tried so soon after a failure."""
        if self._trouble and not at_once and time.monotonic() < self._retry_at:
            return False
        while self._batch or self._lines:
            self._take()
            data = b"".join(self._batch)
            if not self._write(data):
                return False
            self._size += len(data)
            self._written_bytes += len(data)
            self._written += len(self._batch)
            self._batch = []
            self._trouble = ""
            if self._size >= self._segment_bytes:
                self._shut()
            self._settle(True)
        return True

    def _take(self) -> None:
        size = sum(map(len, self._batch))
        while self._lines and size < _BATCH:
            line = self._lines.popleft()
            self._batch.append(line)
            size += len(line)

    def _write(self, data: bytes) -> bool:
        """Append to the segment and sync: all, or nothing that is left of it."""
        for _ in range(2):
            if not self._append(data):
                return False
            if self._in_place():
                return True
            self._shut()  # and once more, in a folder made again
        self._fail("folder gone: it is removed again and again")
        return False

    def _append(self, data: bytes) -> bool:
        written = False
        try:
            if self._descriptor < 0:
                self._open()
            left = memoryview(data)
            while left:
                left = left[os.write(self._descriptor, left) :]
            written = True
            os.fsync(self._descriptor)
        except OSError as error:
            self._undo(written)
            self._fail(self._why(error))
            return False
        return True

    def _in_place(self) -> bool:
        """A file that was removed or moved is written without an error all the same."""
        with suppress(OSError):
            there, ours = (self.folder / self._name).stat(), os.fstat(self._descriptor)
            return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
        return False

    def _open(self) -> None:
        self._number, self._name, self._descriptor = segments.create(self.folder, self._number)
        self._size = 0
        segments.prune(self.folder, self._keep_bytes, self._number)

    def _undo(self, written: bool) -> None:
        """Cut off what was written of a batch; it goes to the next segment.

        An empty one is tried again, so that a full disk doesn't collect empty files; but not after
        a failed sync, when nobody knows what the disk has (Linux forgets the pages).
        """
        if self._descriptor < 0:
            return
        cut = False
        with suppress(OSError):
            os.ftruncate(self._descriptor, self._size)
            cut = True
        if self._size or written or not cut:
            self._shut()
            if not self._size:
                with suppress(OSError):
                    (self.folder / self._name).unlink()

    def _shut(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1

    def _why(self, error: OSError) -> str:
        if error.errno in whole.FULL:
            return f"disk full: {error.strerror}"
        what = "can't be written" if self.folder.is_dir() else "folder gone"
        return f"{what}: {error.strerror or error}"

    def _fail(self, why: str) -> None:
        self._trouble = why
        self._retry_at = time.monotonic() + _RETRY_SECONDS

    def _settle(self, done: bool) -> None:
        """Answer those whose lines are written; all of them if the others can't be."""
        ready: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[bool], bool]]] = {}
        while self._waiters and (not done or self._waiters[0][0] <= self._written):
            wanted, loop, waiter = self._waiters.popleft()
            ready.setdefault(loop, []).append((waiter, wanted <= self._written))
        for loop, answers in ready.items():
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_answer, answers)


def _answer(answers: list[tuple[asyncio.Future[bool], bool]]) -> None:
    for waiter, answer in answers:
        if not waiter.done():
            waiter.set_result(answer)
