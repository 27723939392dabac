"""What promotion and rollback have in common on the command line: options, and what one sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitops.cli import screen
from gitops.errors import UsageError

if TYPE_CHECKING:
    from gitops.forge import Forge
    from gitops.promote.plan import Plan
    from gitops.promote.run import Promoted
    from gitops.promote.world import World

RemoteOption = Annotated[
    str | None,
    typer.Option("--remote", help="The git remote. [default: origin]", show_default=False),
]
ReasonOption = Annotated[
    str | None,
    typer.Option("--reason", metavar="WHY", help="Why, for the record.", show_default=False),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Only this model of several.", show_default=False)
]
DispatchOption = Annotated[
    bool,
    typer.Option(
        "--dispatch",
        help="Then start the workflow deploy, where a push by this token starts none (GitHub).",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan; judge and change nothing.")
]


def reason_or(given: str | None, default: str) -> str:
    """The reason for the record."""
    return (given or default).strip() or default


def deployer(world: World, wanted: bool) -> Forge | None:
    """Whom to ask to start `deploy`; None where nobody has to be asked.

    Raises:
        UsageError: it's wanted, and no forge is known.
    """
    import os

    from gitops import forge

    if not wanted:
        return None
    found = forge.of(world.url, os.environ)
    if found is None:
        raise UsageError(
            f"{world.url} is on no forge that is known, so nothing can be started there",
            fix="leave --dispatch out, and run gitops deploy ENV where it runs",
        )
    # Azure Pipelines start by the push, whoever pushes.
    return found if found.name == "GitHub" else None


def start_deploy(there: Forge | None, branch: str) -> None:
    """Start the workflow that brings a branch to where it runs."""
    if there is not None:
        there.dispatch("deploy", branch, {})
        screen.say(f"started deploy on {branch}")


def show_plan(plan: Plan, wanted: bool) -> None:
    if wanted:
        screen.document(as_document(plan))
        return
    source = plan.source.name if plan.source else plan.at.commit[:12]
    how = ", fast-forward" if plan.fast_forward else ""
    screen.out(
        f"{screen.style(f'{source} -> {plan.target.name}', 'bold')}"
        f"  {plan.at.commit[:12]} onto {plan.base.commit[:12]}{how}"
    )
    rows = [
        [
            one.model,
            str(one.old or "-"),
            str(one.version or "new"),
            one.commit[:10],
            one.closure.package[:8],
        ]
        for one in plan.changes
    ]
    if rows:
        screen.table(["MODEL", "NOW", "THEN", "COMMIT", "PACKAGE (DVC)"], rows)
    if plan.along:
        more = f" and {len(plan.along) - 5} more" if len(plan.along) > 5 else ""
        screen.out(f"along with it: {', '.join(plan.along[:5])}{more}")
    if plan.approved:
        screen.out(f"approved by {', '.join(plan.approved)}")


def show_stops(plan: Plan) -> None:
    """What a dry run is told; otherwise the error says it."""
    for stop in plan.stops:
        screen.out(f"{screen.style('stop:', 'red')} {stop.text}")
        screen.out(f"  {screen.style('fix:', 'green')} {stop.fix}")


def show_done(done: Promoted, wanted: bool) -> None:
    if wanted:
        screen.document(
            {
                "kind": done.kind,
                "environment": done.target,
                "commit": done.tip.commit,
                "tree": done.tip.tree,
                "versions": dict(done.versions),
                "tags": list(done.tags),
                "verdicts": {one.model: one.digest for one in done.verdicts},
            }
        )
        return
    what = ", ".join(f"{model} {version}" for model, version in done.versions.items())
    verb = {"rollback": "rolled back", "promotion": "promoted", "hotfix": "recorded"}[done.kind]
    screen.out(
        f"{screen.style(verb, 'green')}: {done.target} is {what or 'moved'}"
        f" at {done.tip.commit[:12]}"
    )
    for tag in done.tags:
        screen.out(f"  {tag}")


def as_document(plan: Plan) -> dict[str, Any]:
    return {
        "kind": plan.kind,
        "source": plan.source.name if plan.source else None,
        "target": plan.target.name,
        "base": {"commit": plan.base.commit, "tree": plan.base.tree},
        "from": {"commit": plan.at.commit, "tree": plan.at.tree},
        "fast_forward": plan.fast_forward,
        "models": [
            {
                "model": one.model,
                "now": str(one.old) if one.old else None,
                "then": str(one.version) if one.version else None,
                "commit": one.commit,
                "package": one.closure.package,
            }
            for one in plan.changes
        ],
        "along": list(plan.along),
        "approved": list(plan.approved),
        "stops": [{"kind": one.kind, "text": one.text, "fix": one.fix} for one in plan.stops],
    }
