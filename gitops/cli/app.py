"""All commands, and the options that all of them know."""

from __future__ import annotations

from typing import Annotated

import typer

from gitops import __version__
from gitops.cli import (
    add,
    affected,
    build,
    ci,
    data,
    demo,
    deploy,
    diff,
    doctor,
    fetch,
    gate,
    gc,
    image,
    infra,
    lint,
    log,
    new,
    predict,
    promote,
    rollback,
    schema,
    serve,
    setup,
    status,
    sync,
    upgrade,
    verify,
)

app = typer.Typer(
    name="gitops",
    help="Turn an ML repository into a production line: every commit builds, and proves it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gitops {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Turn an ML repository into a production line: every commit builds, and proves it."""


for module in (
    new,
    build,
    verify,
    predict,
    gate,
    affected,
    ci,
    gc,
    promote,
    rollback,
    fetch,
    image,
    serve,
    deploy,
    status,
    diff,
    log,
    sync,
    upgrade,
    lint,
    doctor,
    demo,
    schema,
):
    module.register(app)
data.register(app)
add.register(app)
setup.register(app)
infra.register(app)
