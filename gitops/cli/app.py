"""All commands, and the options that all of them know."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from gitops import __version__

# As the help and the documentation list them; each module is named for its command, or for its
# group of commands.
_PANELS = {
    "To begin with": ("new",),
    "Data and builds": ("data", "build", "verify", "predict", "gc"),
    "Judging": ("gate",),
    "Promotion": ("promote", "rollback", "status", "diff", "log", "fetch"),
    "Serving": ("serve", "deploy", "image"),
    "CI": ("ci", "affected", "lint", "setup", "doctor"),
    "Infrastructure": ("infra",),
    "The repository itself": ("add", "sync", "upgrade", "schema", "demo"),
}
_SECOND = {"approve": "promote", "pins": "lint", "eject": "upgrade"}  # a module's second command


def make(words: Sequence[str] = ()) -> typer.Typer:
    """The command line; of `words` that start with a command or --version, just what that needs.

    To import and describe all commands takes longer than a short one works.
    """
    app = typer.Typer(
        name="gitops",
        help="Turn an ML repository into a production line: every commit builds, and proves it.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    first = words[0] if words else ""
    asked = _SECOND.get(first, first)
    known = any(asked in names for names in _PANELS.values())
    for panel, names in _PANELS.items() if first != "--version" else ():
        for name in names:
            if name == asked or not known:
                _register(app, name, panel)
    return app


def _register(app: typer.Typer, name: str, panel: str) -> None:
    commands, groups = len(app.registered_commands), len(app.registered_groups)
    import_module(f"gitops.cli.{name}").register(app)
    here = app.registered_commands[commands:]
    for group in app.registered_groups[groups:]:
        group.rich_help_panel = panel
        here = here + (group.typer_instance.registered_commands if group.typer_instance else [])
    for command in app.registered_commands[commands:]:
        command.rich_help_panel = panel
    for command in here:
        if command.callback is not None:
            command.help = _paragraphs(command.help or command.callback.__doc__ or "")


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


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gitops {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Turn an ML repository into a production line: every commit builds, and proves it."""
