"""Where every model stands: in the work tree, and on the branch of each environment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops import dvc, git
from gitops.reproduce.build import confirmed, read_metrics
from gitops.reproduce.model import Place, places

if TYPE_CHECKING:
    from gitops.config import Config


@dataclass(frozen=True)
class Row:
    """One model in one place. `state`: `built`, `not built`, `stale: ...` or `no branch`."""

    model: str
    environment: str
    revision: str
    date: str
    state: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Status:
    """The repository and its rows; `changes` are paths that differ from HEAD."""

    project: str
    branch: str | None
    changes: tuple[str, ...]
    rows: tuple[Row, ...]


def status(root: Path, config: Config, say: Callable[[str], None]) -> Status:
    """Read it all from git and dvc.lock; DVC is asked only where the fast path can't tell."""
    here = git.head(root)
    tips = git.branches(root)
    rows = []
    for place in places(root, config):
        rows.append(_work_tree(place, here.commit, say))
        for environment in config.environments:
            tip = tips.get(environment.branch) or tips.get(f"origin/{environment.branch}")
            rows.append(_environment(place, environment.name, tip))
    return Status(config.project, here.branch, git.changes(root), tuple(rows))


def _work_tree(place: Place, commit: str, say: Callable[[str], None]) -> Row:
    date, _ = git.describe(place.root, commit)
    if not place.lock.is_file():
        state = "not built"
    elif confirmed(place.root, git.private(place.root), place.name, ""):
        state = "built"
    else:
        say(f"asking dvc about {place.name}")
        changed = dvc.stale(place.root, [place.pipeline])
        names = ", ".join(name.rsplit(":", 1)[-1] for name in changed)
        state = f"stale: {names}" if changed else "built"
    return Row(place.name, "work tree", commit[:10], date[:10], state, read_metrics(place))


def _environment(place: Place, name: str, tip: str | None) -> Row:
    if tip is None:
        return Row(place.name, name, "", "", "no branch", {})
    date, _ = git.describe(place.root, tip)
    lock = git.show(place.root, tip, place.lock.relative_to(place.root).as_posix())
    text = git.show(place.root, tip, place.metrics.relative_to(place.root).as_posix())
    metrics = _numbers(text) if text else {}
    return Row(place.name, name, tip[:10], date[:10], "built" if lock else "not built", metrics)


def _numbers(text: str) -> dict[str, float]:
    try:
        return {k: v for k, v in json.loads(text).items() if isinstance(v, int | float)}
    except ValueError:
        return {}
