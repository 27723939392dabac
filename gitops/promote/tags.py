"""Names of tags, in GTO's grammar, and of ours for holds and approvals.

GTO 1.x (https://github.com/iterative/gto): `ART@v1.2.3` registers, `ART@v1.2.3!` takes that back,
`ART@deprecated` ends an artifact, `ART#STAGE` assigns, `ART#STAGE!` takes that back; each with an
optional `#N`. `dir:name` is written `dir=name`. Only annotated tags count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from gitops.version import SEMANTIC, Version

Action = Literal["register", "deregister", "deprecate", "assign", "unassign"]

_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9-/_]*[a-zA-Z0-9])?"
_FULL = rf"(?:[a-zA-Z0-9-_./]+=)?{_NAME}"
_TAG = re.compile(
    rf"(?P<model>{_FULL})(?:@(?P<version>v{SEMANTIC})|@(?P<end>deprecated)|#(?P<stage>{_NAME}))"
    r"(?P<no>!)?(?:#(?P<counter>[1-9]\d*))?"
)
_SERIES = re.compile(rf"(?P<kind>hold|approval)/(?P<environment>{_NAME})/(?P<counter>[1-9]\d*)")


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
    version = Version.parse(found["version"]) if found["version"] else None
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
