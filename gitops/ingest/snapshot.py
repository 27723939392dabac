"""A table written so that the same rows always come to the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gitops.errors import ConfigError, EvidenceError
from gitops.rows import NULL_MARKERS

_ROW_GROUP = 1 << 18  # fixed: the default depends on the machine


@dataclass(frozen=True)
class Snapshot:
    """The file of a table, its rows, and where it was taken: plain values, no secret."""

    file: Path
    rows: int
    origin: Mapping[str, object]


def ordered(frame: pl.LazyFrame, by: Sequence[str], *, whole: bool) -> pl.DataFrame:
    """The rows sorted by the columns `by`, equal ones by all others; numbers in texts by value.

    Without `by` they are sorted by all columns (`whole`), or stay as they are.

    Raises:
        ConfigError: `by` names a column that isn't there.
    """
    schema = frame.collect_schema()
    if absent := [name for name in by if name not in schema]:
        raise ConfigError(
            f"order_by names {', '.join(absent)}, but the columns are {', '.join(schema)}",
            fix="correct order_by of the source in gitops.yaml",
        )
    if not by and not whole:
        return frame.collect()
    keys = [
        key
        for name in [*by, *(name for name in schema if name not in by)]
        for key in (pl.col(name).cast(pl.Float64, strict=False), pl.col(name))
        if (name in by and schema[name] == pl.String) or key.meta.is_column()
    ]
    return frame.sort(keys, nulls_last=True).collect(engine="streaming")


def write(frame: pl.DataFrame, target: Path, separator: str) -> None:
    """Write the rows as they are ordered, in the format that the file's name says.

    `separator`: of the cells of a CSV file.

    Raises:
        EvidenceError: there is none.
    """
    if not frame.height:
        raise EvidenceError(
            "the source has no row", fix="look at it: a table without rows trains nothing"
        )
    if target.suffix.lower() != ".csv":
        frame.write_parquet(target, row_group_size=_ROW_GROUP)
        return
    # Both stand for a missing value; empty quotes would be another text for the same.
    texts = pl.col(pl.String)
    plain = frame.with_columns(pl.when(texts != "").then(texts).name.keep(), *_times(frame))
    plain.write_csv(target, separator=separator)


def _times(frame: pl.DataFrame) -> list[pl.Expr]:
    """Times in ISO 8601; a moment ends in Z."""
    return [
        pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.f" + ("Z" if dtype.time_zone else ""))
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.Datetime)
    ]


def check_texts(frame: pl.DataFrame, target: Path) -> None:
    """Refuse texts of a database that a CSV file can't tell from a missing value.

    Raises:
        EvidenceError: there is one.
    """
    if target.suffix.lower() != ".csv":
        return
    marks = [one for one in NULL_MARKERS if one]
    for column in frame.iter_columns():
        if column.dtype == pl.String and (found := column.filter(column.is_in(marks))).len():
            raise EvidenceError(
                f"column {column.name} has the text {found[0]!r}, which in a CSV file is a"
                " missing value",
                fix="let `data:` in gitops.yaml be a .parquet file (and data.file and data.format"
                " in params.yaml), or have the query return another text",
            )
