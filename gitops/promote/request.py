"""A promotion as a pull request: a reviewer merges it, and `finish` records what was merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gitops import git
from gitops.forge import Forge
from gitops.git import write
from gitops.git.remote import Update
from gitops.promote import marks, partial, records, run
from gitops.promote.plan import Plan, require
from gitops.promote.run import Hands, Judgement
from gitops.promote.world import World

_LONGEST = 40_000  # characters of the gate's report: the rest of the text must fit beside it
_MOST = 30  # lines of a kind


@dataclass(frozen=True)
class Requested:
    """The branch that asks to be merged, its commit, and the pull request's page, if there is one.

    `versions` are those that were registered on the way.
    """

    branch: str
    commit: str
    url: str | None
    created: bool
    versions: tuple[str, ...] = ()


def propose(
    world: World, plan: Plan, hands: Hands, *, alone: str | None, forge: Forge | None, why: str
) -> Requested:
    """Judge and prove; push the promotion's commit to a branch of its own; open or update its
    pull request. `alone`: the model, where only that one is promoted.

    Versions that aren't registered yet are, since whoever finishes may not have built them.
    Approvals may come by the review; everything else must be in order.

    Raises:
        AnswerNo, EvidenceError: as `run.run`.
        ToolError: the remote or the forge refuses.
    """
    require(replace(plan, stops=tuple(one for one in plan.stops if one.kind != "approval")))
    allowed = world.signers(plan.base)
    if any(one.version is None for one in plan.changes):
        marks.require_signing(world, allowed, "versions")
    run.require_signed(world, plan, allowed)
    verdicts = run.judged(plan, hands)
    releases = run.prepared(world, plan, hands)
    head = partial.tip(world, plan) if alone else run.promotion_commit(world.root, plan)
    # Two names of which none is a folder of the other: git has refs in files.
    name = plan.target.name
    branch = f"gitops/promote-{name}/{alone}" if alone else f"gitops/promote/{name}"
    there = world.refs.heads.get(branch)
    moves = [one.tag for one in releases.values()]
    if there is not None and _same(world, there, head):
        head = there
    else:
        moves.append(Update(f"refs/heads/{branch}", there, head))
    documents = dict(one.record for one in releases.values())
    marks.require_counting(world, [one.tag for one in releases.values()], allowed)
    if moves:
        subject = f"Record builds for {plan.target.name}"
        records.push(world.root, world.refs, documents, subject, moves)
    versions = tuple(f"{one.model}@{one.version}" for one in releases.values())
    if forge is None:
        return Requested(branch, head, None, there is None, versions)
    title = git.describe(world.root, head)[1]
    text = body(plan, tuple(verdicts.values()), why)
    found = forge.open_or_update(branch, plan.target.branch, title, text)
    return Requested(branch, head, found.url, found.created, versions)


def body(plan: Plan, verdicts: Sequence[Judgement], why: str) -> str:
    """What the reviewer reads: the models, what changed, what rides along, the gate's report."""
    source = plan.source.name if plan.source else plan.at.commit[:12]
    lines = [f"**{source} → {plan.target.name}**: {why}", "", f"What now: {_todo(plan)}", ""]
    lines += ["| model | now | then | package |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {one.model} | {one.old or '–'} | {one.version or 'new'} | `{one.closure.package[:8]}` |"
        for one in plan.changes
    ]
    for one in verdicts:
        changes = [str(line) for line in one.document.get("changes", ())]
        lines += _section(f"What changed in {one.model}", changes)
    lines += _section("What rides along", list(plan.along))
    lines += ["", f"Source commit: {plan.at.commit}", ""]
    report = "\n\n".join(one.report for one in verdicts)
    if len(report) > _LONGEST:
        report = report[:_LONGEST].rpartition("\n")[0] + "\n\n(cut: `gitops gate` shows the rest)"
    return "\n".join(lines) + "\n" + report


def _todo(plan: Plan) -> str:
    """What the reviewer does, who must, and what happens then."""
    name, approvers = plan.target.name, plan.target.approvers
    text = "merge it with a **merge commit**"
    if missing := any(one.kind == "approval" for one in plan.stops):
        by = ", ".join(f"`{one}`" for one in approvers)
        text = f"one of {by}, who isn't the promoter, approves it; then {text}"
    done = f" (approved: {', '.join(f'`{one}`' for one in plan.approved)})"
    text += done if plan.approved and not missing else ""
    return (
        f"{text}: its tree is exactly that of the source. `gitops promote --finish {name}`, the"
        f" first step of the deployment, judges what was merged and makes it {name}'s."
    )


def _section(title: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = [f"- and {len(items) - _MOST} more"] if len(items) > _MOST else []
    kept = [f"- `{item.replace('`', chr(39))}`" for item in items[:_MOST]]
    return ["", f"<details><summary>{title}</summary>", "", *kept, *more, "", "</details>"]


def _same(world: World, one: str, other: str) -> bool:
    """Whether two commits are the same but for who made them, and when."""
    first, second = (write.chain(world.root, commit, most=1)[0] for commit in (one, other))
    return (first.tree, first.parents) == (second.tree, second.parents)


def reviewers(
    forge: Forge | None, plan_head: str, branch: str, approvers: Sequence[str]
) -> set[str]:
    """Those of `approvers` who approved, on the forge, the pull request of this commit.

    Raises:
        ToolError: the forge can't be asked.
    """
    if forge is None or not approvers:
        return set()
    reviews = forge.reviews(plan_head, branch)
    logins = {one.login.lower() for one in reviews}
    mails = {one.email.lower() for one in reviews if one.email}
    teams = [name for name in approvers if name.startswith("@") and "/" in name]
    found = {
        name
        for name in approvers
        if name not in teams
        and (name.lower() in mails or (name[0] == "@" and name[1:].lower() in logins))
    }
    if found or not logins:
        return found  # who is in a team not every token may see
    return {name for name in teams if logins & {one.lower() for one in forge.members(name)}}
