"""All commands, and the options that all of them know."""

from __future__ import annotations

import inspect
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


# The help lists them as README.md does.
_PANELS = {
    "Data and builds": (new, data, build, verify, predict, gc),
    "Judging": (gate,),
    "Promotion": (promote, rollback, status, diff, log, fetch),
    "Serving": (serve, deploy, image),
    "CI": (ci, affected, lint, setup, doctor),
    "Infrastructure": (infra,),
    "The repository itself": (add, sync, upgrade, schema, demo),
}


def _paragraphs(text: str) -> str:
    """A docstring for a terminal of any width: typer keeps the ends of our lines, which are prose's
    by accident and examples' on purpose.
    """
    blocks = [
        (block.startswith(" "), block if block.startswith(" ") else " ".join(block.split()))
        for block in inspect.cleandoc(text).split("\n\n")
    ]
    lines = blocks[0][1]
    for (_, block), (after_example, _) in zip(blocks[1:], blocks, strict=False):
        lines += ("\n" if after_example and block.startswith(" ") else "\n\n") + block
    return lines


def _register(typer_app: typer.Typer) -> None:
    for panel, modules in _PANELS.items():
        for module in modules:
            seen = len(typer_app.registered_commands), len(typer_app.registered_groups)
            module.register(typer_app)
            for command in typer_app.registered_commands[seen[0] :]:
                command.rich_help_panel = panel
            for group in typer_app.registered_groups[seen[1] :]:
                group.rich_help_panel = panel
    inner = [one.typer_instance for one in typer_app.registered_groups if one.typer_instance]
    for each in (typer_app, *inner):
        for command in each.registered_commands:
            if command.callback is not None:
                command.help = _paragraphs(command.help or command.callback.__doc__ or "")


_register(app)
