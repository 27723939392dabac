"""One build at a time in a repository."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_one(private: Path, say: Callable[[str], None]) -> Iterator[int]:
    """Hold the build lock; wait for whoever holds it. Yields its file descriptor.

    Handed to the stages' process (`pass_fds`), the descriptor keeps the lock held by what a killed
    build left running, so that two builds can't write the same files even then.
    """
    private.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(private / "build.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            say(f"another build is running here (process {holder or 'unknown'}): waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)
