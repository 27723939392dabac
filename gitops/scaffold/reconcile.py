"""What `gitops sync` does to each file: by what was generated, what is there, what should be.

The tool's own files are restored; the user's are merged, and never lose a byte: see
docs/guides/sync.md for the table. Nothing here writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gitops import __version__
from gitops.scaffold import journal, merge, moves, paths
from gitops.scaffold import lock as locks
from gitops.scaffold.lock import FileLock, Lock
from gitops.scaffold.origins import Origin, Origins
from gitops.scaffold.plan import Entry, Plan, State
from gitops.scaffold.render import Rendered, tool_file

if TYPE_CHECKING:
    from gitops.scaffold.desired import Desired

_NOTHING = Lock(__version__, (), {}, {})
_MARKERS = "conflict markers are still in it"


@dataclass(frozen=True)
class Reconciled:
    """What to do, the lock afterwards, and the new version of each file that conflicts as a whole.

    `marked`: files in which an earlier conflict hasn't been resolved.
    """

    plan: Plan
    lock: Lock
    aside: Mapping[PurePosixPath, bytes]
    marked: tuple[PurePosixPath, ...]


def reconcile(
    root: Path, wanted: Desired, before: Lock | None, *, fetch: bool = False
) -> Reconciled:
    """Compare `wanted` with the repository `root`, whose lock is `before` (None: it has none).

    `fetch`: whether bases that this clone lacks are asked of the remotes.

    Raises:
        ConfigError: what would be written leads outside by a symlink.
        ToolError: a file can't be read.
    """
    places = {made.blob: str(made.at or path) for path, made in (before or _NOTHING).files.items()}
    run = _Run(root, wanted, before or _NOTHING, merge.Bases(root, fetch, places))
    found = run.result(before)
    paths.check_target([entry.file.path for entry in found.plan.changes], root)
    return found


@dataclass
class _Run:
    root: Path
    wanted: Desired
    before: Lock
    bases: merge.Bases
    entries: list[Entry] = field(default_factory=list)
    locks: dict[PurePosixPath, FileLock] = field(default_factory=dict)
    aside: dict[PurePosixPath, bytes] = field(default_factory=dict)
    copies: dict[str, bytes] = field(default_factory=dict)
    marked: list[PurePosixPath] = field(default_factory=list)
    seen: dict[PurePosixPath, journal.There] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rendered = {file.path: file for file in self.wanted.files}
        self.strays = moves.Strays(self.root, {*self.before.files, *self.rendered})

    def look(self, path: PurePosixPath) -> journal.There:
        if path not in self.seen:
            self.seen[path] = journal.look(self.root / path)
        return self.seen[path]

    def add(self, state: State, why: str, file: Rendered, before: str | None = None) -> None:
        self.entries.append(Entry(state, why, file, before))

    def result(self, before: Lock | None) -> Reconciled:
        origins, gone = Origins(self.before, self.wanted, self.bases, self.look).find()
        self.bases.load(self.needed(origins))
        for path, file in self.rendered.items():
            origin = origins.get(path)
            if file.owner == "tool" and not (origin and self.is_taken(path, origin)):
                self.tools(file, origin)
            else:
                self.users(file, origin)
        for path, left in gone.items():
            self.left(path, left)
        self.base_copies()
        lock = self.recorded(before)
        if lock != before:
            new = tool_file(str(locks.PATH), locks.dump(lock))
            mark = self.look(locks.PATH).mark
            self.add("update" if mark else "create", "records this", new, mark)
        ordered = tuple(sorted(self.entries, key=lambda entry: entry.file.path))
        return Reconciled(Plan(ordered), lock, self.aside, tuple(self.marked))

    def is_taken(self, path: PurePosixPath, origin: Origin) -> bool:
        """Whether a file of the user's, kept in the place of one of the tool's, is there still."""
        there = self.look(path).mark is not None or self.blocked(path) is not None
        return origin.lock.kept and there

    def recorded(self, before: Lock | None) -> Lock:
        """The lock afterwards. That files lie elsewhere now is not, by itself, worth a change."""
        lock = replace(self.wanted.lock, files=self.locks)
        if before is None:
            return lock
        places = {path: made.at for path, made in before.files.items()}
        files = {path: replace(one, at=places.get(path)) for path, one in self.locks.items()}
        return before if replace(lock, files=files) == before else lock

    def needed(self, origins: Mapping[PurePosixPath, Origin]) -> Iterator[str]:
        """The bases of files that both sides changed, or that may have been renamed."""
        for path, origin in origins.items():
            file, base = self.rendered[path], origin.lock.blob
            if file.owner == "user" and not origin.lock.kept:
                there = self.look(origin.at)
                if base not in (locks.blob(file.content), there.blob):
                    yield base

    # ------------------------------------------------------------ the tool's files

    def tools(self, file: Rendered, origin: Origin | None) -> None:
        there = self.look(file.path)
        ours = origin is not None and origin.lock.owner == "tool" and not origin.lock.kept
        self.locks[file.path] = locks.entry(file)
        if _is(there, locks.blob(file.content)):
            if there.executable == file.executable:
                self.add("unchanged", "the same content", file)
            else:
                self.add("update", "restored: its executable bit was changed", file, there.mark)
        elif there.mark is None:
            if why := self.blocked(file.path):
                self.conflict(file, why, None)
            else:
                why = "restored: it was deleted" if ours else f"by {file.generator}"
                self.add("create", why, file)
        elif there.mark == journal.NO_FILE:
            self.conflict(file, "it is the tool's, but a folder is there: move it away", origin)
            if ours:  # it's restored whatever it was, as soon as there's room
                self.locks[file.path] = locks.entry(file)
        elif origin is not None and _is(there, origin.lock.blob):
            self.add("update", f"{file.generator} changed it", file, there.mark)
        elif ours:
            what = "edited" if there.content is not None else "replaced by a symlink"
            self.add("update", f"restored: it was {what}", file, there.mark)
        elif origin is None:
            self.conflict(file, "it is to be the tool's, but yours is there: move it away", None)
        else:
            why = "it has become the tool's, but you edited it: move yours away"
            self.conflict(file, why, origin)

    def conflict(self, file: Rendered, why: str, origin: Origin | None) -> None:
        """The file stays as it is, and the lock as it was; the new version is put aside."""
        at = origin.at if origin else file.path
        self.add("conflict", why, replace(file, path=at))
        self.aside[at] = file.content
        if origin is None:
            self.locks.pop(file.path, None)
        else:
            where = origin.at if origin.at != file.path else None
            self.locks[file.path] = replace(origin.lock, at=where)

    def blocked(self, path: PurePosixPath) -> str | None:
        """Why nothing can be put at `path`, where nothing is; None: it can."""
        for folder in list(path.parents)[:-1]:
            at = self.root / folder
            if os.path.lexists(at) and not at.is_dir():
                return f"a folder on the way to it is a file: {folder}"
        try:
            paths.check_target([path], self.root)
        except paths.SameName as error:
            return error.message
        return None

    # ------------------------------------------------------------ the user's files

    def users(self, file: Rendered, origin: Origin | None) -> None:
        if origin is None:
            self.fresh(file)
        elif origin.lock.kept:
            self.locks[file.path] = replace(locks.entry(file), kept=True, at=origin.lock.at)
            same = origin.lock.blob == locks.blob(file.content)
            why = "yours is kept" if same else "yours is kept; its template has changed: see --diff"
            self.add("unchanged" if same else "kept", why, file)
        else:
            self.known(file, origin)

    def fresh(self, file: Rendered) -> None:
        """A file that wasn't generated before."""
        there = self.look(file.path)
        self.locks[file.path] = locks.entry(file)
        if there.mark is None and (why := self.blocked(file.path)):
            if why.startswith("a folder"):
                self.conflict(file, why, None)
            else:
                self.keep(file, f"yours is kept: {why}")
        elif there.mark is None:
            self.add("create", f"by {file.generator}", file)
        elif _is(there, locks.blob(file.content)):
            self.add("unchanged", "the same content", file)
        else:
            self.keep(file, "it is there and was not generated: yours is kept; see --diff")

    def keep(self, file: Rendered, why: str) -> None:
        self.locks[file.path] = replace(locks.entry(file), kept=True)
        self.add("kept", why, file)

    def known(self, file: Rendered, origin: Origin) -> None:
        """A file of the user's that was generated before."""
        there = self.look(origin.at)
        changed = origin.lock.blob != locks.blob(file.content)
        if there.mark is None:
            content = self.bases.get(origin.lock.blob) if changed else None
            found = self.strays.find(origin.at, content) if content else None
            if found is None:
                more = "; its template has changed" if changed else ""
                self.locks[file.path] = origin.lock
                self.add("kept", f"you deleted it, so it stays away{more}", file)
                return
            origin, there = Origin(origin.lock, found, by_user=True), self.look(found)
        target = origin.at if origin.by_user else file.path
        if target != origin.at and (self.look(target).mark is not None or self.blocked(target)):
            self.conflict(file, f"its template moved to {target}, but something is there", origin)
            return
        at = replace(file, path=target)
        self.locks[file.path] = replace(
            locks.entry(file), at=target if target != file.path else None
        )
        if there.content is None:
            self.whole(at, file, origin, changed, "there is a folder or a symlink of yours")
        else:
            self.content(at, file, origin, there)

    def whole(self, at: Rendered, file: Rendered, origin: Origin, changed: bool, why: str) -> None:
        """What can't be merged stays as it is; where the template changed, that's a conflict."""
        if at.path != origin.at:  # nothing is moved then
            self.locks[file.path] = replace(self.locks[file.path], at=origin.at)
            at = replace(at, path=origin.at)
        if changed:
            self.add("conflict", f"{why}: merge by hand", at)
            self.aside[at.path] = file.content
            self.copies[locks.blob(file.content)] = file.content
        else:
            self.add("unchanged", why, at)

    def content(self, at: Rendered, file: Rendered, origin: Origin, there: journal.There) -> None:
        """Merge what is in the file; `at` is `file` at the place where it is to be."""
        yours, base_id = there.content or b"", origin.lock.blob
        new_id = locks.blob(file.content)
        state: State = "update"
        why, result = f"{file.generator} changed it", file.content
        if locks.blob(yours) != base_id:
            result = merge.with_ends_of(result, yours)
        if merge.is_edited(yours, new_id) and merge.is_marked(yours):
            self.marked.append(origin.at)
            self.locks[file.path] = replace(origin.lock, at=self.locks[file.path].at)
            self.add("conflict", _MARKERS, replace(file, path=origin.at))
            return
        if base_id == new_id or not merge.is_edited(yours, new_id):
            why, result = "you edited it, and its template is the same", yours
            if not merge.is_edited(yours, new_id):
                why = "the same content"
        elif merge.is_edited(yours, base_id):
            base = self.bases.get(base_id)
            if base is None:
                why = f"it can't be merged: what was generated, blob {base_id[:12]}, isn't here"
                self.conflict(file, why, origin)
                return
            if any(merge.is_binary(side) for side in (yours, base, file.content)):
                self.whole(at, file, origin, True, "it is binary, and both sides changed it")
                return
            result, conflict = merge.merge(self.root, yours, base, file.content)
            why = "the change of its template is merged into yours"
            if conflict:
                state, why = "marked", "you and its template changed the same lines"
        self.put(state, why, replace(at, content=result), file, origin, there)

    def put(
        self,
        state: State,
        why: str,
        at: Rendered,
        file: Rendered,
        origin: Origin,
        there: journal.There,
    ) -> None:
        """Record that `at` is to be there in place of what is at the origin."""
        made = origin.lock
        executable = file.executable if file.executable != made.executable else there.executable
        at = replace(at, executable=executable)
        if at.content != file.content and made.blob != locks.blob(file.content):
            self.copies[locks.blob(file.content)] = file.content
        if at.path != origin.at:
            self.add("marked" if state == "marked" else "create", f"from {origin.at}: {why}", at)
            old = replace(at, path=origin.at)
            self.add("delete", f"its template moved to {at.path}", old, there.mark)
        elif state == "marked" or at.content != there.content or executable != there.executable:
            self.add(state, why, at, there.mark)
        else:
            self.add("unchanged", why, at)

    # ------------------------------------------------------------ what is generated no more

    def left(self, path: PurePosixPath, origin: Origin) -> None:
        made, there = origin.lock, self.look(origin.at)
        generators = {one.name for one in self.wanted.lock.generators} | {"gitops"}
        if made.generator not in generators:  # not what is rendered here
            self.locks[path] = made
            return
        if there.mark is None or made.kept:
            return
        file = Rendered(
            origin.at,
            there.content or b"",
            there.executable,
            made.owner,
            made.generator,
            made.model,
        )
        edited = not _is(there, made.blob)
        if there.mark == journal.NO_FILE or (made.owner == "user" and edited):
            self.add("kept", "it is generated no more; as you changed it, it's yours now", file)
        else:
            self.add("delete", "it is generated no more", file, there.mark)

    def base_copies(self) -> None:
        """Bases that git's history may not have come along; those that are needed no more go."""
        needed = {file.blob for file in self.locks.values() if file.owner == "user"}
        folder = self.root / merge.BASES
        known = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        for name in sorted(known - needed):
            file = tool_file(str(merge.BASES / name), b"")
            mark = self.look(file.path).mark
            if mark != journal.NO_FILE:
                self.add("delete", "no file needs it as a base any more", file, mark)
        for name, content in self.copies.items():
            file = tool_file(str(merge.BASES / name), content)
            there = self.look(file.path)
            if there.blob != name:
                state: State = "update" if there.mark else "create"
                self.add(state, "the base of the next merge", file, there.mark)


def _is(there: journal.There, generated: str) -> bool:
    """Whether it's what was generated (a blob id), line ends aside."""
    return there.content is not None and not merge.is_edited(there.content, generated)
