"""What a build wrote is committed, where that makes HEAD reproducible."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from gitops import git
from gitops.errors import ConfigError
from gitops.git import program
from gitops.reproduce.model import Outcome, Place


def commit(
    root: Path, outcome: Outcome, before: tuple[str, ...], models: tuple[Place, ...], allowed: bool
) -> Outcome:
    """Commit the locks when that makes HEAD reproducible; otherwise say what belongs together."""
    after = git.changes(root)
    if not after:
        return outcome
    written = {place.lock.relative_to(root).as_posix() for place in models}
    written |= {place.metrics.relative_to(root).as_posix() for place in models}
    here = git.head(root)
    if os.environ.get("CI"):
        note = "in CI nothing is committed"
    elif not allowed:
        note = "not committed, as asked"
    elif not set(before) <= written:
        note = "commit them together: the work tree had other changes"
    elif not set(after) <= written:
        note = "the build changed more than dvc.lock and metrics: commit or ignore it"
    elif here.branch is None:
        note = "HEAD is detached: make a branch first (git switch -c NAME)"
    else:
        try:
            program.require_identity(root)
            return replace(outcome, commit=git.commit(root, _message(outcome), sorted(after)))
        except ConfigError as error:
            note = f"{error.message}: {error.fix}"
    return replace(outcome, to_commit=after, note=note)


def _message(outcome: Outcome) -> str:
    changed = [one for one in outcome.models if one.state != "unchanged"] or list(outcome.models)
    parts = []
    for one in changed:
        first = next(((k, v) for k, v in one.metrics.items() if k != "rows"), None)
        parts.append(f"{one.model} ({first[0]} {first[1]:.4g})" if first else one.model)
    return f"Build {', '.join(parts)}"
