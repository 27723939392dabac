"""`gitops.yaml`: the one file that a user writes, as a frozen typed value, and its JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gitops import git, names, problem, yamlfile
from gitops.config import checks, target_checks, values
from gitops.config.base import Frozen, Several
from gitops.config.compute import Compute
from gitops.config.deploy import Deploy, Targets
from gitops.config.infrastructure import Infrastructure
from gitops.config.runners import Job, Runner
from gitops.config.serving import PORT, Listen, Rollout, Serve
from gitops.config.source import Source
from gitops.config.wrap import Wrap
from gitops.errors import ConfigError, UsageError, Where
from gitops.logtext import Platform
from gitops.signature import Task

FILE = "gitops.yaml"

_M = TypeVar("_M", bound=BaseModel)


class Environment(Frozen):
    """A branch that models move to, judged by a policy."""

    name: values.EnvironmentName = Field(description="The name that commands and tags use.")
    branch: values.Branch = Field(description="The branch whose tip is what this environment runs.")
    policy: values.PolicyName = Field(
        default="baseline",
        description="A shipped policy pack, or one of .gitops/policies/<name>.yaml.",
    )
    approvers: Several[values.Approver] = Field(
        default=(), description="Who may approve a promotion to this environment."
    )
    freeze: Several[values.Freeze] = Field(
        default=(),
        description="Weekly windows, by the wall clock of a zone, in which nothing is promoted.",
    )
    listen: Listen | None = Field(
        default=None,
        description="Where the local target answers; by default only this machine is answered, on"
        " port 8080, 8081, ... in the order of the environments.",
    )
    rollout: Rollout = Rollout()


def _only_with(field: str, scheme: str) -> dict[str, Any]:
    given = {"required": [field], "properties": {field: {"type": "string"}}}
    remote = {"required": ["remote"], "properties": {"remote": {"pattern": f"^{scheme}://"}}}
    return {"if": given, "then": remote}


class Storage(Frozen):
    """Where data and models are kept; DVC moves them."""

    model_config = ConfigDict(
        json_schema_extra={"allOf": [_only_with("endpoint", "s3"), _only_with("account", "azure")]}
    )

    remote: values.Remote = Field(
        default="../dvc-storage",
        description="A folder (relative to the repository, or absolute), s3://bucket/path or "
        "azure://container/path. Credentials never stand here.",
    )
    endpoint: values.Endpoint | None = values.ENDPOINT
    account: values.Account | None = values.ACCOUNT

    @property
    def kind(self) -> Literal["folder", "s3", "azure"]:
        """What sort of place `remote` is."""
        if self.remote.startswith("s3://"):
            return "s3"
        return "azure" if self.remote.startswith("azure://") else "folder"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for field, kind in (("endpoint", "s3"), ("account", "azure")):
            if getattr(self, field) is not None and self.kind != kind:
                raise values.wrong(
                    f"is for {kind}:// storage, but the remote is {values.shown(self.remote)}",
                    f"remove {field}, or write a remote with {kind}://",
                    at=field,
                )
        return self


class Tool(Frozen):
    """How CI gets this tool."""

    source: Literal["vendored", "index"] = Field(
        default="vendored",
        description="vendored: the wheel in .gitops/tool; index: from the package index, by hash.",
    )


class Reproduce(Frozen):
    """What building the same commit again must give."""

    level: Literal["bytes", "parameters", "predictions"] = Field(
        default="bytes", description="What is compared, the strictest first."
    )
    tolerance: float = Field(
        default=1e-6,
        gt=0,
        description="The largest difference allowed where bytes may differ.",
        examples=[1e-6],
    )


class Model(Frozen):
    """One model: where its code is, what it predicts, and what building it writes."""

    path: values.Folder = Field(
        default=".", description="Its folder in the repository; a monorepo has models/<name>."
    )
    task: Task = Field(description="What it predicts.")
    framework: Literal["sklearn", "custom"] = Field(
        default="sklearn", description="How it is exported; custom code writes the package itself."
    )
    data: values.Path | None = Field(
        default=None,
        description="The table that `gitops data update` and `gitops data ingest` replace.",
    )
    source: Source | None = None
    package: values.Path = Field(
        default="models/package", description="The folder that packaging writes."
    )
    evaluation: values.Path = Field(
        default="evaluation", description="The folder that evaluating writes."
    )
    metrics: values.Path = Field(
        default="metrics.json", description="The file of metrics for people, in git."
    )
    predict: values.PredictCommand | None = Field(
        default=None,
        description="A command that scores the Parquet file {input} into the Parquet file "
        "{output}, for a model that has no ONNX form.",
    )
    sensitive: Several[values.Column] = Field(
        default=(),
        description="Columns of people's attributes: between their groups the gate looks for gaps.",
        examples=[["sex", "age"]],
    )
    reproduce: Reproduce = Reproduce()
    wrap: Wrap | None = None
    serve: Serve = Serve()
    deploy: Deploy = Deploy()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.source is not None and self.data is None:
            raise values.wrong(
                "has no table that it could replace", "add `data: data/NAME.parquet`", at="source"
            )
        return self


_ENVIRONMENTS = (
    Environment(name="dev", branch="main"),
    Environment(name="staging", branch="release/staging"),
    Environment(name="production", branch="release/production"),
)


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):  # which equals 1 in Python
        raise values.wrong(f"is {values.shown(value)}", "write 1")
    return value


class Config(Frozen):
    """What models there are, where they go, and how they are judged."""

    version: Annotated[Literal[1], BeforeValidator(_no_boolean)] = Field(
        description="The version of this file's format."
    )
    project: values.ProjectName = Field(description="The project's name.")
    ci: Several[Platform] = Field(
        default=("github",),
        description="The platforms that pipelines are written for.",
        examples=[["github", "azure"]],
    )
    environments: Annotated[tuple[Environment, ...], Field(strict=False)] = Field(
        default=_ENVIRONMENTS,
        min_length=1,
        description="The environments in the order of promotion.",
    )
    storage: Storage = Storage()
    tool: Tool = Tool()
    runners: Mapping[Job, Runner] = Field(
        default_factory=dict,
        description="The machines that jobs of pipelines run on, by job; `default` for all others."
        " Without it they run on those of the platform.",
        examples=[{"default": {"labels": ["self-hosted"], "pool": "training"}}],
    )
    infrastructure: Infrastructure | None = None
    targets: Targets = Targets()
    compute: Mapping[values.EnvironmentName, Compute] = Field(
        default_factory=dict,
        description="Where `gitops build --on NAME` runs a model's stages, by name.",
    )
    models: Mapping[values.ModelName, Model] = Field(
        min_length=1,
        description="The models by name.",
        examples=[{"late": {"task": "binary"}}],
    )

    def model(self, name: str | None = None, option: str = "") -> tuple[str, Model]:
        """The model called `name`, which is said after `option`; without a name the only one.

        Raises:
            UsageError: there's none of that name, or several to choose from.
        """
        if name is None and len(self.models) == 1:
            return next(iter(self.models.items()))
        if name is None:
            each = [f"{option} {one}".strip() for one in self.models]
            raise UsageError("there are several models", fix=f"name one: {', '.join(each)}")
        if name not in self.models:
            raise _unknown("model", name, list(self.models))
        return name, self.models[name]

    def environment(self, name: str) -> Environment:
        """The environment called `name`.

        Raises:
            UsageError: there's none of that name.
        """
        for environment in self.environments:
            if environment.name == name:
                return environment
        raise _unknown("environment", name, [each.name for each in self.environments])

    def listen(self, name: str) -> tuple[str, int]:
        """Host and port at which the local target of an environment answers.

        Raises:
            UsageError: there's no such environment.
        """
        environment = self.environment(name)
        if environment.listen is not None:
            host, _, port = environment.listen.rpartition(":")
            return host.strip("[]"), int(port)
        return "127.0.0.1", PORT + self.environments.index(environment)


def load(root: Path) -> Config:
    """Read and check `gitops.yaml` in a repository's top folder.

    Raises:
        ConfigError: the file is missing or wrong; the message names every problem with its place.
    """
    path = root / FILE
    if not path.is_file():
        raise ConfigError(
            f"there's no {FILE}",
            fix="`gitops new` makes a project, or adopts this repository",
            where=Where(path),
        )
    own = {file.stem for file in (root / checks.POLICIES).glob("*.yaml")}
    try:
        raw = path.read_bytes()
    except OSError:
        return _checked(yamlfile.read(path), own)  # which names the reason
    return _once(raw, path, own)


def load_at(root: Path, commit: str) -> Config:
    """`load` for the file of a commit; places are named `<12 digits>:gitops.yaml:<line>`.

    Raises:
        ConfigError: as `load`.
    """
    at = git.snapshot(root, commit)
    path = Path(f"{commit[:12]}:{FILE}")
    raw = at.read([FILE]).get(FILE)
    if raw is None:
        fix = "`gitops new` makes a project, or adopts this repository"
        raise ConfigError(f"that commit has no {FILE}", fix=fix, where=Where(path))
    inside = f"{checks.POLICIES.as_posix()}/"
    names = [name.removeprefix(inside) for name in at.files if name.startswith(inside)]
    own = {
        name.removesuffix(".yaml") for name in names if name.endswith(".yaml") and "/" not in name
    }
    return _once(raw, path, own)


# The last that was read: most commits have the same.
_known: dict[tuple[bytes, frozenset[str]], Config] = {}


def _once(raw: bytes, path: Path, own: set[str]) -> Config:
    key = (raw, frozenset(own))
    if key not in _known:
        found = _checked(yamlfile.parse(raw, path), own)
        _known.clear()
        _known[key] = found
    return _known[key]


def parse(raw: bytes, path: Path) -> Config:
    """The config of a file's bytes; `path` names it. Its own policies aren't looked for.

    Raises:
        ConfigError: as `load`.
    """
    return _checked(yamlfile.parse(raw, path), None)


def _checked(document: yamlfile.Document, policies: set[str] | None) -> Config:
    """The config of a document; `policies` are the repository's own (None: not known)."""
    data, problems = document.data, []
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        problems = checks.of_fields(error, json_schema())
    # The parts that are right by themselves are compared even so: one run names every problem.
    environments = data.get("environments", _ENVIRONMENTS)
    models = data.get("models")
    problems += checks.between(
        dict(
            _valid(
                Environment,
                enumerate(environments) if isinstance(environments, list | tuple) else (),
            )
        ),
        dict(_valid(Model, models.items() if isinstance(models, dict) else ())),
        policies,
    )
    if not problems:
        problems = checks.compute(config)
    if not problems and config.infrastructure is not None:
        problems = checks.infrastructure(config)
    if not problems:
        problems = list(target_checks.problems(config))
    if problems:
        raise problem.error(document, problems)
    return config


def storage(answers: Mapping[str, str]) -> Storage:
    """The storage that answers name: `remote`, and `endpoint` or `account` where given.

    Raises:
        ConfigError: it can't work.
    """
    try:
        return Storage.model_validate(dict(answers))
    except ValidationError as error:
        first = checks.of_fields(error, Storage.model_json_schema())[0]
        raise ConfigError(f"storage: {first.text}", fix=first.fix) from error


@cache
def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `gitops.yaml`, for editors.

    It knows each value; names that Python or Windows keeps, values that must differ, policies that
    must exist and the like only `load` knows.
    """
    schema = Config.model_json_schema()
    for name, longest in (("models", names.LENGTH), ("runners", 200), ("compute", names.LENGTH)):
        named = schema["properties"][name]
        ((pattern, one),) = named.pop("patternProperties").items()
        named["propertyNames"] = {"pattern": pattern, "maxLength": longest}
        named["additionalProperties"] = one
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": FILE}


def _valid(kind: type[_M], items: Iterable[tuple[Any, object]]) -> Iterator[tuple[Any, _M]]:
    for step, item in items:
        with suppress(ValidationError):
            yield step, kind.model_validate(item)


def _unknown(kind: str, name: str, known: list[str]) -> UsageError:
    fix = problem.meant(name, known, f"one of: {', '.join(known)}")
    return UsageError(f"there's no {kind} {name!r}", fix=fix)
