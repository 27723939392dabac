"""A file is the old one or the new one, whoever reads it and whatever interrupts us."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of a disk without room


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place once that is done.

    The folder is made if it isn't there; the mode of a file that is there stays. `durable`: it is
    on the disk at the end, whatever happens to the machine.

    Raises:
        OSError: it can't be written; what was there still is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield half
        if path.exists():
            half.chmod(stat.S_IMODE(path.stat().st_mode))
        if durable:
            sync(half)
        half.replace(path)
        if durable:  # a rename is on the disk only when its folder is
            sync(path.parent)
    except BaseException:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise


def write(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write a file (text as UTF-8). Raises as `replacing`."""
    with replacing(path, durable=durable) as half:
        half.write_bytes(content.encode() if isinstance(content, str) else content)


def sync(path: Path) -> None:
    """Have the disk hold a file, or the names in a folder, before anything else is done."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
