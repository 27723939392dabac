"""Versions and assignments of models, read from a remote's tags.

Order is by counter and by semantic version, never by a clock: a tag dated 2020 counts as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from gitops.git.remote import Refs
from gitops.promote import tags
from gitops.promote.tags import Numbered, Tag
from gitops.version import Bump, Version


@dataclass(frozen=True)
class Entry:
    """A tag of the registry, its object, and the commit that it stands on."""

    tag: Tag
    object: str
    commit: str


@dataclass(frozen=True)
class Series:
    """A hold or approval tag, its object, and the commit that it stands on."""

    tag: Numbered
    object: str
    commit: str


@dataclass(frozen=True)
class Registry:
    """All entries by model, in the order of their counters; lightweight tags don't count.

    `taken` are the names of all tags, lightweight ones too: none of them can be written again.
    """

    entries: Mapping[str, tuple[Entry, ...]]
    numbered: tuple[Series, ...]
    taken: frozenset[str]

    def versions(self, model: str) -> dict[Version, Entry]:
        """The registered versions, the highest first; those that were taken back are gone."""
        return self._versions.get(model, {})

    def assigned(self, model: str, environment: str) -> Entry | None:
        """What the environment runs by the registry: the assignment of the highest counter.

        Of equal counters (two that raced past each other with another tool) the one that takes
        back counts: nothing is claimed that may not be.
        """
        last = self._stages.get((model, environment))
        return last if last is not None and last.tag.action == "assign" else None

    def assignments(self, model: str, environment: str) -> list[Entry]:
        """Every assignment to the environment, the newest first."""
        return [
            one
            for one in reversed(self.entries.get(model, ()))
            if one.tag.action == "assign" and one.tag.stage == environment
        ]

    def version_of(self, entry: Entry) -> Version | None:
        """The version that an assignment assigns: the highest that stands on its commit."""
        for version, one in self.versions(entry.tag.model).items():
            if one.commit == entry.commit:
                return version
        return None

    def next_counter(self, model: str) -> int:
        """One more than the model's highest counter over all stages, as GTO counts."""
        return 1 + self._counters.get(model, 0)

    def next_version(self, model: str, version: Version, bump: Bump) -> Version:
        """The next version by what changed whose tag is free."""
        version = version.after(bump)
        while tags.version_tag(model, version) in self.taken:
            version = version.after(bump)
        return version

    def series(self, kind: str, environment: str) -> list[Series]:
        """The holds or approvals of an environment, the newest first."""
        found = [
            one
            for one in self.numbered
            if one.tag.kind == kind and one.tag.environment == environment
        ]
        return sorted(found, key=lambda one: -one.tag.counter)

    def next_mark(self, kind: str, environment: str) -> str:
        """The name of the next hold or approval tag."""
        known = [tags.parse_numbered(name) for name in self.taken]
        counters = [
            one.counter
            for one in known
            if one and (one.kind, one.environment) == (kind, environment)
        ]
        return f"{kind}/{environment}/{max(counters, default=0) + 1}"

    @cached_property
    def _counters(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for name in self.taken:
            if (tag := tags.parse(name)) is not None:
                found[tag.model] = max(found.get(tag.model, 0), tag.counter)
        return found

    @cached_property
    def _versions(self) -> dict[str, dict[Version, Entry]]:
        found: dict[str, dict[Version, Entry]] = {}
        for model, entries in self.entries.items():
            here: dict[Version, Entry] = {}
            gone = set()
            for one in entries:
                if one.tag.version is not None and one.tag.action == "register":
                    here[one.tag.version] = one
                elif one.tag.version is not None:
                    gone.add(one.tag.version)
            found[model] = {
                version: here[version]
                for version in sorted(here, reverse=True)
                if version not in gone
            }
        return found

    @cached_property
    def _stages(self) -> dict[tuple[str, str], Entry]:
        found: dict[tuple[str, str], Entry] = {}
        for model, entries in self.entries.items():
            for one in entries:
                if one.tag.stage:
                    found[model, one.tag.stage] = one
        return found


def read(refs: Refs) -> Registry:
    """The registry of a remote. No tag object is opened."""
    entries: dict[str, list[Entry]] = {}
    numbered = []
    for name, commit in refs.peeled.items():
        if (tag := tags.parse(name)) is not None:
            entries.setdefault(tag.model, []).append(Entry(tag, refs.tags[name], commit))
        elif (one := tags.parse_numbered(name)) is not None:
            numbered.append(Series(one, refs.tags[name], commit))
    ordered = {
        model: tuple(
            sorted(several, key=lambda one: (one.tag.counter, one.tag.action == "unassign"))
        )
        for model, several in entries.items()
    }
    return Registry(ordered, tuple(numbered), frozenset(refs.tags))
