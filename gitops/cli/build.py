"""`gitops build`: run what changed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops import git
from gitops.cli import build_on, screen
from gitops.cli.common import MODELS, JsonOption, open_repository
from gitops.errors import AnswerNo, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops.reproduce.model import Outcome


def register(app: typer.Typer) -> None:
    app.command()(build)


def build(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Models of gitops.yaml; all if left out.",
            envvar=MODELS,
            show_default=False,
        ),
    ] = None,
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
    statement: Annotated[
        Path | None,
        typer.Option(
            "--statement",
            metavar="DIR",
            help="With --register: write here what the versions' tags state, for a forge to sign.",
        ),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="NAME",
            help="Build HEAD on other machines: an entry of `compute:` in gitops.yaml.",
            show_default=False,
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="With --on: submit, and don't wait.")
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="With --on: end the job of this commit.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --on: show what would be handed over.")
    ] = False,
    job: Annotated[
        str | None,
        typer.Option("--job", help="What a job's program is told to build.", hidden=True),
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

        gitops build --push --register --statement build/statement     on the integration branch

        gitops build late --on gpu      on the cluster that gitops.yaml calls gpu
    """
    from gitops.reproduce import build as engine

    if job is not None:
        build_on.run_job(job)
        return
    if on is not None:
        _refuse_beside_on(push=push, check=check, register=register_)
        _on(on, models or [], detach, cancel, dry_run, commit, as_json)
        return
    for option, given in (("--detach", detach), ("--cancel", cancel), ("--dry-run", dry_run)):
        if given:
            raise UsageError(f"{option} is for --on", fix=f"gitops build --on NAME {option}")

    for option, value in (("--as", as_), ("--statement", statement)):
        if value is not None and not register_:
            raise UsageError(
                f"{option} is for --register", fix=f"gitops build --register {option} {value}"
            )
    wanted = models or []
    if register_:
        _register(wanted, push, as_, statement, as_json)
        return
    if not check and (known := engine.nothing_to_do(git.root(Path.cwd()), wanted, push)):
        screen.document(asdict(known)) if as_json else _show(known)
        return
    from gitops.reproduce.model import places

    root, config = open_repository()
    chosen = places(root, config, wanted)
    if check:
        if stale := engine.stale(chosen):
            raise engine.answer_stale(stale)
        screen.document({"stale": {}}) if as_json else screen.out("dvc.lock is up to date")
        return
    outcome = engine.build(root, config, chosen, push=push, commit=commit, say=screen.say)
    screen.document(asdict(outcome)) if as_json else _show(outcome)


def _refuse_beside_on(*, push: bool | None, check: bool, register: bool) -> None:
    for option, given in (
        ("--push/--no-push", push is not None),
        ("--check", check),
        ("--register", register),
    ):
        if given:
            raise UsageError(f"{option} isn't for --on, which always stores", fix="leave it out")


def _on(
    name: str,
    models: Sequence[str],
    detach: bool,
    cancel: bool,
    dry_run: bool,
    commit: bool,
    as_json: bool,
) -> None:
    if sum((detach, cancel, dry_run)) > 1:
        raise UsageError("--detach, --cancel and --dry-run exclude each other", fix="choose one")
    if dry_run:
        build_on.show(name, models, as_json=as_json)
    elif cancel:
        build_on.cancel(name, models, as_json=as_json)
    elif detach:
        build_on.detach(name, models, as_json=as_json)
    else:
        outcome = build_on.build_on(name, models, commit=commit)
        screen.document(asdict(outcome)) if as_json else _show(outcome)


def _register(
    names: Sequence[str],
    push: bool | None,
    wanted: str | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Build what HEAD has, which must be what it says, and write the version tags."""
    from gitops.cli.hands import hands
    from gitops.promote import attest
    from gitops.promote import register as engine
    from gitops.promote import world as worlds
    from gitops.reproduce import build
    from gitops.reproduce.model import places
    from gitops.version import Bump, Version

    root, config = open_repository()
    if changed := git.changes(root):
        raise AnswerNo(
            f"the work tree has changes ({', '.join(changed[:3])}): a version is of a commit",
            fix="commit them, or put them aside: git stash",
        )
    models = places(root, config, names)
    if stale := build.stale(models):
        raise build.answer_stale(stale)
    build.build(root, config, models, push=push, commit=False, say=screen.say)
    bumps: dict[str, Bump] = {"major": "major", "minor": "minor", "patch": "patch"}
    number = bumps.get(wanted) or Version.parse(wanted) if wanted else None
    names = [place.name for place in models]
    found = engine.register(
        worlds.read(root), config, git.head(root).commit, names, hands(root), number
    )
    if folder is not None:
        versions = {name: version for name, (version, _) in found.items()}
        attest.write(attest.statements(worlds.read(root), versions), folder)
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
