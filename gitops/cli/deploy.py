"""`gitops deploy`: an environment runs what its branch says."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli import screen, watching
from gitops.cli.common import open_repository
from gitops.cli.moves import RemoteOption
from gitops.errors import AnswerNo, GitopsError, ToolError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from gitops.cli.hands_deploy import Remote
    from gitops.config import Config
    from gitops.deploy.local import Local
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
    """Make this machine run what an environment's branch says, and wait for a rollout's verdict.

    The package is fetched by its digest, tested beside the old one, and only then gets traffic: at
    once, or by the steps of `rollout` in gitops.yaml, judged by its own answers. What breaks leaves
    the old one running. Exit code 1: it was rolled back.

    Examples:

        gitops deploy staging

        gitops deploy production --watch

        gitops deploy production --once --json      in CI

        gitops deploy production --unit > ~/.config/systemd/user/flights.service
    """
    if sum((once, follow, stop, unit)) > 1:
        raise UsageError(
            "--once, --follow, --stop and --unit are different things", fix="give one of them"
        )
    root, config = open_repository()
    config.environment(environment)
    if unit:
        _unit(root, config, environment, remote, workers)
        return
    source, state, target = parts(root, config, environment, remote, workers)
    show = watching.Show(environment, watching.mode_of(watch, follow, as_json))
    from gitops.serve import require_extra

    require_extra()
    with ExitStack() as stack:
        try:
            stack.enter_context(state.alone())
        except AnswerNo:
            if not watch:
                raise
            _only_watch(state, show)
            return
        if stop:
            _stopped(environment, target.stop(), as_json)
            return
        watcher = _watcher(source, state, target, show, _PATIENCE if follow else 0.0)
        if follow:
            watcher.follow()
        sent = watcher.once() if once else watcher.until_verdict(timeout)
        _end(watcher, target, environment, as_json, sent)


def parts(
    root: Path, config: Config, environment: str, remote: str | None, workers: int | None
) -> tuple[Remote, State, Local]:
    """What an environment is deployed with: the remote's word, the state folder, the target.

    Raises:
        ConfigError, UsageError: which remote is meant isn't clear.
    """
    from gitops.cli.hands_deploy import Remote
    from gitops.deploy import local
    from gitops.deploy import state as states
    from gitops.deploy.ask import Endpoint
    from gitops.git import remote as gitremote

    name = gitremote.choose(root, remote)
    state = states.of(config.project, gitremote.place(root, name), environment)
    endpoint = local.remembered(state) or Endpoint(*config.listen(environment))
    target = local.Local(state, endpoint, workers, screen.say)
    return Remote(root, config, environment, name), state, target


def _watcher(
    source: Remote, state: State, target: Local, show: watching.Show, patience: float
) -> Watcher:
    from gitops.cli.evidence import Evidence
    from gitops.deploy.book import Book
    from gitops.deploy.reconcile import Reconciler
    from gitops.deploy.run import Watcher
    from gitops.deploy.traffic import Traffic

    book = Book(state, source.environment)
    names = (source.local.project, source.environment)
    judge = Evidence(state).judge
    reconciler = Reconciler(names, state, target, source, book, judge, show.say, patience)
    target.say = show.say
    return Watcher(reconciler, Traffic(reconciler), show)


def _only_watch(state: State, show: watching.Show) -> None:
    """Show what another reconciler does, until its rollout is over."""
    from gitops.deploy import run

    show.say("another reconciler is at work: this only watches it")
    while True:
        show(run.remembered(state))
        if not state.under_way():
            return
        time.sleep(run.TICK)


def _end(watcher: Watcher, target: Local, environment: str, as_json: bool, sent: bool) -> None:
    """The result, and the exit code that goes with it."""
    standings = watcher.standings()
    problem = _problem(watcher, sent)
    if as_json:
        screen.document(
            {
                "environment": environment,
                "endpoint": target.endpoint.url,
                "models": [watching.as_json(one) for one in standings],
                "error": problem.as_json() if problem else None,
            }
        )
        if problem is not None:
            screen.error(problem)
            raise typer.Exit(problem.code)
        return
    screen.out(f"{screen.style(environment, 'bold')} answers at {target.endpoint.url}")
    rows = [
        [one.model, one.release or "-", one.state.replace("_", " "), one.package[:12] or "-"]
        for one in standings
    ]
    screen.table(["MODEL", "ANSWERS", "STATE", "PACKAGE"], rows)
    if problem is not None:
        raise problem


def _problem(watcher: Watcher, sent: bool) -> GitopsError | None:
    if faults := watcher.reconciler.faults:
        return next(iter(faults.values()))
    for model, why in watcher.rolled_back.items():
        return AnswerNo(
            f"{model} was rolled back: {why}",
            fix="gitops log has the record; lift its hold when it is mended: gitops rollback"
            f" {watcher.reconciler.names[1]} --release-hold",
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
