"""What a build wrote is committed, where that makes HEAD reproducible."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gitops import dvc, git
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
    written |= {path for place in models for path in _outputs(place)}
    more = [one for one in after if one not in written]
    here = git.head(root)
    if os.environ.get("CI"):
        note = "in CI nothing is committed"
    elif not allowed:
        note = "not committed, as asked"
    elif not set(before) <= written:
        note = "commit them together: the work tree had other changes"
    elif more:
        listed = ", ".join(more[:3]) + (" ..." if len(more) > 3 else "")
        note = f"the build changed {listed}, which no stage has as output: commit or ignore it"
    elif here.branch is None:
        note = "HEAD is detached: make a branch first (git switch -c NAME)"
    else:
        try:
            program.require_identity(root)
            return replace(outcome, commit=git.commit(root, _message(outcome), sorted(after)))
        except ConfigError as error:
            note = f"{error.message}: {error.fix}"
    return replace(outcome, to_commit=after, note=note)


def _outputs(place: Place) -> Iterator[str]:
    """Files that its dvc.lock records as outputs: git keeps those that DVC's cache doesn't."""
    lock = dvc.read_yaml(place.lock) if place.lock.is_file() else {}
    for stage in (lock.get("stages") or {}).values():
        for out in stage.get("outs", ()):
            yield posixpath.normpath(posixpath.join(place.folder, out["path"]))


def _message(outcome: Outcome) -> str:
    changed = [one for one in outcome.models if one.state != "unchanged"] or list(outcome.models)
    parts = []
    for one in changed:
        first = next(((k, v) for k, v in one.metrics.items() if k != "rows"), None)
        parts.append(f"{one.model} ({first[0]} {first[1]:.4g})" if first else one.model)
    return f"Build {', '.join(parts)}"
