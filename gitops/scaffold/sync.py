"""`gitops sync`: bring a repository to what its generators, answers and gitops.yaml say today.

What it wrote can be taken back until the new lock is committed: `<git dir>/gitops/sync/` holds the
old files. What a person's hand made is never dropped: `<git dir>/gitops/saved/`.
"""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from gitops import config, git
from gitops.errors import AnswerNo
from gitops.git import merging
from gitops.scaffold import apply, desired, disk, journal, merge
from gitops.scaffold import lock as locks
from gitops.scaffold.lock import GeneratorLock, Lock
from gitops.scaffold.plan import Entry, Plan
from gitops.scaffold.reconcile import Reconciled, reconcile

_GO_ON = "git add -A && git commit; or take it back: gitops sync --abort"


@dataclass(frozen=True)
class Synced:
    """What was done: the plan, now carried out; folders inside the git folder with what is aside.

    `theirs`: new versions of files that conflict as a whole; `saved`: edits of files of the tool.
    """

    plan: Plan
    theirs: Path | None
    saved: Path | None


@dataclass(frozen=True)
class Aborted:
    """Files that are as they were before the sync; `saved` holds later edits of them."""

    files: tuple[str, ...]
    edited: tuple[str, ...]
    saved: Path | None


@dataclass(frozen=True)
class News:
    """What is to be other than the lock says: its generators, answers, or the packed tool.

    `fresh`: folders of overlays that aren't vendored yet as `generators` has them, by name.
    """

    generators: tuple[GeneratorLock, ...]
    answers: Mapping[str, object]
    fresh: Mapping[str, Path]
    repack: bool = False


def survey(root: Path, news: News | None = None) -> Plan:
    """What `sync` would do now. Nothing is written, and no remote is asked.

    Raises:
        AnswerNo: a sync was killed, and the next is to undo what it did.
        GitopsError: the lock, gitops.yaml or a generator can't be used.
    """
    if journal.unfinished(_work(root)):
        raise AnswerNo("a gitops that was at work here was killed", fix="gitops sync")
    return _reconciled(root, news, fetch=False)[1].plan


def sync(root: Path, news: News | None = None) -> Synced:
    """Do it: all of it or nothing. Conflicts are in the plan that is returned.

    Raises:
        AnswerNo: conflicts of an earlier sync are unresolved, it isn't committed yet, or a file
            that would change has uncommitted changes. Nothing has been written.
        GitopsError: the lock, gitops.yaml or a generator can't be used, or a file not be written.
    """
    work = _work(root)
    apply.recover(root, work)
    before, found = _reconciled(root, news, fetch=True)
    if found.marked:
        names = [f"{path}: {'<' * 7} yours ... {'>' * 7} gitops" for path in found.marked]
        raise AnswerNo(
            "\n  ".join(["conflicts aren't resolved yet, so nothing was written:", *names]),
            fix=f"edit these files, then {_GO_ON}",
        )
    waiting = _waiting(root, work)
    if waiting or not (found.plan.changes or found.aside):
        if found.plan.changes:
            raise AnswerNo("the last sync isn't committed yet, so nothing was written", fix=_GO_ON)
        return Synced(found.plan, _theirs(work, found), None)
    dirty = _dirty(root, found.plan.changes)
    _require_clean(entry for entry in found.plan.changes if entry.file.path in dirty)
    edits = {path: there for path in dirty if (there := _edit(root, before, path)) is not None}
    saved = _save(root, edits)
    note = {"lock": locks.blob(locks.dump(found.lock)), "head": git.find(root, "HEAD")}
    changes = [entry.change for entry in found.plan.changes]
    journal.write(changes, root, work, note=note, aside=found.aside)
    _keep_pristine(root, found)
    return Synced(found.plan, _theirs(work, found), saved)


def abort(root: Path) -> Aborted:
    """Take the last sync back, byte for byte, as long as its lock isn't committed.

    Raises:
        AnswerNo: there's nothing to take back, or it's committed.
    """
    work = _work(root)
    undone = apply.recover(root, work)
    done = _waiting(root, work)
    if done is None:
        if undone:
            return Aborted((), (), None)
        raise AnswerNo(
            "there's no sync to take back: none was made here, or it's committed",
            fix="git revert takes a commit back",
        )
    changes, edits = [], {}
    for step in done.steps:
        path = PurePosixPath(step.path)
        now = journal.look(root / path)
        if now.mark in (step.old, journal.NO_FILE):
            continue
        if now.mark != step.new and now.mark is not None:
            edits[path] = now
        changes.append(_back(path, now.mark, journal.kept(work) / "old" / path))
    saved = _save(root, edits)
    journal.write(changes, root, work)
    disk.remove_empty([root / folder for folder in done.folders])
    shutil.rmtree(journal.kept(work), ignore_errors=True)
    return Aborted(
        tuple(str(change.path) for change in changes), tuple(map(str, sorted(edits))), saved
    )


def waits(root: Path) -> bool:
    """Whether the last sync is neither committed nor taken back."""
    return _waiting(root, _work(root)) is not None


def diffs(root: Path, plan: Plan) -> dict[PurePosixPath, str]:
    """A unified diff for each file that would change, conflict, or whose template goes unheeded."""
    found = {}
    for entry in plan.entries:
        if entry.state != "unchanged" and "you deleted it" not in entry.why:
            path = entry.file.path
            old = journal.look(root / path).content
            new = None if entry.state == "delete" else entry.file.content
            found[path] = "".join(_diff(str(path), old, new))
    return found


def _reconciled(root: Path, news: News | None, *, fetch: bool) -> tuple[Lock, Reconciled]:
    before, declared = locks.read(root / locks.PATH), config.load(root)
    if news is None:
        wanted = desired.desired(root, before, declared)
    else:
        moved = replace(before, generators=news.generators, answers=news.answers)
        wanted = desired.desired(root, moved, declared, news.fresh, repack=news.repack)
    return before, reconcile(root, wanted, before, fetch=fetch)


def _work(root: Path) -> Path:
    return git.private_to_tree(root) / "apply"


def _theirs(work: Path, found: Reconciled) -> Path | None:
    return journal.kept(work) / "theirs" if found.aside else None


def _waiting(root: Path, work: Path) -> journal.Journal | None:
    """The last sync, if it can be taken back: its lock isn't the committed one yet."""
    done = journal.last(work)
    if done is None or not done.steps or done.note is None:
        return None
    path = str(locks.PATH)
    if path in [step.path for step in done.steps]:
        waits = merging.blob_at(root, "HEAD", path) != done.note["lock"]
        # After a reset or on another branch it's another lock: what was written isn't here.
        here = journal.look(root / path).blob == done.note["lock"]
    else:
        waits = git.find(root, "HEAD") == done.note["head"]
        here = any(journal.look(root / step.path).mark == step.new for step in done.steps)
    return done if waits and here else None


def _dirty(root: Path, changes: Iterable[Entry]) -> set[PurePosixPath]:
    """Files that would change, and whose content no commit has."""
    there = {entry.file.path for entry in changes if entry.before is not None}
    changed = {PurePosixPath(path) for path in git.changes(root)}
    tracked = {PurePosixPath(path) for path in git.files(root)}
    return {path for path in there if path in changed or path not in tracked}


def _require_clean(dirty: Iterable[Entry]) -> None:
    names = [f"{entry.file.path}: {entry.why}" for entry in dirty if _is_users(entry)]
    if names:
        raise AnswerNo(
            "\n  ".join(["files with uncommitted changes, so nothing was written:", *names]),
            fix="git add -A && git commit, or git stash; then say it again",
        )


def _is_users(entry: Entry) -> bool:
    """The lock counts as the user's here: another command may have changed it just now."""
    return entry.file.owner == "user" or entry.file.path == locks.PATH


def _edit(root: Path, before: Lock, path: PurePosixPath) -> journal.There | None:
    """What somebody made of a file of the tool, that would be lost without a commit."""
    made = before.files.get(path)
    there = journal.look(root / path)
    known = {made.blob if made else None, path.name if path.parent == merge.BASES else None}
    return there if path != locks.PATH and there.blob not in known else None


def _save(root: Path, edits: Mapping[PurePosixPath, journal.There]) -> Path | None:
    """Copies of files in `<git dir>/gitops/saved/<n>`."""
    if not edits:
        return None
    top = git.private_to_tree(root) / "saved"
    number = 1 + max((int(p.name) for p in top.glob("*") if p.name.isdigit()), default=0)
    with disk.errors(top):
        for path in edits:
            copy = top / str(number) / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / path, copy, follow_symlinks=False)
    return top / str(number)


def _keep_pristine(root: Path, found: Reconciled) -> None:
    """Into git's objects what a person may edit before it's committed: the next merge's base."""
    written = []
    for entry in found.plan.changes:
        made = found.lock.files.get(entry.file.path)
        if made and entry.state != "delete" and locks.blob(entry.file.content) == made.blob:
            written.append(str(entry.file.path))
    merging.keep_blobs(root, written)


def _back(path: PurePosixPath, now: str | None, old: Path) -> journal.Change:
    """What brings the old file back."""
    if old.is_symlink():
        return journal.Change(path, os.fsencode(old.readlink()), before=now, link=True)
    there = journal.look(old)
    return journal.Change(path, there.content, there.executable, now)


def _diff(name: str, old: bytes | None, new: bytes | None) -> Iterator[str]:
    if any(merge.is_binary(side) for side in (old or b"", new or b"")):
        yield f"Binary files a/{name} and b/{name} differ\n"
        return
    before, after = (
        (side or b"").decode("utf-8", "replace").splitlines(keepends=True) for side in (old, new)
    )
    from_ = "/dev/null" if old is None else f"a/{name}"
    to = "/dev/null" if new is None else f"b/{name}"
    for line in difflib.unified_diff(before, after, from_, to):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
