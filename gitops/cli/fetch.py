"""`gitops fetch`: an application gets its package by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository
from gitops.cli.moves import RemoteOption
from gitops.errors import UsageError


def register(app: typer.Typer) -> None:
    app.command()(fetch)


def fetch(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model.")],
    environment: Annotated[
        str | None,
        typer.Option(
            "--env", help="What runs there. [default: the last environment]", show_default=False
        ),
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="A version: v1.2.0.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The folder. [default: the model's name]", show_default=False),
    ] = None,
    remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Get a model's package: the bytes that were judged, each file's SHA-256 checked.

    The version is the remote's registry's, the bytes come from the storage, and what its tag says
    decides. The folder appears whole or not at all. One that is there stays: exit code 0 if it is
    this very package, 1 if it is anything else.

    Examples:

        gitops fetch late

        gitops fetch late --env staging --out models/late

        gitops fetch late --version v1.2.0 --json
    """
    from gitops.promote import fetch as engine
    from gitops.promote import world as worlds

    if environment is not None and version is not None:
        raise UsageError("--env and --version name two things", fix="give one of them")
    root, config = open_repository()
    target = (out or Path(model)).absolute()
    world = worlds.read(root, remote)
    chosen = engine.choose(world, config, model, environment, version)
    known = engine.there(chosen, target)
    files = engine.digests(target) if known else engine.into(world, chosen, target)
    if as_json:
        screen.document(
            {
                "model": chosen.model,
                "version": str(chosen.version),
                "tag": chosen.entry.tag.name,
                "assignment": chosen.assignment.tag.name if chosen.assignment else None,
                "commit": chosen.entry.commit,
                "package": chosen.package,
                "files": files,
                "folder": str(target),
                "fetched": not known,
            }
        )
        return
    word = "is there already" if known else "fetched"
    screen.out(
        f"{screen.style(f'{chosen.model} {chosen.version}', 'bold')} {word}: {target}"
        f"  ({len(files)} files, package {chosen.package[:12]})"
    )
