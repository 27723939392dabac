"""`gitops rollback`: an environment goes back to what ran before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli import moves, screen
from gitops.cli.common import JsonOption, open_repository
from gitops.cli.moves import DispatchOption, DryRunOption, ModelOption, ReasonOption, RemoteOption
from gitops.errors import UsageError

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.promote.world import World


def register(app: typer.Typer) -> None:
    app.command()(rollback)


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
    dispatch: DispatchOption = False,
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
            fix=f"gitops rollback {environment}{' --release-hold' if release_hold else ''}"
            ' --reason "..."',
        )
    if release_hold and (to or model or dispatch):
        raise UsageError(
            "--release-hold lifts the hold of the whole environment, and goes back to nothing",
            fix=f'gitops rollback {environment} --release-hold --reason "..."',
        )
    world = worlds.read(root, remote)
    if release_hold:
        _release(world, config, environment, reason or "", dry_run, as_json)
        return
    there = moves.deployer(world, dispatch and not dry_run)
    plan = engine.plan(world, config, environment, to=to or None, model=model)
    if dry_run:
        moves.show_plan(plan, as_json)
        return
    if not as_json:
        moves.show_plan(plan, as_json)
    done = engine.carry_out(world, plan, hands(root), why=reason or "", model=model)
    moves.show_done(done, as_json)
    moves.start_deploy(there, plan.target.branch)


def _release(
    world: World, config: Config, environment: str, why: str, dry_run: bool, as_json: bool
) -> None:
    from gitops.promote import rollback as engine

    if dry_run:
        hold = engine.held(world, config, environment)
        if as_json:
            screen.document({"hold": hold.name, "who": hold.who, "why": hold.why, "at": hold.at})
        else:
            screen.out(f"would release {hold.name}: {hold.why} (by {hold.who}, {hold.at})")
        return
    name = engine.release_hold(world, config, environment, why)
    screen.document({"tag": name}) if as_json else screen.out(f"released: {name}")
