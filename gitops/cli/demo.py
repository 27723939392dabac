"""`gitops demo`: the main job on real data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gitops.cli import screen


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for it.")] = Path(
        "gitops-demo"
    ),
) -> None:
    """Show all of it on 336,776 real flights: build, gate, promote, deploy, canary, roll back.

    Takes minutes, and needs no forge and no cloud; each act shows the commands that you would type.
    What it has made stays in DIR, to look around.

    Examples:

        gitops demo

        gitops demo /tmp/flights-demo
    """
    from gitops.demo import play

    play(directory.resolve(), screen.out, screen.style)
