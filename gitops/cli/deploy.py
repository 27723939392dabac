"""`gitops deploy`: an environment runs what its branch says."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli import places, screen, watching
from gitops.cli.common import open_repository
from gitops.cli.moves import RemoteOption
from gitops.errors import AnswerNo, GitopsError, ToolError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from gitops.cli.places import Setting
    from gitops.config import Config
    from gitops.deploy.fleet import Fleet
    from gitops.deploy.run import Watcher
    from gitops.deploy.state import State

_PATIENCE = 300.0  # seconds until --follow tries again what failed


def register(app: typer.Typer) -> None:
    app.command()(deploy)


def deploy(
    environment: Annotated[str, typer.Argument(metavar="ENV", help="The environment.")],
    once: Annotated[
        bool, typer.Option("--once", help="One look, and what follows from it: for CI and cron.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="For ever: whatever the branch says next, too.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show a rollout live: steps, figures, what it needs.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the server; nothing is lost.")] = False,
    unit: Annotated[
        bool, typer.Option("--unit", help="Print a systemd unit that runs --follow.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be handed to each place; change nothing."),
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0,
            help="How long to wait for a rollout's verdict. [default: until there is one]",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Processes that answer. [default: as `gitops serve`]",
            show_default=False,
        ),
    ] = None,
    remote: RemoteOption = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="One JSON document at the end; with --follow or --watch a line each time.",
        ),
    ] = False,
) -> None:
    """Make an environment run what its branch says, and wait for a rollout's verdict.

    Each model runs where gitops.yaml says: on this machine, or at a target of another kind.

    The package is fetched by its digest, tested beside the old one, and only then gets traffic: at
    once, or by the steps of `rollout` in gitops.yaml, judged by its own answers. What breaks leaves
    the old one running. Exit code 1: it was rolled back.

    Examples:

        gitops deploy staging

        gitops deploy production --watch

        gitops deploy production --once --json      in CI

        gitops deploy production --dry-run          shows it, changes nothing

        gitops deploy production --unit > ~/.config/systemd/user/flights.service
    """
    if sum((once, follow, stop, unit, dry_run)) > 1:
        raise UsageError(
            "--once, --follow, --stop, --unit and --dry-run are different things",
            fix="give one of them",
        )
    root, config = open_repository()
    config.environment(environment)
    if unit:
        _unit(root, config, environment, remote, workers)
        return
    show = watching.Show(environment, watching.mode_of(watch, follow, as_json))
    setting = places.setting(root, config, environment, remote, workers, show.say)
    if dry_run:
        _dry_run(setting, as_json)
        return
    from gitops.deploy.fleet import Fleet
    from gitops.serve import require_extra

    require_extra()
    with ExitStack() as stack:

        def make(kind: str) -> Watcher:
            state = setting.state(kind)
            stack.enter_context(state.alone())
            return setting.watcher(kind, show, state, _PATIENCE if follow else 0.0)

        fleet = Fleet(setting.kinds(), make, show)
        try:
            for kind in fleet.kinds:
                fleet.watcher(kind)
        except AnswerNo:
            if not watch:
                raise
            _only_watch([setting.state(kind) for kind in fleet.kinds], show)
            return
        if stop:
            _stopped(environment, fleet.stop(), as_json)
            return
        if follow:
            fleet.follow()
        sent = fleet.once() if once else fleet.until_verdict(timeout)
        _end(fleet, environment, as_json, sent)


def _only_watch(states: list[State], show: watching.Show) -> None:
    """Show what another reconciler does, until its rollouts are over."""
    from gitops.deploy import run

    show.say("another reconciler is at work: this only watches it")
    while True:
        show([one for state in states for one in run.remembered(state)])
        if not any(state.under_way() for state in states):
            return
        time.sleep(run.TICK)


def _dry_run(setting: Setting, as_json: bool) -> None:
    """What would be handed to each place, by what the branch says now."""
    from gitops.deploy.preview import preview

    found = {}
    for kind in setting.kinds():
        watcher = setting.watcher(kind, watching.Show("", "quiet"), setting.state(kind), 0.0)
        here = watcher.reconciler
        try:
            if not here.state.taken():
                here.target.recall()
        except ToolError as error:
            screen.say(f"{kind}: as if nothing ran there: {error.message}")
        plan = preview(here, here.source.desired())
        found[kind] = dict(here.target.documents(plan)) if plan and plan.models else {}
    if as_json:
        screen.document({"environment": setting.environment, "documents": found})
        return
    for kind, documents in found.items():
        for name, text in documents.items():
            screen.out(f"# {kind}: {name}\n{text.rstrip()}")


def _end(fleet: Fleet, environment: str, as_json: bool, sent: bool) -> None:
    """The result, and the exit code that goes with it."""
    standings = fleet.standings()
    problem = _problem(fleet, sent)
    targets = [one.reconciler.target for one in fleet.watchers.values() if one.standings()]
    ends = [(target.kind, target.listening()) for target in targets]
    if as_json:
        screen.document(
            {
                "environment": environment,
                "endpoints": dict(ends),
                "models": [watching.as_json(one) for one in standings],
                "error": problem.as_json() if problem else None,
            }
        )
        if problem is not None:
            screen.error(problem)
            raise typer.Exit(problem.code)
        return
    rows = [
        [one.model, one.release or "-", one.state.replace("_", " "), one.package[:12] or "-"]
        for one in standings
    ]
    screen.table(["MODEL", "ANSWERS", "STATE", "PACKAGE"], rows)
    for kind, url in ends:
        where = f"{url}/docs shows how to ask" if kind == "local" else kind
        screen.out(f"{screen.style(environment, 'bold')} answers at {url} ({where})")
    if problem is not None:
        raise problem


def _problem(fleet: Fleet, sent: bool) -> GitopsError | None:
    watchers = list(fleet.watchers.values())
    for one in watchers:
        if faults := one.reconciler.faults:
            return next(iter(faults.values()))
    for one in watchers:
        for model, why in one.rolled_back.items():
            return AnswerNo(
                f"{model} was rolled back: {why}",
                fix="gitops log has the record; lift its hold when it is mended: gitops rollback"
                f" {one.reconciler.names[1]} --release-hold",
            )
    if not sent:
        return ToolError(
            "it runs, but its records could not be pushed", fix="gitops deploy pushes them again"
        )
    return None


def _stopped(environment: str, stopped: bool, as_json: bool) -> None:
    if as_json:
        screen.document({"environment": environment, "stopped": stopped})
        return
    word = "stopped" if stopped else "was not running"
    screen.out(f"{environment} {word}; gitops deploy {environment} starts it")


def _unit(
    root: Path, config: Config, environment: str, remote: str | None, workers: int | None
) -> None:
    from gitops.deploy import unit

    words = [sys.executable, "-m", "gitops", "deploy", environment, "--follow"]
    words += ["--remote", remote] if remote else []
    words += ["--workers", str(workers)] if workers else []
    known = ("PATH", "GITOPS_STATE", "XDG_STATE_HOME")
    variables = {name: os.environ[name] for name in known if name in os.environ}
    screen.out(unit.unit(config.project, environment, root, words, variables).rstrip("\n"))
