"""All commands, and the options that all of them know."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from gitops import __version__

# In the order of the help; each module is named for its command, or for its group of commands.
_MODULES = (
    "new", "build", "verify", "predict", "gate", "affected", "ci", "gc", "promote", "rollback",
    "fetch", "image", "serve", "deploy", "status", "diff", "log", "sync", "upgrade", "lint",
    "doctor", "demo", "schema", "data", "add", "setup", "infra",
)  # fmt: skip
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
    needed = [asked] if asked in _MODULES else _MODULES
    for name in needed if first != "--version" else ():
        import_module(f"gitops.cli.{name}").register(app)
    return app


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
