"""Where every model stands: in the work tree, and on the branch of each environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
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
    """Read it all from git and dvc.lock; DVC is asked only where the fast path can't tell.

    The number of processes doesn't grow with the number of models.
    """
    models = places(root, config)
    here = git.head(root)
    states = _states(root, models, say)
    date, _ = git.describe(root, here.commit)
    rows = {
        place.name: [
            Row(
                place.name,
                "work tree",
                here.commit[:10],
                date[:10],
                states[place.name],
                read_metrics(place),
            )
        ]
        for place in models
    }
    tips = git.branches(root)
    for environment in config.environments:
        tip = tips.get(environment.branch) or tips.get(f"origin/{environment.branch}")
        for row in _environment(root, environment.name, tip, models):
            rows[row.model].append(row)
    each = tuple(row for several in rows.values() for row in several)
    return Status(config.project, here.branch, git.changes(root), each)


def _states(root: Path, models: tuple[Place, ...], say: Callable[[str], None]) -> dict[str, str]:
    """The state of each model in the work tree."""
    private = git.private(root)
    states = {place.name: "built" if place.lock.is_file() else "not built" for place in models}
    unsure = [
        place
        for place in models
        if place.lock.is_file() and not confirmed(root, private, place.name, "")
    ]
    if unsure:
        say(
            f"asking dvc about {', '.join(place.name for place in unsure[:5])}"
            f"{f' and {len(unsure) - 5} more' if len(unsure) > 5 else ''}"
        )
        changed = dvc.stale(root, [place.pipeline for place in unsure])
        for place in unsure:
            stages = dvc.stages_of(changed, place.pipeline)
            if stages:
                states[place.name] = f"stale: {', '.join(stages)}"
    return states


def _environment(
    root: Path, name: str, tip: str | None, models: tuple[Place, ...]
) -> Iterator[Row]:
    if tip is None:
        yield from (Row(place.name, name, "", "", "no branch", {}) for place in models)
        return
    date, _ = git.describe(root, tip)
    there = git.snapshot(root, tip)
    metrics = {place.name: place.metrics.relative_to(root).as_posix() for place in models}
    texts = there.read(metrics.values())
    for place in models:
        built = place.lock.relative_to(root).as_posix() in there.files
        numbers = _numbers(texts.get(metrics[place.name], b"{}"))
        state = "built" if built else "not built"
        yield Row(place.name, name, tip[:10], date[:10], state, numbers)


def _numbers(text: bytes) -> dict[str, float]:
    try:
        return {k: v for k, v in json.loads(text).items() if isinstance(v, int | float)}
    except ValueError:
        return {}
