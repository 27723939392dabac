"""The commit that a change is judged against: where it is to go, as CI or gitops.yaml says."""

from __future__ import annotations

import os
from pathlib import Path

from gitops import config as configuration
from gitops import git
from gitops.config import Config
from gitops.errors import EvidenceError, UsageError
from gitops.git import graph

# The target branch of a pull request: GitHub's `main`, Azure's `refs/heads/main`.
_TARGET = ("GITHUB_BASE_REF", "SYSTEM_PULLREQUEST_TARGETBRANCH")


def of(root: Path, base: str | None, environment: str | None, head: str = "HEAD") -> str:
    """The commit that `head` is judged against.

    `base` if it's given. Else the tip of the branch that the pull request goes to (as CI says), or
    of the environment's branch: `origin/<branch>` if it's there, else `<branch>`. Where `head` is
    itself that tip: its first parent.

    Raises:
        UsageError: there's no such revision; `head` is the first commit.
        EvidenceError: the clone lacks it.
    """
    here = git.resolve(root, head)
    target = "" if base else branch(configuration.load_at(root, here), environment)
    return commit(root, base, target, here)


def branch(config: Config, environment: str | None) -> str:
    """The branch that is the target, by CI or by the environment."""
    for variable in _TARGET:
        if name := os.environ.get(variable):
            return name.removeprefix("refs/heads/")
    chosen = config.environment(environment) if environment else config.environments[0]
    return chosen.branch


def in_ci() -> bool:
    """Whether CI says what a pull request goes to."""
    return any(os.environ.get(variable) for variable in _TARGET)


def commit(root: Path, base: str | None, branch: str, head: str) -> str:
    """`of`, where the target branch is known."""
    if base is not None:
        found = git.find(root, base, f"origin/{base}")
        return found or git.resolve(root, base)  # which says what is wrong
    found = git.find(root, f"refs/remotes/origin/{branch}", f"refs/heads/{branch}")
    if found is None:
        depth = "--unshallow " if git.is_shallow(root) else ""
        raise EvidenceError(
            f"the target branch {branch} is not in this clone",
            fix=f"git fetch {depth}origin +refs/heads/{branch}:refs/remotes/origin/{branch}, or"
            " name another with --base (in GitHub Actions: `fetch-depth: 0` of actions/checkout; in"
            " Azure Pipelines: `fetchDepth: 0` of checkout)",
        )
    if found != head:
        return found
    if not (parents := graph.parents(root, head)):
        raise UsageError(
            f"{head[:12]} is the first commit: there's nothing to judge it against",
            fix="commit a change, or name another revision with --base",
        )
    return parents[0]
