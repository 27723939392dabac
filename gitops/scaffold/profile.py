"""A table at a glance: what it holds, what each column is for, and what looks wrong."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass

import polars as pl

from gitops.rows import label_text
from gitops.scaffold import infer as guess
from gitops.scaffold.infer import Facts
from gitops.scaffold.roles import Roles
from gitops.scaffold.table import Table

_MOST_LINES = 20
_NAME = 28
_HEADER = ("column", "role", "type", "missing", "distinct", "values")


@dataclass(frozen=True)
class Column:
    """One column.

    `missing` is a share, `low` and `high` the range of numbers and dates (ISO 8601), `top` the most
    frequent values with their counts, `remark` what is odd, or why the column is left out.
    """

    name: str
    role: str
    type: str
    missing: float
    distinct: int
    low: float | str | None
    high: float | str | None
    top: tuple[tuple[str, int], ...]
    remark: str

    @property
    def values(self) -> str:
        """The range or the most frequent values, for people."""
        if self.top:
            return ", ".join(f"{_quoted(value)} ({count:,})" for value, count in self.top)
        return f"{_shown(self.low)} .. {_shown(self.high)}" if self.low is not None else ""


@dataclass(frozen=True)
class Profile:
    """A table.

    `duplicates`: rows that equal an earlier row in all columns but the id; `balance`: the rows of
    each class; `columns` begin with the target, id, time and group.
    """

    file: str
    format: str
    rows: int
    duplicates: int
    task: str
    balance: tuple[tuple[str, int], ...]
    columns: tuple[Column, ...]

    def text(self, width: int) -> str:
        """For a terminal of `width` characters: at most 25 lines, the notable columns first.

        A remark that doesn't fit into its line follows below, while there is room.
        """
        target = self.columns[0]
        title = f"{self.file}: {self.rows:,} rows, {len(self.columns):,} columns"
        if self.duplicates:
            title += f", {self.duplicates:,} duplicate row{'s' if self.duplicates > 1 else ''}"
        goal = f"{self.task} of {target.name}: {target.values}"
        if self.balance:
            shares = [f"{name} {_percent(count / self.rows)}" for name, count in self.balance[:8]]
            more = ", ..." if len(self.balance) > 8 else ""
            goal = f"{self.task} of {target.name}: {', '.join(shares)}{more}"
        shown, hidden = self._notable()
        rows = _aligned([_HEADER, *(_cells(one) for one in shown)])
        lines = [title, goal, "", *rows]
        if hidden:
            kinds = [one.type for one in hidden]
            counted = ", ".join(f"{kinds.count(kind):,} {kind}" for kind in dict.fromkeys(kinds))
            lines.append(f"... and {len(hidden):,} more: {counted}")
        whole = [
            line
            for one, row in zip(shown, rows[1:], strict=True)
            if one.remark and len(row) > width
            for line in textwrap.wrap(
                f"  {one.name}: {one.role}: {one.remark}", width, subsequent_indent="    "
            )
        ]
        room = max(_MOST_LINES + 5 - len(lines), 0)
        return "\n".join([*(_cut(line, width) for line in lines), *whole[:room]])

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return asdict(self)

    def _notable(self) -> tuple[list[Column], list[Column]]:
        """Those to show, and the others: own roles and odd columns first, and some features."""
        plain = [one for one in self.columns if one.role == "feature" and not one.remark]
        odd = [one for one in self.columns if one not in plain]
        odd.sort(key=lambda one: one.role in ("feature", "left out"))
        room = max(_MOST_LINES - len(odd), 6)
        kept = [*plain[:room], *odd[: _MOST_LINES - min(room, len(plain))]]
        return (
            [one for one in self.columns if one in kept],
            [one for one in self.columns if one not in kept],
        )


def profile(table: Table, roles: Roles) -> Profile:
    """Look at every column of `table` once."""
    facts = guess.facts(table)
    first = [name for name in (roles.target, roles.id, roles.time, roles.group) if name]
    names = list(dict.fromkeys([*first, *table.frame.columns]))
    kept = table.frame.drop(roles.id) if roles.id else table.frame
    balance: tuple[tuple[str, int], ...] = ()
    if roles.classes:
        counts = dict(_top(table.frame[roles.target], len(roles.classes)))
        balance = tuple((name, counts[name]) for name in roles.classes)
    return Profile(
        file=table.path.name,
        format=table.format,
        rows=kept.height,
        duplicates=kept.height - kept.hash_rows().n_unique(),
        task=roles.task,
        balance=balance,
        columns=tuple(_column(table, roles, facts[name]) for name in names),
    )


def _column(table: Table, roles: Roles, fact: Facts) -> Column:
    role, kind, remark = "feature", str(fact.kind), ""
    for one in roles.features:
        if one.name == fact.name:
            kind = one.type
    for left in roles.dropped:
        if left.name == fact.name:
            role, remark = "left out", left.reason
    for own in ("target", "id", "time", "group"):
        if getattr(roles, own) == fact.name:
            role = own
    values = table.frame[fact.name]
    ranged = kind in ("number", "datetime") and not (role == "target" and roles.classes)
    top = () if ranged or role in ("id", "left out") else _top(values, 3)
    low, high = fact.span if ranged and fact.low is not None else (None, None)
    return Column(
        name=fact.name,
        role=role,
        type=kind,
        missing=fact.missing / fact.rows,
        distinct=fact.distinct,
        low=low,
        high=high,
        top=top,
        remark=remark or (_remark(fact, values) if role == "feature" else ""),
    )


def _remark(fact: Facts, values: pl.Series) -> str:
    """What may be wrong with a feature."""
    if fact.missing > 0.5 * fact.rows:
        return "mostly missing"
    if fact.distinct <= 20:
        counts = values.value_counts(sort=True)["count"]
        if float(counts[0]) > 0.99 * fact.rows:
            return "nearly constant"
    if fact.kind == "text" and values.str.contains(r"^\s|\s$").any():
        return "values begin or end with spaces"
    return ""


def _top(values: pl.Series, most: int) -> tuple[tuple[str, int], ...]:
    """The most frequent values as canonical texts; equal counts in the order of the texts."""
    counted = values.drop_nulls().alias("value").value_counts(name="rows")
    ordered = counted.sort(["rows", "value"], descending=[True, False]).head(most)
    return tuple((label_text(value), rows) for value, rows in ordered.iter_rows())


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1%"
    return ">99.9%" if 0.999 < share < 1 else f"{100 * share:.1f}%".replace(".0%", "%")


def _quoted(value: str) -> str:
    return value if value == value.strip() and value.isprintable() else repr(value)


def _shown(value: float | str | None) -> str:
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return f"{int(value):,}" if abs(value) >= 10_000 else str(int(value))
        return f"{value:.6g}"
    return str(value)


def _cells(column: Column) -> tuple[str, ...]:
    missing = _percent(column.missing) if column.missing else ""
    described = column.remark if column.role == "left out" else column.values
    if column.role != "left out" and column.remark:
        described = f"{column.remark}: {described}"
    name = _cut(column.name, _NAME)
    return (name, column.role, column.type, missing, f"{column.distinct:,}", described)


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns under each other, the counts to the right."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = [
            cell.rjust(width) if place in (3, 4) else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
