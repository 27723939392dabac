"""A Pipeline as a GitHub Actions workflow.

Format: docs.github.com, "Workflow syntax for GitHub Actions". Always emitted anew from the model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from gitops.pipelines import programs
from gitops.pipelines import yamltext as y
from gitops.pipelines.model import (
    Cloud,
    Concurrency,
    Condition,
    Input,
    Job,
    Matrix,
    Pins,
    Pipeline,
    Runner,
    Step,
    Triggers,
    Value,
)
from gitops.pipelines.programs import Machine

_MACHINE = Machine(
    temp="$RUNNER_TEMP",
    path='echo "{}" >> "$GITHUB_PATH"',
    variable='echo "{0}=${0}" >> "$GITHUB_ENV"',
    error='echo "::error::{}"',
)
_ALL_PASSED = """\
for result in $RESULTS; do
  test "$result" = success
done
"""
_LOGINS: Mapping[Cloud, tuple[str, str, Mapping[str, str]]] = {
    "azure": (
        "Log in to Azure",
        "azure/login",
        {
            "client-id": "AZURE_CLIENT_ID",
            "tenant-id": "AZURE_TENANT_ID",
            "subscription-id": "AZURE_SUBSCRIPTION_ID",
        },
    ),
    "aws": (
        "Log in to AWS",
        "aws-actions/configure-aws-credentials",
        {"role-to-assume": "AWS_ROLE_ARN", "aws-region": "AWS_REGION"},
    ),
}
# Who pull requests log in as: they run what their authors wrote, and only read.
_READERS = {"AZURE_CLIENT_ID": "AZURE_READ_CLIENT_ID", "AWS_ROLE_ARN": "AWS_READ_ROLE_ARN"}
_TOKEN = {"GITHUB_TOKEN": "${{ github.token }}"}
_IGNORE = "zizmor: ignore[self-hosted-runner]"
_BY = {"branch": "-${{ github.ref }}", "commit": "-${{ github.sha }}", "workflow": ""}
_CONDITIONS = {
    "always": "!cancelled()",
    "failed": "failure()",
    "pull-request": "github.event_name == 'pull_request'",
}
_SAME = "github.event.pull_request.head.repo.full_name == github.repository"


def path(pipeline: Pipeline) -> str:
    """Where the workflow lies in a repository."""
    return f".github/workflows/{pipeline.name}.yml"


def emit(pipeline: Pipeline) -> str:
    """The workflow file: reasons beside permissions, tags beside commits, keys in a fixed order."""
    jobs = [(job.id, _job(pipeline, job)) for job in pipeline.jobs]
    if pipeline.required:
        jobs.append(("required", _required(pipeline)))
    workflow = y.block(
        {
            "name": pipeline.name,
            "on": _triggers(pipeline.triggers),
            "permissions": y.nothing(),
            "concurrency": _concurrency(pipeline.concurrency),
            "jobs": y.block(jobs),
        }
    )
    y.apart(workflow, list(workflow))
    y.apart(workflow["jobs"], list(workflow["jobs"])[1:])
    return y.dump(workflow, pipeline.header)


# ---------------------------------------------------------------- when


def _triggers(triggers: Triggers) -> y.Map:
    found = y.Map()
    for name, branches in (
        ("pull_request", triggers.pull_request),
        ("merge_group", triggers.merge_queue),
        ("push", triggers.push),
    ):
        if branches:
            paths = triggers.paths if name != "merge_group" else ()
            filters = {
                "branches": y.flow(_literal(one) for one in branches),
                "paths": y.flow(paths) if paths else None,
            }
            found[name] = y.block(filters)
    if triggers.schedule:
        found["schedule"] = [y.block({"cron": y.quoted(line)}) for line in triggers.schedule]
    if triggers.inputs is not None:
        inputs = y.block((one.name, _input(one)) for one in triggers.inputs)
        found["workflow_dispatch"] = y.block({"inputs": inputs}) if inputs else None
    if triggers.events:
        found["repository_dispatch"] = y.block({"types": y.flow(triggers.events)})
    return found


def _literal(branch: str) -> str:
    """`branch` with the signs escaped that git allows and a branch filter reads as a pattern."""
    return re.sub(r"([+!\]])", r"\\\1", branch)


def _input(one: Input) -> y.Map:
    return y.block(
        {
            "description": one.about,
            "type": {"text": "string", "choice": "choice", "boolean": "boolean"}[one.kind],
            "options": y.flow(one.options) if one.options else None,
            "required": True if one.default is None else None,
            "default": one.default,
        }
    )


def _concurrency(concurrency: Concurrency) -> y.Map:
    group = f"{concurrency.group}{_BY[concurrency.by]}"
    cancel: bool | str = concurrency.cancel
    if concurrency.cancel == "pull-request":
        cancel = f"${{{{ {_CONDITIONS['pull-request']} }}}}"
    return y.block({"group": group, "cancel-in-progress": cancel})


def _if(conditions: tuple[Condition, ...]) -> str | None:
    if not conditions:
        return None
    kinds = {one.kind for one in conditions}
    parts = list(dict.fromkeys(part for one in conditions for part in _parts(one, kinds)))
    first, *others = parts
    *most, last = [f"${{{{ {first}", *(f"&& {one}" for one in others)]
    return y.joined([*most, f"{last} }}}}"])


def _parts(condition: Condition, beside: Collection[str]) -> tuple[str, ...]:
    """What must all be true; `beside`: the kinds of all conditions that must hold with it."""
    value = condition.value
    if condition.kind == "branch":
        return (f"github.ref == {y.literal(f'refs/heads/{value}')}",)
    if condition.kind == "finished":
        return ("!cancelled()", f"needs.{value}.result != 'skipped'")
    if condition.kind == "found":
        return (f"{_output(value)} != '[]'",)
    if condition.kind in ("input", "no-input"):
        return (f"{'!' if condition.kind == 'no-input' else ''}inputs.{value}",)
    if condition.kind == "same-repository":
        if "pull-request" in beside:
            return (_SAME,)
        either = f"{_CONDITIONS['pull-request'].replace('==', '!=')} || {_SAME}"
        return (either if len(beside) == 1 else f"({either})",)
    return (_CONDITIONS[condition.kind],)


def _output(place: str) -> str:
    job, _, output = place.partition(".")
    return f"needs.{job}.outputs.{output}"


# ---------------------------------------------------------------- jobs


def _job(pipeline: Pipeline, job: Job) -> y.Map:
    permissions = y.Map()
    for right in job.permissions:
        permissions[right.scope] = right.level
        y.beside(permissions, right.scope, right.reason)
    outputs = {name: f"${{{{ steps.{name}.outputs.{name} }}}}" for name in job.outputs}
    found = y.block(
        {
            "name": f"{job.id} {_title(job.matrix, ' ')}" if job.matrix else job.id,
            "needs": y.flow(job.needs) if job.needs else None,
            "if": _if(job.when),
            "runs-on": _runs_on(job.runner),
            "timeout-minutes": job.timeout,
            "permissions": permissions or y.nothing(),
            "environment": job.environment,
            "strategy": _strategy(job.matrix),
            "outputs": y.block(outputs) if outputs else None,
            "steps": list(_steps(pipeline, job)),
        }
    )
    if job.runner.own:
        outside = bool(pipeline.triggers.pull_request)
        reason = "no fork's code: see `if`" if outside else "only what was merged"
        y.beside(found, "runs-on", f"{_IGNORE} {reason}")
    return found


def _title(matrix: Matrix, between: str) -> str:
    """What tells the jobs of a matrix apart."""
    keys = ["group.name"] if matrix.source else list(matrix.values or ())
    return between.join(f"${{{{ matrix.{key} }}}}" for key in keys)


def _runs_on(runner: Runner) -> str | y.Map | y.List:
    return runner.labels[0] if len(runner.labels) == 1 else y.flow(runner.labels)


def _strategy(matrix: Matrix | None) -> y.Map | None:
    if matrix is None:
        return None
    if matrix.source is not None:
        groups = f"${{{{ fromJSON({_output('.'.join(matrix.source))}) }}}}"
        return y.block({"fail-fast": False, "matrix": y.block({"group": groups})})
    values = {key: y.flow(map(y.plain, some)) for key, some in (matrix.values or {}).items()}
    return y.block({"fail-fast": False, "matrix": y.block(values)})


def _required(pipeline: Pipeline) -> y.Map:
    """The one check that branch protection requires: it runs whatever happened to the others."""
    results = [f"${{{{ {_result(pipeline.job(name))} }}}}" for name in pipeline.required]
    check = y.block(
        {
            "name": "Every required job must have passed",
            "env": y.block({"RESULTS": y.joined(results)}),
            "run": y.script(_ALL_PASSED),
        }
    )
    runner = pipeline.job(pipeline.required[0]).runner
    found = y.block(
        {
            "name": "required",
            "needs": y.flow(pipeline.required),
            "if": "${{ always() }}",
            "runs-on": _runs_on(runner),
            "timeout-minutes": 5,
            "permissions": y.nothing(),
            "steps": [check],
        }
    )
    if runner.own:
        y.beside(found, "runs-on", f"{_IGNORE} no code of anybody's runs here")
    return found


def _result(job: Job) -> str:
    """How a job ended; one for which nothing was found to do has succeeded."""
    result = f"needs.{job.id}.result"
    return f"{_output(job.found)} == '[]' && 'success' || {result}" if job.found else result


# ---------------------------------------------------------------- steps


def _steps(pipeline: Pipeline, job: Job) -> Iterator[y.Map]:
    pins = pipeline.pins
    done: set[Cloud] = set()
    for step in job.steps:
        for cloud in step.logins:
            if cloud not in done:
                done.add(cloud)
                name, action, variables = _LOGINS[cloud]
                readers = _READERS if job.reads else {}
                inputs = {key: readers.get(one, one) for key, one in variables.items()}
                shown = {key: f"${{{{ vars.{one} }}}}" for key, one in inputs.items()}
                yield _uses(Step(name), pins, action, shown)
        if step.use == "test-results":
            continue  # GitHub shows none: the gate writes the summary itself
        yield _step(pipeline, job, step)


def _step(pipeline: Pipeline, job: Job, step: Step) -> y.Map:
    pins, group = pipeline.pins, _group(job)
    if step.use == "checkout":
        # The whole history: what is rebuilt is a clone of this one.
        inputs: Mapping[str, object] = {"persist-credentials": False, "fetch-depth": 0}
        return _uses(step, pins, "actions/checkout", inputs)
    if step.use == "uv":
        return _uses(step, pins, "astral-sh/setup-uv", {"version": y.quoted(pins.uv)})
    if step.use == "cache":
        key = f"dvc-{group}-" if group else "dvc-"
        lock = "${{ hashFiles('**/dvc.lock') }}"
        inputs = {"path": ".dvc/cache", "key": f"{key}{lock}", "restore-keys": key}
        return _uses(step, pins, "actions/cache", inputs, "" if job.saves else "/restore")
    if step.use == "upload":
        inputs = {
            "name": step.artifact_of(group),
            "path": step.path,
            "retention-days": step.days,
            "if-no-files-found": "error",
        }
        return _uses(step, pins, "actions/upload-artifact", inputs)
    if step.use == "download":
        how = pipeline.fetched(job, step.artifact)
        inputs = {"name": step.artifact_of(group if how == "own" else ""), "path": step.path}
        if how == "parts":
            parts = {"pattern": f"{step.artifact}-*", "merge-multiple": True}
            inputs = {**parts, "path": step.path}
        return _uses(step, pins, "actions/download-artifact", inputs)
    if step.use == "attest":
        inputs = {
            "subject-checksums": f"{step.path}/subjects.txt",
            "predicate-type": "https://slsa.dev/provenance/v1",
            "predicate-path": f"{step.path}/predicate.json",
        }
        return _uses(step, pins, "actions/attest", inputs)
    return _run(step, pins)


def _run(step: Step, pins: Pins) -> y.Map:
    env = {name: _value(one) for name, one in step.env.items()}
    if step.token:
        env |= _TOKEN
    return y.block(
        {
            "name": step.name,
            "id": step.output,
            "if": _if(step.when),
            "env": y.block(env) if env else None,
            "run": y.script(programs.command(step, pins, _MACHINE)),
        }
    )


def _group(job: Job) -> str:
    return _title(job.matrix, "-") if job.matrix else ""


def _value(value: Value) -> str:
    if value.kind == "text":
        return y.plain(value.name)
    if value.kind == "matrix":
        inside = {
            "name": "matrix.group.name",
            "models": "join(matrix.group.models, ' ')",
        }.get(value.name, f"matrix.{value.name}")
        return f"${{{{ {inside} }}}}"
    kinds = {"input": "inputs.", "secret": "secrets.", "variable": "vars."}
    if value.kind == "before":
        return "${{ github.event.before }}"
    return f"${{{{ {kinds[value.kind]}{value.name} }}}}"


def _uses(
    step: Step, pins: Pins, action: str, inputs: Mapping[str, object], part: str = ""
) -> y.Map:
    pin = pins.action(action)
    result = y.block(
        {
            "name": step.name,
            "if": _if(step.when),
            "uses": f"{pin.action}{part}@{pin.commit}",
            "with": y.block(inputs),
        }
    )
    y.beside(result, "uses", pin.tag)
    return result
