"""`gitops doctor`: what is missing, with the fix."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository
from gitops.errors import GitopsError, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops.config import Config
    from gitops.finding import Finding
    from gitops.setup.cloud import Token


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    forge: Annotated[
        bool,
        typer.Option("--forge", help="Ask GitHub or Azure DevOps too; nothing is changed there."),
    ] = False,
    cloud: Annotated[
        bool,
        typer.Option("--cloud", help="Ask Azure too, by `az`; nothing is changed there."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what is missing on this machine and in this repository, and how to mend it.

    Exit code 1 if something must be mended.

    Examples:

        gitops doctor

        gitops doctor --json

        gitops doctor --forge        are branches, tags and environments protected there?

        gitops doctor --cloud        are subscription, groups, identities and rights there?
    """
    from gitops.doctor import examine

    findings = examine(Path.cwd())
    if forge:
        findings += tuple(_forge())
    if cloud:
        findings += tuple(_cloud())
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


def _cloud() -> Iterator[Finding]:
    """What Azure has, against what gitops.yaml and the jobs of its workflows need."""
    from gitops import git
    from gitops.finding import Finding
    from gitops.git import remote
    from gitops.setup import cloud, wishes

    try:
        root, config = open_repository()
        if wishes.needs_aws(config):
            yield Finding("cloud", "warn", "Amazon isn't asked", "docs/guides/aws.md")
        if not wishes.needs_azure(config):
            yield Finding("cloud", "ok", "nothing in gitops.yaml needs Azure")
            return
        tokens: list[cloud.Token] = []
        for name in git.remotes(root):
            yield from _presented(config, remote.url(root, name), tokens)
    except GitopsError as error:
        yield Finding("cloud", "fail", error.message, error.fix)
        return
    yield from cloud.examine(config, tokens)


def _presented(config: Config, url: str, tokens: list[Token]) -> Iterator[Finding]:
    """What the jobs of the forge at this address log in with goes to `tokens`."""
    from gitops import forge
    from gitops.finding import Finding
    from gitops.forge.azure import Azure
    from gitops.forge.azure_project import Project
    from gitops.forge.azure_settings import AzureSettings
    from gitops.forge.github import GitHub
    from gitops.forge.github_settings import GitHubSettings
    from gitops.setup import azure, cloud

    found = forge.of(url, os.environ)
    if isinstance(found, Azure):
        place = AzureSettings(Project(found, azure.MARK))
        yield from cloud.connected(place, cloud.connections(config), tokens)
    if isinstance(found, GitHub):
        try:
            facts = GitHubSettings(found).facts()
        except ToolError as error:
            text = f"what jobs on GitHub present isn't compared: {error.message}"
            yield Finding("federated credential", "warn", text, error.fix or "set GITHUB_TOKEN")
            return
        if facts.claims:
            text = f"subjects on GitHub are made of {', '.join(facts.claims)}: they aren't compared"
            fix = "read one from a token of each job"
            yield Finding("federated credential", "warn", text, fix)
            return
        tokens += cloud.presented(config, facts.issuer, facts.subject)


def _forge() -> Iterator[Finding]:
    """What `gitops setup` would change."""
    from gitops.cli.setup import survey
    from gitops.finding import Finding
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
