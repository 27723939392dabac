"""Rules about jobs, steps and triggers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from gitops.pipelines import cron, order
from gitops.pipelines.lint.model import Hit, Job, Known, Source

MOST = 256
_DELIVERS = re.compile(r"promot|deploy|release|publish|rollback|roll-back", re.IGNORECASE)


def timeout(source: Source, known: Known) -> Iterator[Hit]:
    del known
    key = "timeout-minutes" if source.platform == "github" else "timeoutInMinutes"
    default = "6 hours" if source.platform == "github" else "an hour"
    for job in source.jobs:
        steps_alone = source.is_template and not job.place
        if key not in job.data and "uses" not in job.data and not steps_alone:
            message = f"{_named(job)} may hang for {default}"
            fix = f"add {key}" if job.place else f"put the steps into a job with {key}"
            yield Hit(job.place, message, fix, key=True)


def step_name(source: Source, known: Known) -> Iterator[Hit]:
    del known
    key = "name" if source.platform == "github" else "displayName"
    for job in source.jobs:
        for step in job.steps:
            if not step.data.get(key) and step.data.get("checkout") != "none":
                yield Hit(step.place, "a step without a name: logs show its command", f"add {key}")


def permissions(source: Source, known: Known) -> Iterator[Hit]:
    del known
    if "permissions" not in source.data:
        message = "without permissions at the top, jobs have what the repository's default gives"
        yield Hit((), message, "add `permissions: {}` at the top, and to each job what it needs")


def cancel(source: Source, known: Known) -> Iterator[Hit]:
    """Runs of pull requests that nobody waits for any more."""
    del known
    if not source.on_pull_requests:
        return
    if source.platform == "azure":
        pr = source.triggers["pr"]
        if isinstance(pr, dict) and pr.get("autoCancel") is False:
            yield Hit(
                ("pr", "autoCancel"), "a new push doesn't cancel the old run", "set it to true"
            )
        return
    fix = "add `concurrency: {group: ..., cancel-in-progress: true}`"
    held = [source.data, *(job.data for job in source.jobs)]
    if not any(_cancels(one) for one in held):
        yield Hit(("on",), "a new push to a pull request doesn't cancel the old run", fix, key=True)


def cancel_delivery(source: Source, known: Known) -> Iterator[Hit]:
    """Runs that must not be broken off half-way."""
    del known
    stem = re.sub(r"\.ya?ml$", "", source.path.rpartition("/")[2])
    told = _DELIVERS.search(f"{stem} {source.data.get('name', '')}")
    if source.platform == "azure":
        if any(job.deploys for job in source.jobs):
            for place, data in _stages(source):
                if data.get("lockBehavior") == "runLatest":
                    message = "runLatest cancels deployments that wait"
                    yield Hit((*place, "lockBehavior"), message, "write sequential")
        return
    fix = "set cancel-in-progress: false"
    if (told or any(job.deploys for job in source.jobs)) and _cancels(source.data, always=True):
        message = "a new run breaks off a deployment or promotion half-way"
        yield Hit(("concurrency", "cancel-in-progress"), message, fix)
    for job in source.jobs:
        if (told or job.deploys) and _cancels(job.data, always=True):
            message = "a new run breaks off a deployment or promotion half-way"
            yield Hit((*job.place, "concurrency", "cancel-in-progress"), message, fix)


def _stages(source: Source) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    yield (), source.data
    stages = source.data.get("stages")
    for index, stage in enumerate(stages if isinstance(stages, list) else []):
        if isinstance(stage, dict):
            yield ("stages", index), stage
    yield from ((job.place, job.data) for job in source.jobs)


def _cancels(data: Mapping[str, Any], *, always: bool = False) -> bool:
    """An expression cancels sometimes."""
    concurrency = data.get("concurrency")
    value = concurrency.get("cancel-in-progress") if isinstance(concurrency, dict) else None
    return value is True or (isinstance(value, str) and not always)


def schedule(source: Source, known: Known) -> Iterator[Hit]:
    del known
    place = ("on", "schedule") if source.platform == "github" else ("schedules",)
    held = source.triggers.get("schedule" if source.platform == "github" else "schedules")
    for index, one in enumerate(held if isinstance(held, list) else []):
        line = one.get("cron") if isinstance(one, dict) else None
        problem = cron.problem(line) if isinstance(line, str) else "is missing"
        if problem:
            fix = cron.FIX
            yield Hit((*place, index, "cron"), f"the cron line {line!r} {problem}", fix)


def matrix(source: Source, known: Known) -> Iterator[Hit]:
    del known
    for job in source.jobs:
        strategy = job.data.get("strategy")
        held = strategy.get("matrix") if isinstance(strategy, dict) else None
        if not isinstance(held, dict):
            continue
        count = len(held) if source.platform == "azure" else _combinations(held)
        if count > MOST:
            message = f"{_named(job)} is {count} jobs, more than the {MOST} of a matrix"
            yield Hit((*job.place, "strategy", "matrix"), message, "group its values", key=True)


def _combinations(held: Mapping[str, Any]) -> int:
    """At least so many: `include` can add jobs, `exclude` takes some out."""
    axes = [one for key, one in held.items() if key not in ("include", "exclude")]
    lists = [len(one) for one in axes if isinstance(one, list)]
    included, excluded = held.get("include"), held.get("exclude")
    if not lists:
        return len(included) if isinstance(included, list) else 0
    return prod(lists) - (len(excluded) if isinstance(excluded, list) else 0)


def needs(source: Source, known: Known) -> Iterator[Hit]:
    del known
    if source.is_template:  # its jobs may need those of the pipeline that takes it in
        return
    key = "needs" if source.platform == "github" else "dependsOn"
    groups: dict[str, dict[str, Job]] = {}
    for job in source.jobs:
        groups.setdefault(job.stage, {})[job.name] = job
    for jobs in groups.values():
        after = {name: _list(job.data.get(key)) for name, job in jobs.items()}
        for name, wanted in after.items():
            for one in wanted:
                if one not in jobs and "${{" not in one:
                    message = f"{_named(jobs[name])} needs {one!r}, which is no job here"
                    fix = f"name one of: {', '.join(filter(None, jobs))}"
                    yield Hit((*jobs[name].place, key), message, fix)
        if circle := order.circle(after):
            message = f"no job can be first: {' needs '.join(circle)}"
            yield Hit((*jobs[circle[0]].place, key), message, "break the circle")
    if source.platform == "azure":
        yield from _stage_needs(source)


def _stage_needs(source: Source) -> Iterator[Hit]:
    named = {
        str(data.get("stage")): (place, data)
        for place, data in _stages(source)
        if len(place) == 2 and "stage" in data
    }
    for name, (place, data) in named.items():
        for one in _list(data.get("dependsOn")):
            if one not in named and "${{" not in one:
                message = f"the stage {name} needs {one!r}, which is no stage here"
                yield Hit((*place, "dependsOn"), message, f"name one of: {', '.join(named)}")


def check_name(sources: tuple[Source, ...]) -> Iterator[tuple[Source, Hit]]:
    """A rule that requires a check by its name takes whichever comes."""
    seen: dict[str, str] = {}
    for source in sources:
        events = {"pull_request", "pull_request_target", "merge_group"}
        if source.platform != "github" or not events & set(source.triggers):
            continue
        for job in source.jobs:
            name = str(job.data.get("name") or job.name)
            if "${{" in name:
                continue
            if name in seen:
                message = f"a second check {name!r} on pull requests; the first is in {seen[name]}"
                place, key = (
                    ((*job.place, "name"), False) if "name" in job.data else (job.place, True)
                )
                fix = "give it another name: a branch rule can't tell the two apart"
                yield source, Hit(place, message, fix, key)
            seen.setdefault(name, source.path)


def _named(job: Job) -> str:
    return f"the job {job.name}" if job.name else "the job"


def _list(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)] if value else []
