"""`gitops deploy`: an environment runs what its branch says."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitops.cli import screen
from gitops.cli.common import open_repository
from gitops.cli.moves import RemoteOption
from gitops.errors import AnswerNo, ToolError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gitops.cli.hands_deploy import Remote
    from gitops.config import Config
    from gitops.deploy.local import Local
    from gitops.deploy.run import Standing, Watcher
    from gitops.deploy.state import State


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
    if stop:
        with state.alone():
            stopped = target.stop()
        _stopped(environment, stopped, as_json)
        return
    with state.alone():
        watcher = _watcher(source, state, target, as_json, watch, follow)
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
    from gitops.deploy import state as states
    from gitops.deploy.ask import Endpoint
    from gitops.deploy.local import Local
    from gitops.git import remote as gitremote

    name = gitremote.choose(root, remote)
    state = states.of(config.project, gitremote.url(root, name), environment)
    target = Local(state, Endpoint(*config.listen(environment)), workers, screen.say)
    return Remote(root, config, environment, name), state, target


def _watcher(
    source: Remote, state: State, target: Local, as_json: bool, watch: bool, follow: bool
) -> Watcher:
    from gitops.cli.evidence import Evidence
    from gitops.deploy.book import Book
    from gitops.deploy.reconcile import Reconciler
    from gitops.deploy.run import Watcher
    from gitops.deploy.traffic import Traffic

    book = Book(state, source.environment)
    names = (source.local.project, source.environment)
    judge = Evidence(state).judge
    reconciler = Reconciler(names, state, target, source, book, judge, screen.say)
    return Watcher(reconciler, Traffic(reconciler), _shower(as_json, watch, follow))


def _shower(as_json: bool, watch: bool, follow: bool) -> Callable[[list[Standing]], None]:
    return lambda standings: None


def _end(watcher: Watcher, target: Local, environment: str, as_json: bool, sent: bool) -> None:
    """The result, and the exit code that goes with it."""
    standings = watcher.standings()
    if as_json:
        screen.document(
            {
                "environment": environment,
                "endpoint": target.endpoint.url,
                "models": [_as_json(one) for one in standings],
            }
        )
    else:
        screen.out(f"{screen.style(environment, 'bold')} answers at {target.endpoint.url}")
        rows = [
            [one.model, one.release or "-", one.state, one.package[:12] or "-", one.why]
            for one in standings
        ]
        screen.table(["MODEL", "RELEASE", "STATE", "PACKAGE", "WHY"], rows)
    if faults := watcher.reconciler.faults:
        raise next(iter(faults.values()))
    if watcher.rolled_back:
        model, why = next(iter(watcher.rolled_back.items()))
        raise AnswerNo(f"{model} was rolled back: {why}", fix="gitops log shows the record")
    if not sent:
        raise ToolError(
            "it runs, but its records could not be pushed", fix="gitops deploy pushes them again"
        )


def _as_json(one: Standing) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(one)


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
