"""What the user said about a table (`--set KEY=VALUE`, a file of answers), checked against it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from gitops.errors import ConfigError
from gitops.rows import label_text
from gitops.scaffold.infer import Facts, misfit
from gitops.scaffold.table import Table
from gitops.signature import Task

KEYS = ("task", "id", "time", "group", "positive", "drop", "slices", "sensitive", "split")
TASKS = get_args(Task)
SPLITS = ("random", "time", "group")
TYPES = ("number", "boolean", "categorical", "datetime")


@dataclass(frozen=True)
class Choices:
    """The answers. `columns` maps id, time and group to a column, or to None: there is none."""

    task: str | None
    split: str | None
    positive: str | None
    columns: Mapping[str, str | None]
    drop: tuple[str, ...]
    slices: tuple[str, ...] | None
    sensitive: tuple[str, ...] | None
    types: Mapping[str, str]


def read(
    table: Table, facts: Mapping[str, Facts], target: str, given: Mapping[str, object]
) -> Choices:
    """Check every answer against the table.

    Raises:
        ConfigError: an unknown key, word or column (with the nearest spelling), a column with two
            roles, or a type that the column's values do not have.
    """
    types: dict[str, str] = {}
    for key, value in given.items():
        if key.startswith("type."):
            name = column(table, key, key.removeprefix("type."))
            types[name] = _word(key, value, TYPES)
        elif key not in KEYS:
            known = [*KEYS, *(f"type.{name}" for name in table.frame.columns)]
            raise ConfigError(f"there is no answer named {key!r}", fix=_nearest(key, known, KEYS))
    columns = {
        key: None if _none(given[key]) else column(table, key, str(given[key]))
        for key in ("id", "time", "group")
        if key in given
    }
    lists = {
        key: _columns(table, key, given[key])
        for key in ("drop", "slices", "sensitive")
        if key in given
    }
    _check_roles(target, columns, lists, types)
    for name, wanted in types.items():
        _check_type(table, facts[name], wanted)
    return Choices(
        task=_word("task", given["task"], TASKS) if "task" in given else None,
        split=_word("split", given["split"], SPLITS) if "split" in given else None,
        positive=label_text(given["positive"]) if "positive" in given else None,
        columns=columns,
        drop=lists.get("drop", ()),
        slices=lists.get("slices"),
        sensitive=lists.get("sensitive"),
        types=types,
    )


def column(table: Table, key: str, name: str) -> str:
    """`name`, if the table has a column of that name.

    Raises:
        ConfigError: it has none.
    """
    if name in table.frame.columns:
        return name
    fix = _nearest(name, table.frame.columns, table.frame.columns)
    message = f"{key}: there is no column {name!r}"
    raise ConfigError(message, fix=fix, where=table.where())


def _nearest(name: str, known: Sequence[str], shown: Sequence[str]) -> str:
    folded = {text.casefold(): text for text in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    return f"it must be one of: {', '.join(shown[:20])}{', ...' if len(shown) > 20 else ''}"


def _none(value: object) -> bool:
    return value is None or value is False or str(value).strip().lower() in ("", "none")


def _word(key: str, value: object, known: Sequence[str]) -> str:
    if value in known:
        return str(value)
    raise ConfigError(f"{key}: {value!r} is not known", fix=_nearest(str(value), known, known))


def _columns(table: Table, key: str, value: object) -> tuple[str, ...]:
    """A list of columns, or their names with commas between; a name with a comma counts as one."""
    if _none(value):
        return ()
    if isinstance(value, str):
        value = [value] if value in table.frame.columns else value.split(",")
    if not isinstance(value, Iterable):
        message = f"{key}: {value!r} is not a list of columns"
        raise ConfigError(message, fix=f"--set {key}=first,second")
    names = [str(name) if str(name) in table.frame.columns else str(name).strip() for name in value]
    return tuple(dict.fromkeys(column(table, key, name) for name in names))


def _check_roles(
    target: str,
    columns: Mapping[str, str | None],
    lists: Mapping[str, tuple[str, ...]],
    types: Mapping[str, str],
) -> None:
    """One column, one role: the target, or an id, a time, a group, or left out."""
    taken = {target: "the target"}
    for key, name in columns.items():
        if name in taken:
            raise ConfigError(f"{key}: {name!r} is {taken[name]}", fix="choose another column")
        if name is not None:
            taken[name] = f"the {key}"
    for key, names in lists.items():
        for name in names:
            if name in taken and (key == "drop" or name == target):
                fix = f"take {name!r} out of {key}"
                raise ConfigError(f"{key}: {name!r} is {taken[name]}", fix=fix)
    for name in types:
        role = "left out" if name in lists.get("drop", ()) else taken.get(name)
        if role and role != "the time":
            message = f"type.{name}: the column is {role}, not a feature"
            raise ConfigError(message, fix=f"leave type.{name} away")


def _check_type(table: Table, fact: Facts, wanted: str) -> None:
    if problem := misfit(table, fact, wanted):
        message = f"type.{fact.name}={wanted}: {problem}"
        fix = f"correct the values, or say type.{fact.name}=categorical"
        raise ConfigError(message, fix=fix, where=table.where())
