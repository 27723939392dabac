"""What a schema can't say of a definition: parts that contradict each other, or can't be safe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from gitops import problem
from gitops.config import values
from gitops.pipelines import cron, definition, order
from gitops.problem import Problem
from gitops.yamlfile import Place

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.pipelines.definition import Definition

MOST = 256  # jobs of a matrix, which is GitHub's limit
_SCOPES = (
    *("actions", "attestations", "checks", "contents", "deployments", "discussions", "issues"),
    *("packages", "pages", "pull-requests", "security-events", "statuses"),
)
# https://docs.github.com/actions/reference/workflow-syntax-for-github-actions#permissions
RIGHTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_SCOPES, ("read", "write")),
    "id-token": ("write",),
    "models": ("read",),
}
# What GitHub ($ {{}}) or Azure ($[], and $() around a variable's name) would put into a text.
_EXPRESSION = re.compile(r"\$\{\{|\$\[|\$\([A-Za-z_][\w.]*\)|##vso\[|^::", re.MULTILINE)
_HOLDER = re.compile(r"\{(environment|branch)\}")


def check(found: Definition, config: Config) -> None:
    """Raise what is wrong with a definition.

    Raises:
        ConfigError: every problem, each with its place.
    """
    if problems := list(_problems(found.data, config)):
        raise problem.error(found, problems)


def _problems(data: Mapping[str, Any], config: Config) -> Iterator[Problem]:
    jobs: Mapping[str, Any] = data["jobs"]
    yield from _triggers(data["triggers"])
    yield from _branches(data["triggers"])
    if data.get("required") and "paths" in data["triggers"]:
        text = "a change that touches none of the paths would never get its required check"
        yield Problem(("triggers", "paths"), text, "remove `paths`, or `required`", key=True)
    for index, job in enumerate(data.get("required", ())):
        if job not in jobs:
            yield unknown("job", job, jobs, ("required", index))
    yield from _cycles(jobs)
    yield from _expanded(jobs, config)
    for name, job in jobs.items():
        place = ("jobs", name)
        yield from _needs(jobs, name, place)
        yield from _rights(job, place)
        yield from _matrix(jobs, job, place)
        yield from _environment(job, config, place)
        yield from _secrets(job, place)
        yield from _references(data, job, place)
        yield from _outputs(job, place)
        yield from _artifacts(jobs, job, place)
        if "pull-request" in data["triggers"]:
            yield from _reachable(job, place)
    yield from _twice(jobs)
    yield from _expressions(data, ())


def _triggers(triggers: Mapping[str, Any]) -> Iterator[Problem]:
    lines = triggers.get("schedule", ())
    for index, line in enumerate(lines if isinstance(lines, list) else ()):
        if reason := cron.problem(line):
            yield Problem(
                ("triggers", "schedule", index),
                f"the cron line {line!r} {reason}",
                cron.FIX,
            )
    for name, one in (triggers.get("manual") or {}).get("inputs", {}).items():
        if one["type"] == "choice" and one.get("default", one["options"][0]) not in one["options"]:
            place = ("triggers", "manual", "inputs", name, "default")
            yield unknown("option", one["default"], one["options"], place)


def _branches(triggers: Mapping[str, Any]) -> Iterator[Problem]:
    """Names only: platforms read patterns differently, and a run that records must start none."""
    for event in ("pull-request", "merge-queue", "push"):
        named = triggers.get(event, {}).get("branches")
        for index, name in enumerate(named if isinstance(named, list) else ()):
            if not re.search(values.BRANCH, name):
                yield Problem(
                    ("triggers", event, "branches", index),
                    f"{name!r} is no name of a branch of yours",
                    "name each branch; patterns, and the branch of our own records, start nothing",
                )


def _cycles(jobs: Mapping[str, Any]) -> Iterator[Problem]:
    if circle := order.circle({name: one.get("needs", ()) for name, one in jobs.items()}):
        message = f"no job can be first: {' needs '.join(circle)}"
        yield Problem(("jobs", circle[-2], "needs"), message, "break the circle")


def _expanded(jobs: Mapping[str, Any], config: Config) -> Iterator[Problem]:
    """Jobs for each environment must not be called as another job is."""
    for name, job in jobs.items():
        if "each" in job:
            for environment in definition.environments(job, config):
                if (other := f"{name}-{environment.name}") in jobs:
                    yield Problem(
                        ("jobs", other),
                        f"there are two jobs {other}: {name} is one for each environment",
                        "give it another name",
                        key=True,
                    )


def _needs(jobs: Mapping[str, Any], name: str, place: Place) -> Iterator[Problem]:
    for index, need in enumerate(jobs[name].get("needs", ())):
        if need not in jobs:
            yield unknown("job", need, jobs, (*place, "needs", index))


def _rights(job: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    seen = set()
    for index, right in enumerate(job["permissions"]):
        at = (*place, "permissions", index)
        scope, level = right["scope"], right["level"]
        if scope not in RIGHTS:
            yield unknown("permission", scope, RIGHTS, (*at, "scope"))
        elif level not in RIGHTS[scope]:
            yield Problem((*at, "level"), f"{scope} can't be {level}", f"write {RIGHTS[scope][0]}")
        if scope in seen:
            yield Problem((*at, "scope"), f"{scope} is there twice", "remove one of the two")
        seen.add(scope)


def _matrix(jobs: Mapping[str, Any], job: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    matrix = job.get("matrix")
    if isinstance(matrix, str):
        yield from _output(jobs, job, matrix, (*place, "matrix"))
    elif matrix and (count := prod(len(values) for values in matrix.values())) > MOST:
        yield Problem(
            (*place, "matrix"), f"these are {count} jobs, more than {MOST}", "take fewer values"
        )


def _output(
    jobs: Mapping[str, Any], job: Mapping[str, Any], source: str, place: Place
) -> Iterator[Problem]:
    needed, _, output = source.partition(".")
    if needed not in job.get("needs", ()):
        yield Problem(place, f"it doesn't need the job {needed!r}", f"add `needs: [{needed}]`")
    elif needed in jobs:
        outputs = [step["output"] for step in jobs[needed]["steps"] if "output" in step]
        if output not in outputs:
            yield unknown(f"output of {needed}", output, outputs, place)


def _environment(job: Mapping[str, Any], config: Config, place: Place) -> Iterator[Problem]:
    named = job.get("environment")
    known = [one.name for one in config.environments]
    if named is not None and named not in known and not ("each" in job and _HOLDER.search(named)):
        yield unknown("environment", named, known, (*place, "environment"))
    for at, text in _texts(job, place):
        if "each" not in job and at[2] != "environment" and _HOLDER.search(text):
            yield Problem(
                at,
                f"{_HOLDER.search(text)[0]} stands for nothing here",  # type: ignore[index]
                "add `each:` to the job, or name it",
            )


def _secrets(job: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    """A secret is behind an environment's protection, and what is deployed once has no matrix."""
    if "environment" in job:
        if "matrix" in job:
            text = "a job of an environment is one deployment, and can't have a matrix"
            yield Problem((*place, "matrix"), text, "make it two jobs")
        return
    for index, step in enumerate(job["steps"]):
        for name, value in step.get("env", {}).items():
            if isinstance(value, dict) and "secret" in value:
                text = f"the secret {value['secret']} is behind no environment's protection"
                at = (*place, "steps", index, "env", name)
                yield Problem(at, text, "add `environment: NAME` to the job")


def _references(data: Mapping[str, Any], job: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    inputs = (data["triggers"].get("manual") or {}).get("inputs", {})
    booleans = [name for name, one in inputs.items() if one["type"] == "boolean"]
    matrix = job.get("matrix")
    keys = ["name", "models"] if isinstance(matrix, str) else list(matrix or ())
    for at, condition in _conditions(job, place):
        ((kind, value),) = condition.items() if isinstance(condition, dict) else ((condition, ""),)
        if kind in ("input", "no-input") and value not in booleans:
            yield unknown("boolean input", value, booleans, at)
        if kind == "finished" and value not in job.get("needs", ()):
            yield Problem(at, f"it doesn't need the job {value!r}", f"add `needs: [{value}]`")
        if kind == "found":
            yield from _output(data["jobs"], job, value, at)
    for index, step in enumerate(job["steps"]):
        for name, value in step.get("env", {}).items():
            at = (*place, "steps", index, "env", name)
            if isinstance(value, dict) and "input" in value and value["input"] not in inputs:
                yield unknown("input", value["input"], inputs, at)
            if isinstance(value, dict) and "matrix" in value and value["matrix"] not in keys:
                yield unknown("key of the matrix", value["matrix"], keys, at)


def _conditions(job: Mapping[str, Any], place: Place) -> Iterator[tuple[Place, Any]]:
    for index, condition in enumerate(job.get("when", ())):
        yield (*place, "when", index), condition
    for number, step in enumerate(job["steps"]):
        for index, condition in enumerate(step.get("when", ())):
            yield (*place, "steps", number, "when", index), condition


def _outputs(job: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    seen = set()
    for index, step in enumerate(job["steps"]):
        at, output = (*place, "steps", index, "output"), step.get("output")
        if output is not None and "environment" in job:
            text = "a deployment's outputs have other names on Azure: no job would find it"
            yield Problem(at, text, "put it out in a job without `environment`")
        if output in seen:
            yield Problem(at, f"two steps put out {output!r}", "give one another name")
        seen |= {output} - {None}


def _twice(jobs: Mapping[str, Any]) -> Iterator[Problem]:
    """An artifact is uploaded once in a run: platforms refuse the second."""
    seen: dict[str, str] = {}
    for name, job in jobs.items():
        for index, step in enumerate(job["steps"]):
            if step.get("use") != "upload":
                continue
            first = seen.setdefault(step["artifact"], f"{name}, step {index + 1}")
            if first != f"{name}, step {index + 1}":
                text = f"the artifact {step['artifact']} is uploaded already, by {first}"
                at = ("jobs", name, "steps", index, "artifact")
                yield Problem(at, text, "give one another name")


def _artifacts(jobs: Mapping[str, Any], job: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    there = [
        step["artifact"]
        for need in job.get("needs", ())
        for step in jobs.get(need, {}).get("steps", ())
        if step.get("use") == "upload"
    ]
    for index, step in enumerate(job["steps"]):
        if step.get("use") == "download" and step["artifact"] not in there:
            at = (*place, "steps", index, "artifact")
            yield unknown("artifact of a job that it needs", step["artifact"], there, at)


def _reachable(job: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    """What a fork's change must not come near: it would get nothing, or too much."""
    if "same-repository" in job.get("when", ()):
        return
    fix = "add `when: [same-repository]` to the job"
    for index, step in enumerate(job["steps"]):
        at = (*place, "steps", index)
        for name, value in step.get("env", {}).items():
            if isinstance(value, dict) and "secret" in value:
                text = f"a fork's change reaches the secret {value['secret']}"
                yield Problem((*at, "env", name), text, fix)
        if "token" in step:
            text = "a fork's change reaches the run's token, which on Azure no job's rights limit"
            yield Problem((*at, "token"), text, fix)
        if "identity" in step:
            text = "a fork's change reaches a step that is logged in"
            yield Problem((*at, "identity"), text, fix)
    for index, right in enumerate(job["permissions"]):
        if right["level"] == "write":
            text = f"a fork's change reaches a job that may write {right['scope']}"
            yield Problem((*place, "permissions", index), text, fix)


def _expressions(value: object, place: Place) -> Iterator[Problem]:
    for at, text in _texts(value, place):
        if match := _EXPRESSION.search(text):
            yield Problem(
                at,
                f"{match[0]!r} would be replaced by a platform before any shell sees it",
                "map it in `env`, and write $NAME in the command",
            )


def _texts(value: object, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*place, index))


def unknown(kind: str, name: str, known: Iterable[str], place: Place) -> Problem:
    """A name that there is none of, with the nearest one."""
    names = list(known)
    fix = problem.meant(name, names, f"there are: {', '.join(names) or 'none'}")
    return Problem(place, f"there is no {kind} {name!r}", fix)
