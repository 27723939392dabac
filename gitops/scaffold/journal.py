"""Changes of files in a repository: all of them or none, whatever moment the process is killed at.

Every new file and every old one is first laid down in a work folder, with a journal; then the files
are renamed into place; renaming the journal is the commit point. Whoever finds a journal puts the
old files back.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from gitops.errors import AnswerNo, EvidenceError, ToolError
from gitops.scaffold import disk, paths
from gitops.scaffold.lock import blob


@dataclass(frozen=True)
class Change:
    """What is to be at a path: `content` with its executable bit, or nothing (None).

    With `link`, a symlink to `content`. `before` is what is there now: the mark of `look`.
    """

    path: PurePosixPath
    content: bytes | None
    executable: bool = False
    before: str | None = None
    link: bool = False


NO_FILE = "no file"  # the mark of a folder or of something special


@dataclass(frozen=True)
class There:
    """What is at a path.

    `mark` tells its states apart: a file's git blob id (and ` x` if it's executable), `-> target`
    of a symlink, `NO_FILE`, None if nothing is there. The rest is of a plain file.
    """

    mark: str | None
    content: bytes | None = None
    blob: str | None = None
    executable: bool = False


def look(at: Path) -> There:
    """What is at a path; raises ToolError if it can't be read."""
    try:
        mode = at.lstat().st_mode
        if stat.S_ISLNK(mode):
            return There(f"-> {os.readlink(at)}")  # noqa: PTH115
        if not stat.S_ISREG(mode):
            return There(NO_FILE)
        content = at.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return There(None)
    except OSError as error:
        raise ToolError(
            f"{at} cannot be read: {error.strerror}", fix="make it readable, or move it away"
        ) from error
    known, executable = blob(content), bool(mode & 0o100)
    return There(_file_mark(known, executable=executable), content, known, executable)


def _file_mark(known: str, *, executable: bool) -> str:
    return f"{known} x" if executable else known


@dataclass(frozen=True)
class Step:
    """A path that changes: the marks of what is to be there, and of what was."""

    path: str
    new: str | None
    old: str | None


@dataclass(frozen=True)
class Journal:
    """What `write` does; `folders` are those that it makes, outermost first."""

    steps: tuple[Step, ...]
    folders: tuple[str, ...]
    note: Mapping[str, object] | None = None


def write(
    changes: Sequence[Change],
    target: Path,
    work: Path,
    *,
    note: Mapping[str, object] | None = None,
    aside: Mapping[PurePosixPath, bytes] | None = None,
) -> None:
    """Make all `changes` in the repository `target`, or none of them.

    `work` is a folder for this target alone, on its file system, that nothing else uses (inside
    the git folder); it's gone at the end. With a `note` it becomes the folder `sync` beside it,
    with the old files and the files `aside`: see `last`.

    Raises:
        AnswerNo: a file has changed since the plan was made, or another gitops is at work there.
            Nothing has been written.
        ToolError: the file system refused. The old state is back.
    """
    if not changes and not aside:
        return
    with disk.locked(_lock_of(work), target), disk.errors(target):
        _roll_back(target, work)
        paths.check_target([change.path for change in changes], target)
        try:
            journal = _prepare(changes, target, work, note)
            for path, content in (aside or {}).items():
                (work / "theirs" / path).parent.mkdir(parents=True, exist_ok=True)
                (work / "theirs" / path).write_bytes(content)
            _switch(journal, target, work)
            (work / "journal").rename(work / "done")
        except BaseException:
            _roll_back(target, work)
            raise
        disk.hurry(work)
        with suppress(OSError):  # it's decided; the next run tidies up
            _settle(target, work)


def undo(target: Path, work: Path) -> bool:
    """Put back what a killed `write` changed, if it didn't get through; whether there was one.

    Raises:
        AnswerNo: another gitops is at work there.
        EvidenceError: the journal can't be read.
    """
    if not work.exists():
        return False
    with disk.locked(_lock_of(work), target), disk.errors(target):
        return _roll_back(target, work)


def unfinished(work: Path) -> bool:
    """Whether a killed `write` is to be undone."""
    return (work / "journal").is_file()


def kept(work: Path) -> Path:
    """The folder that a `write` with a note leaves: `old/` and `theirs/`, by path."""
    return work.with_name("sync")


def last(work: Path) -> Journal | None:
    """What the last `write` with a note did.

    Raises:
        EvidenceError: the journal can't be read.
    """
    file = kept(work) / "done"
    return _read_journal(file) if file.is_file() else None


def _prepare(
    changes: Sequence[Change], target: Path, work: Path, note: Mapping[str, object] | None
) -> Journal:
    """Lay down the new files, the old ones, and last the journal."""
    work.mkdir(parents=True)
    new = [change for change in changes if change.content is not None]
    plain = [(c.path, c.content or b"", c.executable) for c in new if not c.link]
    disk.lay_down(plain, work / "new")
    for change in changes:
        _keep(change, target / change.path, work)
    for change in new:
        if change.link:
            at = work / "new" / change.path
            at.parent.mkdir(parents=True, exist_ok=True)
            at.symlink_to(os.fsdecode(change.content or b""))
    made = disk.missing_folders([(target / change.path).parent for change in new])
    # Where a file becomes a folder, it goes first.
    ordered = sorted(changes, key=lambda change: change.content is not None)
    journal = Journal(
        tuple(Step(str(c.path), _mark_of(c), c.before) for c in ordered),
        tuple(folder.relative_to(target).as_posix() for folder in made),
        note,
    )
    disk.write_whole(work / "journal", json.dumps(asdict(journal)).encode())
    return journal


def _mark_of(change: Change) -> str | None:
    if change.content is None:
        return None
    if change.link:
        return f"-> {os.fsdecode(change.content)}"
    return _file_mark(blob(change.content), executable=change.executable)


def _keep(change: Change, at: Path, work: Path) -> None:
    """Copy what `change` replaces; raises AnswerNo if it isn't as it was planned on."""
    copy = work / "old" / change.path
    if change.before is not None and look(at).mark == change.before != NO_FILE:
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(at, copy, follow_symlinks=False)
        if not copy.is_symlink():
            disk.sync([copy, copy.parent])
            _keep_mode(change, copy, work / "new" / change.path)
    if look(at).mark != change.before or look(copy).mark != change.before:
        raise AnswerNo(
            f"{change.path} has changed since the plan was made, so nothing was written",
            fix="run the command again",
        )


def _keep_mode(change: Change, old: Path, new: Path) -> None:
    """Who may read and write the new file is as it was for the old one."""
    if change.content is not None and not change.link:
        mode = old.stat().st_mode & 0o777
        new.chmod(mode | (mode & 0o444) >> 2 if change.executable else mode & ~0o111)


def _switch(journal: Journal, target: Path, work: Path) -> None:
    for step in journal.steps:
        if step.new is None:  # not unlinked: from another disk it couldn't be brought back
            (work / "gone" / step.path).parent.mkdir(parents=True, exist_ok=True)
            (target / step.path).rename(work / "gone" / step.path)
    for folder in journal.folders:
        (target / folder).mkdir()
    for step in journal.steps:
        if step.new is not None:
            (work / "new" / step.path).rename(target / step.path)
    disk.sync(_parents(journal, target))


def _settle(target: Path, work: Path) -> None:
    """After the commit point: leave no empty folders, and keep the old files if there's a note."""
    journal = _read_journal(work / "done")
    for step in journal.steps:
        if step.new is None:
            above = list(PurePosixPath(step.path).parents)[:-1]
            disk.remove_empty([target / folder for folder in reversed(above)])
    if journal.note is None:
        shutil.rmtree(work, ignore_errors=True)
        return
    for name in ("new", "gone"):
        shutil.rmtree(work / name, ignore_errors=True)
    shutil.rmtree(kept(work), ignore_errors=True)
    work.rename(kept(work))


def _roll_back(target: Path, work: Path) -> bool:
    """Put the old files back if there's a journal, and clear `work` away; whether there was one."""
    if (work / "done").is_file():
        _settle(target, work)
        return False
    found = (work / "journal").is_file()
    if found:
        journal = _read_journal(work / "journal")
        for step in reversed(journal.steps):
            if step.new is not None:
                _undo(step, target, work)
        disk.remove_empty([target / folder for folder in journal.folders])
        for step in journal.steps:
            if step.new is None:
                _undo(step, target, work)
        disk.sync(_parents(journal, target))
        (work / "journal").unlink()
    shutil.rmtree(work, ignore_errors=True)
    return found


def _undo(step: Step, target: Path, work: Path) -> None:
    at, old = target / step.path, work / "old" / step.path
    # Anything but our own new content was put there by somebody since.
    if look(at).mark != step.new:
        return
    if step.old is None:
        at.unlink()
    elif os.path.lexists(old):
        old.rename(at)


def _parents(journal: Journal, target: Path) -> set[Path]:
    """The folders that the journal's files are in, as far as they are there."""
    parents = {(target / step.path).parent for step in journal.steps}
    return {folder for folder in parents if folder.is_dir()}


def _read_journal(file: Path) -> Journal:
    try:
        data = json.loads(file.read_bytes())
        steps = tuple(Step(**step) for step in data["steps"])
        return Journal(steps, tuple(data["folders"]), data.get("note"))
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceError(
            f"{file} is damaged, so what a killed run wrote cannot be undone",
            fix=f"compare with `git status`, then remove {file.parent}",
        ) from error


def _lock_of(work: Path) -> Path:
    return work.with_name(f"{work.name}.lock")
