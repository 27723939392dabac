"""Settings of a forge: what is wanted, what is there, and the difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Action = Literal["create", "update", "keep", "blocked"]


@dataclass(frozen=True)
class AtLeast:
    """A number or a switch that somebody may have set higher, which then stays."""

    value: int


@dataclass(frozen=True)
class Initially:
    """A value to start with; what somebody has set instead stays."""

    value: Any


@dataclass(frozen=True)
class Items:
    """Items that must be in a list of mappings, known by their values of `keys`; others stay."""

    keys: tuple[str, ...]
    items: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Setting:
    """One thing of the forge, by kind and name; what `want` doesn't name stays as it is."""

    kind: str
    name: str
    want: Mapping[str, Any]
    why: str

    @property
    def title(self) -> str:
        """For people, as `ruleset gitops: production`."""
        return f"{self.kind} {self.name}".strip()


@dataclass(frozen=True)
class Change:
    """One value within a setting; None: it isn't there."""

    at: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Step:
    """What has to be done for a setting: `have` becomes `value`.

    `problem` and `fix` say why it is `blocked`: it can't be read, or the plan doesn't have it.
    """

    setting: Setting
    action: Action
    have: Mapping[str, Any] | None
    value: Mapping[str, Any]
    changes: tuple[Change, ...] = ()
    problem: str = ""
    fix: str = ""
    unavailable: bool = False


@dataclass(frozen=True)
class Plan:
    """All steps; `left`: what is there beside ours; `by_hand`: what no request can do.

    `admin`: whether the token may write, as far as the forge says.
    """

    forge: str
    repository: str
    steps: tuple[Step, ...]
    left: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    admin: bool = True

    @property
    def due(self) -> tuple[Step, ...]:
        """The steps that would change something."""
        return tuple(one for one in self.steps if one.action in ("create", "update"))

    @property
    def blocked(self) -> tuple[Step, ...]:
        """The steps of which nobody knows what they would change."""
        return tuple(one for one in self.steps if one.action == "blocked")


class Place(Protocol):
    """A forge's settings by kind and name, as `gitops.forge` reads and writes them."""

    def read(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """A setting as it is; None: it isn't there."""

    def write(
        self, kind: str, name: str, have: Mapping[str, Any] | None, value: Mapping[str, Any]
    ) -> None:
        """Make a setting `value`."""


def step(setting: Setting, have: Mapping[str, Any] | None) -> Step:
    """What has to be done where `have` is there."""
    value = over(have, setting.want)
    if have is not None and same(have, value):
        return Step(setting, "keep", have, have)
    action: Action = "create" if have is None else "update"
    return Step(setting, action, have, value, tuple(_changes("", have, value)))


def over(have: Mapping[str, Any] | None, want: Mapping[str, Any]) -> dict[str, Any]:
    """`overlay` of a mapping."""
    base = have or {}
    return {**base, **{key: overlay(base.get(key), value) for key, value in want.items()}}


def overlay(have: object, want: object) -> object:
    """`have` with what `want` asks for; what it doesn't name stays."""
    if isinstance(want, AtLeast):
        return max(have, want.value) if isinstance(have, int) else want.value
    if isinstance(want, Initially):
        return want.value if have is None else have
    if isinstance(want, Items):
        found = list(have) if isinstance(have, list) else []
        there = [_known(one, want.keys) for one in found]
        for item in want.items:
            if (known := _known(item, want.keys)) in there:
                at = there.index(known)
                found[at] = overlay(found[at], item)
            else:
                found.append(overlay(None, item))
        return found
    if isinstance(want, Mapping):
        return over(have if isinstance(have, Mapping) else None, want)
    return list(want) if isinstance(want, tuple) else want


def _known(one: object, keys: Sequence[str]) -> tuple[object, ...] | None:
    return tuple(one.get(key) for key in keys) if isinstance(one, Mapping) else None


def same(one: object, other: object) -> bool:
    """Whether two values are equal, lists in any order."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and sorted(map(_order, one)) == sorted(map(_order, other))
    return bool(one == other)


def _order(value: object) -> str:
    if isinstance(value, Mapping):
        return repr(sorted((key, _order(inner)) for key, inner in value.items()))
    return repr(sorted(map(_order, value))) if isinstance(value, list | tuple) else repr(value)


def _changes(at: str, have: object, value: object) -> Iterator[Change]:
    if isinstance(value, Mapping) and isinstance(have, Mapping | None):
        for key, new in value.items():
            old = have.get(key) if have else None
            yield from _changes(f"{at}.{key}".lstrip("."), old, new)
    elif isinstance(value, list) and value and all(_name(one) for one in value):
        there = {_name(one): one for one in have} if isinstance(have, list) else {}
        for one in value:
            yield from _changes(f"{at}.{_name(one)}".lstrip("."), there.get(_name(one)), one)
    elif not same(have, value):
        yield Change(at, have, value)


def _name(one: object) -> str:
    if not isinstance(one, Mapping):
        return ""
    return str(one.get("type") or one.get("context") or "")


def shown(changes: Sequence[Change]) -> list[str]:
    """Changes for people, a line each; a switch that a new rule doesn't use is left out."""
    lines = []
    for one in changes:
        if one.old is None and one.new in (False, 0, [], None):
            continue
        place = _place(one.at)
        if place.endswith(".type"):
            lines.append(f"{place.removesuffix('.type')}: new")
            continue
        old = "" if one.old is None else f"{_text(one.old)} -> "
        lines.append(f"{place}: {old}{_text(one.new)}")
    return lines


def _place(at: str) -> str:
    """Where a value is, without the levels that only a forge's format has."""
    parts = [part for part in at.split(".") if part not in ("rules", "parameters", "conditions")]
    return ".".join(part for at, part in enumerate(parts) if parts[at - 1 : at] != [part])


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "nothing"
    if isinstance(value, Mapping):
        return " ".join(_text(inner) for inner in value.values() if inner is not None)
    return str(value)
