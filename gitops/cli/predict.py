"""`gitops predict`: rows in, predictions out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository
from gitops.errors import UsageError

WARNED = 10  # columns that are told about on a terminal


def register(app: typer.Typer) -> None:
    app.command()(predict)


def predict(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows: .csv, .parquet or .jsonl.")],
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A model of gitops.yaml.")
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option("--rev", help="A commit, branch or tag; the work tree if left out."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--package", help="Predict with the package in this folder: no repository."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write here (.csv, .parquet, .jsonl), not to stdout as CSV."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict with a model's package, of the work tree or of any revision.

    Columns are matched by name with the package's signature; what the model doesn't know (new
    categories, values out of the training range) is counted on stderr.

    Examples:

        gitops predict new_customers.csv

        gitops predict rows.parquet --rev release/production -o scores.parquet

        gitops predict rows.parquet --package late -o scores.parquet      a package alone
    """
    from gitops.reproduce import scoring

    if out is not None and out.exists() and out.samefile(file):
        raise UsageError(f"{out} is the file with the rows", fix="write the predictions elsewhere")
    if folder is not None:
        if model or revision:
            raise UsageError("--package names the model already", fix="leave out MODEL and --rev")
        scored, warnings = scoring.alone(folder, file)
    else:
        root, config = open_repository()
        scored, warnings = scoring.predict(root, config, file, model, revision, screen.say)
    for warning in warnings[:WARNED]:
        screen.say(warning)
    if len(warnings) > WARNED:
        more = len(warnings) - WARNED
        screen.say(f"and {more} more column{'s' * (more > 1)}; --json has them all")
    if out is not None:
        scoring.write(scored, out)
        screen.say(f"{scored.height:,} predictions in {out}")
    if as_json:
        rows = None if out else scored.to_dicts()
        screen.document({"rows": scored.height, "warnings": list(warnings), "predictions": rows})
    elif out is None:
        screen.raw(scored.write_csv().rstrip("\n"))
