"""`gitops promote`, `approve` and `rollback`: models move between environments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitops import git
from gitops.cli import screen
from gitops.cli.common import JsonOption, RemoteOption, open_repository
from gitops.errors import UsageError

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.promote.plan import Plan
    from gitops.promote.run import Promoted
    from gitops.promote.world import World

ReasonOption = Annotated[
    str | None,
    typer.Option("--reason", metavar="WHY", help="Why, for the record.", show_default=False),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Only this model of several.", show_default=False)
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan; judge and change nothing.")
]


def register(app: typer.Typer) -> None:
    for command in (promote, approve, rollback):
        app.command()(command)


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
        _no_more(f"--finish {finish}", source, target, model, pull_request, bring_forward)
        _finish(worlds.read(root, remote), config, finish, reason, dry_run, as_json)
    elif bring_forward:
        _no_more("--bring-forward", target, model)
        _bring_forward(worlds.read(root, remote), config, source, pull_request, dry_run, as_json)
    elif source is None or target is None:
        names = " ".join(one.name for one in config.environments[:2])
        raise UsageError("from where to where?", fix=f"gitops promote {names}")
    else:
        world = worlds.read(root, remote)
        plan = _plan(world, config, source, target, model)
        _promote(world, config, plan, model, reason, dry_run, pull_request, as_json)


def approve(
    source: Annotated[str, typer.Argument(help="The environment that is promoted from.")],
    target: Annotated[str, typer.Argument(help="The environment after it.")],
    reason: ReasonOption = None,
    remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve a promotion by a signed tag, as one of the target's `approvers`.

    It holds for exactly what SOURCE has now, and counts only if somebody else promotes.

    Examples:

        gitops approve staging production --reason "looked at the slices"
    """
    from gitops.promote import marks
    from gitops.promote import world as worlds

    root, config = open_repository()
    world = worlds.read(root, remote)
    plan = _plan(world, config, source, target, None)
    name = marks.approve(world, plan.at, plan.target, plan.base, _reason(reason, "approved"))
    if as_json:
        screen.document({"tag": name, "commit": plan.at.commit, "tree": plan.at.tree})
        return
    screen.out(f"approved {plan.at.commit[:12]} for {target}: {name}")


def rollback(
    environment: Annotated[str, typer.Argument(metavar="ENV", help="The environment.")],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="VERSION",
            help="A version that ran there: v1.3.0. [default: what ran before]",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    release_hold: Annotated[
        bool, typer.Option("--release-hold", help="Lift the hold that a rollback has set.")
    ] = False,
    reason: ReasonOption = None,
    dry_run: DryRunOption = False,
    remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go back to an earlier promotion: a new commit with its exact tree, and a hold on top.

    Nothing is force-pushed. The hold keeps automation from undoing it, until --release-hold. A
    freeze doesn't stop it.

    Examples:

        gitops rollback production --reason "complaints about late flights"

        gitops rollback production --to v1.3.0 --reason "known to be good"

        gitops rollback production --release-hold --reason "v1.5.0 is fixed"
    """
    from gitops.cli.hands import hands
    from gitops.promote import rollback as engine
    from gitops.promote import world as worlds

    root, config = open_repository()
    if reason is None and not dry_run:
        raise UsageError(
            "why? A rollback is looked at later",
            fix=f'gitops rollback {environment} --reason "..."',
        )
    world = worlds.read(root, remote)
    if release_hold:
        name = engine.release_hold(world, config, environment, reason or "")
        screen.document({"tag": name}) if as_json else screen.out(f"released: {name}")
        return
    plan = engine.plan(world, config, environment, to=to, model=model)
    if dry_run:
        _show_plan(plan, as_json)
        return
    if not as_json:
        _show_plan(plan, as_json)
    done = engine.carry_out(world, plan, hands(root), why=reason or "", model=model)
    _show_done(done, as_json)


# ---------------------------------------------------------------- steps


def _plan(world: World, config: Config, source: str, target: str, model: str | None) -> Plan:
    from gitops.promote import partial, plan

    found = plan.promotion(world, config, source, target, promoter=git.identity(world.root))
    if model is not None:
        found.proposed.model(model)
        if len(found.proposed.models) > 1:
            return partial.of(found, model)
    return found


def _promote(
    world: World,
    config: Config,
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
        screen.document(_as_json(plan)) if as_json else screen.out(
            f"{plan.target.name} has it all already: nothing to promote"
        )
        return
    if dry_run or not as_json:
        _show_plan(plan, as_json)
    if dry_run:
        if plan.stops:
            raise typer.Exit(1)
        return
    alone = model is not None and len(plan.proposed.models) > 1
    tip = partial.tip(world, plan) if alone else None
    why = _reason(reason, f"promoted from {plan.source.name if plan.source else '?'}")
    done = run.run(world, plan, hands(world.root), why=why, tip=tip)
    _show_done(done, as_json)


def _finish(
    world: World,
    config: Config,
    environment: str,
    reason: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    from gitops.cli.hands import hands
    from gitops.promote import finish, run

    tip = world.tip(config.environment(environment))
    if finish.recorded(world, tip.commit):
        text = f"{environment} is on record as it is: {tip.commit[:12]}"
        screen.document({"recorded": tip.commit}) if as_json else screen.out(text)
        return
    plan = finish.plan(world, config, environment, promoter=git.identity(world.root))
    if dry_run or not as_json:
        _show_plan(plan, as_json)
    if not dry_run:
        why = _reason(reason, f"merged into {plan.target.branch}")
        done = run.run(world, plan, hands(world.root), why=why, tip=tip.commit)
        _show_done(done, as_json)
    elif plan.stops:
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
    from gitops.promote import forward, hotfix

    if source is None:
        raise UsageError(
            "hotfixes of which environment?", fix="gitops promote production --bring-forward"
        )
    found = forward.bring(world, config, source)
    if not dry_run:
        gitremote.push(world.root, world.refs, [found.update])
    if as_json:
        screen.document(
            {
                "source": found.source.name,
                "target": found.target.name,
                "hotfixes": [one.id for one in found.hotfixes],
                "commit": found.update.new,
                "pushed": not dry_run,
            }
        )
        return
    for one in found.hotfixes:
        screen.out(f"  {hotfix.shown(one)}")
    verb = "would bring" if dry_run else "brought"
    screen.out(f"{verb} forward to {found.target.branch}: {found.update.new[:12]}")
    screen.out(
        "pull, and `gitops build`: what came back has yet to be built together with the rest"
    )


def _no_more(what: str, *others: object) -> None:
    if any(others):
        raise UsageError(f"{what} takes nothing more", fix=f"gitops promote {what}")


def _reason(given: str | None, default: str) -> str:
    return (given or default).strip() or default


# ---------------------------------------------------------------- what a person sees


def _show_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        screen.document(_as_json(plan))
        return
    source = plan.source.name if plan.source else plan.at.commit[:12]
    how = ", fast-forward" if plan.fast_forward else ""
    screen.out(
        f"{screen.style(f'{source} -> {plan.target.name}', 'bold')}"
        f"  {plan.at.commit[:12]} onto {plan.base.commit[:12]}{how}"
    )
    rows = [
        [
            one.model,
            str(one.old or "-"),
            str(one.version or "new"),
            one.commit[:10],
            one.closure.package[:8],
        ]
        for one in plan.changes
    ]
    if rows:
        screen.table(["MODEL", "NOW", "THEN", "COMMIT", "PACKAGE"], rows)
    if plan.along:
        more = f" and {len(plan.along) - 5} more" if len(plan.along) > 5 else ""
        screen.out(f"along with it: {', '.join(plan.along[:5])}{more}")
    if plan.approved:
        screen.out(f"approved by {', '.join(plan.approved)}")
    for stop in plan.stops:
        screen.out(f"{screen.style('stop:', 'red')} {stop.text}")
        screen.out(f"  {screen.style('fix:', 'green')} {stop.fix}")


def _show_done(done: Promoted, as_json: bool) -> None:
    if as_json:
        screen.document(
            {
                "kind": done.kind,
                "environment": done.target,
                "commit": done.tip.commit,
                "tree": done.tip.tree,
                "versions": dict(done.versions),
                "tags": list(done.tags),
                "verdicts": {one.model: one.digest for one in done.verdicts},
            }
        )
        return
    what = ", ".join(f"{model} {version}" for model, version in done.versions.items())
    verb = {"rollback": "rolled back", "promotion": "promoted", "hotfix": "recorded"}[done.kind]
    screen.out(
        f"{screen.style(verb, 'green')}: {done.target} is {what or 'moved'}"
        f" at {done.tip.commit[:12]}"
    )
    for tag in done.tags:
        screen.out(f"  {tag}")


def _as_json(plan: Plan) -> dict[str, Any]:
    return {
        "kind": plan.kind,
        "source": plan.source.name if plan.source else None,
        "target": plan.target.name,
        "base": {"commit": plan.base.commit, "tree": plan.base.tree},
        "from": {"commit": plan.at.commit, "tree": plan.at.tree},
        "fast_forward": plan.fast_forward,
        "models": [
            {
                "model": one.model,
                "now": str(one.old) if one.old else None,
                "then": str(one.version) if one.version else None,
                "commit": one.commit,
                "package": one.closure.package,
            }
            for one in plan.changes
        ],
        "along": list(plan.along),
        "approved": list(plan.approved),
        "stops": [{"kind": one.kind, "text": one.text, "fix": one.fix} for one in plan.stops],
    }
