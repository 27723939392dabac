"""`gitops setup`: what a forge must know that no file in git can tell it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitops import logtext
from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository
from gitops.cli.moves import RemoteOption
from gitops.errors import ToolError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gitops.config import Config
    from gitops.setup.model import Place, Plan
    from gitops.setup.run import Outcome

group = typer.Typer(
    help="Environments, branch rules and permissions on GitHub or Azure DevOps.",
    no_args_is_help=True,
)

PlanOption = Annotated[bool, typer.Option("--plan", help="Show what would change; the default.")]
CheckOption = Annotated[
    bool, typer.Option("--check", help="Show it, and exit 1 if something would change.")
]
ApplyOption = Annotated[bool, typer.Option("--apply", help="Make the changes, and read them back.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="[ENV:]NAME=VALUE",
        help="A variable that the workflows read, as AZURE_CLIENT_ID; no secret.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="setup")


@group.command()
def github(
    plan: PlanOption = False,
    check: CheckOption = False,
    apply: ApplyOption = False,
    values: SetOption = None,
    pushers: Annotated[
        list[str] | None,
        typer.Option(
            "--pusher",
            metavar="WHO",
            help="Who may push to environments without a pull request: app:SLUG,"
            " team:ORGANIZATION/TEAM, deploy-key.",
            show_default=False,
        ),
    ] = None,
    remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create environments, rulesets and permissions of a repository on GitHub.

    Settings of yours beside them stay. The token is that of GITHUB_TOKEN or GH_TOKEN. Exit code 4
    if something couldn't be made, or isn't there afterwards.

    Examples:

        gitops setup github

        gitops setup github --apply

        gitops setup github --check --json

        gitops setup github --apply --set AZURE_CLIENT_ID=00000000-0000-0000-0000-000000000000

        gitops setup github --apply --set production:AZURE_CLIENT_ID=...    what deploys

        gitops setup github --apply --pusher app:acme-promoter
    """
    _only_one(plan, check, apply)
    root, config = open_repository()
    asked = survey(root, config, remote, values or (), pushers or ())
    if asked.name != "github":
        raise UsageError("the git remote isn't on GitHub", fix="docs/guides/forges.md")
    _run(asked, check=check, apply=apply, as_json=as_json)


@group.command()
def azure(
    plan: PlanOption = False,
    check: CheckOption = False,
    apply: ApplyOption = False,
    values: SetOption = None,
    remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create pipelines, environments, branch policies and permissions on Azure DevOps.

    Settings of yours beside them stay. The token is that of SYSTEM_ACCESSTOKEN or
    AZURE_DEVOPS_EXT_PAT. Exit code 4 if something couldn't be made, or isn't there afterwards.

    Examples:

        gitops setup azure

        gitops setup azure --apply

        gitops setup azure --check --json

        gitops setup azure --apply --set AZURE_CLIENT_ID=00000000-0000-0000-0000-000000000000
    """
    _only_one(plan, check, apply)
    root, config = open_repository()
    asked = survey(root, config, remote, values or ())
    if asked.name != "azure":
        raise UsageError("the git remote isn't on Azure DevOps", fix="docs/guides/forges.md")
    _run(asked, check=check, apply=apply, as_json=as_json)


@dataclass(frozen=True)
class Survey:
    """A forge's settings: how to reach them, and how to compare them. `name`: of its command."""

    name: str
    place: Place
    plan: Callable[[], Plan]


def survey(
    root: Path,
    config: Config,
    remote: str | None = None,
    values: Sequence[str] = (),
    pushers: Sequence[str] = (),
) -> Survey:
    """What there is to compare for the repository's remote; nothing is asked yet.

    Raises:
        UsageError: no forge is known for the remote, or `values` aren't for any workflow.
    """
    from gitops import forge
    from gitops.forge.azure import Azure
    from gitops.forge.azure_project import Project
    from gitops.forge.azure_settings import AzureSettings
    from gitops.forge.github import GitHub
    from gitops.forge.github_settings import GitHubSettings
    from gitops.git import remote as gitremote
    from gitops.setup import azure, github, wishes

    given = wishes.given(config, values)
    url = gitremote.url(root, gitremote.choose(root, remote))
    found = forge.of(url, os.environ)
    if isinstance(found, GitHub):
        there = GitHubSettings(found)
        return Survey("github", there, partial(github.plan, there, config, given, pushers))
    if isinstance(found, Azure):
        project = AzureSettings(Project(found, azure.MARK))
        files = azure.files(root)
        return Survey("azure", project, partial(azure.plan, project, config, files, given))
    raise UsageError(f"no forge is known for {url}", fix="docs/guides/forges.md says which are")


# ---------------------------------------------------------------- steps


def _only_one(*switches: bool) -> None:
    if sum(switches) > 1:
        raise UsageError("--plan, --check and --apply exclude each other", fix="give one of them")


def _run(asked: Survey, *, check: bool, apply: bool, as_json: bool) -> None:
    from gitops.setup import run

    plan = asked.plan()
    if not apply:
        screen.document(_json(plan, None)) if as_json else _show(plan, asked.name)
        if check and (plan.due or plan.blocked):
            raise typer.Exit(1)
        return
    if plan.due:
        _may_write(plan)
    outcomes = run.apply(asked.place, plan.steps, screen.say)
    if any(one.state == "done" for one in outcomes):
        with suppress(ToolError):  # what was done is told even where the forge is lost by now
            plan = replace(plan, by_hand=asked.plan().by_hand)  # what has just been made is known
    screen.document(_json(plan, outcomes)) if as_json else _show_done(plan, outcomes)
    states = {one.state for one in outcomes}
    if states & {"failed", "not tried"}:
        raise typer.Exit(4)
    if "changed meanwhile" in states:
        raise typer.Exit(1)


def _may_write(plan: Plan) -> None:
    """Stop before the first change where it's known that one won't be allowed."""
    fix = "the permissions that it needs are in docs/guides/github.md and azure-devops.md"
    if not plan.admin:
        raise ToolError(
            f"the token's user doesn't administer {plan.repository}: nothing was changed", fix=fix
        )
    for one in plan.blocked:
        if not one.unavailable:
            raise ToolError(
                f"{one.setting.title} can't be read, so nothing was changed: {one.problem}",
                fix=one.fix or fix,
            )


def _show(plan: Plan, name: str) -> None:
    from gitops.setup.model import shown

    screen.out(screen.style(f"{plan.forge} {plan.repository}", "bold"))
    colours = {"create": "green", "update": "yellow", "keep": "dim", "blocked": "red"}
    for one in plan.steps:
        action = screen.style(f"{one.action:7}", colours[one.action])
        screen.out(f"  {action}  {one.setting.title}: {one.setting.why}")
        if one.problem:
            _told(f"           {one.problem}\n           fix: {one.fix}")
        for line in shown(one.changes):
            _told(f"           {line}")
    for text in plan.left:
        _told(f"  yours    {text}")
    _by_hand(plan)
    due = len(plan.due)
    screen.out(f"{due} to change: gitops setup {name} --apply" if due else "nothing to change")
    if due and not plan.admin:
        screen.out("  the token's user doesn't administer the repository: it may not change them")


def _by_hand(plan: Plan) -> None:
    if plan.by_hand:
        screen.out("by hand:")
    for text in plan.by_hand:
        _told(f"  - {text}")


def _told(text: str) -> None:
    """A line with words of the forge in it: names that anybody may have given."""
    screen.out(logtext.lines(text))


def _show_done(plan: Plan, outcomes: Sequence[Outcome]) -> None:
    for one in outcomes:
        if one.state not in ("done", "so already"):
            screen.out(f"{screen.style(f'{one.state}:', 'red')} {one.step.setting.title}")
            if one.problem:
                _told(f"  {one.problem}\n  fix: {one.fix}")
    done = sum(one.state == "done" for one in outcomes)
    failed = sum(one.state not in ("done", "so already") for one in outcomes)
    _by_hand(plan)
    if failed:
        screen.out(f"{done} done, {failed} not: run it again when that is mended")
    else:
        screen.out(f"{done} done, read back as wanted" if done else "so already: nothing to change")


def _json(plan: Plan, outcomes: Sequence[Outcome] | None) -> dict[str, Any]:
    steps = []
    for at, one in enumerate(plan.steps):
        row: dict[str, Any] = {
            "kind": one.setting.kind,
            "name": one.setting.name,
            "why": one.setting.why,
            "action": one.action,
            "changes": [{"at": c.at, "old": c.old, "new": c.new} for c in one.changes],
            "problem": one.problem or None,
            "fix": one.fix or None,
        }
        if outcomes is not None:
            outcome = outcomes[at]
            row |= {
                "state": outcome.state,
                "problem": outcome.problem or None,
                "fix": outcome.fix or None,
            }
        steps.append(row)
    return {
        "forge": plan.forge,
        "repository": plan.repository,
        "steps": steps,
        "left": list(plan.left),
        "by_hand": list(plan.by_hand),
    }
