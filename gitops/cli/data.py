"""`gitops data`: new data, the commonest act of all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository

group = typer.Typer(help="Version the data that models are trained on.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="data")


@group.command()
def update(
    file: Annotated[Path, typer.Argument(help="The new table: .csv or .parquet.")],
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A model of gitops.yaml.")
    ] = None,
    branch: Annotated[
        str | None, typer.Option("--branch", help="Commit on this new branch.")
    ] = None,
    commit: Annotated[
        bool, typer.Option("--commit", help="Commit on the branch that is checked out.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take it even if the training would break.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Replace a model's table: compare it with the old one, track it, push it to a folder remote.

    Exit code 1, with nothing changed, if the training would break on it.

    Examples:

        gitops data update ~/downloads/flights-october.csv

        gitops data update new.parquet churn --branch data/october
    """
    from gitops.scaffold.data import update as run

    root, config = open_repository()
    result = run(
        root, config, file, model, branch=branch, commit=commit, force=force, say=screen.say
    )
    if as_json:
        screen.document(result.as_json())
        return
    screen.out(result.text())
