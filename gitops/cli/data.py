"""`gitops data`: new data, the commonest act of all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository
from gitops.cli.moves import RemoteOption
from gitops.errors import AnswerNo, GitopsError, ToolError, UsageError

BranchOption = Annotated[str | None, typer.Option("--branch", help="Commit on this new branch.")]
CommitOption = Annotated[
    bool, typer.Option("--commit", help="Commit on the branch that is checked out.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Take it even if the training would break.")
]

group = typer.Typer(help="Version the data that models are trained on.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="data")


@group.command()
def update(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new table: .csv or .parquet.")],
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A model of gitops.yaml.")
    ] = None,
    branch: BranchOption = None,
    commit: CommitOption = False,
    force: ForceOption = False,
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
def ingest(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="A model of gitops.yaml; by default all that have a `source:`."
        ),
    ] = None,
    branch: BranchOption = None,
    commit: CommitOption = False,
    pull_request: Annotated[
        bool,
        typer.Option(
            "--pr",
            help="Push it, with its data, as a branch of its own and open a pull request; what is"
            " checked out stays as it is.",
        ),
    ] = False,
    force: ForceOption = False,
    remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a snapshot of a model's table from its source: files, a store, a database.

    The same rows come to the same bytes: if nothing has changed nothing is done. Else the table is
    compared with the old one, tracked and pushed as by `gitops data update`; the .dvc file says
    where it was taken. A build never asks a source. Exit code 1, with nothing changed, if the
    training would break; 3: the source is incomplete, or not declared; 4: it can't be reached.

    Examples:

        gitops data ingest late

        gitops data ingest late --branch data/october

        gitops data ingest --pr --json          in CI: each changed table becomes a pull request
    """
    from gitops.cli import ingesting

    if pull_request and (branch or commit):
        raise UsageError("--pr makes the branch itself", fix="leave --branch and --commit out")
    root, config = open_repository()
    names = ingesting.sources(config, model)
    if branch and len(names) > 1:
        raise UsageError("a branch is for one model's data", fix=f"name one: {', '.join(names)}")
    found, failed = [], []
    for name in names:
        try:
            one = (
                ingesting.propose(root, config, name, force=force, remote=remote)
                if pull_request
                else ingesting.ingest(root, config, name, branch=branch, commit=commit, force=force)
            )
        except GitopsError as error:
            if len(names) == 1:
                raise
            screen.error(error)  # the others don't wait for it
            failed.append((name, error))
            continue
        found.append(one)
        if not as_json:
            screen.out(one.text())
    if as_json:
        errors = [{"model": name, **error.as_json()} for name, error in failed]
        screen.document({"models": [one.as_json() for one in found], "errors": errors})
    if failed:
        raise typer.Exit(max(error.code for _, error in failed))


@group.command()
def labels(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A table with id, label, row, value: .csv, .parquet or .jsonl."
        ),
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
