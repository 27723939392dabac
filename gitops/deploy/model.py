"""The values that deploying passes around: what is wanted, what is served, what is under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gitops.config.serving import Rollout, Serve
from gitops.errors import GitopsError
from gitops.version import Version

if TYPE_CHECKING:
    from gitops.package import Package

Json = dict[str, Any]
Phase = Literal["testing", "stepping", "undoing"]


@dataclass(frozen=True)
class Release:
    """A version of a model, as it is assigned to the environment.

    `name` is its version tag (late@v1.3.0), `assignment` its stage tag (late#production#8),
    `commit` and `tree` are what the version stands on, `package` is the package's digest.
    """

    model: str
    name: str
    assignment: str
    commit: str
    tree: str
    package: str

    @property
    def version(self) -> str:
        return self.name.rpartition("@")[2]

    def before(self, release: str) -> bool:
        """Whether its version is lower than that of a release by name."""
        return Version.parse(self.version) < Version.parse(release.rpartition("@")[2])


@dataclass(frozen=True)
class Wanted:
    """What a model should run; `code`: it needs the release's own files beside its package."""

    release: Release
    serve: Serve
    code: bool


@dataclass(frozen=True)
class Desired:
    """What the environment should be by its branch and the registry.

    `held` says why it is held (""; it isn't). `faults` are models whose assignment can't be used,
    and why; those keep running what they run. `notes` are worth a word. `kinds` maps each model of
    gitops.yaml to its kind of target; `models` and `faults` are those of one kind. `tip` is the
    branch's commit.
    """

    project: str
    environment: str
    listen: tuple[str, int]
    rollout: Rollout
    held: str
    models: Mapping[str, Wanted]
    kinds: Mapping[str, str]
    faults: Mapping[str, GitopsError] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tip: str = ""


@dataclass(frozen=True)
class Course:
    """How a place that brings a new champion to traffic by itself is getting on, and why."""

    state: Literal["unnoticed", "under_way", "healthy", "aborted"]
    why: str


class Source(Protocol):
    """What deploying needs of the other stages: the remote's word, bytes, and records."""

    def desired(self) -> Desired:
        """What the remote says now.

        Raises:
            ToolError: it can't be reached.
        """

    def changed(self) -> bool:
        """Whether the remote has moved since `desired`; cheap. Raises as `desired`."""

    def fetch(self, variant: Variant, folder: Path) -> None:
        """Put a package into `folder`, whole and proven by its digest, or not at all.

        Raises:
            EvidenceError: the stored bytes aren't those that were registered, or are nowhere.
            ToolError: the storage can't be reached.
        """

    def checkout(self, commit: str, folder: Path) -> None:
        """Put the files of a commit into `folder`, all of them or nothing."""

    def scored(self, release: Release, found: Package, rows: list[Json]) -> dict[str, list[Any]]:
        """What the package answers for raw rows when it is scored here, by column."""

    def record(self, documents: list[Json]) -> None:
        """Append deployment records to the remote's records, each once.

        Raises:
            ToolError, AnswerNo: the remote refuses, or can't be reached.
        """

    def roll_back(self, model: str, to: str, why: str) -> None:
        """Go back to a release by name (late@v1.2.0) on the environment's branch, and hold it.

        Raises:
            GitopsError: it can't be: refused, or somebody else was faster.
        """

    def who(self) -> str:
        """Who deploys."""


# ---------------------------------------------------------------- what is served


@dataclass(frozen=True)
class Code:
    """A release's own code: its checkout, and the script in it."""

    workdir: str
    script: str | None


@dataclass(frozen=True)
class Variant:
    """A package that is loaded, with the code around it: as in the contract `serving`."""

    release: str
    assignment: str
    folder: str
    package: str
    code: Code | None = None


@dataclass(frozen=True)
class Served:
    """A model in the plan. `share` is the percentage that the challenger answers.

    `ignore` are columns that callers may still send although nothing here takes them.
    """

    champion: Variant
    serve: Json
    challenger: Variant | None = None
    share: int | None = None
    shadow: bool = False
    key: str | None = None
    salt: str = ""
    ignore: tuple[str, ...] = ()

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The champion, and the challenger where there is one."""
        return (self.champion,) if self.challenger is None else (self.champion, self.challenger)


@dataclass(frozen=True)
class Plan:
    """What the server of an environment is to serve: the contract `serving`."""

    generation: int
    project: str
    environment: str
    models: Mapping[str, Served]

    def as_json(self) -> Json:
        models = {name: asdict(one) for name, one in self.models.items()}
        return {"version": 1, **asdict(self), "models": models}


def plan_of(document: Json) -> Plan:
    """The plan that `as_json` wrote."""
    models = {
        name: Served(
            **one
            | {at: variant_of(one[at]) for at in ("champion", "challenger")}
            | {"ignore": tuple(one.get("ignore", ()))}
        )
        for name, one in document["models"].items()
    }
    kept = ("generation", "project", "environment")
    return Plan(**{key: document[key] for key in kept}, models=models)


def variant_of(document: Json | None) -> Variant | None:
    """The variant that was written; None of None."""
    if document is None:
        return None
    code = document.get("code")
    return Variant(**document | {"code": Code(**code) if code else None})


def variants_of(plan: Plan | None) -> list[Variant]:
    """All that a plan serves."""
    served = plan.models.values() if plan else ()
    return [one for each in served for one in each.variants]


@dataclass(frozen=True)
class Observed:
    """What `runs`, if anything does; `generation` is what all workers serve, else None.

    `fits`: it was started as it should be now (address, workers, version of the tool). `workers`
    maps each live worker (process or pod) to the generation that it serves. `error` is why one of
    them doesn't serve what it should.
    """

    runs: bool
    fits: bool
    generation: int | None
    workers: Mapping[str, int]
    error: str = ""


# ---------------------------------------------------------------- what is under way


@dataclass(frozen=True)
class Under:
    """A challenger on its way: it survives whatever kills us.

    `release` is the challenger, `champion` whom it challenges. `step` counts from 0 in
    `policy.steps`. `since` is where the prediction log stood when it began. `why` is the reason of
    the verdict once there is one.
    """

    release: Release
    champion: Variant
    policy: Rollout
    phase: Phase
    started: str
    step: int = 0
    since: Json = field(default_factory=dict)
    why: str = ""

    def as_json(self) -> Json:
        return {**asdict(self), "policy": self.policy.model_dump(mode="json")}


def under_of(document: Json) -> Under:
    """What `Under.as_json` wrote."""
    parts = {
        "release": Release(**document["release"]),
        "champion": variant_of(document["champion"]),
        "policy": Rollout.model_validate(document["policy"]),
    }
    return Under(**{**document, **parts})
