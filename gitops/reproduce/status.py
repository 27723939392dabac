"""Where every model stands: in the work tree, and on the branch of each environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops import dvc, dvclock, git, jsontext
from gitops.git import graph
from gitops.reproduce.build import confirmed, read_metrics
from gitops.reproduce.model import Place, places

if TYPE_CHECKING:
    from gitops.config import Config


@dataclass(frozen=True)
class Row:
    """One model in one place.

    `state`: `built`, `not built`, `not here` (built, but its outputs aren't in this work tree),
    `stale: ...` or `no branch`.
    """

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


def status(
    root: Path,
    config: Config,
    say: Callable[[str], None],
    tips: Mapping[str, str] | None = None,
) -> Status:
    """Read it all from git and dvc.lock; DVC is asked only where the fast path can't tell.

    `tips`: the commit of each environment's branch; by default as this clone knows it. The number
    of processes doesn't grow with the number of models.
    """
    models = places(root, config)
    here = git.head(root)
    states = _states(root, models, say)
    local = git.branches(root) if tips is None else {}
    known = {
        one.branch: (tips or local).get(one.branch) or local.get(f"origin/{one.branch}")
        for one in config.environments
    }
    stamps = graph.dates(root, [here.commit, *(tip for tip in known.values() if tip)])
    files = {
        place.name: (_inside(root, place.lock), _inside(root, place.metrics)) for place in models
    }
    texts = graph.contents(
        root,
        [
            f"{tip}:{file}"
            for tip in set(known.values())
            if tip
            for two in files.values()
            for file in two
        ],
    )
    rows = []
    for place in models:
        rows.append(
            Row(
                place.name,
                "work tree",
                here.commit[:10],
                stamps[here.commit][:10],
                states[place.name],
                read_metrics(place),
            )
        )
        for one in config.environments:
            tip = known[one.branch]
            rows.append(_row(place, one.name, tip, files[place.name], stamps, texts))
    return Status(config.project, here.branch, git.changes(root), tuple(rows))


def _states(root: Path, models: tuple[Place, ...], say: Callable[[str], None]) -> dict[str, str]:
    """The state of each model in the work tree."""
    private = git.private(root)
    locked = [
        place
        for place in models
        if place.lock.is_file()
        and dvclock.names_output(place.lock.read_bytes(), place.declared.package)
    ]
    states = {place.name: "not built" for place in models}
    states |= {place.name: "built" if place.package.exists() else "not here" for place in locked}
    unsure = [
        place
        for place in locked
        if states[place.name] == "built" and not confirmed(root, private, place.name, "")
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


def _row(
    place: Place,
    environment: str,
    tip: str | None,
    files: tuple[str, str],
    stamps: Mapping[str, str],
    texts: Mapping[str, bytes],
) -> Row:
    if tip is None:
        return Row(place.name, environment, "", "", "no branch", {})
    lock, metrics = (texts.get(f"{tip}:{file}") for file in files)
    built = lock is not None and dvclock.names_output(lock, place.declared.package)
    state = "built" if built else "not built"
    return Row(
        place.name, environment, tip[:10], stamps[tip][:10], state, _numbers(metrics or b"{}")
    )


def _inside(root: Path, path: Path) -> str:
    return path.as_posix().removeprefix(f"{root.as_posix()}/")


def _numbers(text: bytes) -> dict[str, float]:
    try:
        found = jsontext.loads(text)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        k: v for k, v in found.items() if isinstance(v, int | float) and not isinstance(v, bool)
    }
