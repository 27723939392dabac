"""`gitops new`: from a table to a repository."""

from __future__ import annotations

import re
import shlex
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops import names
from gitops.cli import screen
from gitops.cli.common import JsonOption
from gitops.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from gitops.scaffold.new import Made, Request
    from gitops.scaffold.profile import Profile
    from gitops.scaffold.roles import Roles
    from gitops.scaffold.table import Table

# Answers about the repository; all others are about the table and go to the inference.
_OWN = ("name", "model", "data", "target", "storage", "endpoint", "account", "ci")


def register(app: typer.Typer) -> None:
    app.command()(new)


def new(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or an empty folder.")],
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
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Answer a question; may be repeated."),
    ] = None,
    answers: Annotated[
        Path | None, typer.Option("--answers", help="A YAML file of answers.")
    ] = None,
    no_input: Annotated[bool, typer.Option("--no-input", help="Ask nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a table into a repository that trains, is versioned by DVC and rebuilds bit for bit.

    Reads the table, infers the task and what each column is, shows a profile, asks on a terminal
    what to change, and writes a repository with its first commit and environment branches.
    Nothing is written before everything is known to work.

    Answers (--set, --answers): name, model, storage (a folder, s3://bucket/path,
    azure://container/path), endpoint, account, ci, task, id, time, group, positive, drop, slices,
    sensitive, split, type.COLUMN.

    Examples:

        gitops new flights --data flights.csv --target late

        gitops new churn --data c.parquet --target churned --set id=customer --set drop=notes

        gitops new demo                 with a small real data set

        gitops new churn --answers answers.yaml --no-input
    """
    from gitops.scaffold import new as scaffold

    given = scaffold.read_answers(answers, settings or [])
    flags = {"data": data, "target": target, "name": name, "ci": ci}
    given |= {key: value for key, value in flags.items() if value is not None}
    _check_keys(given)
    asking = sys.stdin.isatty() and sys.stderr.isatty() and not no_input and not as_json
    scaffold.preflight(directory)
    project = _project(given, directory, asking)
    platforms = scaffold.ci_of(given.get("ci", "github"))
    with scaffold.opened(given.get("data")) as (table, usual):
        goal = _target(given, table, usual, asking)
        overrides = {key: value for key, value in given.items() if key not in _OWN}
        roles, profile = _agree(table, goal, overrides, asking, quiet=as_json)
        request = scaffold.request(directory, project, table, roles, platforms, given)
        made = scaffold.create(request, screen.say)
    if as_json:
        screen.document(_json(request, made, roles, profile))
    else:
        _show(request, made)


def _check_keys(given: dict[str, object]) -> None:
    from gitops.scaffold.choices import KEYS

    known = [*_OWN, *KEYS]
    for key in given:
        if key not in known and not key.startswith("type."):
            near = get_close_matches(key, known, 1)
            raise ConfigError(
                f"there is no answer named {key!r}",
                fix=f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(known)}",
            )


def _project(given: dict[str, object], directory: Path, asking: bool) -> str:
    wanted = given.get("name")
    if wanted is None:
        folder = directory.resolve().name
        wanted = re.sub(r"[ ._-]+", "-", folder.lower()).strip("-")
        if asking:
            wanted = screen.ask("Name of the project", names.suggest(folder))
    names.check_project(str(wanted))
    return str(wanted)


def _target(given: dict[str, object], table: Table, usual: str | None, asking: bool) -> str:
    wanted = given.get("target") or usual
    if wanted is not None:
        return str(wanted)
    columns = table.frame.columns
    if not asking:
        shown = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
        raise UsageError(
            "which column is to be predicted?", fix=f"--target COLUMN, one of: {shown}"
        )
    screen.say(f"columns: {', '.join(columns)}")
    return screen.ask("Column to predict", columns[-1])


def _agree(
    table: Table, target: str, overrides: dict[str, object], asking: bool, *, quiet: bool
) -> tuple[Roles, Profile]:
    """Infer, show, and on a terminal take corrections until there are none."""
    from gitops.scaffold.profile import profile
    from gitops.scaffold.roles import infer

    roles = infer(table, target, overrides=overrides)
    while True:
        found = profile(table, roles)
        if not quiet:
            sys.stderr.write(found.text(_width()) + "\n")
            sys.stderr.writelines(f"  {note}\n" for note in roles.notes)
        if not asking:
            return roles, found
        corrected = None
        while corrected is None:
            change = _correction()
            if change is None:
                return roles, found
            try:
                _check_keys(change)
                corrected = infer(table, target, overrides={**overrides, **change})
                overrides = {**overrides, **change}
            except ConfigError as error:
                screen.error(error)
        roles = corrected


def _correction() -> dict[str, object] | None:
    """A correction typed at the prompt, checked for its form; None when all is well."""
    while True:
        text = screen.ask("Change something? KEY=VALUE, or Enter to go on", "")
        if not text:
            return None
        key, equals, value = text.partition("=")
        if equals and key.strip():
            return {key.strip(): value.strip()}
        screen.say(
            f"{text!r} is not KEY=VALUE, for example: task=regression, drop=notes, id=customer_id"
        )


def _width() -> int:
    import shutil

    return min(shutil.get_terminal_size((100, 24)).columns, 120)


def _show(request: Request, made: Made) -> None:
    folder = request.target
    screen.out(
        f"{screen.style(str(folder), 'bold')}: {len(made.files)} files,"
        f" first commit {made.commit[:12]}, storage {made.storage}"
    )
    if "azure" in request.ci:
        screen.out(
            "no Azure Pipelines file was written: they come with the pipelines stage of gitops"
        )
    screen.out("next:")
    screen.out(f"  cd {shlex.quote(str(folder))}")
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
