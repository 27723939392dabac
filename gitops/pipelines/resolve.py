"""A definition and the configuration -> the pipeline of one platform, nothing left to choose."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from gitops.config import Config, Environment
from gitops.config.deploy import ON_AZURE
from gitops.config.source import Source
from gitops.pipelines.definition import Definition, environments
from gitops.pipelines.model import (
    STRICT,
    Cloud,
    Concurrency,
    Condition,
    ConditionKind,
    Input,
    Job,
    Matrix,
    Permission,
    Pins,
    Pipeline,
    Platform,
    Runner,
    Step,
    Triggers,
    Value,
)

_LOGIN = {"azure": "logs in to Azure without a secret", "aws": "logs in to AWS without a secret"}
# Shells differ in when they stop (GitHub's at the first failure, Azure's never): told to the shell.
_COMPOUND = re.compile(r"[\n;|&]")
_REFUSAL = (
    "no hosted runner reaches a folder: set storage to s3:// or azure:// in gitops.yaml, or runners"
    " to your own"
)


@dataclass(frozen=True)
class _Context:
    config: Config
    platform: Platform
    pins: Pins
    jobs: Mapping[str, Any]

    @property
    def several(self) -> bool:
        return len(self.config.models) > 1

    @property
    def sources(self) -> list[Source]:
        """Where tables come from."""
        return [one.source for one in self.config.models.values() if one.source]

    @property
    def terraform(self) -> bool:
        """Whether what is provisioned is Terraform; the Azure CLI brings its own Bicep."""
        declared = self.config.infrastructure
        return declared is not None and declared.generator.startswith("terraform")

    @property
    def provider(self) -> Cloud | None:
        """The cloud whose resources environments have, each with an identity of its own."""
        declared = self.config.infrastructure
        return declared.provider if declared and declared.provider != "local" else None

    def ids(self, name: str) -> list[str]:
        """The jobs that one of the definition becomes."""
        job = self.jobs.get(name)
        if job is None or (job.get("only") == "several-models" and not self.several):
            return []
        if "each" not in job:
            return [name] if self.runs(name, name) else []
        found = [f"{name}-{one.name}" for one in environments(job, self.config)]
        return [one for one in found if self.runs(name, one)]

    def runs(self, name: str, job: str) -> bool:
        """Whether what the job is for can be done where it runs."""
        only = self.jobs[name].get("only")
        if only == "provisioned":
            return self.provider is not None
        if only == "sourced":
            return bool(self.sources)
        if only == "imaged":
            return any(one.deploy.target != "local" for one in self.config.models.values())
        if only != "deployable":
            return True
        # The local target is a machine: on another one nothing can be deployed to it.
        local = all(one.deploy.target == "local" for one in self.config.models.values())
        return not local or self.runner(name, job).own

    def runner(self, name: str, job: str) -> Runner:
        """By the job's own name, the definition's, or the default; on a laptop this machine."""
        known = self.config.runners
        chosen = known.get(job) or known.get(name) or known.get("default")
        if self.platform == "local":
            return Runner(own=True)
        if self.platform == "github":
            labels = chosen.labels if chosen else ()
            return Runner("self-hosted" in labels, labels=labels or (self.pins.runner,))
        if chosen is None or chosen.pool is None:
            return Runner(False, image=self.pins.runner)
        return Runner(True, pool=chosen.pool, demands=chosen.demands)


def resolve(found: Definition, config: Config, platform: Platform, pins: Pins) -> Pipeline:
    """The pipeline of a checked definition."""
    data = found.data
    context = _Context(config, platform, pins, data["jobs"])
    triggers = _triggers(data["triggers"], context)
    # Without an environment to choose there's nothing to start.
    choices = [one.options for one in triggers.inputs or () if one.kind == "choice"]
    names = data["jobs"] if all(choices) else ()
    jobs = [job for name in names for job in _jobs(context, name, triggers)]
    concurrency = data["concurrency"]
    return Pipeline(
        name=found.name,
        about=data["about"],
        integration=config.environments[0].branch,
        triggers=triggers,
        concurrency=Concurrency(
            concurrency.get("group", found.name), concurrency["by"], concurrency["cancel"]
        ),
        jobs=tuple(_ordered(jobs)),
        required=tuple(one for name in data.get("required", ()) for one in context.ids(name)),
        pins=pins,
    )


def ejected(pipeline: Pipeline) -> Pipeline:
    """What is left of it without gitops: jobs that run nothing of their own are gone."""
    jobs = []
    for job in pipeline.jobs:
        steps = tuple(step for step in job.steps if step.use != "tool" and not _is_ours(step))
        if any(step.run and step.use is None for step in steps):
            jobs.append(replace(job, steps=steps))
    left = [job.id for job in jobs]
    kept = [replace(job, needs=tuple(one for one in job.needs if one in left)) for job in jobs]
    required = tuple(job for job in pipeline.required if job in left)
    return replace(pipeline, jobs=tuple(kept), required=required, about="", marked=False)


def _is_ours(step: Step) -> bool:
    return step.run.removeprefix(STRICT).startswith("gitops ")


def _triggers(data: Mapping[str, Any], context: _Context) -> Triggers:
    config = context.config
    manual = data.get("manual")
    inputs = (manual or {}).get("inputs", {})
    return Triggers(
        pull_request=_branches(data.get("pull-request"), config),
        merge_queue=_branches(data.get("merge-queue"), config),
        push=_branches(data.get("push"), config),
        paths=tuple(data.get("paths", ())),
        schedule=_declared(data.get("schedule", ()), [one.schedule for one in context.sources]),
        inputs=None if manual is None else tuple(_input(n, i, config) for n, i in inputs.items()),
        events=_declared(data.get("events", ()), [one.event for one in context.sources]),
    )


def _declared(data: str | list[str], of_sources: list[str | None]) -> tuple[str, ...]:
    """What a trigger lists, or (`sources`) what the sources of tables do."""
    listed = of_sources if data == "sources" else data
    return tuple(dict.fromkeys(one for one in listed if one))


def _branches(data: Mapping[str, Any] | None, config: Config) -> tuple[str, ...]:
    if data is None:
        return ()
    wanted = data["branches"]
    if isinstance(wanted, list):
        return tuple(wanted)
    all_ = tuple(one.branch for one in config.environments)
    return {"integration": all_[:1], "releases": all_[1:], "environments": all_}[wanted]


def _input(name: str, data: Mapping[str, Any], config: Config) -> Input:
    kind, default = data["type"], data.get("default")
    all_ = tuple(one.name for one in config.environments)
    some = {"environment": all_, "source": all_[:-1], "release": all_[1:]}
    if kind in some:
        return Input(name, "choice", data["about"], some[kind], default)
    return Input(name, kind, data["about"], tuple(data.get("options", ())), default)


def _jobs(context: _Context, name: str, triggers: Triggers) -> Iterator[Job]:
    data = context.jobs[name]
    ids = context.ids(name)
    if context.platform == "azure" and any(one.get("use") == "attest" for one in data["steps"]):
        return  # it signs nothing
    if "each" not in data:
        yield from (_job(context, name, one, None, triggers) for one in ids)
        return
    for environment in environments(data, context.config):
        if (job := f"{name}-{environment.name}") in ids:
            yield _job(context, name, job, environment, triggers)


def _job(
    context: _Context, name: str, job: str, environment: Environment | None, triggers: Triggers
) -> Job:
    data = context.jobs[name]
    runner = context.runner(name, job)
    matrix = _matrix(context, data.get("matrix"))
    when = [_condition(one, environment) for one in data.get("when", ())]
    when = [one for one in when if one.kind != "found" or context.ids(one.value.split(".")[0])]
    if matrix is not None and matrix.source is not None:
        when.append(Condition("found", ".".join(matrix.source)))
    # On a machine of the user's nothing runs that somebody from outside has written.
    outside = Condition("same-repository")
    if runner.own and context.platform != "local" and triggers.pull_request and outside not in when:
        when.append(outside)
    named = _filled(data["environment"], environment) if "environment" in data else None
    reads = bool(triggers.pull_request) and named is None
    kinds = {one.deploy.target for one in context.config.models.values()}
    needed = {"terraform": context.terraform, "az-ml": "azureml" in kinds}
    wanted = [one for one in data["steps"] if needed.get(one.get("use"), True)]
    steps = [_step(context, one, environment, matrix, reads) for one in wanted]
    reaches = any("storage" in one.get("identity", ()) for one in data["steps"])
    if reaches and context.config.storage.kind == "folder" and not runner.own:
        steps.insert(0, Step("The storage must be within reach", run=_REFUSAL, use="refuse"))
    return Job(
        id=job,
        timeout=data["timeout"],
        permissions=_permissions(data, steps),
        steps=tuple(steps),
        runner=runner,
        needs=tuple(_needs(context, data, environment)),
        when=tuple(when),
        matrix=matrix,
        environment=named,
        saves=data.get("saves-cache", False),
        identity=(named or "") if context.provider else "",
        reads=reads,
    )


def _needs(
    context: _Context, data: Mapping[str, Any], environment: Environment | None
) -> Iterator[str]:
    """Jobs that are there; for one environment those of the same."""
    for need in data.get("needs", ()):
        same = f"{need}-{environment.name}" if environment and "each" in context.jobs[need] else ""
        yield from (one for one in context.ids(need) if not same or one == same)


def _matrix(context: _Context, data: str | Mapping[str, list[str]] | None) -> Matrix | None:
    if data is None:
        return None
    if isinstance(data, str):
        job, _, output = data.partition(".")
        return Matrix(source=(job, output)) if context.ids(job) else None
    return Matrix(values={key: tuple(values) for key, values in data.items()})


def _condition(data: str | Mapping[str, str], environment: Environment | None) -> Condition:
    ((kind, value),) = [(data, "")] if isinstance(data, str) else data.items()
    return Condition(cast(ConditionKind, kind), _filled(value, environment))


def _step(
    context: _Context,
    data: Mapping[str, Any],
    environment: Environment | None,
    matrix: Matrix | None,
    reads: bool,
) -> Step:
    values = {name: _value(one, environment) for name, one in data.get("env", {}).items()}
    if matrix is None:
        values = {name: one for name, one in values.items() if one.kind != "matrix"}
    identity = data.get("identity", ())
    logins = _logins(context, identity)
    storage = context.config.storage
    accounts = [storage.account] if storage.kind == "azure" else []
    if "source" in identity:
        accounts += [one.account for one in context.sources if one.scheme == "azure"]
        urls = {one.url_env for one in context.sources if one.url_env}
        values |= {name: Value("secret", name) for name in sorted(urls)}
    if "azure" in logins and None in accounts:  # gitops.yaml leaves it to the environment
        values["AZURE_STORAGE_ACCOUNT_NAME"] = Value("variable", "AZURE_STORAGE_ACCOUNT_NAME")
    oidc = "infrastructure" in identity and context.provider == "azure"
    if oidc and context.platform == "github":
        # Azure Pipelines tells a command as whom its task has logged in.
        names = ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID")
        values |= {name: Value("variable", name) for name in names}
        if reads:
            values["AZURE_CLIENT_ID"] = Value("variable", "AZURE_READ_CLIENT_ID")
    declared = context.config.infrastructure
    if "aws" in logins and context.platform == "azure" and declared and context.provider == "aws":
        # Of GitHub's action it is an input.
        values["AWS_REGION"] = Value("text", declared.region)
    return Step(
        name=_filled(data["name"], environment),
        run=_script(_filled(data.get("run", ""), environment)),
        use=data.get("use"),
        env=values,
        when=tuple(_condition(one, environment) for one in data.get("when", ())),
        output=data.get("output"),
        logins=logins,
        own=_own(context, identity),
        oidc=oidc,
        token=data.get("token", False),
        artifact=data.get("artifact", ""),
        path=data.get("path", ""),
        days=data.get("days", 0),
    )


def _script(command: str) -> str:
    """A command that stops at the first failure, in a pipe too, wherever it runs."""
    return f"{STRICT}{command}" if _COMPOUND.search(command.rstrip("\n")) else command


def _value(data: object, environment: Environment | None) -> Value:
    if isinstance(data, dict):
        ((kind, name),) = data.items()
        return Value(kind, "" if kind == "before" else name)
    text = str(data).lower() if isinstance(data, bool) else str(data)
    return Value("text", _filled(text, environment))


def _own(context: _Context, wanted: Collection[str]) -> tuple[Cloud, ...]:
    """A store that isn't Amazon's takes no identity of the platform's: the runner has one."""
    storage = context.config.storage
    stored = "storage" in wanted and storage.kind == "s3" and storage.endpoint is not None
    given = "source" in wanted and any(
        one.scheme == "s3" and one.endpoint for one in context.sources
    )
    return ("aws",) if stored or given else ()


def _logins(context: _Context, wanted: Iterable[str]) -> tuple[Cloud, ...]:
    """The clouds of the storage, of what is deployed to, and of where tables come from."""
    clouds: list[Cloud] = []
    storage = context.config.storage
    if "storage" in wanted and storage.kind == "azure":
        clouds.append("azure")
    if "storage" in wanted and storage.kind == "s3" and storage.endpoint is None:
        clouds.append("aws")
    if "source" in wanted:
        if any(one.scheme == "azure" or one.login == "azure" for one in context.sources):
            clouds.append("azure")
        if any(one.scheme == "s3" and one.endpoint is None for one in context.sources):
            clouds.append("aws")
    targets = {one.deploy.target for one in context.config.models.values()}
    if "infrastructure" in wanted and context.provider:
        clouds.append(context.provider)
    azure = context.provider == "azure"
    if "registry" in wanted and azure and context.config.targets.registry is None:
        clouds.append("azure")
    if "target" in wanted and (targets & ON_AZURE or ("kubernetes" in targets and azure)):
        clouds.append("azure")
    return tuple(dict.fromkeys(clouds))


def _permissions(data: Mapping[str, Any], steps: Iterable[Step]) -> tuple[Permission, ...]:
    rights = [Permission(**right) for right in data["permissions"]]
    clouds = list(dict.fromkeys(cloud for step in steps for cloud in step.logins))
    if clouds and not any(one.scope == "id-token" for one in rights):
        rights.append(Permission("id-token", "write", _LOGIN[clouds[0]]))
    return tuple(rights)


def _filled(text: str, environment: Environment | None) -> str:
    """`text` with {environment} and {branch} of one environment in it."""
    if environment is None:
        return text
    return text.replace("{environment}", environment.name).replace("{branch}", environment.branch)


def _ordered(jobs: list[Job]) -> Iterator[Job]:
    """Each job after those that it needs; otherwise as they were written."""
    left = {job.id: job for job in jobs}
    while left:
        job = next(one for one in left.values() if not any(need in left for need in one.needs))
        yield left.pop(job.id)
