"""`gitops verify`: does a revision rebuild to what it says, or is what it stored still whole?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli import screen
from gitops.cli.common import MODELS, JsonOption, open_repository
from gitops.cli.scrub import scrub

if TYPE_CHECKING:
    from gitops.reproduce.verify import Verified


def register(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    revisions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REV",
            show_default=False,
            help="A commit, branch or tag [default: HEAD]; with --objects several.",
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="Only this model; several times for several.",
            envvar=MODELS,
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="Keep the rebuilt clone in this new folder.")
    ] = None,
    objects: Annotated[
        bool, typer.Option("--objects", help="Rebuild nothing: hash every stored object.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Rebuild a revision from nothing and compare: bytes, parameters, predictions.

    A clean clone, the locked environment, inputs from the remote, no cache. On the machine that
    built it the bytes must be equal (or the level that gitops.yaml declares); on another, the
    predictions within the declared tolerance. Exit code 1 if they aren't.

    With --objects nothing is rebuilt: every object that the revisions need is read where it is
    stored and hashed. Exit code 1 if one is missing, truncated or corrupt. For a schedule.

    Examples:

        gitops verify                   the commit that is checked out

        gitops verify release/production --json

        gitops verify --objects release/staging release/production
    """
    from gitops.reproduce.verify import verify as run

    if objects:
        if keep is not None:
            raise typer.BadParameter("nothing is rebuilt with --objects", param_hint="--keep")
        scrub(revisions or ["HEAD"], models or [], as_json)
        return
    if len(revisions or []) > 1:
        raise typer.BadParameter("one at a time, but with --objects", param_hint="REV")
    root, _ = open_repository()
    if keep is not None:
        if keep.exists():
            raise typer.BadParameter(f"{keep} exists already", param_hint="--keep")
        keep = keep.resolve()
    commit, answers = run(root, (revisions or ["HEAD"])[0], models or [], screen.say, keep)
    if as_json:
        screen.document({"commit": commit, "models": [_json(one) for one in answers]})
    else:
        for one in answers:
            _show(one)
    if not all(one.holds for one in answers):
        raise typer.Exit(1)


def _json(one: Verified) -> dict[str, object]:
    differences = [
        {"path": item.path, "recorded": item.recorded, "rebuilt": item.rebuilt}
        for item in one.found.differences
    ]
    return {
        "model": one.model,
        "reproducible": one.holds,
        "wanted": one.wanted,
        "level": one.found.level,
        "detail": one.found.detail,
        "machine": one.machine,
        "differences": differences,
    }


def _show(one: Verified) -> None:
    word = (
        screen.style("reproducible", "green")
        if one.holds
        else screen.style("NOT reproducible", "red")
    )
    screen.out(f"{screen.style(one.model, 'bold')}  {word}: {one.found.detail}")
    screen.out(f"  level {one.found.level}, wanted {one.wanted} ({one.machine})")
    for item in one.found.differences:
        screen.out(f"  differs: {item.path}  recorded {item.recorded}  rebuilt {item.rebuilt}")
