"""Values as drivers of databases give them (PEP 249) -> columns of one exact type each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import polars as pl

from gitops.errors import EvidenceError

_KINDS: Mapping[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "float",
    Decimal: "decimal",
    str: "text",
    UUID: "text",
    date: "date",
}
_TYPES: Mapping[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "text": pl.String(),
    "time": pl.Datetime("us"),
    "moment": pl.Datetime("us", "UTC"),
    "date": pl.Date(),
}
# PostgreSQL's ids of types (pg_type.dat), for columns that are missing in every row.
POSTGRESQL: Mapping[int, str] = {
    16: "boolean",
    **dict.fromkeys((20, 21, 23), "integer"),
    **dict.fromkeys((700, 701), "float"),
    1700: "decimal",
    1082: "date",
    1114: "time",
    1184: "moment",
}
_WIDER = {
    frozenset(("integer", "float")): "float",
    frozenset(("integer", "decimal")): "decimal",
}
_DIGITS = 38
_EXACT = 2**53  # whole numbers up to this are exact in float64


class Columns:
    """The columns of a result, whose types are known when all its batches have been seen."""

    def __init__(self, names: Sequence[str], declared: Sequence[str | None]) -> None:
        """`declared`: kinds that the database names, None where it doesn't."""
        self.names, self._declared = list(names), list(declared)
        self._kinds: list[str | None] = [None] * len(self.names)
        self._scales = [0] * len(self.names)
        self._wholes = [0] * len(self.names)  # digits before the point
        self._large = [False] * len(self.names)

    def batch(self, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
        """Some rows, typed by themselves.

        Raises:
            EvidenceError: a value that a table can't hold, or another type than before.
        """
        columns = zip(*rows, strict=True)
        return pl.DataFrame([self._series(at, values) for at, values in enumerate(columns)])

    def schema(self) -> dict[str, pl.DataType]:
        """The type of each column; one that is missing in all rows is text, if nothing is known."""
        kinds = [a or b or "text" for a, b in zip(self._kinds, self._declared, strict=True)]
        return {
            name: pl.Decimal(_DIGITS, scale) if kind == "decimal" else _TYPES[kind]
            for name, kind, scale in zip(self.names, kinds, self._scales, strict=True)
        }

    def _series(self, at: int, values: tuple[Any, ...]) -> pl.Series:
        name, kind = self.names[at], self._kind(at, values)
        if kind is None:
            return pl.Series(name, values, dtype=pl.String)
        if kind == "decimal":
            return self._decimal(at, values)
        if kind == "moment":
            values = tuple(
                v if v is None else v.astimezone(UTC).replace(tzinfo=None) for v in values
            )
            naive = pl.Series(name, values, dtype=pl.Datetime("us"))
            return naive.dt.replace_time_zone("UTC")
        if kind == "text" and UUID in set(map(type, values)):
            values = tuple(v if v is None else str(v) for v in values)
        self._large[at] |= any(type(v) is int and abs(v) > _EXACT for v in values)
        if kind == "float" and self._large[at]:
            raise _refused(name, "whole numbers too large to be exact beside fractions")
        try:
            return pl.Series(name, values, dtype=_TYPES[kind])
        except (OverflowError, TypeError) as error:
            raise _refused(name, "whole numbers of more than 64 bits") from error

    def _kind(self, at: int, values: tuple[Any, ...]) -> str | None:
        """What a column holds so far, this batch included."""
        found = {self._kinds[at], *self._found(at, values)} - {None}
        if len(found) > 1:
            wider = _WIDER.get(frozenset(map(str, found)))
            if wider is None:
                raise _refused(self.names[at], f"{' and '.join(sorted(map(str, found)))} values")
            found = {wider}
        self._kinds[at] = next(iter(found), None)
        return self._kinds[at]

    def _found(self, at: int, values: tuple[Any, ...]) -> Iterator[str]:
        for one in set(map(type, values)) - {type(None)}:
            if one is datetime:
                zoned = {v.tzinfo is not None for v in values if type(v) is datetime}
                yield from ("moment" if z else "time" for z in zoned)
            elif one in _KINDS:
                yield _KINDS[one]
            else:
                raise _refused(self.names[at], f"{one.__name__} values")

    def _decimal(self, at: int, values: tuple[Any, ...]) -> pl.Series:
        known = [Decimal(v) for v in values if v is not None]
        parts = [v.as_tuple() for v in known]
        if any(isinstance(one.exponent, str) for one in parts):
            raise _refused(self.names[at], "NaN or infinity among exact numbers")
        scale = max((-int(one.exponent) for one in parts), default=0)
        self._scales[at] = max(self._scales[at], scale)
        whole = max((len(one.digits) + int(one.exponent) for one in parts), default=0)
        self._wholes[at] = max(self._wholes[at], whole)  # 0 or more: 0.001 has none
        if self._wholes[at] + self._scales[at] > _DIGITS:
            raise _refused(self.names[at], f"exact numbers of more than {_DIGITS} digits")
        exact = [None if v is None else Decimal(v) for v in values]
        return pl.Series(self.names[at], exact, dtype=pl.Decimal(_DIGITS, max(scale, 0)))


def _refused(name: str, what: str) -> EvidenceError:
    return EvidenceError(
        f"column {name} holds {what}, which no column of a table can",
        fix="cast the column in the query (to double precision or text, say), or leave it out",
    )
