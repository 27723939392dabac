"""`gitops promote` and `gitops approve`: models move to the next environment."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli import moves, screen
from gitops.cli.common import JsonOption, open_repository
from gitops.cli.moves import DispatchOption, DryRunOption, ModelOption, ReasonOption, RemoteOption
from gitops.errors import UsageError
from gitops.git import program

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.forge import Forge
    from gitops.promote.plan import Plan
    from gitops.promote.world import World


def register(app: typer.Typer) -> None:
    app.command()(promote)
    app.command()(approve)


def promote(
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="The environment to promote from.")
    ] = None,
    target: Annotated[
        str | None, typer.Argument(metavar="TARGET", help="The environment after it.")
    ] = None,
    model: ModelOption = None,
    pull_request: Annotated[
        bool, typer.Option("--pr", help="Open or update a pull request; a reviewer merges it.")
    ] = False,
    dry_run: DryRunOption = False,
    finish: Annotated[
        str | None,
        typer.Option(
            "--finish",
            metavar="ENV",
            help="Judge and record what was merged into ENV: the first step of its deployment.",
            show_default=False,
        ),
    ] = None,
    bring_forward: Annotated[
        bool,
        typer.Option("--bring-forward", help="Bring hotfixes of SOURCE to the first environment."),
    ] = False,
    reason: ReasonOption = None,
    dispatch: DispatchOption = False,
    remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move what one environment runs to the next: judged, proven, recorded, in one push.

    Everything is read from the remote. The target's policy judges against the target's model; every
    object that is needed is proven in the storage; freeze, holds and approvals are respected. Then
    branch, tags and records move in one atomic push, or nothing does. Exit code 1: something stands
    in the way, or somebody else was faster; 3: evidence is missing; 4: the remote refuses.

    Examples:

        gitops promote dev staging

        gitops promote staging production --reason "weekly release"

        gitops promote staging production --dry-run

        gitops promote --finish production            what the forge merged is judged and recorded

        gitops promote production --bring-forward     a hotfix comes back to the first environment
    """
    from gitops.promote import world as worlds

    root, config = open_repository()
    if finish is not None:
        _no_more(f"--finish {finish}", source, target, model, pull_request, bring_forward, dispatch)
        _finish(worlds.read(root, remote), config, finish, reason, dry_run, as_json)
    elif bring_forward:
        _no_more(f"{source or 'ENV'} --bring-forward", target, model, dispatch)
        _bring_forward(worlds.read(root, remote), config, source, pull_request, dry_run, as_json)
    elif source is None or target is None:
        names = " ".join(one.name for one in config.environments[:2])
        raise UsageError("from where to where?", fix=f"gitops promote {names}")
    elif dispatch and pull_request:
        raise UsageError("the merge of a pull request starts deploy", fix="leave --dispatch out")
    else:
        world = worlds.read(root, remote)
        there = moves.deployer(world, dispatch and not dry_run)
        plan = _plan(world, config, source, target, model)
        _promote(world, plan, model, reason, dry_run, pull_request, as_json)
        moves.start_deploy(there, plan.target.branch)


def approve(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The environment that is promoted from.")
    ],
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET", help="The environment after it; left out, a hotfix on SOURCE itself."
        ),
    ] = None,
    reason: ReasonOption = None,
    remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve a promotion, or a hotfix, by a signed tag, as one of the target's `approvers`.

    It holds for exactly what SOURCE has now, and counts only if somebody else promotes.

    Examples:

        gitops approve staging production --reason "looked at the slices"

        gitops approve production         a hotfix that was committed to its branch
    """
    from gitops.promote import finish, marks
    from gitops.promote import world as worlds

    root, config = open_repository()
    world = worlds.read(root, remote)
    if target is None:
        plan = finish.plan(world, config, source, promoter=program.identity(root))
    else:
        plan = _plan(world, config, source, target, None)
    why = moves.reason_or(reason, "approved")
    name = marks.approve(world, plan.at, plan.target, plan.base, why)
    if as_json:
        screen.document({"tag": name, "commit": plan.at.commit, "tree": plan.at.tree})
        return
    screen.out(f"approved {plan.at.commit[:12]} for {plan.target.name}: {name}")


# ---------------------------------------------------------------- steps


def _plan(world: World, config: Config, source: str, target: str, model: str | None) -> Plan:
    from gitops.promote import partial, plan

    found = plan.promotion(world, config, source, target, promoter=program.identity(world.root))
    if model is not None:
        found.proposed.model(model)
        if len(found.proposed.models) > 1:
            return partial.of(found, model)
    return found


def _promote(
    world: World,
    plan: Plan,
    model: str | None,
    reason: str | None,
    dry_run: bool,
    pull_request: bool,
    as_json: bool,
) -> None:
    from gitops.cli.hands import hands
    from gitops.promote import partial, run

    if plan.empty:
        screen.document(moves.as_document(plan)) if as_json else screen.out(
            f"{plan.target.name} has it all already: nothing to promote"
        )
        return
    if dry_run or not as_json:
        moves.show_plan(plan, as_json)
    if dry_run:
        _told(plan, as_json)
        return
    alone = model is not None and len(plan.proposed.models) > 1
    if pull_request:
        _request(world, plan, model if alone else None, reason, as_json)
        return
    tip = partial.tip(world, plan) if alone else None
    why = moves.reason_or(reason, f"promoted from {plan.source.name if plan.source else '?'}")
    done = run.run(world, plan, hands(world.root), why=why, tip=tip)
    moves.show_done(done, as_json)


def _request(
    world: World, plan: Plan, model: str | None, reason: str | None, as_json: bool
) -> None:
    from gitops.cli.hands import hands
    from gitops.promote import request

    why = moves.reason_or(reason, "what was judged goes on")
    done = request.propose(
        world, plan, hands(world.root), alone=model, forge=_forge(world), why=why
    )
    if as_json:
        screen.document(asdict(done))
        return
    for version in done.versions:
        screen.out(f"registered {version}")
    screen.out(f"pushed {done.branch} at {done.commit[:12]}")
    if done.url is None:
        screen.out(
            "no forge is known for this remote: merge it with"
            f" `git merge --no-ff {done.commit[:12]}` into {plan.target.branch}, push, and run"
            f" `gitops promote --finish {plan.target.name}`"
        )
    else:
        screen.out(f"{'opened' if done.created else 'updated'} {done.url}")


def _forge(world: World) -> Forge | None:
    import os

    from gitops import forge

    return forge.of(world.url, os.environ)


def _finish(
    world: World,
    config: Config,
    environment: str,
    reason: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    from gitops.cli.hands import hands
    from gitops.promote import finish, request, run

    past = finish.read(world, config.environment(environment))
    tip = past.line[0]
    if past.recorded:
        text = f"{environment} is on record as it is: {tip[:12]}"
        screen.document({"recorded": tip}) if as_json else screen.out(text)
        return
    plan = finish.plan(
        world,
        config,
        environment,
        promoter=program.identity(world.root),
        reviewers=lambda head, there: request.reviewers(
            _forge(world), head, there.branch, there.approvers
        ),
        past=past,
    )
    if dry_run or not as_json:
        moves.show_plan(plan, as_json)
    if not dry_run:
        why = moves.reason_or(reason, f"merged into {plan.target.branch}")
        done = run.run(world, plan, hands(world.root), why=why, tip=tip)
        moves.show_done(done, as_json)
    else:
        _told(plan, as_json)


def _told(plan: Plan, as_json: bool) -> None:
    """End a dry run: exit code 1 if something stands in the way."""
    if plan.stops:
        if not as_json:
            moves.show_stops(plan)
        raise typer.Exit(1)


def _bring_forward(
    world: World,
    config: Config,
    source: str | None,
    pull_request: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    from gitops.git import remote as gitremote
    from gitops.git.remote import Update
    from gitops.promote import forward, hotfix

    if source is None:
        raise UsageError(
            "hotfixes of which environment?", fix="gitops promote production --bring-forward"
        )
    found = forward.bring(world, config, source)
    update, page = found.update, ""
    if pull_request:
        branch = f"gitops/bring-forward/{source}"
        ref = f"refs/heads/{branch}"
        update = Update(ref, world.refs.heads.get(branch), update.new)
    if not dry_run:
        gitremote.push(world.root, world.refs, [update])
    if pull_request and not dry_run and (there := _forge(world)) is not None:
        title = f"Bring hotfixes of {source} forward"
        body = "".join(f"- {hotfix.shown(one)}\n" for one in found.hotfixes)
        page = there.open_or_update(branch, found.target.branch, title, body).url
    if as_json:
        screen.document(
            {
                "source": found.source.name,
                "target": found.target.name,
                "hotfixes": [one.id for one in found.hotfixes],
                "commit": found.update.new,
                "branch": update.name,
                "url": page or None,
                "pushed": not dry_run,
            }
        )
        return
    for one in found.hotfixes:
        screen.out(f"  {hotfix.shown(one)}")
    verb = "would bring" if dry_run else "brought"
    onto = update.name
    screen.out(f"{verb} forward to {onto}: {found.update.new[:12]} {page}".rstrip())
    if not dry_run:
        screen.out(
            "pull, and `gitops build`: what came back has yet to be built together with the rest"
        )


def _no_more(what: str, *others: object) -> None:
    if any(others):
        raise UsageError(f"{what} takes nothing more", fix=f"gitops promote {what}")
