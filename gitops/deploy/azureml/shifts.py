"""When the traffic was what: Azure's split isn't in what it collects, so every change is noted.

An endpoint's answers count as evidence only where it is sure what the split was: between two
changes, and not within `NEAR` seconds of either.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from gitops.deploy.model import Served

Json = dict[str, Any]
FILE = "traffic.json"
KEPT = 100  # changes of a model that are remembered


@dataclass(frozen=True)
class Arm:
    """A deployment, and what runs there."""

    deployment: str
    release: str
    package: str


@dataclass(frozen=True)
class Shift:
    """The traffic from one change on. `begun`: when it was asked for, `settled`: when Azure said
    that it is so (None: it never did), in seconds since 1970."""

    begun: float
    settled: float | None
    champion: Arm
    challenger: Arm | None
    share: int | None
    shadow: bool
    salt: str

    @property
    def arms(self) -> tuple[Arm, ...]:
        return (self.champion,) if self.challenger is None else (self.champion, self.challenger)


def read(document: Json | None, model: str) -> tuple[Shift, ...]:
    """The changes of a model, from what `noted` made."""
    found = ((document or {}).get("models") or {}).get(model, {}).get("shifts", [])
    return tuple(
        Shift(
            **one
            | {"champion": Arm(**one["champion"])}
            | {"challenger": Arm(**one["challenger"]) if one["challenger"] else None}
        )
        for one in found
    )


def wanted(served: Served, arms: Mapping[str, Arm]) -> Shift:
    """The traffic that is asked for now; `arms` by release."""
    other = served.challenger
    return Shift(
        begun=time.time(),
        settled=None,
        champion=arms[served.champion.release],
        challenger=arms[other.release] if other else None,
        share=served.share,
        shadow=served.shadow,
        salt=served.salt,
    )


def begun(shifts: tuple[Shift, ...], one: Shift) -> tuple[Shift, ...]:
    """With a change that is about to be asked for; the same once more is the same."""
    if shifts and _same(shifts[-1], one):
        return shifts
    return (*shifts, one)[-KEPT:]


def settled(shifts: tuple[Shift, ...]) -> tuple[Shift, ...]:
    """With the last change confirmed."""
    last = shifts[-1]
    return shifts if last.settled else (*shifts[:-1], replace(last, settled=time.time()))


def endpoints(document: Json | None) -> dict[str, str]:
    """The endpoint of each model that has one."""
    return {
        name: str(one["endpoint"]) for name, one in ((document or {}).get("models") or {}).items()
    }


def noted(
    document: Json | None, model: str, endpoint: str, shifts: tuple[Shift, ...] | None
) -> Json:
    """The document with these changes of a model; None: the model is gone."""
    models = dict((document or {}).get("models") or {})
    models.pop(model, None)
    if shifts is not None:
        models[model] = {"endpoint": endpoint, "shifts": [asdict(one) for one in shifts]}
    return {**(document or {}), "version": 1, "models": dict(sorted(models.items()))}


def _same(one: Shift, other: Shift) -> bool:
    return replace(one, begun=0, settled=None) == replace(other, begun=0, settled=None)
