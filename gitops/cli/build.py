"""`gitops build`: run what changed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops import git
from gitops.cli import screen
from gitops.cli.common import JsonOption, ModelArgument, open_repository
from gitops.errors import AnswerNo, UsageError

if TYPE_CHECKING:
    from gitops.reproduce.build import Outcome


def register(app: typer.Typer) -> None:
    app.command()(build)


def build(
    model: ModelArgument = None,
    push: Annotated[
        bool | None,
        typer.Option(
            "--push/--no-push",
            help="Push data and outputs. [default: to a folder remote, not to a network one]",
            show_default=False,
        ),
    ] = None,
    commit: Annotated[
        bool,
        typer.Option(
            "--commit/--no-commit",
            help="Commit dvc.lock and metrics if the work tree was clean before (never in CI).",
        ),
    ] = True,
    check: Annotated[
        bool, typer.Option("--check", help="Run nothing: exit 1 if dvc.lock is stale.")
    ] = False,
    register_: Annotated[
        bool,
        typer.Option(
            "--register",
            help="Give what HEAD has a version, with its provenance: a tag in the git remote.",
        ),
    ] = False,
    as_: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="VERSION",
            help="With --register: v2.0.0, or major, minor, patch. [default: by what changed]",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run what changed, restore what somebody else built, prove package and evaluation.

    Stages run in the project's locked environment with fixed seeds and threads. With nothing
    changed it answers in a moment.

    Examples:

        gitops build                    all models

        gitops build late --push        one model, and push it to a network remote

        gitops build --check            in CI: is dvc.lock up to date?

        gitops build --push --register  in CI, on the integration branch
    """
    from gitops.reproduce import build as engine

    if as_ is not None and not register_:
        raise UsageError("--as is for --register", fix=f"gitops build --register --as {as_}")
    if register_:
        _register(model, push, as_, as_json)
        return
    if not check and (known := engine.nothing_to_do(git.root(Path.cwd()), model, push)):
        screen.document(asdict(known)) if as_json else _show(known)
        return
    from gitops.reproduce.model import places

    root, config = open_repository()
    models = places(root, config, model)
    if check:
        if stale := engine.stale(models):
            raise engine.answer_stale(stale)
        screen.document({"stale": {}}) if as_json else screen.out("dvc.lock is up to date")
        return
    outcome = engine.build(root, config, models, push=push, commit=commit, say=screen.say)
    screen.document(asdict(outcome)) if as_json else _show(outcome)


def _register(model: str | None, push: bool | None, wanted: str | None, as_json: bool) -> None:
    """Build what HEAD has, which must be what it says, and write the version tags."""
    from gitops.cli.hands import hands
    from gitops.promote import register as engine
    from gitops.promote import tags
    from gitops.promote import world as worlds
    from gitops.reproduce import build
    from gitops.reproduce.model import places

    root, config = open_repository()
    if changed := git.changes(root):
        raise AnswerNo(
            f"the work tree has changes ({', '.join(changed[:3])}): a version is of a commit",
            fix="commit them, or put them aside: git stash",
        )
    models = places(root, config, model)
    if stale := build.stale(models):
        raise build.answer_stale(stale)
    build.build(root, config, models, push=push, commit=False, say=screen.say)
    bumps: dict[str, tags.Bump] = {"major": "major", "minor": "minor", "patch": "patch"}
    number = bumps.get(wanted) or tags.Version.parse(wanted) if wanted else None
    names = [place.name for place in models]
    found = engine.register(
        worlds.read(root), config, git.head(root).commit, names, hands(root), number
    )
    if as_json:
        screen.document(
            {"versions": {name: {"version": v, "why": why} for name, (v, why) in found.items()}}
        )
        return
    for name, (version, why) in found.items():
        screen.out(f"{screen.style(name, 'bold')}  {version}  {why}")


def _show(outcome: Outcome) -> None:
    for one in outcome.models:
        numbers = "  ".join(
            f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value:,}"
            for name, value in one.metrics.items()
        )
        word = screen.style(one.state, "green" if one.state == "unchanged" else "cyan")
        ran = [stage for stage, state in one.stages.items() if state == "ran"]
        screen.out(
            f"{screen.style(one.model, 'bold')}  {word}{'  ran ' + ', '.join(ran) if ran else ''}"
        )
        if numbers:
            screen.out(f"  {numbers}")
    if outcome.commit:
        screen.out(f"committed {outcome.commit[:12]}")
    if outcome.to_commit:
        screen.out(f"not committed ({outcome.note}): {', '.join(outcome.to_commit)}")
