"""What must agree between the workflows of a repository, and between them and gitops.yaml."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gitops import yamlfile
from gitops.errors import ConfigError, Where
from gitops.pipelines import checks, cron, definition
from gitops.yamlfile import Place

if TYPE_CHECKING:
    from pathlib import Path

    from gitops.config import Config
    from gitops.pipelines.definition import Definition

_JUDGED = frozenset(("pull-request", "merge-queue"))


def runners(config: Config, found: Iterable[Definition], root: Path | None) -> None:
    """Raise if `runners:` of gitops.yaml names a job that no workflow has.

    Raises:
        ConfigError: with the place in gitops.yaml, where `root` has it.
    """
    known = {"default"}
    for one in found:
        for name, job in one.data["jobs"].items():
            known.add(name)
            if "each" in job:
                known |= {f"{name}-{each.name}" for each in definition.environments(job, config)}
    for name in config.runners:
        if name not in known:
            wrong = checks.unknown("job", name, sorted(known), ("runners", name))
            where = _declared_at(root, wrong.place, key=True)
            raise ConfigError(f"runners: {wrong.text}", fix=wrong.fix, where=where)


def sources(config: Config, root: Path | None) -> None:
    """Raise if a source of a table is to be looked at by a cron line that can't be.

    Raises:
        ConfigError: with the place in gitops.yaml, where `root` has it.
    """
    for name, model in config.models.items():
        line = model.source.schedule if model.source else None
        if line and (reason := cron.problem(line)):
            place = ("models", name, "source", "schedule")
            raise ConfigError(
                f"models.{name}.source.schedule: the cron line {line!r} {reason}",
                fix=cron.FIX,
                where=_declared_at(root, place),
            )


def _declared_at(root: Path | None, place: Place, *, key: bool = False) -> Where | None:
    """A place of gitops.yaml, where `root` has it."""
    file = root / "gitops.yaml" if root is not None else None
    if file is None or not file.is_file():
        return None
    return yamlfile.read(file).where(place, key=key)


def required(found: Iterable[Definition]) -> None:
    """Raise if two workflows would report the one check that a branch rule asks for.

    Raises:
        ConfigError: with the place in the second one.
    """
    first = ""
    for one in found:
        if one.data.get("required") and one.data["triggers"].keys() & _JUDGED:
            if first:
                text = f"{first} has `required` already: a branch rule can't tell the two apart"
                fix = f"add its jobs to {first}, or write `required: []`"
                # What it only extends says so elsewhere.
                raise ConfigError(
                    text, fix=fix, where=one.documents[0].where(("required",), key=True)
                )
            first = one.name
