"""`gitops data`: new data, the commonest act of all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository
from gitops.errors import AnswerNo, ToolError

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


@group.command()
def labels(
    file: Annotated[
        Path, typer.Argument(help="A table with id, label, row, value: .csv, .parquet or .jsonl.")
    ],
    environment: Annotated[
        str, typer.Option("--env", help="The environment whose server gave the predictions.")
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", help="The model they are for; by default each that answered."),
    ] = None,
    remote: Annotated[
        str | None, typer.Option("--remote", help="The git remote with the environments.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Add labels, what came true, to the predictions that this machine's server has given.

    `id` is the request's, `row` the position in the request (0 if left out), `value` what it was
    worth. A label that is there already counts once. Exit code 1, with the others added, if one
    says something else than before: the first stays.

    Examples:

        gitops data labels october.csv --env production

        gitops data labels sales.parquet --env staging --model late --json
    """
    from gitops.deploy import state
    from gitops.git import remote as remotes

    try:
        from gitops.serve import label_file
    except ModuleNotFoundError as error:
        raise ToolError(
            f"{error.name} isn't installed",
            fix="install gitops-ml with its extra: gitops-ml[serve]",
        ) from error
    root, config = open_repository()
    config.environment(environment)
    if model is not None:
        config.model(model)
    url = remotes.place(root, remotes.choose(root, remote))
    folder = state.of(config.project, url, environment).folder
    added = label_file.add(file, folder, model)
    if as_json:
        screen.document(added.as_json())
        raise typer.Exit(1 if added.conflicts.count else 0)
    screen.out(f"{added.written:,} labels added to {environment}")
    for count, what in (
        (added.repeated, f"{added.repeated:,} were there already"),
        (added.empty, f"{added.empty:,} rows have neither label nor value"),
        (added.unknown.count, f"{added.unknown} are of requests that the log doesn't have"),
    ):
        if count:
            screen.out(what)
    if added.conflicts.count:
        raise AnswerNo(
            f"{added.conflicts} labels say something else than before: the first stays",
            fix="find out which is right; what is there can't be changed",
        )
