"""Semantic versions of models (https://semver.org)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, total_ordering
from typing import Literal

from gitops.errors import UsageError

Bump = Literal["major", "minor", "patch"]

# Numbers without leading zeros, a pre-release, build metadata (which has no order).
SEMANTIC = (
    r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?"
)


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
        if not re.fullmatch(f"v?{SEMANTIC}", text):
            raise UsageError(
                f"{text!r} is no semantic version", fix="write it as v1.2.3 (https://semver.org)"
            )
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
