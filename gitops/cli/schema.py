"""`gitops schema`: the JSON Schemas, for editors and for other tools."""

from __future__ import annotations

from typing import Annotated

import typer

from gitops.cli import screen
from gitops.errors import UsageError


def register(app: typer.Typer) -> None:
    app.command()(schema)


def schema(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="`config`, `policy`, `pipeline`, or a contract."),
    ] = "config",
    names: Annotated[bool, typer.Option("--list", help="List the names.")] = False,
) -> None:
    """Print a JSON Schema.

    Examples:

        gitops schema > .gitops/gitops.schema.json

        gitops schema signature
    """
    from gitops import contracts

    known = ("config", "policy", "pipeline", *contracts.names())
    if names:
        screen.out("\n".join(known))
    elif name == "config":
        from gitops import config

        screen.document(config.json_schema())
    elif name == "policy":
        from gitops.validate import policy

        screen.document(policy.json_schema())
    elif name == "pipeline":
        from gitops.pipelines import definition

        screen.document(definition.rules("pipeline"))
    elif name in known:
        screen.document(contracts.schema(name))
    else:
        raise UsageError(f"there's no schema {name!r}", fix=f"one of: {', '.join(known)}")
