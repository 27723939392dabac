"""Tables and answers that no model can be trained on, refused before anything is written."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from gitops.errors import ConfigError
from gitops.scaffold.infer import MAX_CLASSES, Facts, values
from gitops.scaffold.table import Table

if TYPE_CHECKING:
    from gitops.scaffold.roles import Roles

LEAST_ROWS = 10
_MOST_SLICES = 50
_COMMA = r"^[+-]?\d{1,3}(\.\d{3})*,\d+$|^[+-]?\d+,\d+$|^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
_DECIMAL = r",\d{1,2}$|,\d{4,}$|\.\d{3},"  # else the comma stands between thousands


def check_target(table: Table, fact: Facts) -> None:
    """Refuse a target that is empty, constant, a date, or a number written with a comma.

    Raises:
        ConfigError: it is one of these.
    """
    problem = ""
    if not fact.distinct:
        problem = "has no value in any row"
    elif fact.distinct == 1:
        problem = f"is {values(table.frame[fact.name])[0]!r} in every row that has a value"
    elif fact.kind == "datetime":
        problem = "holds dates, which cannot be predicted"
    if problem:
        message = f"the target {fact.name!r} {problem}"
        raise ConfigError(message, fix="choose another target", where=table.where())
    if fact.kind == "text":
        check_comma(table, fact, target=True)


def check_task(table: Table, fact: Facts, task: str) -> None:
    """Refuse a task that the target's values do not allow; "" is no task at all.

    Raises:
        ConfigError: too many or too few classes, classes that differ only by case or spaces, or a
            regression of something that is not a number.
    """
    where = table.where()
    if task == "regression":
        if fact.kind != "number":
            message = f"task: a regression needs numbers, {fact.name!r} is {fact.kind}"
            fix = "leave task away, or correct the values that are not numbers"
            raise ConfigError(message, fix=fix, where=where)
        return
    if task == "" or fact.distinct > MAX_CLASSES:
        message = (
            f"the target {fact.name!r} has {fact.distinct:,} different values: too many classes"
        )
        fix = "choose a target of fewer classes, or group its values"
        if fact.kind == "number":
            fix = "say --set task=regression"
        raise ConfigError(message, fix=fix, where=where)
    if task == "binary" and fact.distinct != 2:
        message = f"task: binary needs two classes, {fact.name!r} has {fact.distinct}"
        raise ConfigError(message, fix="say --set task=multiclass", where=where)
    spellings: dict[str, str] = {}
    for name in values(table.frame[fact.name]):
        same = spellings.setdefault(name.strip().casefold(), name)
        if same != name:
            message = f"the target {fact.name!r} has one class in two spellings: {same!r}, {name!r}"
            raise ConfigError(message, fix="write it in one way", where=where)


def check_comma(table: Table, fact: Facts, *, target: bool = False) -> None:
    """Refuse numbers with a decimal comma or thousands separators: they would be read as text.

    Raises:
        ConfigError: nine in ten of the values that are not plain numbers look so; with a command
            that rewrites all such columns.
    """
    written = _with_comma(table, fact.name)
    if written is None:
        return
    row = written.arg_max()
    fix = advice(table)
    if not target:
        fix += f"\n  or keep it as words: --set {shlex.quote(f'type.{fact.name}=categorical')}"
    value = table.frame[fact.name].str.strip_chars()[row or 0]
    message = f"column {fact.name!r} has numbers with a comma, such as {value!r}"
    raise ConfigError(message, fix=fix, where=table.where(row))


def _with_comma(table: Table, name: str) -> pl.Series | None:
    """Which values of a text column are numbers with a comma, if all but a tenth are numbers."""
    texts = table.frame[name].str.strip_chars()
    written = texts.str.contains(_COMMA)
    others = (~written & ~texts.str.contains(r"^[+-]?\d+(\.\d+)?$")).sum()
    present = len(texts) - texts.null_count()
    return None if not written.sum() or others > 0.1 * present else written


def advice(table: Table) -> str:
    """What to do about a table that is `is_local`."""
    return f"rewrite the table, and take {rewritten(table)}: {rewriting(table)}"


def is_local(table: Table) -> bool:
    """Whether it has numbers or dates as a country writes them, which `rewriting` makes plain."""
    return bool(table.formats or _comma_columns(table))


def _comma_columns(table: Table) -> list[str]:
    return [
        name
        for name, dtype in table.frame.schema.items()
        if dtype == pl.String and _with_comma(table, name) is not None
    ]


def rewritten(table: Table) -> str:
    """The file that `rewriting` makes."""
    return f"{table.path.stem}-plain.csv"


def rewriting(table: Table) -> str:
    """A command that writes the table anew: numbers as SQL writes them, dates as ISO 8601.

    It needs nothing but Python: pandas may not be where the user's shell is.
    """
    columns = _comma_columns(table)
    decimal = any(table.frame[name].str.contains(_DECIMAL).any() for name in columns)
    plain = ".replace('.', '').replace(',', '.')" if decimal else ".replace(',', '')"
    code = (
        f"import csv; from datetime import datetime as d;"
        f" i = open({str(table.path)!r}, encoding={table.encoding!r}, newline='');"
        f" t = list(csv.DictReader(i, delimiter={table.separator!r}));"
    )
    if columns:
        code += f" [r.update({{c: r[c]{plain} for c in {columns!r}}}) for r in t];"
    if table.formats:
        iso = "d.strptime(r[c].strip(), f).isoformat(' ') if r[c].strip()[:1].isdigit() else r[c]"
        code += f" [r.update({{c: {iso} for c, f in {dict(table.formats)!r}.items()}}) for r in t];"
    code += (
        f" o = csv.DictWriter(open({rewritten(table)!r}, 'w', encoding='utf-8', newline=''), t[0]);"
        " o.writeheader(); o.writerows(t)"
    )
    return 'python3 -c "' + re.sub(r'(["$`\\])', r"\\\1", code) + '"'


def check_id(table: Table, fact: Facts) -> None:
    """Refuse an id that is missing or comes more than once.

    Raises:
        ConfigError: with examples.
    """
    if fact.missing:
        message = f"id: {fact.missing:,} rows have no {fact.name!r}"
        raise ConfigError(message, fix="choose another column, or id=none", where=table.where())
    if fact.distinct < fact.rows:
        column = table.frame[fact.name]
        twice = values(column.filter(column.is_duplicated()).unique(maintain_order=True).head(3))
        shown = ", ".join(twice)
        message = f"id: {fact.name!r} is not unique, for example {shown} come more than once"
        raise ConfigError(message, fix="choose another column, or id=none", where=table.where())


def check_time(table: Table, fact: Facts) -> None:
    """Refuse a time that is not a date in ISO 8601, or that rows lack.

    Raises:
        ConfigError: it is one of these.
    """
    problem = ""
    if fact.kind != "datetime" or fact.name in table.formats:
        problem = f"{fact.name!r} does not hold dates in ISO 8601 (2013-01-31 06:00:00)"
    elif fact.missing:
        problem = f"{fact.missing:,} rows have no {fact.name!r}"
    elif fact.distinct < 2:
        problem = f"{fact.name!r} is the same in every row"
    if problem:
        fix = "correct the values, choose another column, or time=none"
        raise ConfigError(f"time: {problem}", fix=fix, where=table.where())


def check_group(table: Table, fact: Facts) -> None:
    """Refuse a group that rows lack, or that does not group.

    Raises:
        ConfigError: it is one of these.
    """
    problem = ""
    if fact.missing:
        problem = f"{fact.missing:,} rows have no {fact.name!r}"
    elif fact.distinct in (1, fact.rows):
        problem = f"{fact.name!r} has {fact.distinct:,} values in {fact.rows:,} rows"
    if problem:
        fix = "choose another column, or group=none"
        raise ConfigError(f"group: {problem}", fix=fix, where=table.where())


def check_slice(table: Table, fact: Facts) -> None:
    """Refuse a slice of one value or of too many.

    Raises:
        ConfigError: not between 2 and 50 values.
    """
    if not 2 <= fact.distinct <= _MOST_SLICES:
        message = (
            f"slices: {fact.name!r} has {fact.distinct:,} values; it must have 2 to {_MOST_SLICES}"
        )
        raise ConfigError(message, fix="choose another column", where=table.where())


def refuse_impossible(table: Table, roles: Roles, facts: Mapping[str, Facts]) -> None:
    """Refuse a table that no model of these roles can be trained on.

    Raises:
        ConfigError: fewer than 10 rows with a target or two classes of two rows, an empty feature,
            infinite numbers, or no feature.
    """
    where, target = table.where(), facts[roles.target]
    if target.present < LEAST_ROWS:
        message = f"{target.present} rows have a {target.name!r}; at least {LEAST_ROWS} are needed"
        raise ConfigError(message, fix="bring more rows", where=where)
    if roles.classes:
        _check_classes(table, roles)
    empty = [one.name for one in roles.features if not facts[one.name].distinct]
    if empty:
        message = f"no row has a value in {', '.join(map(repr, empty[:10]))}"
        fix = f"say --set drop={','.join(empty)}"
        raise ConfigError(message, fix=fix, where=where)
    for name in [roles.target, *(one.name for one in roles.features)]:
        _check_finite(table, name)
    if not roles.features:
        left = "; ".join(f"{one.name}: {one.reason}" for one in roles.dropped[:5])
        message = f"no column is left to learn from{f' ({left})' if left else ''}"
        fix = "bring a table with more columns, or keep one by --set type.COLUMN=categorical"
        raise ConfigError(message, fix=fix, where=where)


def lonely_classes(table: Table, target: str) -> tuple[str, ...]:
    """Classes that a single row has: they can be learnt from, but not be tested."""
    column = table.frame[target].drop_nulls()
    return values(column.filter(column.is_unique()))


def _check_classes(table: Table, roles: Roles) -> None:
    alone = lonely_classes(table, roles.target)
    if alone and len(roles.classes) - len(alone) < 2:
        message = f"one row only has the {roles.target!r} {', '.join(map(repr, alone[:5]))}"
        fix = "bring more rows of it, or remove the row"
        if table.frame[roles.target].dtype.is_numeric():
            fix += ", or say --set task=regression"
        raise ConfigError(message, fix=fix, where=table.where())


def _check_finite(table: Table, name: str) -> None:
    column = table.frame[name]
    if column.dtype != pl.Float64:
        return
    infinite = column.is_infinite().fill_null(False)
    if count := infinite.sum():
        message = f"{count:,} values of {name!r} are infinite, the first is here"
        fix = f"leave these cells empty, or say --set drop={name}"
        raise ConfigError(message, fix=fix, where=table.where(infinite.arg_max()))
