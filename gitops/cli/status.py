"""`gitops status`: where every model stands."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository

if TYPE_CHECKING:
    from gitops.reproduce.status import Status


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(as_json: JsonOption = False) -> None:
    """Show models, environments, revisions and metrics in one table.

    Examples:

        gitops status

        gitops status --json
    """
    from gitops.reproduce.status import status as read

    root, config = open_repository()
    found = read(root, config, screen.say)
    if as_json:
        screen.document(asdict(found))
        return
    tree = f"{len(found.changes)} changed files" if found.changes else "clean"
    screen.out(f"{found.project}: on {found.branch or 'a detached HEAD'}, {tree}")
    names = _columns(found)
    rows = [
        [
            row.model,
            row.environment,
            row.revision or "-",
            row.date or "-",
            row.state,
            *[f"{row.metrics[name]:.4g}" if name in row.metrics else "-" for name in names],
        ]
        for row in found.rows
    ]
    screen.table(
        ["MODEL", "WHERE", "REVISION", "DATE", "STATE", *[name.upper() for name in names]], rows
    )


def _columns(found: Status) -> list[str]:
    """Metrics to show: four; of models with different ones, the first two of each kind."""
    kinds = dict.fromkeys(tuple(row.metrics) for row in found.rows if row.metrics)
    named = [[name for name in kind if name != "rows"] for kind in kinds]
    each = 4 if len(named) == 1 else 2
    return list(dict.fromkeys(name for names in named for name in names[:each]))
