"""A plan becomes true: judged, proven, then one atomic push, read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops import git, utc
from gitops.errors import AnswerNo, EvidenceError
from gitops.git import program, write
from gitops.git.remote import Update
from gitops.promote import marks, records, release, signatures, statement, tags
from gitops.promote.plan import Change, Plan, require
from gitops.promote.release import Builds, Release
from gitops.promote.statement import Revision
from gitops.promote.world import SIGNERS, World, revision
from gitops.version import Version

Say = Callable[[str], None]


@dataclass(frozen=True)
class Judgement:
    """A verdict: `document` is that of the contract `verdict`, `report` what a reviewer reads."""

    model: str
    passed: bool
    package: str
    policy: tuple[str, str]
    digest: str
    document: Mapping[str, Any]
    report: str = ""


# Judges models of a commit against a base commit, by the rules of an environment.
Judge = Callable[[str, str, str, Sequence[str]], Sequence[Judgement]]
# Proves that the remote has every object that these models of a commit need.
Prove = Callable[[git.Snapshot, Sequence[str]], None]


@dataclass(frozen=True)
class Hands:
    """What a promotion needs of the other stages."""

    judge: Judge
    prove: Prove
    builds: Builds
    say: Say


@dataclass(frozen=True)
class Promoted:
    """What came of it: the environment's new tip, and the tags that were written."""

    kind: str
    target: str
    tip: Revision
    versions: Mapping[str, str]
    tags: tuple[str, ...]
    verdicts: tuple[Judgement, ...]


def run(world: World, plan: Plan, hands: Hands, *, why: str, tip: str | None = None) -> Promoted:
    """Judge, prove and carry out a plan. `tip`: the commit that the branch gets, or has already.

    Raises:
        AnswerNo: something stands in the way, a verdict is no, or somebody else was faster.
        EvidenceError: what is needed is missing or altered.
        ToolError: the remote refuses, or can't be reached.
    """
    require(plan)
    allowed = world.signers(plan.base)
    marks.require_signing(world, allowed, "promotions")
    require_signed(world, plan, allowed)
    verdicts = judged(plan, hands)
    releases = prepared(world, plan, hands)
    return carry_out(world, plan, verdicts, releases, tip or new_tip(world, plan), why=why)


def prepared(world: World, plan: Plan, hands: Hands) -> dict[str, Release]:
    """All objects proven; the versions that have yet to be registered, by model."""
    program.require_identity(world.root)
    models = [one.model for one in plan.changes]
    if models:
        more = f" and {len(models) - 5} more" if len(models) > 5 else ""
        hands.say(f"proving what {', '.join(models[:5])}{more} needs in the remote")
        hands.prove(plan.at, models)
    return {
        one.model: release.prepare(world, plan.at, one.closure, hands.builds)
        for one in plan.changes
        if one.version is None
    }


def carry_out(
    world: World,
    plan: Plan,
    verdicts: Mapping[str, Judgement],
    releases: Mapping[str, Release],
    head: str,
    *,
    why: str,
    beside: Sequence[Update] = (),
) -> Promoted:
    """One atomic push of branch, tags and records, read back; `beside` goes with it."""
    there = git.snapshot(world.root, head)
    updates: list[Update] = [*beside]
    documents: dict[str, Mapping[str, Any]] = {}
    names: dict[str, str] = {}
    for one in plan.changes:
        found = releases.get(one.model)
        update, text = _assignment(world, plan, one, found, verdicts, there, why)
        updates += [update, *([found.tag] if found else [])]
        names[one.model] = text
        documents |= _documents(plan, one, found, verdicts[one.model])
    signer = marks.require_counting(world, updates, world.signers(plan.base))
    if plan.approved and set(plan.approved) <= set(signer):
        raise AnswerNo(
            f"{', '.join(plan.approved)} approved it, and can't be who promotes it",
            fix="somebody else promotes it, with a key of their own",
        )
    # Merged by the forge, it has moved already: it must still be there.
    merged = world.refs.heads.get(plan.target.branch) == head
    branch = Update(f"refs/heads/{plan.target.branch}", head if merged else plan.base.commit, head)
    path = records.move_path(plan.kind, there.tree, plan.target.name, head)
    documents[path] = _record(world, plan, revision(there), names, verdicts, why)
    subject = f"Record a {plan.kind} to {plan.target.name}"
    records.push(world.root, world.refs, documents, subject, [branch, *updates])
    written = {one.name: one.new for one in updates}
    write.keep_tags(world.root, written)
    return Promoted(
        plan.kind,
        plan.target.name,
        revision(there),
        names,
        tuple(written),
        tuple(verdicts.values()),
    )


def new_tip(world: World, plan: Plan) -> str:
    """The commit that the target's branch gets: the source's own, or one with its tree."""
    if plan.fast_forward:
        return plan.at.commit
    return promotion_commit(world.root, plan)


def promotion_commit(root: Path, plan: Plan) -> str:
    """A commit with the source's tree, whose parents are target and source.

    Merging it gives that tree exactly, whatever happened on the target; a plain merge after a
    rollback would silently keep the old model.
    """
    source = plan.source.name if plan.source else "?"
    models = ", ".join(f"{one.model} {one.version or ''}".strip() for one in plan.changes)
    subject = f"Promote {models or 'what changed'} from {source} to {plan.target.name}"
    text = f"{subject}\n\nGitops-Source: {source} {plan.at.commit}\n"
    return write.commit(root, plan.at.tree, [plan.base.commit, plan.at.commit], text)


# ---------------------------------------------------------------- steps


def judged(plan: Plan, hands: Hands) -> dict[str, Judgement]:
    """The verdicts by model, all of which must pass.

    Raises:
        AnswerNo: one doesn't.
        EvidenceError: there can be none.
    """
    models = [one.model for one in plan.changes]
    if not models:
        return {}
    judged = hands.judge(plan.base.commit, plan.at.commit, plan.target.name, models)
    found = {one.model: one for one in judged}
    if missing := [model for model in models if model not in found]:
        raise EvidenceError(f"there's no verdict on {', '.join(missing)}", fix="gitops gate")
    if failed := [one.model for one in found.values() if not one.passed]:
        raise AnswerNo(
            f"{', '.join(failed)}: the gate of {plan.target.name} says no; nothing was promoted",
            fix=f"gitops gate {failed[0]} --base {plan.base.commit[:12]} --env {plan.target.name}"
            " on the source's commit shows why",
        )
    return found


def require_signed(world: World, plan: Plan, allowed: bytes | None) -> None:
    """Where signatures are required, the versions that are relied on must have one.

    Raises:
        AnswerNo: one hasn't, or is somebody else's.
    """
    if allowed is None:
        return
    for one in plan.changes:
        if one.version is None:
            continue
        entry = world.registry.versions(one.model)[one.version]
        signed = signatures.of(world.root, entry, allowed)
        if signed.state != "good":
            raise AnswerNo(
                f"the tag {entry.tag.name} doesn't count: {signed.why}",
                fix=f"whoever is in {SIGNERS} registers the version again: gitops build --register",
            )


def _assignment(
    world: World,
    plan: Plan,
    one: Change,
    made: Release | None,
    verdicts: Mapping[str, Judgement],
    there: git.Snapshot,
    why: str,
) -> tuple[Update, str]:
    """The stage tag of a model, and the name of its version."""
    version = made.version if made else one.version
    assert version is not None  # noqa: S101
    verdict = verdicts[one.model]
    if made is not None and made.package != verdict.package:
        raise EvidenceError(
            f"{one.model}: the package that was judged isn't the one that was built",
            fix="run it again; if that doesn't help, `gitops build`",
        )
    counter = world.registry.next_counter(one.model)
    subject = git.snapshot(world.root, one.commit)
    document = statement.summary(
        kind=plan.kind,
        model=one.model,
        version=version,
        at=revision(subject),
        tip=revision(there),
        source=plan.source.name if plan.source else None,
        target=plan.target.name,
        counter=counter,
        repository=statement.repository_uri(world.url),
        package=verdict.package,
        policy=verdict.policy,
        verdict=verdict.digest,
        approvers=plan.approved,
        actor=(statement.who(world.root), statement.actor_uri(world.root)),
        why=why,
        builder=made.builder if made else _builder(world, one, version),
    )
    name = tags.stage_tag(one.model, plan.target.name, counter)
    title = f"{one.model} {version} to {plan.target.name}"
    text = statement.message(title, document)
    object = write.tag(world.root, name, one.commit, text, sign=write.signs(world.root))
    return Update(f"refs/tags/{name}", None, object), str(version)


def _builder(world: World, one: Change, version: Version) -> str:
    entry = world.registry.versions(one.model)[version]
    text = write.tag_texts(world.root, [entry.object]).get(entry.object, "")
    told = statement.of_version(text, entry.tag.name)
    return str(told["predicate"]["runDetails"]["builder"]["id"]).rpartition("/")[2] if told else ""


def _documents(
    plan: Plan, one: Change, made: Release | None, verdict: Judgement
) -> dict[str, Mapping[str, Any]]:
    path = records.verdict_path(plan.at.tree, one.model, plan.target.name, verdict.digest)
    found = dict([made.record]) if made else {}
    return {path: verdict.document, **found} if verdict.document else found


def _record(
    world: World,
    plan: Plan,
    tip: Revision,
    versions: Mapping[str, str],
    verdicts: Mapping[str, Judgement],
    why: str,
) -> dict[str, Any]:
    """The event as a whole; the tags have it model by model."""
    return {
        "version": 1,
        "kind": plan.kind,
        "source": plan.source.name if plan.source else None,
        "target": plan.target.name,
        "base": {"commit": plan.base.commit, "tree": plan.base.tree},
        "from": {"commit": plan.at.commit, "tree": plan.at.tree},
        "tip": {"commit": tip.commit, "tree": tip.tree},
        "models": dict(versions),
        "verdicts": {model: one.digest for model, one in verdicts.items()},
        "approvers": list(plan.approved),
        "along": list(plan.along[:200]),
        "who": statement.who(world.root),
        "why": why,
        "at": utc.now(),
    }
