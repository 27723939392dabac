"""Releases and plans for the tests of deploying."""

from __future__ import annotations

import hashlib

from gitops.config.serving import Rollout, Serve
from gitops.deploy.decide import Decision, decide
from gitops.deploy.model import Release, Served, Under, Variant, Wanted

NAMES = ("flights", "production")
SERVE = {"unknown_category": "accept", "workdir": None}
STEPS = Rollout(steps=("shadow", 5, 50), key="carrier")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def release(version: str, counter: int) -> Release:
    """A version of `late`, whose package is its own."""
    commit = digest(version)[:40]
    return Release(
        "late", f"late@{version}", f"late#production#{counter}", commit, commit, digest(version)
    )


def variant(of: Release) -> Variant:
    return Variant(of.name, of.assignment, f"/packages/{of.package}", of.package)


def wanted(of: Release) -> Wanted:
    return Wanted(of, Serve(), code=False)


OLD, NEW, NEWER = release("v1.2.0", 7), release("v1.3.0", 8), release("v1.4.0", 9)
UNDER = Under(NEW, variant(OLD), STEPS, "stepping", "2026-01-31T12:00:00Z", step=1)
ALONE = Served(variant(OLD), SERVE)
SPLIT = Served(variant(OLD), SERVE, variant(NEW), share=5, key="carrier", salt=NEW.assignment)


def decided(
    what: Release | None,
    served: Served | None,
    under: Under | None = None,
    *,
    policy: Rollout = STEPS,
    held: str = "",
) -> Decision:
    return decide(wanted(what) if what else None, served, under, policy, held, SERVE)
