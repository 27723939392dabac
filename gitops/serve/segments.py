"""Segments: append-only files of lines, each written by one process and read by many.

A folder has `<UTC start>-<pid>-<n>.jsonl`; `n` counts the segments of the folder, whoever wrote
them, and is their order: a clock may jump. While its writer lives it holds the file's lock
(flock), so anybody can tell an open segment from a closed one. A writer that was killed leaves at
most a last line without its end, which is never read; nobody appends to its segment.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from gitops import whole

LONGEST = 8_000_000  # bytes of a line
MOST = 4_096  # segments of a folder: a server that starts over and over leaves many small ones
_NAME = re.compile(r"\d{8}T\d{6}Z-\d+-(\d{6,18})\.jsonl")


@dataclass(frozen=True)
class Position:
    """How far a folder has been read: the offset (bytes) in each segment that is still there.

    `bad` counts the lines so far that were none of ours.
    """

    offsets: Mapping[str, int] = field(default_factory=dict)
    bad: int = 0


def listing(folder: Path) -> list[tuple[int, str]]:
    """Number and name of each segment, in their order; none if the folder isn't there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
        return sorted((int(match[1]), match[0]) for match in found if match)
    return []


def create(folder: Path, after: int) -> tuple[int, str, int]:
    """A new segment behind all others and behind number `after`: its number, name, locked file.

    Raises:
        OSError: the folder or the file can't be made.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    number = max([after, *(number for number, _ in listing(folder))]) + 1
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}-{number:06}.jsonl"
    flags = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY
    file = os.open(folder / name, flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        whole.sync(folder)
    except OSError:
        os.close(file)
        (folder / name).unlink(missing_ok=True)
        raise
    return number, name, file


def write(folder: Path, lines: Iterable[bytes]) -> None:
    """Write a segment in one go: whole and on the disk, or not at all.

    Raises:
        OSError: it can't be written.
    """
    _, name, file = create(folder, 0)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.writelines(lines)
            opened.flush()
            os.fsync(file)
    except BaseException:
        with suppress(OSError):
            (folder / name).unlink()
        raise


def prune(folder: Path, keep: int, below: int) -> None:
    """Remove the oldest closed segments with numbers under `below` beyond `keep` bytes in all."""
    older = [(number, name) for number, name in listing(folder) if number < below]
    sizes = {name: _size(folder / name) for _, name in older}
    total, left = sum(sizes.values()), len(sizes)
    for _, name in older:
        if total <= keep and left < MOST:
            return
        if _remove_closed(folder / name):
            total, left = total - sizes[name], left - 1


def read(folder: Path, since: Position, most: int) -> tuple[list[bytes], Position]:
    """The whole lines behind a position, about `most` bytes at a time, and the position behind.

    Segments come in their order. No lines: there are no more as yet. What goes on for longer than
    a line may is skipped and counted as bad.
    """
    lines: list[bytes] = []
    offsets: dict[str, int] = {}
    bad, budget = since.bad, most
    for _, name in listing(folder):
        offset = offsets[name] = since.offsets.get(name, 0)
        if budget <= 0:
            continue
        for piece in _pieces(folder / name, offset):
            whole = piece.rfind(b"\n") + 1
            if not whole and len(piece) > LONGEST:
                whole, bad = len(piece), bad + 1
            else:
                lines += piece[:whole].split(b"\n")[:-1]
            offset += whole
            budget -= whole
            if budget <= 0:
                break
        offsets[name] = offset
    return lines, Position(offsets, bad)


def _pieces(path: Path, offset: int) -> Iterator[bytes]:
    """A file from `offset` on, in pieces that each begin where the last whole line ended."""
    size = 1_000_000
    with suppress(FileNotFoundError), path.open("rb", buffering=0) as file:
        while True:
            file.seek(offset)
            piece = file.read(size)
            if not piece:
                return
            if (whole := piece.rfind(b"\n") + 1) or len(piece) > LONGEST:
                yield piece
                offset += whole or len(piece)
            elif len(piece) < size:  # the file ends within a line
                return
            else:
                size = LONGEST + 1


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _remove_closed(path: Path) -> bool:
    """Remove a segment unless its writer lives."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True
