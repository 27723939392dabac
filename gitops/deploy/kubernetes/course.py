"""How Argo Rollouts is getting on: a Rollout's status, as the reconciler needs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from gitops.deploy.kubernetes import manifests
from gitops.deploy.model import Course
from gitops.errors import EvidenceError, ToolError

Json = dict[str, Any]
_LOOK = 1.0  # seconds between two looks
_PATIENCE = 900.0  # seconds until a first version is served, or a later one is noticed


def generation(live: Json) -> int | None:
    """The generation of the plan that a Rollout was handed; None of other workloads."""
    if live.get("kind") != "Rollout":
        return None
    notes = live["metadata"].get("annotations", {})
    return int(notes.get(manifests.GENERATION, 0)) or None


def told(live: Json | None, generation_: int) -> Course:
    """What its status says of a plan's generation.

    `phase` counts once the controller has observed the object:
    https://argo-rollouts.readthedocs.io/en/stable/features/specification/
    """
    if live is None:
        return Course("unnoticed", "there's no Rollout yet")
    status = live.get("status", {})
    observed = str(status.get("observedGeneration", "")) == str(live["metadata"]["generation"])
    if generation(live) != generation_ or not observed:
        return Course("unnoticed", "Argo Rollouts hasn't noticed it yet")
    phase, why = status.get("phase", ""), str(status.get("message", ""))
    if phase == "Healthy":
        return Course("healthy", "")
    if phase == "Degraded":
        return Course("aborted", f"Argo Rollouts has given it up: {why or phase}")
    if phase == "Paused":
        return Course("under_way", f"Argo Rollouts waits for a person: {why or phase}")
    return Course("under_way", f"Argo Rollouts is at it: {why or phase}")


def handed_over(
    look: Callable[[], Json | None],
    generation_: int,
    pods: Callable[[], Sequence[Json]],
    require_started: Callable[[Json], None],
) -> None:
    """Wait until the controller is at it; of a first version, which has no steps, until it answers.

    Raises:
        EvidenceError: it has given up a first version.
        ToolError: it doesn't notice it, or a pod can't start.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        live = look()
        found = told(live, generation_)
        if found.state == "healthy":
            return
        if found.state != "unnoticed" and live and live["status"].get("stableRS"):
            return  # what comes of it is for whoever watches it
        if found.state == "aborted":
            raise EvidenceError(found.why, fix="kubectl argo rollouts get rollout says more")
        for one in pods():
            require_started(one)
        if time.monotonic() > deadline:
            raise ToolError(
                f"after {_PATIENCE:.0f} seconds: {found.why}",
                fix="does the controller of Argo Rollouts run in this cluster?",
            )
        time.sleep(_LOOK)
