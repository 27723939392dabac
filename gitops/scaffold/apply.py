"""Generated files onto the disk: all of them or none, whatever moment the process is killed at.

A new project is built in a staging folder beside its place and moved there by one rename; what
changes in an existing repository goes through the journal.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gitops.errors import AnswerNo
from gitops.scaffold import disk, journal

if TYPE_CHECKING:
    from gitops.scaffold.plan import Plan
    from gitops.scaffold.render import Rendered

_BOX = ".gitops-staging"


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Where to build what is to become `target`: a path for `stage` and `install`, gone at the end.

    What a killed run left behind is cleared away first.

    Raises:
        AnswerNo: `target` isn't an empty folder or a new name, or another gitops is at work on it.
        ToolError: the folder beside it cannot be written.
    """
    target = target.resolve()
    finish(target)
    _require_free(target)
    inside = target.is_dir() and _must_stay(target)
    box = target / _BOX if inside else _beside(target)
    made = disk.missing_folders([box.parent])
    try:
        with disk.locked(box / "lock", target):
            try:
                yield box / "tree"
            finally:
                if not (box / "journal").exists():
                    shutil.rmtree(box, ignore_errors=True)
    finally:
        disk.remove_empty(made)


def stage(rendered: Iterable[Rendered], folder: Path) -> None:
    """Write new files into `folder`, down to the disk; if that fails, none of them is left.

    `folder` is made if it isn't there.

    Raises:
        ToolError: they can't be written; a full disk is named with the space that is free.
    """
    disk.lay_down([(file.path, file.content, file.executable) for file in rendered], folder)


def install(staged: Path, target: Path) -> None:
    """Make the folder `staged` the folder `target`, which is new or empty, in one step.

    Where `target` itself must stay (a shell sits in it, or it is a mount point), the entries are
    moved into it one by one; if that is killed, `finish` moves the rest.

    Raises:
        AnswerNo: `target` isn't free.
        ToolError: the file system refused; nothing has changed then.
    """
    target = target.resolve()
    _require_free(target)
    with disk.errors(target):
        if target.is_dir() and _must_stay(target):
            _move_in(staged, target)
            return
        if target.is_dir():
            staged.chmod(target.stat().st_mode & 0o7777)
        staged.rename(target)
        disk.hurry(target.parent)


def finish(target: Path) -> bool:
    """Complete an `install` into `target` that was killed midway; whether there was one.

    A staging folder that was killed before or after that is cleared away.

    Raises:
        AnswerNo: a name has been taken since, or another gitops is at work there.
    """
    box, beside = target / _BOX, _beside(target)
    if beside.is_dir():
        with disk.locked(beside / "lock", target):
            shutil.rmtree(beside, ignore_errors=True)
    if not box.is_dir():
        return False
    with disk.locked(box / "lock", target), disk.errors(target):
        found = (box / "journal").is_file()
        for entry in _entries(box / "tree") if found else []:
            if os.path.lexists(target / entry.name):
                raise AnswerNo(
                    f"{target / entry.name} is in the way of a project whose creation was killed",
                    fix=f"move it away and try again, or remove {box} to do without the rest",
                )
            entry.rename(target / entry.name)
        _close_box(box)
    return found


def apply(plan: Plan, target: Path, work: Path) -> None:
    """Write what `plan` says into the repository `target`: every file of it or none.

    Raises:
        AnswerNo: there are conflicts; or as `journal.write`.
        ToolError: as `journal.write`.
    """
    if plan.conflicts:
        shown = [f"{entry.file.path}: {entry.why}" for entry in plan.conflicts]
        raise AnswerNo(
            "\n  ".join(["these files are in the way, so nothing was written:", *shown]),
            fix="move them away or take your changes out of them, and try again",
        )
    journal.write([entry.change for entry in plan.changes], target, work)


def recover(target: Path, work: Path) -> bool:
    """Undo an `apply`, or complete an `install`, that was killed midway; whether there was one.

    A file that was edited since is left as it is. Call it at the start of a command.

    Raises:
        AnswerNo: another gitops is at work there.
        EvidenceError: the journal can't be read.
    """
    finished = finish(target)
    return journal.undo(target, work) or finished


# ---------------------------------------------------------------- moving into a folder that stays


def _move_in(staged: Path, target: Path) -> None:
    box = target / _BOX
    box.mkdir(exist_ok=True)
    if staged != box / "tree":
        staged.rename(box / "tree")
    moved: list[str] = []
    try:
        disk.write_whole(box / "journal", b"")
        for entry in _entries(box / "tree"):
            entry.rename(target / entry.name)
            moved.append(entry.name)
    except BaseException:
        for name in moved:
            (target / name).rename(box / "tree" / name)
        (box / "journal").unlink(missing_ok=True)
        raise
    _close_box(box)


def _close_box(box: Path) -> None:
    """The end of an `install`: everything is out of the box."""
    disk.hurry(box.parent)
    (box / "journal").unlink(missing_ok=True)
    shutil.rmtree(box, ignore_errors=True)


def _require_free(target: Path) -> None:
    if target.is_dir():
        there = [entry.name for entry in _entries(target) if entry.name != _BOX]
        if there:
            raise AnswerNo(
                f"{target} is not empty: {', '.join(there[:5])}",
                fix="name a new or an empty folder",
            )
    elif os.path.lexists(target):
        raise AnswerNo(f"{target} is there, and is no folder", fix="name a new or an empty folder")


def _beside(target: Path) -> Path:
    """The staging folder of a target that isn't there, or need not stay."""
    return target.with_name(f".{target.name}{_BOX}")


def _must_stay(target: Path) -> bool:
    """Whether the folder must keep its inode: this process sits in it, or it's a mount point."""
    # `stat` of `.` works even where the folder has been deleted under us.
    return os.path.samestat(target.stat(), Path().stat()) or target.is_mount()


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())
