"""`gitops doctor`: what is missing, with the fix."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository
from gitops.errors import GitopsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops.doctor import Finding


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    forge: Annotated[
        bool,
        typer.Option("--forge", help="Ask GitHub or Azure DevOps too; nothing is changed there."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what is missing on this machine and in this repository, and how to mend it.

    Exit code 1 if something must be mended.

    Examples:

        gitops doctor

        gitops doctor --json

        gitops doctor --forge        are branches, tags and environments protected there?
    """
    from gitops.doctor import examine

    findings = examine(Path.cwd())
    if forge:
        findings += tuple(_forge())
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


def _forge() -> Iterator[Finding]:
    """What `gitops setup` would change."""
    from gitops.cli.setup import survey
    from gitops.doctor import Finding
    from gitops.setup.model import shown

    try:
        asked = survey(*open_repository())
        plan = asked.plan()
    except GitopsError as error:
        yield Finding("forge", "fail", error.message, error.fix)
        return
    fix = f"gitops setup {asked.name} --apply"
    for one in plan.due:
        what = "isn't there" if one.action == "create" else "; ".join(shown(one.changes))
        yield Finding(one.setting.title, "fail", what or "isn't as gitops.yaml asks", fix)
    for one in plan.blocked:
        yield Finding(one.setting.title, "warn", one.problem, one.fix)
    if not plan.due and not plan.blocked:
        text = f"{plan.forge} {plan.repository}: {len(plan.steps)} settings are as wanted"
        yield Finding("forge", "ok", text)
