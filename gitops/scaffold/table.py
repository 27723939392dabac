"""A CSV or Parquet file as a typed table: what every later stage of scaffolding looks at.

A column of `frame` is one of five: Int64, Float64, Boolean, String, or Datetime (us, UTC).
A CSV column is typed only when all its values are of the type, so nothing turns into null silently,
and what is a number here is a number for pandas (`dtype="float64"`, `na_values=NULL_MARKERS`,
`keep_default_na=False`) as well.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from gitops import csvtext
from gitops.errors import EvidenceError, Where
from gitops.rows import NULL_MARKERS

Kind = Literal["number", "boolean", "datetime", "text"]

UTC = pl.Datetime("us", "UTC")
_NUMBER = r"^[ \t]*[+-]?(\d+\.?\d*|\.\d+|inf|infinity)([eE][+-]?\d+)?[ \t]*$"
_ISO = (
    r"^\d{4}-\d{2}-\d{2}"
    r"([T ]\d{2}:\d{2}(:[0-5]\d(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?$"
)
_SLASHED = r"^\d{1,2}([/.-])\d{1,2}[/.-]\d{4}( \d{1,2}:\d{2}(:[0-5]\d)?)?$"
_SAMPLE = 500


@dataclass(frozen=True, eq=False)
class Table:
    """A file that was read.

    `separator` and `encoding` are those of a CSV file (`utf-8`, `utf-8-sig` or `utf-16`).
    `formats` names the strptime format of each datetime column that is not written in ISO 8601.
    """

    path: Path
    format: Literal["csv", "parquet"]
    separator: str
    encoding: str
    frame: pl.DataFrame
    formats: Mapping[str, str]

    def where(self, row: int | None = None) -> Where:
        """The file, and in a CSV file the line on which data row `row` (from 0) begins."""
        if row is None or self.format == "parquet":
            return Where(self.path)
        return Where(self.path, csvtext.line_of(self.path, self.separator, row))


def read(path: Path) -> Table:
    """Read a CSV or Parquet file; which of the two is seen from its first bytes.

    Raises:
        EvidenceError: the file is missing, not a file, unreadable, of another format, empty,
            damaged, or has column names or rows that cannot be used; with the line in a CSV file.
    """
    data = _bytes(path)
    if data[:4] == b"PAR1":
        return Table(path, "parquet", ",", "utf-8", _parquet(path), {})
    if path.suffix.lower() in (".parquet", ".pq"):
        fix = "write the Parquet file again, or name a CSV file .csv"
        raise EvidenceError("this is not a Parquet file", fix=fix, where=Where(path))
    text = csvtext.read_text(path, data)
    del data
    columns: list[pl.Series] = []
    formats: dict[str, str] = {}
    for column in text.frame.iter_columns():
        typed, written = _typed(column)
        columns.append(typed)
        if written:
            formats[column.name] = written
    return Table(path, "csv", text.separator, text.encoding, pl.DataFrame(columns), formats)


def kind(dtype: pl.DataType) -> Kind:
    """What a column of a table holds."""
    if dtype == pl.Boolean:
        return "boolean"
    if dtype == UTC:
        return "datetime"
    return "text" if dtype == pl.String else "number"


def as_number(column: pl.Series) -> pl.Series | None:
    """A text column as Int64 or Float64; None if one of its values is not a number."""
    if column.str.contains(r"^[ \t]|[ \t]$").any():
        column = column.str.strip_chars(" \t")
    for dtype in (pl.Int64(), pl.Float64()):
        number = column.cast(dtype, strict=False)
        if number.null_count() == column.null_count():
            return None if number.is_nan().any() else number
    return None


def _bytes(path: Path) -> bytes:
    if path.is_dir():
        fix = "name one CSV or Parquet file"
        raise EvidenceError("this is a folder, not a file", fix=fix, where=Where(path))
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        near = difflib.get_close_matches(path.name, _names(path.parent), n=1)
        fix = f"did you mean {path.parent / near[0]}?" if near else "give the path of a data file"
        raise EvidenceError("there is no such file", fix=fix, where=Where(path)) from error
    except OSError as error:
        message = f"the file cannot be read: {error.strerror}"
        raise EvidenceError(message, fix="give a file you may read", where=Where(path)) from error


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


def _parquet(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        message = f"the Parquet file cannot be read: {str(error).splitlines()[0]}"
        raise EvidenceError(message, fix="write the file again", where=Where(path)) from error
    csvtext.check_names(path, frame.columns)
    if not frame.height:
        raise EvidenceError("the file has no row", fix="give a file with rows", where=Where(path))
    refused = {name: dtype for name, dtype in frame.schema.items() if not _plain(dtype)}
    if refused:
        listed = ", ".join(f"{name} ({dtype})" for name, dtype in list(refused.items())[:5])
        message = f"{len(refused)} columns hold values that are not plain: {listed}"
        fix = "unnest, convert or remove these columns"
        raise EvidenceError(message, fix=fix, where=Where(path))
    return pl.DataFrame([_normal(column) for column in frame.iter_columns()])


def _plain(dtype: pl.DataType) -> bool:
    refused = (pl.Binary, pl.Duration, pl.Object)
    return not dtype.is_nested() and not isinstance(dtype, refused)


def _normal(column: pl.Series) -> pl.Series:
    """A Parquet column as one of the five types of a table."""
    dtype = column.dtype
    if dtype.is_integer():
        small = column.cast(pl.Int64, strict=False)
        return small if small.null_count() == column.null_count() else column.cast(pl.Float64)
    if dtype.is_numeric():
        return column.cast(pl.Float64).fill_nan(None)
    if isinstance(dtype, pl.Datetime):
        micro = column.dt.cast_time_unit("us")
        if dtype.time_zone is None:
            return micro.dt.replace_time_zone("UTC")
        return micro.dt.convert_time_zone("UTC")
    if dtype == pl.Date:
        return column.cast(UTC)
    return column if dtype == pl.Boolean else column.cast(pl.String)


def _typed(column: pl.Series) -> tuple[pl.Series, str]:
    """A text column as what all its values are, and the format of dates that are not ISO 8601."""
    column = column.set(column.is_in(NULL_MARKERS), None)
    head = column.drop_nulls().head(_SAMPLE)
    if not len(head):
        return column, ""
    if head.str.contains(f"(?i){_NUMBER}").all():
        return _number(column), ""
    if head.str.to_lowercase().is_in(["true", "false"]).all():
        words = column.str.to_lowercase()
        if (words.is_in(["true", "false"]) | words.is_null()).all():
            return (words == "true").alias(column.name), ""
    if head.str.contains(_ISO).all():
        return _iso(column), ""
    if head.str.contains(_SLASHED).all():
        return _slashed(column)
    return column, ""


def _number(column: pl.Series) -> pl.Series:
    """Numbers, except digits that are a code: leading zeros (02134), or more than 64 bits hold."""
    number = as_number(column)
    if number is None:
        return column
    digits = column.str.contains(r"^\d+$")
    if number.dtype == pl.Int64:
        return column if column.str.contains(r"^0\d").any() else number
    return column if digits.all() else number


def _iso(column: pl.Series) -> pl.Series:
    if not column.str.contains(_ISO).all():
        return column
    parsed = pl.Series(column.name, [None], dtype=UTC).new_from_index(0, len(column))
    for pattern in (
        "%Y-%m-%d",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M:%S%.f%#z",
        "%Y-%m-%dT%H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M%#z",
        "%Y-%m-%dT%H:%M%#z",
    ):
        parsed = parsed.zip_with(parsed.is_not_null(), _parse(column, pattern))
        if parsed.null_count() == column.null_count():
            return parsed
    return column


def _slashed(column: pl.Series) -> tuple[pl.Series, str]:
    """Dates such as 13/01/2013, if only one order of day and month fits all of them."""
    first = column.drop_nulls()[0]
    mark = next(char for char in first if char in "/.-")
    clock = ("", " %H:%M", " %H:%M:%S")[first.count(":")]
    fitting: list[tuple[pl.Series, str]] = []
    for day_and_month in (f"%d{mark}%m", f"%m{mark}%d"):
        pattern = f"{day_and_month}{mark}%Y{clock}"
        parsed = _parse(column, pattern)
        if parsed.null_count() == column.null_count():
            fitting.append((parsed, pattern))
    return fitting[0] if len(fitting) == 1 else (column, "")


def _parse(column: pl.Series, pattern: str) -> pl.Series:
    parsed = column.str.to_datetime(pattern, strict=False, time_unit="us", ambiguous="null")
    aware = isinstance(parsed.dtype, pl.Datetime) and parsed.dtype.time_zone
    return parsed if aware else parsed.dt.replace_time_zone("UTC")
