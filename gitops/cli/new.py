"""`gitops new`: from a table to a repository."""

from __future__ import annotations

import re
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops import names
from gitops.cli import questions, screen
from gitops.cli.common import JsonOption
from gitops.cli.questions import AnswersOption, NoInputOption, SettingsOption

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops.scaffold.new import Made, Request
    from gitops.scaffold.profile import Profile
    from gitops.scaffold.roles import Roles

# Answers about the repository; all others are about the table and go to the inference.
_OWN = (
    *("name", "model", "data", "target", "storage", "endpoint", "account", "ci"),
    *("infrastructure", "region", "policy"),
)


def register(app: typer.Typer) -> None:
    app.command()(new)


def new(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A new or an empty folder; or a repository to adopt."),
    ] = Path(),
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="A table: .csv or .parquet. [default: a small real data set]",
            show_default=False,
        ),
    ] = None,
    target: Annotated[str | None, typer.Option("--target", help="The column to predict.")] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="The project's name. [default: the folder's]", show_default=False
        ),
    ] = None,
    ci: Annotated[
        str | None, typer.Option("--ci", help="github, azure, or both: github,azure.")
    ] = None,
    settings: SettingsOption = None,
    answers: AnswersOption = None,
    no_input: NoInputOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is found, and write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a table into a repository that trains and rebuilds bit for bit, or adopt one.

    Reads the table, infers the task and what each column is, shows a profile, asks on a terminal
    what to change, and writes a repository with its first commit and environment branches.
    Nothing is written before everything is known to work.

    Answers (--set, --answers): name, model, storage (a folder, s3://bucket/path,
    azure://container/path), endpoint, account, ci, infrastructure (azure, bicep-azure, aws or
    local), region, policy (production's: strict or project), task, id, time, group, positive,
    drop, slices, sensitive, split, type.COLUMN.

    In a git repository that is there: looks at its pipelines, branches, storage, models and code
    (nothing of it is run), proposes gitops.yaml, and writes new files only; whatever is there is
    kept as it is. Answers then: name, storage, endpoint, account, ci, models, branch.ENVIRONMENT,
    and MODEL.KEY, as churn.task.

    Examples:

        gitops new flights --data flights.csv --target late

        gitops new churn --data c.parquet --target churned --set id=customer --set drop=notes

        gitops new demo                 with a small real data set

        gitops new flights --data flights.csv --set infrastructure=azure --set region=westeurope

        gitops new churn --answers answers.yaml --no-input

        gitops new . --dry-run          in a repository that is there

        gitops new . --set models=churn,price --set churn.task=binary
    """
    from gitops.cli import adopt
    from gitops.scaffold import adopt as adoption
    from gitops.scaffold import furnish
    from gitops.scaffold import new as scaffold

    given = scaffold.read_answers(answers, settings or [])
    flags = {"data": data, "target": target, "name": name, "ci": ci}
    given |= {key: value for key, value in flags.items() if value is not None}
    asking = sys.stdin.isatty() and sys.stderr.isatty() and not no_input and not as_json
    root = adoption.top(directory)
    if root is not None and "data" not in given:
        adopt.adopt(root, given, asking=asking, dry_run=dry_run, as_json=as_json)
        return
    questions.check_keys(given, _OWN)
    if root is None:
        scaffold.preflight(directory)
    project = _project(given, directory, asking)
    if root is not None:
        furnish.preflight(root, project)
    platforms = scaffold.ci_of(given.get("ci", "github"))
    with scaffold.opened(given.get("data")) as (table, usual):
        goal = questions.target(given, table, usual, asking)
        overrides = {key: value for key, value in given.items() if key not in _OWN}
        roles, profile = questions.agree(table, goal, overrides, asking, quiet=as_json)
        request = scaffold.request(directory, project, table, roles, platforms, given)
        if (short := _too_few(request)) and not as_json:
            screen.say(short)
        made, kept = scaffold.Made("", (), request.storage.remote), dict[str, str]()
        if root is not None and not dry_run:
            made, kept = furnish.create(request, screen.say)
        elif not dry_run:
            made = scaffold.create(request, screen.say)
    if as_json:
        warnings = [short] if short else []
        more = {"kept": sorted(kept), "warnings": warnings}
        screen.document(_json(request, made, roles, profile) | more)
    elif dry_run:
        screen.out(f"{directory} was not made: it was a dry run")
    else:
        _show(request, made, kept)


def _too_few(request: Request) -> str:
    """What production's policy won't be able to decide, and what to do now; else ""."""
    from datetime import UTC, datetime

    from gitops.config import Environment
    from gitops.scaffold import enough, new
    from gitops.validate import policy

    if request.policy == new.PROJECT:
        return ""
    production = Environment(name="production", branch="production", policy=request.policy)
    asked = policy.load(production, lambda _: None, "", first=False, today=datetime.now(UTC).date())
    if asked.on_inconclusive != "block":
        return ""
    rows, each = asked.slices.minimum_rows, asked.slices.minimum_per_class
    lacking = enough.too_few(request.table, request.roles, rows, each)
    of_class = f", {each} of each class" if request.roles.task == "binary" else ""
    return lacking and (
        f"{lacking} (it takes {rows} rows{of_class}), and production's policy, {request.policy},"
        " lets nothing through that it can't decide: bring more rows, count on waivers, or have it"
        " judged as staging is: --set policy=project, or `policy: project` in gitops.yaml"
    )


def _project(given: dict[str, object], directory: Path, asking: bool) -> str:
    wanted = given.get("name")
    if wanted is None:
        folder = directory.resolve().name
        wanted = re.sub(r"[ ._-]+", "-", folder.lower()).strip("-")
        if asking:
            suggested = names.suggest(folder)
            check = partial(names.check, "project")
            wanted = questions.again("Name of the project", suggested, check)
    names.check("project", str(wanted))
    return str(wanted)


def _show(request: Request, made: Made, kept: Mapping[str, str]) -> None:
    folder = request.target
    commit = f"first commit {made.commit[:12]}" if made.commit else "nothing committed"
    screen.out(
        f"{screen.style(str(folder), 'bold')}: {len(made.files)} files,"
        f" {commit}, storage {made.storage}"
    )
    for path, why in sorted(kept.items()):
        screen.out(f"  kept: {path}: {why}")
    screen.out("next:")
    screen.out(f"  cd {shlex.quote(str(folder))}")
    if not made.commit:
        screen.out("  git add --all && git commit -m 'Start with gitops'")
    screen.out("  gitops build      train, package and evaluate; only what changed")
    screen.out("  gitops verify     prove that this commit rebuilds to the same bytes")
    screen.out("  gitops status     models, environments, metrics")


def _json(request: Request, made: Made, roles: Roles, profile: Profile) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "directory": str(request.target.resolve()),
        "project": request.project,
        "model": request.model,
        "commit": made.commit,
        "storage": made.storage,
        "files": list(made.files),
        "roles": asdict(roles),
        "profile": profile.as_json(),
    }
