"""Names of tags, in GTO's grammar, and of ours for holds and approvals.

GTO 1.x (https://github.com/iterative/gto): `ART@v1.2.3` registers, `ART@v1.2.3!` takes that back,
`ART@deprecated` ends an artifact, `ART#STAGE` assigns, `ART#STAGE!` takes that back; each with an
optional `#N`. `dir:name` is written `dir=name`. Only annotated tags count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, total_ordering
from typing import Literal

from gitops.errors import UsageError

Action = Literal["register", "deregister", "deprecate", "assign", "unassign"]
Bump = Literal["major", "minor", "patch"]

_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9-/_]*[a-zA-Z0-9])?"
_FULL = rf"(?:[a-zA-Z0-9-_./]+=)?{_NAME}"
# https://semver.org: numbers without leading zeros, a pre-release, build metadata (no order).
_VERSION = (
    r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?"
)
_TAG = re.compile(
    rf"(?P<model>{_FULL})(?:@(?P<version>v{_VERSION})|@(?P<end>deprecated)|#(?P<stage>{_NAME}))"
    r"(?P<no>!)?(?:#(?P<counter>[1-9]\d*))?"
)
_SERIES = re.compile(rf"(?P<kind>hold|approval)/(?P<environment>{_NAME})/(?P<counter>[1-9]\d*)")


@total_ordering
@dataclass(frozen=True)
class Version:
    """A semantic version; the order is that of https://semver.org#spec-item-11."""

    major: int
    minor: int
    patch: int
    pre: str = ""
    build: str = ""

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read `v1.2.3` or `1.2.3`.

        Raises:
            UsageError: it's neither.
        """
        if not re.fullmatch(f"v?{_VERSION}", text):
            raise UsageError(
                f"{text!r} is no semantic version", fix="write it as v1.2.3 (https://semver.org)"
            )
        return cls._read(text)

    @classmethod
    def _read(cls, text: str) -> Version:
        rest, _, build = text.removeprefix("v").partition("+")
        numbers, _, pre = rest.partition("-")
        major, minor, patch = numbers.split(".")
        return cls(int(major), int(minor), int(patch), pre, build)

    def after(self, bump: Bump) -> Version:
        """The next version by what changed."""
        if bump == "major":
            return Version(self.major + 1, 0, 0)
        if bump == "minor":
            return Version(self.major, self.minor + 1, 0)
        return Version(self.major, self.minor, self.patch + 1)

    def __str__(self) -> str:
        pre, build = (f"-{self.pre}" if self.pre else "", f"+{self.build}" if self.build else "")
        return f"v{self.major}.{self.minor}.{self.patch}{pre}{build}"

    def __lt__(self, other: Version) -> bool:
        return self._key < other._key

    @cached_property
    def _key(self) -> tuple[object, ...]:
        parts = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.pre.split(".")]
        return (self.major, self.minor, self.patch, not self.pre, parts if self.pre else [])


FIRST = Version(1, 0, 0)


@dataclass(frozen=True)
class Tag:
    """What a tag's name says. `counter` is 0 where the name has none."""

    name: str
    model: str
    action: Action
    version: Version | None
    stage: str
    counter: int


@dataclass(frozen=True)
class Numbered:
    """A hold or an approval: the n-th of its environment."""

    name: str
    kind: Literal["hold", "approval"]
    environment: str
    counter: int


def parse(name: str) -> Tag | None:
    """What a tag of the registry says; None if it's another kind of tag."""
    found = _TAG.fullmatch(name)
    if found is None or (found["end"] and found["no"]):
        return None
    no = bool(found["no"])
    action: Action = "deprecate"
    if found["version"]:
        action = "deregister" if no else "register"
    elif found["stage"]:
        action = "unassign" if no else "assign"
    version = Version._read(found["version"]) if found["version"] else None
    model = found["model"].replace("=", ":", 1)
    return Tag(name, model, action, version, found["stage"] or "", int(found["counter"] or 0))


def parse_numbered(name: str) -> Numbered | None:
    """What a hold or approval tag says; None if it's another kind of tag."""
    found = _SERIES.fullmatch(name)
    if found is None:
        return None
    kind: Literal["hold", "approval"] = "hold" if found["kind"] == "hold" else "approval"
    return Numbered(name, kind, found["environment"], int(found["counter"]))


def version_tag(model: str, version: Version) -> str:
    """`late@v1.4.0`."""
    return f"{model}@{version}"


def stage_tag(model: str, environment: str, counter: int) -> str:
    """`late#production#7`."""
    return f"{model}#{environment}#{counter}"
