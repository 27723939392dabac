"""What safe writing needs of the file system: locks, durable writes, errors that say what to do."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from gitops import whole
from gitops.errors import AnswerNo, ToolError

_MANY = 64  # files that take longer one by one than all that the system has to write


@contextmanager
def locked(file: Path, target: Path) -> Iterator[None]:
    """Hold `file` for this process alone; it falls with the process, however that ends."""
    while True:
        with errors(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:  # the folder was removed by whoever held the lock
                continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise AnswerNo(
                f"another gitops is at work on {target}", fix="wait until it is done"
            ) from error
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), file.stat()):
                break
        os.close(handle)
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def errors(place: Path) -> Iterator[None]:
    """The file system's refusals as ToolError, with the space that is free if it's full."""
    try:
        yield
    except OSError as error:
        name = error.filename2 or error.filename or place
        if error.errno in whole.FULL:
            raise ToolError(
                f"the disk is full: {place} cannot be written, with {_free(place)} free",
                fix="make room, or name a folder on another disk; nothing has been left behind",
            ) from error
        raise ToolError(
            f"{name} cannot be written: {error.strerror}",
            fix="check who may write there, and that it is on the same disk as the project",
        ) from error


def _free(place: Path) -> str:
    folder = next(folder for folder in (place, *place.absolute().parents) if folder.is_dir())
    return f"{shutil.disk_usage(folder).free / 1e6:.1f} MB"


def write_whole(file: Path, content: bytes) -> None:
    """Write `file` so that it's there with all its content or not at all."""
    half = file.with_name(f"{file.name}.half")
    with half.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    half.rename(file)
    sync([file.parent])


def lay_down(files: Sequence[tuple[PurePath, bytes, bool]], folder: Path) -> None:
    """Write new files (path, content, executable) into `folder`; if that fails, none is left.

    Raises:
        ToolError: they can't be written.
    """
    made = missing_folders([folder, *((folder / path).parent for path, _, _ in files)])
    written: list[Path] = []
    with errors(folder):
        try:
            for each in made:
                each.mkdir()
            for path, content, executable in files:
                _write(folder / path, content, 0o777 if executable else 0o666, written)
            sync([*written, *{path.parent for path in written}, *made])
        except BaseException:
            for at in written:
                at.unlink(missing_ok=True)
            remove_empty(made)
            raise


def _write(at: Path, content: bytes, mode: int, written: list[Path]) -> None:
    handle = os.open(at, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    written.append(at)
    with os.fdopen(handle, "wb") as out:
        out.write(content)


def sync(places: Iterable[Path]) -> None:
    """These files and folders down to the disk."""
    known = list(places)
    if len(known) > _MANY:
        os.sync()
        return
    for place in known:
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def hurry(folder: Path) -> None:
    """What is decided down to the disk; failing at it undoes nothing, so it's no error."""
    with suppress(OSError):
        sync([folder])


def missing_folders(folders: Iterable[Path]) -> list[Path]:
    """Those of `folders` and of their parents that aren't there, outermost first."""
    missing: set[Path] = set()
    for folder in folders:
        at = folder
        while at not in missing and not at.is_dir():
            missing.add(at)
            at = at.parent
    return sorted(missing)


def remove_empty(folders: Sequence[Path]) -> None:
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()
