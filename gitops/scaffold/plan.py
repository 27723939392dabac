"""What writing the generated files into a folder would do, file by file, before it is done."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gitops.errors import ToolError
from gitops.scaffold import lock as locks
from gitops.scaffold import paths

if TYPE_CHECKING:
    from gitops.scaffold.lock import FileLock, Lock
    from gitops.scaffold.render import Rendered

State = Literal["create", "update", "conflict", "unchanged"]


@dataclass(frozen=True)
class Entry:
    """One file: what would happen to it and why.

    `before` is the git blob id of the file that `update` replaces, else None.
    """

    state: State
    why: str
    file: Rendered
    before: str | None = None


@dataclass(frozen=True)
class Plan:
    """Entries in the order of their paths."""

    entries: tuple[Entry, ...]

    @property
    def changes(self) -> tuple[Entry, ...]:
        """The entries that write."""
        return tuple(entry for entry in self.entries if entry.state in ("create", "update"))

    @property
    def conflicts(self) -> tuple[Entry, ...]:
        """The entries that keep the whole plan from being applied."""
        return tuple(entry for entry in self.entries if entry.state == "conflict")

    def counts(self) -> dict[State, int]:
        """How many entries there are of each state, those of none included."""
        found = Counter(entry.state for entry in self.entries)
        order: tuple[State, ...] = ("create", "update", "conflict", "unchanged")
        return {state: found[state] for state in order}

    def text(self) -> str:
        """For people: a line for each file that would change or is in the way, and a sum."""
        shown = [entry for entry in self.entries if entry.state != "unchanged"]
        width = max((len(str(entry.file.path)) for entry in shown), default=0)
        lines = [f"{e.state:<9} {e.file.path!s:<{width}}  {e.why}" for e in shown]
        return "\n".join([*lines, ", ".join(f"{n} {state}" for state, n in self.counts().items())])

    def as_json(self) -> dict[str, object]:
        """For programs: `files` (path, state, why, owner, generator) and `counts` by state."""
        files = [
            {
                "path": str(entry.file.path),
                "state": entry.state,
                "why": entry.why,
                "owner": entry.file.owner,
                "generator": entry.file.generator,
            }
            for entry in self.entries
        ]
        return {"files": files, "counts": dict(self.counts())}


def plan(rendered: Sequence[Rendered], target: Path, lock: Lock | None) -> Plan:
    """Compare what was rendered with what is in `target`, given the lock of an earlier rendering.

    A file is replaced only if it is byte for byte what we generated; what a person wrote never is.

    Raises:
        ConfigError: a path leads outside the target, or differs from a name there by case only.
        ToolError: a file there cannot be read.
    """
    paths.check_target([file.path for file in rendered], target)
    ordered = sorted(rendered, key=lambda file: file.path)
    return Plan(tuple(_entry(file, target, lock) for file in ordered))


def _entry(file: Rendered, target: Path, lock: Lock | None) -> Entry:
    made = lock.files.get(file.path) if lock else None
    at = target / file.path
    try:
        mode = at.lstat().st_mode
        now = locks.blob(at.read_bytes()) if stat.S_ISREG(mode) else None
    except NotADirectoryError:
        return Entry("conflict", "a folder on the way to it is a file", file)
    except FileNotFoundError:
        if made is None:
            return Entry("create", f"by {file.generator}", file)
        if made.owner == "user":
            return Entry("unchanged", "you deleted it", file)
        return Entry("create", "it was deleted, and is the tool's", file)
    except OSError as error:
        raise ToolError(
            f"{at} cannot be read: {error.strerror}", fix="make it readable, or move it away"
        ) from error
    if now is None:
        kind = {stat.S_IFLNK: "a symlink", stat.S_IFDIR: "a folder"}
        return Entry("conflict", f"it is {kind.get(stat.S_IFMT(mode), 'a special file')}", file)
    is_lock = lock is not None and file.path == locks.PATH
    return _compare(file, made, now, executable=bool(mode & 0o100), is_lock=is_lock)


def _compare(
    file: Rendered, made: FileLock | None, now: str, *, executable: bool, is_lock: bool
) -> Entry:
    """`now` is the blob id of what is there, `made` what we know to have generated."""
    new = locks.blob(file.content)
    if now == new:
        if file.owner == "tool" and made is not None and executable != file.executable:
            return Entry("update", "its executable bit was changed", file, now)
        return Entry("unchanged", "the same content", file)
    if is_lock:
        return Entry("update", "records this change", file, now)
    if made is None:
        return Entry("conflict", "it is there, and was not generated", file)
    if now == made.blob:
        return Entry("update", f"{file.generator} changed it", file, now)
    if file.owner == "tool":
        return Entry("conflict", "it is the tool's, but was edited", file)
    if new == made.blob:
        return Entry("unchanged", "you edited it, and its template is the same", file)
    return Entry("conflict", "you edited it, and its template changed", file)
