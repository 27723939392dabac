"""`gitops add`: more for a repository that is there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository

group = typer.Typer(help="Add to a repository that is there.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="add")


@group.callback()
def add() -> None:
    """Add to a repository that is there."""


@group.command()
def packaging(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A model of gitops.yaml with `wrap:`.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Wrap training code that is there: a stage that packages and evaluates what it wrote.

    The code stays as it is. gitops.yaml says, under `wrap:` of the model, what the training reads
    and writes; this adds the packaging module and the stages of dvc.yaml.

    Examples:

        gitops add packaging

        gitops add packaging churn --json
    """
    from gitops.scaffold.wrap import wrap

    root, config = open_repository()
    done = wrap(root, config, model, screen.say)
    if as_json:
        screen.document(asdict(done))
        return
    screen.out(
        f"{done.model}: {len(done.files)} files; stages {', '.join(done.stages) or 'unchanged'}"
    )
    screen.out("next: git add -A && git commit -m 'Package the model', then gitops build")
