"""Whom the identities of pipelines trust: what forges write into the tokens of the jobs we emit.

An identity is `ci` (jobs without an environment), `read` (those of pull requests) or the name of
an environment. Both what is provisioned and what `gitops setup` says come from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitops.config import Config

CI, READ = "ci", "read"
# The name of service connections on Azure DevOps; that of another identity has its name behind it.
CONNECTION = "gitops"


def github(config: Config) -> Mapping[str, tuple[str, ...]]:
    """What the subject of a job's token says after the repository, by identity.

    https://docs.github.com/en/actions/reference/security/oidc: a job with an environment has its
    name in the subject, one without it the branch, or `pull_request`.
    """
    branches = tuple(f"ref:refs/heads/{one.branch}" for one in config.environments)
    deploys = {one.name: (f"environment:{one.name}",) for one in config.environments}
    return {CI: branches, READ: ("pull_request",), **deploys}


def azure_devops(config: Config) -> Mapping[str, str]:
    """The service connection that a job logs in by, by identity; it ends the token's subject.

    https://learn.microsoft.com/azure/devops/pipelines/release/troubleshoot-workload-identity:
    `sc://ORGANISATION/PROJECT/CONNECTION`.
    """
    others = (READ, *(one.name for one in config.environments))
    return {CI: CONNECTION, **{name: f"{CONNECTION}-{name}" for name in others}}
