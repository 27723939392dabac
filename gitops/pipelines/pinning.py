"""Pins of actions: which workflow runs which commit, what is newer, and moving there.

A pin is a commit with its exact tag. The newest are read from the actions' own repositories; a
repository's own pins, `.gitops/pins.yaml`, go before the shipped ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gitops import whole, yamlfile
from gitops.errors import ConfigError, Where
from gitops.git import elsewhere
from gitops.pipelines import definition
from gitops.pipelines.lint import actions, files
from gitops.pipelines.lint.model import Finding, Pin, Source, Tags

FORGE = "https://github.com/"
_TAG = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
_HEADER = "Pins of actions that go before those of gitops; see: gitops pins"

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Use:
    """Where a workflow names an action, and by what."""

    path: str
    line: int
    ref: str
    comment: str


@dataclass(frozen=True)
class Pinned:
    """An action (owner/repo) with its pin ("" for both: no table has one) and its uses."""

    action: str
    tag: str
    commit: str
    own: bool
    uses: tuple[Use, ...]


@dataclass(frozen=True)
class Move:
    """To a newer tag; `major`: of a new major version. `moved`: it is the pinned tag itself, which
    its repository has put on this other commit since.
    """

    action: str
    old: str
    new: str
    commit: str
    major: bool
    moved: str = ""


def survey(root: Path) -> tuple[Pinned, ...]:
    """All pins that the repository has or uses, and the actions that it uses without a pin.

    Raises:
        ConfigError: a table of pins breaks its schema, or a workflow file can't be read.
    """
    own = _own(root)
    uses: dict[str, list[Use]] = {}
    for source in _sources(root):
        for one in actions.pins(source):
            line = source.document.where(one.place).line or 1
            uses.setdefault(one.repository, []).append(Use(source.path, line, one.ref, one.comment))
    table = {one.action: one for one in definition.pins(root=root).actions}
    found = []
    for action in sorted({*table, *uses}):
        pin = table.get(action)
        tag, commit = (pin.tag, pin.commit) if pin else ("", "")
        found.append(Pinned(action, tag, commit, action in own, tuple(uses.get(action, ()))))
    return tuple(found)


def tags_of(base: str = FORGE) -> Callable[[str], Tags]:
    """Asks an action's repository below `base` (a URL or a folder) for its tags, each once.

    An annotated tag is the commit that it names. Raises ToolError: it can't be reached.
    """
    seen: dict[str, Tags] = {}

    def ask(action: str) -> Tags:
        if action not in seen:
            refs = elsewhere.refs(f"{base.rstrip('/')}/{action}")
            seen[action] = {
                name.removeprefix("refs/tags/"): commit
                for name, commit in refs.items()
                if name.startswith("refs/tags/")
            }
        return seen[action]

    return ask


def moves(found: Iterable[Pinned], tags: Callable[[str], Tags]) -> tuple[Move, ...]:
    """What is newer, within the major version and beyond: at most two moves of an action.

    Raises:
        ToolError: a repository can't be reached.
    """
    every: list[Move] = []
    for one in found:
        old = _version(one.tag)
        if old is None:
            continue
        there = dict(tags(one.action))
        moved = there.get(one.tag, one.commit)
        versions = {version: tag for tag in there if (version := _version(tag)) is not None}
        newer = [version for version in versions if version > old]
        same = [version for version in newer if version[0] == old[0]]
        best = {max(some) for some in (newer, same) if some}
        for version in sorted(best):
            tag = versions[version]
            every.append(Move(one.action, one.tag, tag, there[tag], version[0] > old[0]))
        if moved != one.commit:
            every.append(Move(one.action, one.tag, one.tag, one.commit, major=False, moved=moved))
    return tuple(every)


def chosen(found: Iterable[Move], *, major: bool) -> tuple[Move, ...]:
    """One move of an action: the farthest that is allowed; never to a tag that was moved."""
    best: dict[str, Move] = {}
    for move in found:
        if not move.moved and (major or not move.major):
            best[move.action] = move
    return tuple(best.values())


def apply(root: Path, wanted: Iterable[Move], generated: Iterable[str]) -> tuple[str, ...]:
    """Write the pins of the repository's own, and those in workflows that nobody generates.

    A hand-written workflow is changed where it names the old pin by commit and tag. Returns the
    paths of what was written.
    """
    moves = {move.action: move for move in wanted}
    if not moves:
        return ()
    old = {one.action: one for one in survey(root)}
    written = [_write_own(root, moves)]
    left = set(generated)
    for source in _sources(root):
        if source.path not in left:
            text = _rewritten(source, moves, {name: old[name].commit for name in moves})
            if text != source.text:
                whole.write(root / source.path, text)
                written.append(source.path)
    return tuple(written)


def _own(root: Path) -> Mapping[str, object]:
    path = root / definition.OWN_PINS
    found = yamlfile.read(path).data.get("actions") if path.is_file() else None
    return found if isinstance(found, dict) else {}


def _write_own(root: Path, moves: Mapping[str, Move]) -> str:
    path = root / definition.OWN_PINS
    pins = {name: {"tag": move.new, "commit": move.commit} for name, move in moves.items()}
    if path.is_file():
        changes: dict[yamlfile.Place, object] = {
            ("actions", name, key): value
            for name, pin in pins.items()
            for key, value in pin.items()
        }
        yamlfile.edit(path, changes)
    else:
        whole.write(path, yamlfile.dump({"actions": dict(sorted(pins.items()))}, _HEADER))
    return definition.OWN_PINS.as_posix()


def _rewritten(source: Source, moves: Mapping[str, Move], old: Mapping[str, str]) -> str:
    lines = source.text.splitlines(keepends=True)
    for one in actions.pins(source):
        move = moves.get(one.repository)
        if move is not None and one.ref == old[one.repository]:
            number = (source.document.where(one.place).line or 1) - 1
            lines[number] = _line(lines[number], one, move)
    return "".join(lines)


def _line(line: str, pin: Pin, move: Move) -> str:
    head, _, tail = line.partition(f"@{pin.ref}")
    return f"{head}@{move.commit}{tail.replace(move.old, move.new, 1)}"


def _version(tag: str) -> Version | None:
    found = _TAG.fullmatch(tag)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _sources(root: Path) -> list[Source]:
    """Raises ConfigError: a workflow file can't be read, so its pins aren't known."""
    found = []
    for path in files.find(root):
        one = files.read(path, path.relative_to(root).as_posix())
        if isinstance(one, Finding):
            where = Where(one.path, one.line, one.column)
            raise ConfigError(one.message, fix=one.fix, where=where)
        if one is not None:
            found.append(one)
    return found
