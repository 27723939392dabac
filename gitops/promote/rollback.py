"""Back to an earlier promotion: forward in history, exact bytes, and held there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gitops import git
from gitops.config import Config
from gitops.errors import AnswerNo, EvidenceError, UsageError
from gitops.git import graph, write
from gitops.promote import marks, partial, run, statement
from gitops.promote.plan import Change, Plan, changes
from gitops.promote.registry import Entry
from gitops.promote.run import Hands, Judgement, Promoted
from gitops.promote.world import World
from gitops.version import Version

_LIST = "gitops log shows what ran before"


@dataclass(frozen=True)
class Past:
    """An earlier promotion: the environment's tip after it, and what was assigned by it."""

    tip: str
    assigned: Mapping[str, tuple[Entry, dict[str, Any]]]


def plan(
    world: World, local: Config, environment: str, *, to: str | None, model: str | None
) -> Plan:
    """What going back would change; `to` is a version: `v1.3.0`, or `late@v1.3.0`.

    Freeze and holds don't stop it: it is what one does in an emergency.

    Raises:
        UsageError: there's no such environment or model.
        AnswerNo: there's nothing to go back to.
        EvidenceError: the earlier promotion left nothing to go by.
    """
    target = local.environment(environment)
    base = world.tip(target)
    settings = world.settings(base, target)
    if to and "@" in to:
        model, _, to = to.rpartition("@")
    if model is not None:
        settings.model(model)
    alone = model is not None and len(settings.models) > 1
    if alone and model is not None:
        at = git.snapshot(world.root, _earlier(world, environment, model, to).commit)
    else:
        past = history(world, environment, base)
        at = git.snapshot(world.root, _chosen(world, past, base, settings, to).tip)
    proposed = world.settings(at, target)
    found = changes(world, at, base, proposed, settings, target)
    if alone:
        found = tuple(one for one in found if one.model == model)
    if unknown := [one.model for one in found if one.version is None]:
        raise EvidenceError(
            f"{', '.join(unknown)} had no version at {at.commit[:12]}",
            fix="name another version with --to: `gitops log` lists them",
        )
    if not found:
        raise AnswerNo(f"{environment} runs that already", fix=_LIST)
    return Plan(
        kind="rollback",
        source=None,
        target=settings.environment(environment),
        base=base,
        at=at,
        settings=settings,
        proposed=proposed,
        changes=found,
        along=(),
        fast_forward=False,
        stops=(),
    )


def carry_out(
    world: World, going: Plan, hands: Hands, *, why: str, model: str | None = None
) -> Promoted:
    """Roll back, and hold the environment, in one push.

    Raises:
        EvidenceError: an object of the earlier model is missing or altered.
        AnswerNo, ToolError: as `run.run`.
    """
    allowed = world.signers(going.base)
    marks.require_signing(world, allowed, "rollbacks")
    run.require_signed(world, going, allowed)
    verdicts = {one.model: _verdict(world, going, one) for one in going.changes}
    run.prepared(world, going, hands)
    head = _commit(world, going, why, model)
    document = statement.mark("hold", going.target.name, world.root, f"rolled back: {why}")
    hold = marks.next_mark(world, "hold", going.target.name, head, document)
    return run.carry_out(world, going, verdicts, {}, head, why=why, beside=[hold])


def history(world: World, environment: str, base: git.Snapshot) -> list[Past]:
    """The promotions of an environment that its branch has, the newest first.

    Each is an ancestor of the next. First parents alone would lose what a merge, or whoever made
    one, has put aside: a hotfix that came back by the source, or the rules that were in force.
    """
    found: dict[str, dict[str, tuple[Entry, dict[str, Any]]]] = {}
    for model in world.registry.entries:
        entries = world.registry.assignments(model, environment)
        texts = write.tag_texts(world.root, [one.object for one in entries]) if entries else {}
        for one in entries:
            told = statement.of_stage(texts.get(one.object, ""), one.tag.name)
            if told is not None:
                tip = told["predicate"]["gitops"]["tip"]["commit"]
                found.setdefault(tip, {})[model] = (one, told)
    known = graph.read(world.root, [base.commit]).parents
    return [Past(one, found[one]) for one in known if one in found]


def _chosen(
    world: World, past: list[Past], base: git.Snapshot, settings: Config, to: str | None
) -> Past:
    """The promotion to go back to: the newest of version `to`, or the one before the present."""
    if to is not None:
        if len(settings.models) > 1:
            raise UsageError("of which model?", fix=f"--to {next(iter(settings.models))}@{to}")
        (model,) = settings.models
        wanted = Version.parse(to)
        for one in past:
            if (
                model in one.assigned
                and world.registry.version_of(one.assigned[model][0]) == wanted
            ):
                return one
        raise _never(
            world, model, [one.assigned[model][0] for one in past if model in one.assigned]
        )
    trees = {one.tip: git.snapshot(world.root, one.tip).tree for one in past}
    # After a rollback, what came before that which it went back to.
    same = [at for at, one in enumerate(past) if trees[one.tip] == base.tree]
    for one in past[(same[-1] + 1) if same else 0 :]:
        # What moved since may have been code alone: then the last promotion's models run still.
        if trees[one.tip] != base.tree and not _runs(world, one):
            return one
    raise AnswerNo("there's no earlier promotion to go back to", fix=_LIST)


def _runs(world: World, past: Past) -> bool:
    """Whether all that a promotion assigned is what is assigned now."""
    entries = [entry for entry, _ in past.assigned.values()]
    present = [world.registry.assigned(one.tag.model, one.tag.stage) for one in entries]
    return [one.commit for one in entries] == [one.commit if one else "" for one in present]


def _earlier(world: World, environment: str, model: str, to: str | None) -> Entry:
    """The assignment of a model to go back to, as `_chosen` does for all models."""
    past = world.registry.assignments(model, environment)
    versions = [world.registry.version_of(one) for one in past]
    if to is not None:
        wanted = Version.parse(to)
        if wanted not in versions:
            raise _never(world, model, past)
        return past[versions.index(wanted)]
    same = [at for at, one in enumerate(versions) if one == versions[0]]
    for one, version in list(zip(past, versions, strict=True))[(same[-1] + 1) if same else 0 :]:
        if version is not None:
            return one
    raise AnswerNo(f"{model} has no earlier promotion to go back to", fix=_LIST)


def _never(world: World, model: str, past: list[Entry]) -> UsageError:
    ran = dict.fromkeys(str(world.registry.version_of(one)) for one in past)
    return UsageError(
        f"{model} never was that version there", fix=f"it ran {', '.join(ran) or 'nothing'}"
    )


def _verdict(world: World, going: Plan, one: Change) -> Judgement:
    """The verdict of the promotion that first brought this version there."""
    for entry in world.registry.assignments(one.model, going.target.name):
        if world.registry.version_of(entry) != one.version:
            continue
        text = write.tag_texts(world.root, [entry.object]).get(entry.object, "")
        told = statement.of_stage(text, entry.tag.name)
        if told is None:
            continue
        predicate = told["predicate"]
        policy = predicate["policy"]
        name = str(policy["uri"]).removeprefix("gitops:policy/")
        own = predicate["gitops"]
        return Judgement(
            one.model,
            passed=True,
            package=own["package"],
            policy=(name, policy["digest"]["sha256"]),
            digest=own["verdict"],
            document={},
        )
    raise EvidenceError(
        f"no tag says by which verdict {one.model} {one.version} came to {going.target.name}",
        fix="name another version with --to: `gitops log` lists them",
    )


def _commit(world: World, going: Plan, why: str, model: str | None) -> str:
    models = ", ".join(f"{one.model} {one.version}" for one in going.changes)
    text = (
        f"Roll {going.target.name} back to {models}\n\n{why}\n\n"
        f"Gitops-Rollback: {going.at.commit}\n"
    )
    if model is not None and len(going.settings.models) > 1:
        return partial.commit(world, going, going.changes[0], text)
    return write.commit(world.root, going.at.tree, [going.base.commit], text)


def held(world: World, local: Config, environment: str) -> marks.Mark:
    """The hold that is in force.

    Raises:
        AnswerNo: there's none.
    """
    base = world.tip(local.environment(environment))
    if (hold := marks.hold(world, environment, world.signers(base))) is None:
        raise AnswerNo(f"{environment} is not held", fix="nothing to do: gitops status")
    return hold


def release_hold(world: World, local: Config, environment: str, why: str) -> str:
    """Lift the hold; the name of the tag that says so.

    Raises:
        AnswerNo: there's none.
    """
    hold = held(world, local, environment)
    base = world.tip(local.environment(environment))
    allowed = world.signers(base)
    marks.require_signing(world, allowed, "releasing a hold")
    document = statement.mark("release", environment, world.root, why, releases=hold.name)
    update = marks.next_mark(world, "hold", environment, base.commit, document)
    marks.require_counting(world, [update], allowed)
    return marks.put(world, update)
