"""Finding and reading workflow files of a repository, ours or not.

GitHub: docs.github.com/actions/reference/workflow-syntax-for-github-actions. Azure:
learn.microsoft.com/azure/devops/pipelines/yaml-schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gitops import yamlfile
from gitops.errors import ConfigError, UsageError, Where
from gitops.pipelines.lint.model import Finding, Job, Json, Platform, Script, Source, Step
from gitops.yamlfile import Place

_SUFFIXES = (".yml", ".yaml")
_AZURE_FOLDERS = ("azure-pipelines", ".azure-pipelines", ".azuredevops", ".pipelines")
_AZURE_KEYS = ("stages", "jobs", "steps")
_SHELLS = ("bash", "script", "pwsh", "powershell")
_SHELL_INPUTS = ("script", "inlineScript", "inline")
_PHASES = ("preDeploy", "deploy", "routeTraffic", "postRouteTraffic")


def find(root: Path, paths: Sequence[Path] = ()) -> list[Path]:
    """The workflow files at `paths`, or of the whole repository.

    Raises:
        UsageError: a path isn't there, or has no workflow file.
    """
    if not paths:
        return sorted({*_github(root), *_azure(root)})
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.append(path)
        elif path.is_dir():
            here = sorted({*_github(path), *_azure(path), *_yaml(path)})
            if not here:
                raise UsageError(f"{path} has no workflow files", fix="name a folder that has")
            found += here
        else:
            raise UsageError(f"there is no {path}", fix="name workflow files or folders")
    return list(dict.fromkeys(found))


def _yaml(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (one for one in folder.iterdir() if one.suffix in _SUFFIXES and one.is_file())


def _github(root: Path) -> Iterator[Path]:
    yield from _yaml(root / ".github" / "workflows")


def _azure(root: Path) -> Iterator[Path]:
    yield from (one for one in _yaml(root) if one.stem.startswith("azure-pipelines"))
    for name in _AZURE_FOLDERS:
        yield from _yaml(root / name)


def read(path: Path, shown: str) -> Source | Finding | None:
    """A file; a finding where it can't be read; None: it is no workflow."""
    try:
        document = yamlfile.read(path)
    except ConfigError as error:
        where = error.where or Where(path)
        line, column = where.line or 1, where.column or 1
        return Finding(shown, line, column, "syntax", error.message, error.fix)
    text = path.read_bytes().decode().removeprefix("\ufeff")
    platform = _platform(path, document.data)
    if platform is None:
        return None
    jobs = _github_jobs if platform == "github" else _azure_jobs
    return Source(shown, platform, text, document, tuple(jobs(document.data)))


def _platform(path: Path, data: Json) -> Platform | None:
    if path.parent.name == "workflows" or ("on" in data and "jobs" in data):
        return "github"
    held = [data, _handed(data)]
    some = any(isinstance(one.get(key), list) for one in held for key in _AZURE_KEYS)
    return "azure" if some or "template" in _mapping(data.get("extends")) else None


# ---------------------------------------------------------------- GitHub


def _github_jobs(data: Json) -> Iterator[Job]:
    jobs = data.get("jobs")
    for name, job in (jobs if isinstance(jobs, dict) else {}).items():
        if isinstance(job, dict):
            place: Place = ("jobs", name)
            yield Job(name, job, place, tuple(_github_steps(job, place)), "environment" in job)


def _github_steps(job: Json, place: Place) -> Iterator[Step]:
    steps = job.get("steps")
    for index, step in enumerate(steps if isinstance(steps, list) else []):
        if isinstance(step, dict):
            at = (*place, "steps", index)
            scripts = []
            if isinstance(step.get("run"), str):
                scripts.append(Script(step["run"], (*at, "run")))
            inputs = step.get("with")
            if isinstance(inputs, dict) and str(step.get("uses", "")).startswith(
                "actions/github-script@"
            ):
                scripts.append(Script(str(inputs.get("script", "")), (*at, "with", "script")))
            yield Step(step, at, tuple(scripts))


# ---------------------------------------------------------------- Azure


def _items(data: object, place: Place) -> Iterator[tuple[Json, Place]]:
    """The mappings of a list, those under `${{ if ... }}:` and `${{ each ... }}:` too."""
    for index, item in enumerate(data if isinstance(data, list) else []):
        if not isinstance(item, dict):
            continue
        at = (*place, index)
        inner = [key for key in item if key.startswith("${{")]
        for key in inner:
            yield from _items(item[key], (*at, key))
        if not inner:
            yield item, at


def _mapping(data: object) -> Json:
    return data if isinstance(data, dict) else {}


def _handed(data: Json) -> Json:
    """What a pipeline hands to the template that it extends."""
    return _mapping(_mapping(data.get("extends")).get("parameters"))


def _azure_jobs(data: Json, at: Place = ()) -> Iterator[Job]:
    if "stages" in data:
        for stage, place in _items(data["stages"], (*at, "stages")):
            name = str(stage.get("stage", ""))
            yield from _jobs(stage.get("jobs"), (*place, "jobs"), name)
    elif "jobs" in data:
        yield from _jobs(data["jobs"], (*at, "jobs"), "")
    elif "steps" in data:
        steps = tuple(_azure_steps(data["steps"], (*at, "steps")))
        yield Job("", data, at, steps, deploys=False)
    elif handed := _handed(data):
        yield from _azure_jobs(handed, ("extends", "parameters"))


def _jobs(data: object, place: Place, stage: str) -> Iterator[Job]:
    for job, at in _items(data, place):
        if "job" in job or "deployment" in job:
            name = str(job.get("job", job.get("deployment")) or "")
            steps = list(_azure_steps(job.get("steps"), (*at, "steps")))
            for held, where in _phases(job.get("strategy"), (*at, "strategy")):
                steps += _azure_steps(held.get("steps"), (*where, "steps"))
            yield Job(name, job, at, tuple(steps), "deployment" in job, stage)


def _phases(strategy: object, place: Place) -> Iterator[tuple[Json, Place]]:
    """What of a deployment's strategy has steps."""
    for kind in ("runOnce", "rolling", "canary"):
        held: Any = strategy.get(kind) if isinstance(strategy, dict) else None
        if not isinstance(held, dict):
            continue
        at = (*place, kind)
        ends: Any = held.get("on")
        for where, one in (
            *(((*at, name), held.get(name)) for name in _PHASES),
            *(
                ((*at, "on", name), end)
                for name, end in (ends.items() if isinstance(ends, dict) else ())
            ),
        ):
            if isinstance(one, dict):
                yield one, where


def _azure_steps(data: object, place: Place) -> Iterator[Step]:
    for step, at in _items(data, place):
        if "template" in step:
            continue
        scripts = [
            Script(step[key], (*at, key)) for key in _SHELLS if isinstance(step.get(key), str)
        ]
        inputs = step.get("inputs")
        if isinstance(inputs, dict):
            scripts += [
                Script(inputs[key], (*at, "inputs", key))
                for key in _SHELL_INPUTS
                if isinstance(inputs.get(key), str)
            ]
        yield Step(step, at, tuple(scripts))
