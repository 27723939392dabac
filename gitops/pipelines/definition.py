"""workflows/<name>.yaml, the pins and the configuration -> a Pipeline."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from gitops import content, yamlfile
from gitops.errors import ConfigError
from gitops.pipelines.model import Job, Permission, Pin, Pins, Pipeline, Step

if TYPE_CHECKING:
    from gitops.config import Config


def load(name: str, config: Config, folder: Path | None = None) -> Pipeline:
    """The pipeline `name` of `folder` (None: shipped), guarding the environments' branches.

    Raises:
        ConfigError: the definition or the pins break their schema, or a required job isn't there.
    """
    folder = folder or content.folder("workflows")
    document, data = _read(folder, name, "pipeline")
    for index, job in enumerate(data["required"]):
        if job not in data["jobs"]:
            raise ConfigError(
                f"there is no job {job!r}",
                fix=f"the jobs are: {', '.join(data['jobs'])}",
                where=document.where(("required", index)),
            )
    return Pipeline(
        name=data["name"],
        about=data["about"],
        triggers=tuple(data["triggers"]),
        branches=tuple(environment.branch for environment in config.environments),
        concurrency=data["concurrency"],
        jobs=tuple(_job(name, job) for name, job in data["jobs"].items()),
        required=tuple(data["required"]),
        pins=pins(folder),
    )


def ejected(pipeline: Pipeline) -> Pipeline:
    """What is left of it without gitops: jobs that run nothing of their own are gone."""
    jobs = []
    for job in pipeline.jobs:
        steps = tuple(step for step in job.steps if step.use != "tool" and not _is_ours(step))
        if any(step.run for step in steps):
            jobs.append(replace(job, steps=steps))
    left = [job.id for job in jobs]
    required = tuple(job for job in pipeline.required if job in left)
    return replace(pipeline, jobs=tuple(jobs), required=required, about="", marked=False)


def _is_ours(step: Step) -> bool:
    return step.run.startswith("gitops ")


def pins(folder: Path | None = None) -> Pins:
    """What pins.yaml says.

    Raises:
        ConfigError: it breaks its schema: a commit that is no full SHA-1, say.
    """
    _, data = _read(folder or content.folder("workflows"), "pins", "pins")
    actions = tuple(Pin(action, **pin) for action, pin in data["actions"].items())
    return Pins(data["runner"], data["uv"], actions)


def _job(name: str, data: dict[str, Any]) -> Job:
    return Job(
        id=name,
        timeout=data["timeout"],
        permissions=tuple(Permission(**right) for right in data["permissions"]),
        steps=tuple(Step(**step) for step in data["steps"]),
    )


def _read(folder: Path, name: str, schema: str) -> tuple[yamlfile.Document, dict[str, Any]]:
    document = yamlfile.read(folder / f"{name}.yaml")
    rules = json.loads((content.folder("workflows") / f"{schema}.schema.json").read_text("utf-8"))
    error = best_match(Draft202012Validator(rules).iter_errors(document.data))
    if error is not None:
        raise ConfigError(
            f"{error.json_path}: {error.message}",
            fix=f"see the rules in workflows/{schema}.schema.json",
            where=document.where(tuple(error.absolute_path)),
        )
    return document, document.data
