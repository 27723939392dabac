"""`gitops doctor`: what is missing, with the fix."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(as_json: JsonOption = False) -> None:
    """Say what is missing on this machine and in this repository, and how to mend it.

    Exit code 1 if something must be mended.

    Examples:

        gitops doctor

        gitops doctor --json
    """
    from gitops.doctor import examine

    findings = examine(Path.cwd())
    if as_json:
        screen.document({"findings": [asdict(one) for one in findings]})
    else:
        colours = {"ok": "green", "warn": "yellow", "fail": "red"}
        for one in findings:
            screen.out(
                f"{screen.style(f'{one.state:4}', colours[one.state])}  {one.check}: {one.detail}"
            )
            if one.fix:
                screen.out(f"      fix: {one.fix}")
    if any(one.state == "fail" for one in findings):
        raise typer.Exit(1)
