"""Deployment records (contract `deployment`): what an environment came to run, or failed to."""

from __future__ import annotations

from typing import Any, Literal

from gitops import contracts, utc
from gitops.deploy.model import Release
from gitops.errors import Where

Json = dict[str, Any]
Happened = Literal["running", "failed", "rolled_back"]


def document(
    state: Happened,
    release: Release,
    *,
    environment: str,
    target: tuple[str, str],
    by: str,
    started: str,
    replaces: str = "",
    why: str = "",
) -> Json:
    """A record; `target` is kind and address, `replaces` the digest of the package that ran before,
    `why` a failure's reason.

    Raises:
        EvidenceError: it breaks the contract.
    """
    found: Json = {
        "version": 1,
        "model": release.model,
        "environment": environment,
        "target": {"kind": target[0], "endpoint": target[1]},
        "release": release.name,
        "assignment": release.assignment,
        "revision": {"commit": release.commit, "tree": release.tree},
        "package": release.package,
        **({"replaces": replaces} if replaces else {}),
        "state": state,
        **({"why": why[:1000]} if why else {}),
        "by": by,
        "started": started,
        "finished": utc.now(),
    }
    contracts.validate("deployment", found, Where("deployment record"))
    return found
