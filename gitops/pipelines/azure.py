"""A Pipeline as an Azure Pipelines file.

Format: learn.microsoft.com/azure/devops/pipelines/yaml-schema. Always emitted anew from the model.
What the platform keeps elsewhere stands there: branch policies start runs for pull requests in
Azure Repos, approvals are checks of an environment, and retention is a setting of the project.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gitops import trust
from gitops.errors import ConfigError
from gitops.pipelines import programs
from gitops.pipelines import yamltext as y
from gitops.pipelines.model import (
    STRICT,
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
    temp="$AGENT_TEMPDIRECTORY",
    path='echo "##vso[task.prependpath]{}"',
    variable='echo "##vso[task.setvariable variable={0}]${0}"',
    error='echo "##vso[task.logissue type=error]{}"',
    first=STRICT,
)
_UV = f"{_MACHINE.temp}/uv"
_ALL_PASSED = f"""\
{STRICT}for result in $RESULTS; do
  case "$result" in Succeeded*) ;; *) exit 1 ;; esac
done
"""
_TOKEN = {"SYSTEM_ACCESSTOKEN": "$(System.AccessToken)"}
_CONDITIONS = {
    "pull-request": "eq(variables['Build.Reason'], 'PullRequest')",
    "same-repository": "ne(variables['System.PullRequest.IsFork'], 'True')",
}


def path(pipeline: Pipeline) -> str:
    """Where the pipeline lies in a repository."""
    return f".azure-pipelines/{pipeline.name}.yml"


def emit(pipeline: Pipeline) -> str:
    """The pipeline file, keys in a fixed order."""
    triggers = pipeline.triggers
    jobs = [_job(pipeline, job) for job in pipeline.jobs]
    if pipeline.required:
        jobs.append(_required(pipeline))
    document = y.block(
        {
            "trigger": _branches(triggers.push, triggers.paths) or "none",
            "pr": _pull_request(triggers, pipeline.concurrency),
            "schedules": _schedules(pipeline),
            "resources": _events(triggers),
            "parameters": [_parameter(one) for one in triggers.inputs or ()] or None,
            "lockBehavior": _lock(pipeline.concurrency),
            "jobs": y.List(jobs),
        }
    )
    y.apart(document, list(document))
    y.apart(document["jobs"], range(1, len(jobs)))
    return y.dump(document, pipeline.header)


def identifier(name: str) -> str:
    """A name as Azure takes it for a job: letters, digits and underscores."""
    return name.replace("-", "_")


# ---------------------------------------------------------------- when


def _branches(names: tuple[str, ...], paths: tuple[str, ...]) -> y.Map | None:
    if not names:
        return None
    inside = y.block({"include": y.flow(paths)}) if paths else None
    return y.block({"branches": y.block({"include": y.flow(names)}), "paths": inside})


def _pull_request(triggers: Triggers, concurrency: Concurrency) -> y.Map | str:
    found = _branches(triggers.pull_request, triggers.paths)
    if found is None:
        return "none"
    return y.block({**found, "autoCancel": bool(concurrency.cancel)})


def _schedules(pipeline: Pipeline) -> list[y.Map] | None:
    branches = y.block({"include": y.flow([pipeline.integration])})
    return [
        y.block({"cron": y.quoted(line), "displayName": line, "branches": branches, "always": True})
        for line in pipeline.triggers.schedule
    ] or None


def _events(triggers: Triggers) -> y.Map | None:
    if not triggers.events:
        return None
    hooks = [y.block({"webhook": identifier(name), "connection": name}) for name in triggers.events]
    return y.block({"webhooks": hooks})


def _parameter(one: Input) -> y.Map:
    return y.block(
        {
            "name": one.name,
            "displayName": one.about,
            "type": "boolean" if one.kind == "boolean" else "string",
            "default": one.default,
            "values": y.flow(one.options) if one.options else None,
        }
    )


def _lock(concurrency: Concurrency) -> str | None:
    """Runs that need an environment with an exclusive lock wait for each other, in order."""
    return None if concurrency.cancel is True or concurrency.by == "commit" else "sequential"


def _condition(conditions: tuple[Condition, ...]) -> str | None:
    if not conditions:
        return None
    kinds = {one.kind for one in conditions}
    parts = [] if kinds & {"always", "failed", "finished"} else ["succeeded()"]
    parts += [part for one in conditions for part in _parts(one)]
    return parts[0] if len(parts) == 1 else y.joined([f"and({parts[0]},", *_listed(parts[1:])])


def _listed(parts: Sequence[str]) -> list[str]:
    """Arguments, the last with the bracket that closes."""
    return [*(f"{part}," for part in parts[:-1]), f"{parts[-1]})"]


def _parts(condition: Condition) -> tuple[str, ...]:
    value = condition.value
    if condition.kind == "always":
        return ("succeededOrFailed()",)
    if condition.kind == "failed":
        return ("failed()",)
    if condition.kind == "branch":
        return (f"eq(variables['Build.SourceBranch'], {y.literal(f'refs/heads/{value}')})",)
    if condition.kind == "finished":
        return ("not(canceled())", f"ne({_dependency(value)}.result, 'Skipped')")
    if condition.kind == "found":
        return (f"ne({_output(value)}, '{{}}')",)
    if condition.kind in ("input", "no-input"):
        wanted = "True" if condition.kind == "input" else "False"
        return (f"eq('${{{{ parameters.{value} }}}}', '{wanted}')",)
    return (_CONDITIONS[condition.kind],)


def _dependency(job: str) -> str:
    return f"dependencies.{identifier(job)}"


def _output(place: str) -> str:
    """An output variable, which the step of its own name sets."""
    job, _, output = place.partition(".")
    return f"{_dependency(job)}.outputs['{output}.{output}']"


# ---------------------------------------------------------------- jobs


def _job(pipeline: Pipeline, job: Job) -> y.Map:
    steps = y.List(_step(pipeline, job, step) for step in job.steps if step.use != "attest")
    head = {
        "deployment" if job.environment else "job": identifier(job.id),
        "displayName": job.id,
        "dependsOn": y.flow(map(identifier, job.needs)) if job.needs else None,
        "condition": _condition(job.when),
        "pool": _pool(job.runner),
        "timeoutInMinutes": job.timeout,
    }
    if job.environment:
        once = y.block({"runOnce": y.block({"deploy": y.block({"steps": steps})})})
        return y.block({**head, "environment": job.environment, "strategy": once})
    return y.block({**head, "strategy": _strategy(job.matrix), "steps": steps})


def _pool(runner: Runner) -> y.Map | y.List:
    if not runner.own:
        return y.flow({"vmImage": runner.image})
    demands = y.flow(runner.demands) if runner.demands else None
    return y.block({"name": runner.pool, "demands": demands})


def _strategy(matrix: Matrix | None) -> y.Map | None:
    if matrix is None:
        return None
    if matrix.source is not None:
        return y.block({"matrix": f"$[ {_output('.'.join(matrix.source))} ]"})
    rows = ((re.sub(r"\W", "_", "_".join(row.values())), y.flow(row)) for row in matrix.rows)
    return y.block({"matrix": y.block(rows)})


def _required(pipeline: Pipeline) -> y.Map:
    """The one check: without it a run whose jobs were all left out would pass."""
    results = [_result(pipeline.job(name)) for name in pipeline.required]
    places = " ".join(f"{{{number}}}" for number in range(len(pipeline.required)))
    format_ = [f"$[ format('{places}',", *_listed(results)]
    check = y.block(
        {
            "bash": y.script(_ALL_PASSED),
            "displayName": "Every required job must have passed",
            "env": y.block({"RESULTS": "$(results)"}),
        }
    )
    return y.block(
        {
            "job": "required",
            "displayName": "required",
            "dependsOn": y.flow(map(identifier, pipeline.required)),
            "condition": "always()",
            "pool": _pool(pipeline.job(pipeline.required[0]).runner),
            "timeoutInMinutes": 5,
            "variables": y.block({"results": y.joined([*format_[:-1], f"{format_[-1]} ]"])}),
            "steps": [y.block({"checkout": "none"}), check],
        }
    )


def _result(job: Job) -> str:
    """How a job ended; one for which nothing was found to do has succeeded."""
    result = f"{_dependency(job.id)}.result"
    return f"iif(eq({_output(job.found)}, '{{}}'), 'Succeeded', {result})" if job.found else result


# ---------------------------------------------------------------- steps


def _step(pipeline: Pipeline, job: Job, step: Step) -> y.Map:
    group = _group(job)
    if step.use == "checkout":
        return y.block(
            {
                "checkout": "self",
                "displayName": step.name,
                "persistCredentials": False,
                "fetchDepth": 0,
                "fetchTags": True,
            }
        )
    if step.use == "cache":
        key = f'"dvc" | "{group}"' if group else '"dvc"'
        inputs = {"key": f"{key} | **/dvc.lock", "restoreKeys": key, "path": ".dvc/cache"}
        return _task(step, "Cache@2", inputs)
    if step.use == "upload":
        inputs = {"targetPath": step.path, "artifact": step.artifact_of(group)}
        return _task(step, "PublishPipelineArtifact@1", inputs)
    if step.use == "download":
        how = pipeline.fetched(job, step.artifact)
        which = {"artifact": step.artifact_of(group if how == "own" else "")}
        if how == "parts":
            which = {"itemPattern": f"{step.artifact}-*/**"}
        return _task(step, "DownloadPipelineArtifact@2", {**which, "targetPath": step.path})
    if step.use == "test-results":
        inputs = {"testResultsFormat": "JUnit", "testResultsFiles": step.path}
        return _task(step, "PublishTestResults@2", inputs)
    if len(step.logins) > 1:
        raise ConfigError(
            f"{step.name!r} needs {' and '.join(step.logins)}, and a task of Azure Pipelines logs"
            " in to one cloud",
            fix="let storage, sources and targets be in one cloud, or write `ci: [github]`",
        )
    if "azure" in step.logins:
        return _logged_in(step, job)
    if "aws" in step.logins:
        return _logged_in_to_aws(step, job)
    return _bash(step, _command(step, pipeline.pins))


def _command(step: Step, pins: Pins) -> str:
    if step.use == "uv":
        hashes = "".join(f" \\\n  --hash=sha256:{one}" for one in pins.uv_hashes)
        return (
            f"{STRICT}cat > \"{_UV}.txt\" <<'END'\nuv=={pins.uv}{hashes}\nEND\n"
            "python3 -m pip install --quiet --no-deps --only-binary :all: --require-hashes \\\n"
            f'  --target "{_UV}" --requirement "{_UV}.txt"\n'
            f'echo "##vso[task.prependpath]{_UV}/bin"\n'
        )
    return programs.command(step, pins, _MACHINE)


def _bash(step: Step, command: str) -> y.Map:
    return y.block(
        {
            "bash": y.script(command),
            "name": step.output,
            "displayName": step.name,
            "condition": _condition(step.when),
            "env": _env(step),
        }
    )


def _logged_in(step: Step, job: Job) -> y.Map:
    """A command in a task that logs in by workload identity: the login holds for that task."""
    inputs: dict[str, object] = {
        "azureSubscription": _connection(job),
        "scriptType": "bash",
        "scriptLocation": "inlineScript",
        "inlineScript": y.script(step.run),
    }
    if step.oidc:
        inputs["addSpnToEnvironment"] = True
    return _task(step, "AzureCLI@2", inputs)


def _logged_in_to_aws(step: Step, job: Job) -> y.Map:
    """The same by a task of the AWS Toolkit, an extension; the connection names the role.

    https://docs.aws.amazon.com/vsts/latest/userguide/awsshell.html
    """
    inputs: dict[str, object] = {
        "awsCredentials": _connection(job),
        "scriptType": "inline",
        "inlineScript": y.script(step.run),
        "disableAutoCwd": True,  # else where the task keeps the script
        "workingDirectory": "$(System.DefaultWorkingDirectory)",
    }
    return _task(step, "AWSShellScript@1", inputs)


def _connection(job: Job) -> str:
    """The service connection of a workload identity that a job's commands log in by.

    Pull requests run what their authors wrote: theirs may only read. An environment with an
    identity has one of its name.
    """
    whose = trust.READ if job.reads else job.identity
    return f"{trust.CONNECTION}-{whose}" if whose else trust.CONNECTION


def _task(step: Step, task: str, inputs: Mapping[str, object]) -> y.Map:
    return y.block(
        {
            "task": task,
            "name": step.output,
            "displayName": step.name,
            "condition": _condition(step.when),
            "env": _env(step),
            "inputs": y.block(inputs),
        }
    )


def _env(step: Step) -> y.Map | None:
    env = {name: _value(one) for name, one in step.env.items()}
    if step.token:
        env |= _TOKEN
    return y.block(env) if env else None


def _value(value: Value) -> str:
    if value.kind == "text":
        return y.plain(value.name)
    if value.kind == "input":
        return f"${{{{ parameters.{value.name} }}}}"
    if value.kind == "before":
        return "HEAD^"  # the platform doesn't tell: what the last commit, or merge, has brought
    # Of the matrix, of the pipeline's variables, secret or not: all are variables.
    return f"$({'group' if value == Value('matrix', 'name') else value.name})"


def _group(job: Job) -> str:
    if job.matrix is None:
        return ""
    keys = ["group"] if job.matrix.source else list(job.matrix.values or ())
    return "-".join(f"$({key})" for key in keys)
