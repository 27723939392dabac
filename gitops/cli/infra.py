"""`gitops infra`: what is below infrastructure/, checked, planned, applied, destroyed."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository
from gitops.errors import ConfigError, ToolError, UsageError

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.infra.check import Check
    from gitops.infra.cost import Estimate, Line
    from gitops.infra.terraform import Action, Changes

group = typer.Typer(help="Provision what gitops.yaml declares.", no_args_is_help=True)
Place = Annotated[
    str, typer.Argument(metavar="ENV", help="An environment; or `shared`, which is first.")
]
ToolOption = Annotated[
    str | None,
    typer.Option("--tool", help="terraform or tofu. [default: the first that is on PATH]"),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Don't ask before it is done.")]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="infra")


@group.callback()
def infra() -> None:
    """Provision what gitops.yaml declares under `infrastructure:`."""


@group.command()
def check(as_json: JsonOption = False) -> None:
    """Check infrastructure/ without a cloud: by every program for it that is installed.

    Format (terraform or tofu), syntax and every argument and reference against the provider's
    published schema (python-hcl2; of Bicep tree-sitter and Azure's published types), and rules of
    security (checkov), none of them off without a reason. A check that can't be made says so; exit
    1 if one has failed.

    Examples:

        gitops infra check

        gitops infra check --json
    """
    from gitops.infra import check as checks
    from gitops.infra.terraform import FOLDER

    root, _ = open_repository()
    done = checks.run(root / FOLDER)
    failed = any(one.state == "failed" for one in done)
    if as_json:
        screen.document({"passed": not failed, "checks": [_json(one, root) for one in done]})
    else:
        _show(done, root)
    if failed:
        raise typer.Exit(1)


def _json(one: Check, root: Path) -> dict[str, object]:
    findings = [{"where": _place(each.where, root), "text": each.text} for each in one.findings]
    return {"name": one.name, "state": one.state, "by": one.by, "findings": findings}


def _place(where: object, root: Path) -> str:
    return str(where).removeprefix(f"{root}/")


def _show(done: tuple[Check, ...], root: Path) -> None:
    colours = {"passed": "green", "failed": "red", "not installed": "yellow"}
    screen.table(
        ["CHECK", "STATE", "BY"],
        [[one.name, screen.style(one.state, colours[one.state]), one.by] for one in done],
    )
    for one in done:
        for each in one.findings:
            screen.out(f"{_place(each.where, root)}: {each.text}")
    if absent := [one.by for one in done if one.state == "not installed"]:
        screen.out(f"not all was checked: install {', '.join(dict.fromkeys(absent))}")


@group.command()
def diagram(
    environment: Annotated[
        str | None, typer.Argument(metavar="ENV", help="An environment. [default: all]")
    ] = None,
) -> None:
    """Print a picture of what is declared, as Mermaid; forges draw it in Markdown.

    Examples:

        gitops infra diagram

        gitops infra diagram production
    """
    from gitops.infra.terraform import wanted
    from gitops.scaffold.diagram import mermaid

    root, config = open_repository()
    wanted(root, config)
    screen.out(mermaid(config, [config.environment(environment).name] if environment else ()))


@group.command()
def cost(
    environment: Annotated[
        str | None,
        typer.Argument(
            metavar="ENV",
            help="An environment, or `shared`. [default: all of them]",
            show_default=False,
        ),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(
            "--prices",
            metavar="FILE",
            help="Prices of yours, which win: JSON as `gitops schema prices` says.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate what the declared infrastructure costs in a month, at the least. Asks no cloud.

    Declared sizes by a table of list prices, each with its date and source. What is paid per use
    is named and not counted, and so is what has no known price in the region.

    Examples:

        gitops infra cost

        gitops infra cost production --json

        gitops infra cost --prices prices.json      what your agreement says
    """
    from gitops import cloudnames
    from gitops.infra import cost as costs

    _, config = open_repository()
    by = costs.prices(prices)
    names = [cloudnames.SHARED, *(one.name for one in config.environments)]
    found = [costs.estimate(config, one, by) for one in ([environment] if environment else names)]
    if as_json:
        screen.document({"currency": by.currency, "estimates": [_estimate(one) for one in found]})
        return
    for one in found:
        screen.out(screen.style(f"{one.environment} ({one.region})", "bold"))
        screen.table(
            ["PART", "WHAT", f"{by.currency} A MONTH", "NOTE"],
            [[line.component, line.what, _month(line), line.note] for line in one.lines],
        )
        screen.out(one.summary)
        screen.out()
    if len(found) > 1:
        total = sum(one.at_least for one in found)
        screen.out(f"all together at least {by.currency} {total:.2f} a month")


def _month(line: Line) -> str:
    return line.kind if line.month is None else f"{line.month:.2f}"


def _estimate(one: Estimate) -> dict[str, object]:
    lines = []
    for line in one.lines:
        price = asdict(line.price) if line.price else None
        lines.append({**asdict(line), "price": price})
    return {
        "environment": one.environment,
        "region": one.region,
        "at_least": round(one.at_least, 2),
        "unknown": list(one.unknown),
        "budget": one.budget,
        "over_budget": one.over_budget,
        "lines": lines,
    }


@group.command()
def plan(
    environment: Place,
    read_only: Annotated[
        bool,
        typer.Option(
            "--read-only", help="Take no lock, look nothing up anew: for who may only read."
        ),
    ] = False,
    tool: ToolOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what applying would change in an environment. Changes nothing.

    Runs Terraform (or OpenTofu) in infrastructure/environments/ENV with the state's place and the
    login of this job or of `az`. Of Bicep it is Azure's prediction (what-if), and what the
    environment's deployment stack would let go of.

    Examples:

        gitops infra plan shared

        gitops infra plan production --json
    """
    _run("plan", environment, tool, yes=True, read_only=read_only, as_json=as_json)


@group.command()
def apply(
    environment: Place, yes: YesOption = False, tool: ToolOption = None, as_json: JsonOption = False
) -> None:
    """Make an environment what its code says; asks first.

    It applies the very plan of Terraform that it has shown; of Bicep the template and parameters
    that the prediction was made of, as a deployment stack: what is no longer declared goes.

    Examples:

        gitops infra apply shared

        gitops infra apply production --yes
    """
    _run("apply", environment, tool, yes=yes, as_json=as_json)


@group.command()
def destroy(
    environment: Place, yes: YesOption = False, tool: ToolOption = None, as_json: JsonOption = False
) -> None:
    """Take everything in an environment away, data included; asks for its name first.

    Examples:

        gitops infra destroy dev
    """
    _run("destroy", environment, tool, yes=yes, as_json=as_json)


def _run(
    action: Action,
    environment: str,
    tool: str | None,
    *,
    yes: bool,
    read_only: bool = False,
    as_json: bool,
) -> None:
    from gitops import cloudnames
    from gitops.infra import stacks, terraform
    from gitops.infra.check import TOOLS

    if tool not in (None, *TOOLS):
        raise UsageError(f"--tool {tool} isn't known", fix=" or ".join(TOOLS))
    asking = sys.stdin.isatty() and sys.stderr.isatty() and not as_json
    if not (yes or asking):
        raise UsageError(
            f"{action} changes {environment}, and there is no terminal to ask on",
            fix="look at `gitops infra plan` first, then say --yes",
        )
    root, config = open_repository()
    trust = _trust(root) if environment == cloudnames.SHARED else {}
    bicep = config.infrastructure is not None and config.infrastructure.generator == "bicep-azure"
    if bicep and tool is not None:
        raise UsageError(f"--tool {tool} is for Terraform, and gitops.yaml has Bicep")

    def confirm(changes: Changes) -> bool:
        if yes:
            return True
        if action == "destroy":
            question = f"{changes}. To destroy {environment}, write its name"
            return screen.ask(question, "") == environment
        return screen.ask(f"{changes}. Apply to {environment}? [y/N]", "").lower() in ("y", "yes")

    show = screen.say if as_json else screen.out
    if bicep:
        stack = stacks.open_root(root, config, environment, trust)
        done = stacks.run(stack, action, confirm, show, read_only=read_only)
    else:
        place = terraform.open_root(root, config, environment, tool, trust)
        done = terraform.run(place, action, confirm, show, read_only=read_only)
    costs = _costs(config, environment) if action == "plan" else None
    if as_json:
        screen.document(asdict(done) | ({"cost": _estimate(costs)} if costs else {}))
    else:
        verb = "done: " if done.done else ""
        screen.out(f"{done.environment}: {verb}{done.changes}")
        if costs:
            screen.out(f"{done.environment}: {costs.summary}")


def _costs(config: Config, environment: str) -> Estimate | None:
    """The estimate for a plan; None: no prices are known for its provider."""
    from gitops.infra import cost as costs

    try:
        return costs.estimate(config, environment, costs.prices())
    except ConfigError:
        return None


def _trust(root: Path) -> dict[str, str]:
    """What identities trust of the remote, if it is on GitHub: asked there, or else assumed."""
    import os

    from gitops import forge, git
    from gitops.forge.github import GitHub
    from gitops.forge.github_settings import GitHubSettings
    from gitops.git import remote

    for name in git.remotes(root):
        found = forge.of(remote.url(root, name), os.environ)
        if not isinstance(found, GitHub):
            continue
        try:
            facts = GitHubSettings(found).facts()
        except ToolError as error:
            subject = f"repo:{found.owner}/{found.repository}"
            screen.say(
                f"{error.message}: taking {subject}, which repositories made since July 2026"
            )
            screen.say(
                "don't have: give GITHUB_TOKEN, or the subject that `gitops setup github` shows"
            )
            return {"subject": subject}
        return {"subject": facts.subject, "issuer": facts.issuer}
    return {}
