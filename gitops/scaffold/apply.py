"""Generated files onto the disk: all of them or none, whatever moment the process is killed at.

A new project is built in a staging folder beside its place and moved there by one rename. In an
existing repository every new file and every old one is first laid down in a work folder, with a
journal; then the files are renamed into place; removing the journal is the commit point. Whoever
finds a journal puts the old files back.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops.errors import AnswerNo, EvidenceError
from gitops.scaffold import disk, paths
from gitops.scaffold.lock import blob

if TYPE_CHECKING:
    from gitops.scaffold.plan import Entry, Plan
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
    files = list(rendered)
    made = disk.missing_folders([folder, *((folder / file.path).parent for file in files)])
    written: list[Path] = []
    with disk.errors(folder):
        try:
            for each in made:
                each.mkdir()
            for file in files:
                _write(file, folder / file.path, written)
            disk.sync([*written, *{path.parent for path in written}, *made])
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            disk.remove_empty(made)
            raise


def _write(file: Rendered, at: Path, written: list[Path]) -> None:
    mode = 0o777 if file.executable else 0o666
    handle = os.open(at, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    written.append(at)
    with os.fdopen(handle, "wb") as out:
        out.write(file.content)


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
        _after_the_fact(target.parent)


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

    `work` is a folder for this target alone, on its file system, that nothing else uses (inside
    the git folder); it's gone at the end.

    Raises:
        AnswerNo: there are conflicts, a file has changed since the plan was made, or another gitops
            is at work there. Nothing has been written.
        ToolError: the file system refused. The old state is back.
    """
    if plan.conflicts:
        shown = [f"{entry.file.path}: {entry.why}" for entry in plan.conflicts]
        raise AnswerNo(
            "\n  ".join(["these files are in the way, so nothing was written:", *shown]),
            fix="move them away or take your changes out of them, and try again",
        )
    if not plan.changes:
        return
    with disk.locked(_lock_of(work), target), disk.errors(target):
        _roll_back(target, work)
        paths.check_target([entry.file.path for entry in plan.changes], target)
        try:
            journal = _prepare(plan.changes, target, work)
            _switch(journal, target, work)
            (work / "journal").unlink()
        except BaseException:
            _roll_back(target, work)
            raise
        _after_the_fact(work)
        shutil.rmtree(work, ignore_errors=True)


def recover(target: Path, work: Path) -> bool:
    """Undo an `apply`, or complete an `install`, that was killed midway; whether there was one.

    A file that was edited since is left as it is. Call it at the start of a command.

    Raises:
        AnswerNo: another gitops is at work there.
        EvidenceError: the journal can't be read.
    """
    finished = finish(target)
    if not work.exists():
        return finished
    with disk.locked(_lock_of(work), target), disk.errors(target):
        return _roll_back(target, work) or finished


# ---------------------------------------------------------------- the journal of `apply`


@dataclass(frozen=True)
class _Step:
    """A file to put in place: git blob ids of its new content, and of the old if there's a file."""

    path: str
    new: str
    old: str | None


@dataclass(frozen=True)
class _Journal:
    """What `apply` is about to do; `folders` are those that it makes, outermost first."""

    steps: tuple[_Step, ...]
    folders: tuple[str, ...]


def _prepare(changes: Sequence[Entry], target: Path, work: Path) -> _Journal:
    """Lay down the new files, the old ones, and last the journal."""
    work.mkdir(parents=True)
    stage([entry.file for entry in changes], work / "new")
    for entry in changes:
        _keep(entry, target / entry.file.path, work / "old" / entry.file.path)
    made = disk.missing_folders([(target / entry.file.path).parent for entry in changes])
    journal = _Journal(
        tuple(_Step(str(e.file.path), blob(e.file.content), e.before) for e in changes),
        tuple(folder.relative_to(target).as_posix() for folder in made),
    )
    disk.write_whole(work / "journal", json.dumps(asdict(journal)).encode())
    return journal


def _keep(entry: Entry, at: Path, kept: Path) -> None:
    """Copy the file that `entry` replaces; raises AnswerNo if it isn't as it was planned on."""
    if entry.before is None:
        changed = os.path.lexists(at)
    else:
        kept.parent.mkdir(parents=True, exist_ok=True)
        changed = not _is_plain(at)
        if not changed:
            shutil.copy2(at, kept)
            disk.sync([kept, kept.parent])
            changed = _blob(kept) != entry.before
    if changed:
        raise AnswerNo(
            f"{entry.file.path} has changed since the plan was made, so nothing was written",
            fix="run the command again",
        )


def _switch(journal: _Journal, target: Path, work: Path) -> None:
    for folder in journal.folders:
        (target / folder).mkdir()
    for step in journal.steps:
        (work / "new" / step.path).rename(target / step.path)
    disk.sync(_parents(journal, target))


def _roll_back(target: Path, work: Path) -> bool:
    """Put the old files back if there's a journal, and clear `work` away; whether there was one."""
    found = (work / "journal").is_file()
    if found:
        journal = _read_journal(work / "journal")
        for step in reversed(journal.steps):
            at, kept = target / step.path, work / "old" / step.path
            # Anything but our own new content was put there by somebody since.
            if _blob(at) != step.new:
                continue
            if step.old is None:
                at.unlink()
            elif kept.exists():
                kept.rename(at)
        disk.remove_empty([target / folder for folder in journal.folders])
        disk.sync(_parents(journal, target))
        (work / "journal").unlink()
    shutil.rmtree(work, ignore_errors=True)
    return found


def _parents(journal: _Journal, target: Path) -> set[Path]:
    """The folders that the journal's files are in, as far as they are there."""
    parents = {(target / step.path).parent for step in journal.steps}
    return {folder for folder in parents if folder.is_dir()}


def _read_journal(file: Path) -> _Journal:
    try:
        data = json.loads(file.read_bytes())
        steps = tuple(_Step(**step) for step in data["steps"])
        return _Journal(steps, tuple(data["folders"]))
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceError(
            f"{file} is damaged, so what a killed run wrote cannot be undone",
            fix=f"compare with `git status`, then remove {file.parent}",
        ) from error


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
    _after_the_fact(box.parent)
    (box / "journal").unlink(missing_ok=True)
    shutil.rmtree(box, ignore_errors=True)


def _after_the_fact(folder: Path) -> None:
    """Hurry what is decided down to the disk; failing at it undoes nothing, so it's no error."""
    with suppress(OSError):
        disk.sync([folder])


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


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _blob(path: Path) -> str | None:
    """Git blob id of a plain file; None of anything else."""
    return blob(path.read_bytes()) if _is_plain(path) else None


def _lock_of(work: Path) -> Path:
    return work.with_name(f"{work.name}.lock")
