"""A pipeline as plain typed values: what a platform's emitter writes out, and a laptop runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

Platform = Literal["github", "azure", "local"]
STRICT = "set -euo pipefail\n"  # how bash runs every step: what fails isn't passed over
Action = Literal[
    "checkout",  # the whole history, no credentials kept
    "uv",
    "tool",  # gitops, by its locked hashes
    "terraform",  # by its hash
    "az-ml",  # the Azure CLI's extension for Azure ML, where a model is deployed there
    "cache",  # DVC's, restored; saved too where the job says so
    "download",  # artifacts
    "upload",
    "test-results",  # a JUnit file, where a platform shows them
    "attest",  # the statements of the versions, where the forge signs
    "refuse",  # nothing below can work: say why, and stop
]
Cloud = Literal["azure", "aws"]
InputKind = Literal["text", "choice", "boolean"]
ValueKind = Literal["text", "input", "matrix", "secret", "variable", "before"]
ConditionKind = Literal[
    "always",  # whatever became of what was before, unless it was cancelled
    "failed",  # only if something before has failed
    "same-repository",  # a fork's change is not run: it would get no credentials
    "pull-request",
    "branch",  # the run is of the branch `value`
    "finished",  # the needed job `value` wasn't skipped: it may have failed, or taken too long
    "found",  # the list `value` (job.output) isn't empty
    "input",  # the boolean input `value` is true
    "no-input",  # ... is false
]


@dataclass(frozen=True)
class Input:
    """What is asked for when a run is started by hand."""

    name: str
    kind: InputKind
    about: str
    options: tuple[str, ...] = ()
    default: str | bool | None = None


@dataclass(frozen=True)
class Triggers:
    """What starts a run. Branches: whose pull requests, queue and pushes; none: not at all.

    `paths`: globs; a pull request or push that touches none starts nothing. `schedule`: cron lines
    in UTC; `inputs`: None if it can't be started by hand; `events`: names
    that another system sends.
    """

    pull_request: tuple[str, ...] = ()
    merge_queue: tuple[str, ...] = ()
    push: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    schedule: tuple[str, ...] = ()
    inputs: tuple[Input, ...] | None = None
    events: tuple[str, ...] = ()


@dataclass(frozen=True)
class Concurrency:
    """Which runs are one after the other: those of one `branch`, `commit`, or all (`workflow`).

    `cancel`: a newer one cancels the older (only of pull requests, or any), or waits for it.
    `group` is the name of the set.
    """

    group: str
    by: Literal["branch", "commit", "workflow"]
    cancel: bool | Literal["pull-request"]


@dataclass(frozen=True)
class Permission:
    """One right of a job, and why it needs it."""

    scope: str
    level: Literal["read", "write"]
    reason: str


@dataclass(frozen=True)
class Condition:
    """One of a closed set of conditions; those of a job or step must all hold."""

    kind: ConditionKind
    value: str = ""


@dataclass(frozen=True)
class Value:
    """What an environment variable holds; never a text that a platform would interpret.

    `name`: the text itself, or the name of an input, of a key of the matrix, of a secret or a
    variable of the repository. `before` is the commit that the branch was at before the push.
    """

    kind: ValueKind
    name: str = ""


@dataclass(frozen=True)
class Step:
    """One named step: one command (`run`), or what each platform does its own way (`use`).

    `output`: the command gives the job this output, in the platform's way. `logins`: the clouds
    that it must be logged in to; `own`: those that it reaches as the runner itself; `oidc`: the
    command itself shows the token that the login rests on; `token`: it speaks to the forge, and
    pushes. `artifact` (its name), `path` and `days` (that it is kept) are of `upload`, `download`
    and the like.
    """

    name: str
    run: str = ""
    use: Action | None = None
    env: Mapping[str, Value] = field(default_factory=dict)
    when: tuple[Condition, ...] = ()
    output: str | None = None
    logins: tuple[Cloud, ...] = ()
    own: tuple[Cloud, ...] = ()
    oidc: bool = False
    token: bool = False
    artifact: str = ""
    path: str = ""
    days: int = 0

    def artifact_of(self, row: str) -> str:
        """The artifact's name; that of a job of a matrix has the row's."""
        return f"{self.artifact}-{row}" if row else self.artifact


@dataclass(frozen=True)
class Matrix:
    """A job for each combination of `values`, or for each group of models that a job puts out.

    `source` is (job, output) then, and a group has the keys `name` and `models`.
    """

    values: Mapping[str, tuple[str, ...]] | None = None
    source: tuple[str, str] | None = None

    @property
    def rows(self) -> tuple[Mapping[str, str], ...]:
        """The combinations of `values`."""
        values = self.values or {}
        return tuple(dict(zip(values, row, strict=True)) for row in product(*values.values()))


@dataclass(frozen=True)
class Runner:
    """Where jobs run: `labels` (GitHub); an `image`, or a `pool` with its demands (Azure).

    `own`: it is a machine of the user's.
    """

    own: bool
    labels: tuple[str, ...] = ()
    image: str = ""
    pool: str = ""
    demands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """Steps on one fresh machine; `timeout` in minutes.

    `environment`: the deployment environment whose protection it waits for; `saves`: it may save
    what `cache` restores; `identity`: the environment as whose own identity it logs in to a cloud;
    `reads`: pull requests run it, so it logs in as who may only read.
    """

    id: str
    timeout: int
    permissions: tuple[Permission, ...]
    steps: tuple[Step, ...]
    runner: Runner
    needs: tuple[str, ...] = ()
    when: tuple[Condition, ...] = ()
    matrix: Matrix | None = None
    environment: str | None = None
    saves: bool = False
    identity: str = ""
    reads: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what its steps put out."""
        return tuple(step.output for step in self.steps if step.output)

    @property
    def found(self) -> str:
        """The list (job.output) without which it has nothing to do; empty if it always has."""
        return next((one.value for one in self.when if one.kind == "found"), "")


@dataclass(frozen=True)
class Pin:
    """An action at an exact commit (40 hex digits), and the tag that people know it by."""

    action: str
    tag: str
    commit: str


@dataclass(frozen=True)
class Pins:
    """What pipelines run on and call.

    `uv_hashes`: SHA-256 of uv's wheels for Linux; `terraform_hash`: of its archive for Linux on
    x86_64; `az_ml`: the version of the Azure CLI's extension, which knows its own hash.
    """

    runner: str
    uv: str
    uv_hashes: tuple[str, ...]
    actions: tuple[Pin, ...]
    terraform: str = ""
    terraform_hash: str = ""
    az_ml: str = ""

    def action(self, name: str) -> Pin:
        """The pin of `owner/repository`; KeyError if workflows/pins.yaml has none."""
        for pin in self.actions:
            if pin.action == name:
                return pin
        raise KeyError(name)


@dataclass(frozen=True)
class Pipeline:
    """A whole workflow, jobs in an order in which each comes after those that it needs.

    `integration`: the branch of the first environment, whose schedule counts; `required`: the jobs
    that must all succeed, for one check that says so (none: no such check); `marked`: its file says
    who wrote it.
    """

    name: str
    about: str
    integration: str
    triggers: Triggers
    concurrency: Concurrency
    jobs: tuple[Job, ...]
    required: tuple[str, ...]
    pins: Pins
    marked: bool = True

    @property
    def header(self) -> str:
        """The comment at the top of its file; empty if it isn't marked."""
        if not self.marked:
            return ""
        return f"{self.about}\nWritten by gitops. Every command here does the same on a laptop."

    def fetched(self, job: Job, artifact: str) -> Literal["whole", "own", "parts"]:
        """What a job downloads of an artifact: that of a job of a matrix comes in parts.

        A job of the same matrix takes the part of its `own` row, any other all `parts`.
        """
        for other in map(self.job, job.needs):
            if any(one.use == "upload" and one.artifact == artifact for one in other.steps):
                if other.matrix is None:
                    return "whole"
                return "own" if other.matrix == job.matrix else "parts"
        return "whole"

    def job(self, name: str) -> Job:
        """The job of that id; KeyError if there's none."""
        for job in self.jobs:
            if job.id == name:
                return job
        raise KeyError(name)
