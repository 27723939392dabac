"""What would be written into a folder, file by file, before it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gitops.scaffold import journal, paths
from gitops.scaffold.lock import blob

if TYPE_CHECKING:
    from gitops.scaffold.render import Rendered

# `marked`: a conflict that is written, with markers; `conflict`: one whose file stays as it is;
# `kept`: worth telling, but nothing is done.
State = Literal["create", "update", "delete", "marked", "conflict", "kept", "unchanged"]

_WRITES = ("create", "update", "delete", "marked")


@dataclass(frozen=True)
class Entry:
    """One file: what would happen to it and why; `file` is what would be there.

    `before` is the `journal.look` mark of what `update`, `delete` and `marked` replace, else None.
    """

    state: State
    why: str
    file: Rendered
    before: str | None = None

    @property
    def change(self) -> journal.Change:
        """What is to be done on the disk."""
        content = None if self.state == "delete" else self.file.content
        return journal.Change(self.file.path, content, self.file.executable, self.before)


@dataclass(frozen=True)
class Plan:
    """Entries in the order of their paths."""

    entries: tuple[Entry, ...]

    @property
    def changes(self) -> tuple[Entry, ...]:
        """The entries that write."""
        return tuple(entry for entry in self.entries if entry.state in _WRITES)

    @property
    def conflicts(self) -> tuple[Entry, ...]:
        """The entries that a person must look at."""
        return tuple(entry for entry in self.entries if entry.state in ("conflict", "marked"))

    def counts(self) -> dict[State, int]:
        """How many entries there are of each state, conflicts of both kinds as one."""
        order: tuple[State, ...] = ("create", "update", "delete", "conflict", "kept", "unchanged")
        found: Counter[State] = Counter(
            "conflict" if entry.state == "marked" else entry.state for entry in self.entries
        )
        return {state: found[state] for state in order}

    def text(self) -> str:
        """For people: a line for each file that would change or is in the way, and a sum."""
        shown = [entry for entry in self.entries if entry.state != "unchanged"]
        width = max((len(str(entry.file.path)) for entry in shown), default=0)
        words = {"marked": "conflict"}
        lines = [
            f"{words.get(e.state, e.state):<9} {e.file.path!s:<{width}}  {e.why}" for e in shown
        ]
        sums = [f"{n} {state}" for state, n in self.counts().items() if n]
        return "\n".join([*lines, ", ".join(sums) or "nothing"])

    def as_json(self) -> dict[str, object]:
        """For programs: `files` (path, state, why, owner, generator) and `counts` by state."""
        files = [
            {
                "path": str(entry.file.path),
                "state": "conflict" if entry.state == "marked" else entry.state,
                "why": entry.why,
                "owner": entry.file.owner,
                "generator": entry.file.generator,
            }
            for entry in self.entries
        ]
        return {"files": files, "counts": dict(self.counts())}


def plan(rendered: Sequence[Rendered], target: Path) -> Plan:
    """What writing new files into `target` would do: nothing that is there is ever replaced.

    For a repository with a lock see `reconcile`.

    Raises:
        ConfigError: a path leads outside the target, or differs from a name there by case only.
        ToolError: a file there cannot be read.
    """
    paths.check_target([file.path for file in rendered], target)
    ordered = sorted(rendered, key=lambda file: file.path)
    return Plan(tuple(_entry(file, target) for file in ordered))


def _entry(file: Rendered, target: Path) -> Entry:
    at = target / file.path
    now = journal.look(at)
    if now.mark is None:
        if any(folder.exists() and not folder.is_dir() for folder in at.parents):
            return Entry("conflict", "a folder on the way to it is a file", file)
        return Entry("create", f"by {file.generator}", file)
    if now.blob == blob(file.content):
        return Entry("unchanged", "the same content", file)
    return Entry("conflict", "it is there, and was not generated", file)
