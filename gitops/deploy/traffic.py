"""A rollout under way: evidence from the traffic, a verdict, and the next step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gitops.deploy.model import Under
from gitops.deploy.reconcile import Reconciler

Json = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """Where a rollout is, for people: units of this step and altogether, and what is missing."""

    release: str
    champion: str
    step: str
    units: int
    each: int
    seen: int
    until: int
    verdict: str
    why: str
    needs: int | None
    figures: Json


@dataclass
class Traffic:
    """The rollouts of an environment; `progress` has the last look at each, by model."""

    reconciler: Reconciler
    progress: dict[str, Progress] = field(default_factory=dict)

    def advance(self, model: str, under: Under) -> str:
        """Look at the evidence, and do what follows; why it was rolled back, else "".

        Raises:
            GitopsError: the branch can't be rolled back (the traffic is, already), or as
                `Target.apply`.
        """
        return ""
