"""What is asked about a table: which column is to be predicted, and whether the roles are right."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli import screen
from gitops.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from gitops.scaffold.profile import Profile
    from gitops.scaffold.roles import Roles
    from gitops.scaffold.table import Table

SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Answer a question; may be repeated."),
]
AnswersOption = Annotated[Path | None, typer.Option("--answers", help="A YAML file of answers.")]
NoInputOption = Annotated[bool, typer.Option("--no-input", help="Ask nothing.")]


def check_keys(given: Iterable[str], own: tuple[str, ...]) -> None:
    """Refuse an answer that neither the command (`own`) nor the inference knows."""
    from gitops.scaffold.choices import KEYS

    known = [*own, *KEYS]
    for key in given:
        if key not in known and not key.startswith("type."):
            near = get_close_matches(key, known, 1)
            raise ConfigError(
                f"there is no answer named {key!r}",
                fix=f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(known)}",
            )


def target(given: dict[str, object], table: Table, usual: str | None, asking: bool) -> str:
    """The column to predict.

    Raises:
        UsageError: none is named, and nobody can be asked.
    """
    wanted = given.get("target") or usual
    if wanted is not None:
        return str(wanted)
    columns = table.frame.columns
    if not asking:
        shown = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
        raise UsageError(
            "which column is to be predicted?", fix=f"--target COLUMN, one of: {shown}"
        )
    from gitops.scaffold import choices

    screen.say(f"columns: {', '.join(columns)}")
    return again("Column to predict", columns[-1], partial(choices.column, table, "target"))


def again(question: str, default: str, check: Callable[[str], object]) -> str:
    """An answer that `check` takes: what it raises is said, and asked again."""
    while True:
        answer = screen.ask(question, default)
        try:
            check(answer)
        except ConfigError as error:
            screen.error(error)
        else:
            return answer


def agree(
    table: Table, target: str, overrides: dict[str, object], asking: bool, *, quiet: bool
) -> tuple[Roles, Profile]:
    """Infer, show, and on a terminal take corrections until there are none."""
    from gitops.scaffold.choices import KEYS
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
        sys.stderr.write(f"what can be changed: {', '.join(KEYS)}, type.COLUMN\n")
        corrected = None
        while corrected is None:
            change = _correction()
            if change is None:
                return roles, found
            try:
                check_keys(change, ())
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
