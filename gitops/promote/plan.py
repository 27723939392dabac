"""What a promotion, a rollback or a hotfix would change, and what stands in its way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from gitops import affected, git
from gitops.config import Config, Environment
from gitops.errors import AnswerNo
from gitops.git import graph, write
from gitops.promote import hotfix, marks, signatures, statement
from gitops.promote.closure import Closure, require_built
from gitops.promote.closure import of as closure_of
from gitops.promote.registry import Entry
from gitops.promote.world import SIGNERS, World, before, closure_at, pair
from gitops.version import Version

Kind = Literal["promotion", "rollback", "hotfix"]


@dataclass(frozen=True)
class Stop:
    """A reason why nothing may move now, and what to do about it; `model`: only for that one."""

    kind: Literal["frozen", "held", "hotfix", "approval", "chain", "removed"]
    text: str
    fix: str
    model: str = ""


@dataclass(frozen=True)
class Change:
    """A model that the target gets: `version` None means that it isn't registered yet.

    `commit` is the versioned one (the source's, where there's no version yet); `old` the version
    that the target has now.
    """

    closure: Closure
    version: Version | None
    commit: str
    old: Version | None

    @property
    def model(self) -> str:
        return self.closure.model


@dataclass(frozen=True)
class Plan:
    """From `source` (a commit of the remote) to the branch of `target`, which is at `base`.

    `settings` are the base's; `proposed` the source's. `along` are the other paths that change.
    """

    kind: Kind
    source: Environment | None
    target: Environment
    base: git.Snapshot
    at: git.Snapshot
    settings: Config
    proposed: Config
    changes: tuple[Change, ...]
    along: tuple[str, ...]
    fast_forward: bool
    stops: tuple[Stop, ...]
    approved: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the target has it all."""
        return self.base.tree == self.at.tree and not self.changes


def promotion(world: World, local: Config, source: str, target: str, *, promoter: str) -> Plan:
    """The plan of promoting what is at the tip of `source` to `target`; `local` names the branches.

    Raises:
        UsageError, ConfigError, EvidenceError: it can't be planned. What merely stands in its way
            is in the plan.
    """
    one, other = pair(local, source, target)
    at, base = world.tip(one), world.tip(other)
    settings = world.settings(base, other)
    pair(settings, source, target)
    governing = settings.environment(target)
    proposed = world.settings(at, one)
    found = changes(world, at, base, proposed, settings, other)
    stops = [*standing(world, governing, base), *hotfix_stops(world, base, at, governing)]
    stops += chain_stops(world, settings, one, found, world.signers(base))
    stops += _removed(settings, proposed)
    names, missing = approved(world, governing, base, at, promoter, source)
    return Plan(
        kind="promotion",
        source=one,
        target=governing,
        base=base,
        at=at,
        settings=settings,
        proposed=proposed,
        changes=found,
        along=along(world.root, base, at, found),
        fast_forward=graph.is_ancestor(world.root, base.commit, at.commit),
        stops=(*stops, *missing),
        approved=names,
    )


def standing(world: World, environment: Environment, base: git.Snapshot) -> list[Stop]:
    """Freeze and hold: what stops anything from moving there now."""
    stops = []
    now = datetime.now(UTC)
    for window in environment.freeze:
        if window.contains(now):
            stops.append(
                Stop(
                    "frozen",
                    f"{environment.name} is frozen: {window}",
                    "wait for the end of the window (a rollback is possible at any time)",
                )
            )
    if (hold := marks.hold(world, environment.name, world.signers(base))) is not None:
        stops.append(
            Stop(
                "held",
                f"{environment.name} is held since {hold.at} by {hold.who}: {hold.why}",
                f"gitops rollback {environment.name} --release-hold --reason WHY",
            )
        )
    return stops


def require(plan: Plan) -> None:
    """Raise AnswerNo if anything stands in the way."""
    if plan.stops:
        raise AnswerNo(
            "\n  ".join(["nothing was promoted:", *(one.text for one in plan.stops)]),
            fix="; ".join(dict.fromkeys(one.fix for one in plan.stops)),
        )


# ---------------------------------------------------------------- models


def changes(
    world: World,
    at: git.Snapshot,
    base: git.Snapshot,
    proposed: Config,
    settings: Config,
    target: Environment,
) -> tuple[Change, ...]:
    """The models whose closure differs, or that the target hasn't assigned."""
    # What an earlier promotion left in order is in order still, where nothing of it has changed.
    orderly = base.commit[:16] in hotfix.promotions(world)
    touched = affected.models(base, at, settings, proposed) if orderly else proposed.models
    same_still = proposed.models.keys() - set(touched)
    given = {one: world.registry.assigned(one, target.name) for one in proposed.models}
    sure = {one for one in same_still if (was := given[one]) and world.registry.version_of(was)}
    asked = [one for one in proposed.models if one not in sure]
    allowed = world.signers(base)
    _ahead(world, at, [proposed.models[one].path for one in asked], asked)
    found = []
    for model in asked:
        entry = given[model]
        closure = closure_of(at, proposed, model)
        current = version_at(world, at, closure, allowed)
        there = world.registry.version_of(entry) if entry else None
        old = closure_of(base, settings, model) if model in settings.models else None
        same = old is not None and old.digest == closure.digest
        if same and entry is not None and current is not None and entry.commit == current[1].commit:
            continue
        require_built(closure, at)
        version, commit = (current[0], current[1].commit) if current else (None, at.commit)
        found.append(Change(closure, version, commit, there))
    return tuple(found)


def _ahead(world: World, at: git.Snapshot, folders: list[str], models: list[str]) -> None:
    """Read at once what would be read model by model."""
    at.read(f"{folder}/{name}" for folder in folders for name in ("dvc.yaml", "dvc.lock"))
    known = [one.object for model in models for one in world.registry.versions(model).values()]
    write.tag_texts(world.root, known)


def version_at(
    world: World, at: git.Snapshot, closure: Closure, allowed: bytes | None = None
) -> tuple[Version, Entry] | None:
    """The version that a commit's model is: the highest with the same closure.

    Where signers are `allowed`, the highest that one of them signed; if there's none of these, what
    there is, so that whoever relies on it can say what is wrong with it.

    It needn't be in the commit's history: a model that was promoted alone leaves its commit behind.
    """
    unsigned = None
    known = world.registry.versions(closure.model)
    texts = write.tag_texts(world.root, [one.object for one in known.values()]) if known else {}
    for version, one in known.items():
        # What the tag claims saves reading the commit; that it fits is never taken from it.
        if statement.closure_in(texts.get(one.object, "")) not in ("", closure.digest):
            continue
        there = closure if one.commit == at.commit else closure_at(world, one.commit, closure.model)
        if there is not None and there.digest == closure.digest:
            if signatures.counts(world.root, one, allowed):
                return version, one
            unsigned = unsigned or (version, one)
    return unsigned


def along(
    root: Path, base: git.Snapshot, at: git.Snapshot, changes: Iterable[Change]
) -> tuple[str, ...]:
    """What changes beside the models that are named."""
    own = {path for one in changes for path in one.closure.parts}
    return tuple(path for path in git.changed(root, base.commit, at.commit) if path not in own)


# ---------------------------------------------------------------- what stands in the way


def hotfix_stops(
    world: World, base: git.Snapshot, at: git.Snapshot, target: Environment
) -> list[Stop]:
    found = hotfix.pending(world, base.commit, [at.commit])
    if not found:
        return []
    lines = "; ".join(hotfix.shown(one) for one in found)
    return [
        Stop(
            "hotfix",
            f"{target.name} has commits that would be lost: {lines}",
            f"gitops promote {target.name} --bring-forward, then promote again",
        )
    ]


def chain_stops(
    world: World,
    settings: Config,
    source: Environment,
    found: Iterable[Change],
    allowed: bytes | None,
) -> list[Stop]:
    """Beyond the first environment only what the source was given goes on, by a tag that counts."""
    if before(settings, source) is None:
        return []
    stops = []
    for one in found:
        entry = world.registry.assigned(one.model, source.name)
        past = world.registry.assignments(one.model, source.name) if entry else []
        counted = next((was for was in past if signatures.counts(world.root, was, allowed)), None)
        if entry is not None and counted is None:
            text = (
                f"that {one.model} came to {source.name} says the tag {entry.tag.name}, which"
                f" doesn't count: {signatures.of(world.root, entry, allowed).why}"
            )
            fix = (
                f"whoever is in {SIGNERS} does it again: gitops build --register, then gitops"
                f" promote; or gitops promote --finish {source.name}"
            )
        elif counted is None or counted.commit != one.commit or one.version is None:
            text = (
                f"{one.model} at the tip of {source.branch} was never promoted to"
                f" {source.name}: it was committed or merged there by hand"
            )
            fix = f"gitops promote --finish {source.name}, which judges and records it"
        else:
            continue
        stops.append(Stop("chain", text, fix, one.model))
    return stops


def _removed(settings: Config, proposed: Config) -> list[Stop]:
    """Environments that the source's gitops.yaml no longer has would lose their rules."""
    gone = [
        one.name
        for one in settings.environments
        if one.name not in [other.name for other in proposed.environments]
    ]
    return (
        [
            Stop(
                "removed",
                f"the source's gitops.yaml has no environment {', '.join(gone)}",
                "declare it there, or remove it on purpose from all branches, the last one first",
            )
        ]
        if gone
        else []
    )


def approved(
    world: World,
    environment: Environment,
    base: git.Snapshot,
    at: git.Snapshot,
    promoter: str,
    source: str = "",
) -> tuple[tuple[str, ...], tuple[Stop, ...]]:
    """Who approved this very tree, beside whoever promotes it; `source` "" for what is there."""
    if not environment.approvers:
        return (), ()
    found, faults = marks.approvals(world, environment, at, world.signers(base), promoter)
    if found:
        return tuple(found), ()
    wanted = ", ".join(environment.approvers)
    return (), (
        Stop(
            "approval",
            f"{environment.name} needs the approval of one of {wanted}"
            + (f" ({'; '.join(faults)})" if faults else ""),
            "one of them, who isn't the promoter: gitops approve"
            f" {f'{source} ' if source else ''}{environment.name} --reason WHY (a signed tag)",
        ),
    )
