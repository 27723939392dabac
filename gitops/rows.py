"""Canonical text, cells and row keys.

Everything here is a contract with code that is not ours (a project writes `train_rows.bin` with
pandas), so the byte layouts are stated exactly, and tests/unit/test_rows.py has a known answer
for each that was computed with nothing but `hashlib` and `struct`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from gitops.errors import EvidenceError, Where

if TYPE_CHECKING:
    from gitops.signature import Signature

Keys = np.ndarray[tuple[int], np.dtype[np.uint64]]

MAGIC = b"GTRAIN1\n"
NAN_BITS = 0x7FF8000000000000
# What stands for a missing value in a CSV file.
NULL_MARKERS = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "#N/A")
TRUE = ("true", "t", "yes", "y", "1", "1.0")
FALSE = ("false", "f", "no", "n", "0", "0.0")
_FEW = 1000
CHUNK = 250_000  # rows hashed at once: bounds the memory
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def label_text(value: object) -> str:
    """The canonical text of a label, so that 1, 1.0 and "1" cannot disagree.

    A boolean `true`/`false`; an integer, or a number with an integral value, its decimal digits;
    any other number Python's `repr(float)`; text as it is.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def canonical(column: pl.Series) -> pl.Series:
    """Canonical texts (String; missing null, NaN too) of a column of any plain type.

    Dates and times become ISO 8601. Raises EvidenceError for a type with no text (a list, bytes).
    """
    kind = column.dtype
    if kind == pl.String:
        return column
    if kind == pl.Boolean or kind.is_integer() or isinstance(kind, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if kind == pl.Null:
        return column.cast(pl.String)
    if kind.is_float() or kind.is_decimal():
        return _mapped(column.cast(pl.Float64).fill_nan(None), label_text, pl.String())
    if kind.is_temporal() and kind != pl.Duration:
        return _mapped(column, lambda value: value.isoformat(), pl.String())
    raise EvidenceError(
        f"column {column.name!r} has the type {kind}, which has no canonical text",
        fix="store it as text, a number, a boolean or a time",
    )


def typed(column: pl.Series, kind: str, first_row: int = 1) -> pl.Series:
    """A raw column, whatever the file made of it, as the signature's type `kind`.

    `number`, `boolean` and `datetime` give Float64 (booleans 0/1; seconds since
    1970-01-01T00:00:00Z, cut to microseconds, a naive time taken as UTC); `categorical` gives
    String. Missing is null: also NaN, NaT and the empty text.

    Raises:
        EvidenceError: values that are none; names their number, the first and its row (`first_row`
            is the number of the column's first row).
    """
    if kind == "categorical":
        texts = canonical(column)
        return texts.set(texts == "", None)
    made = {"number": _numbers, "boolean": _booleans, "datetime": _seconds}[kind](column)
    made = made.fill_nan(None)
    if made.null_count() > column.null_count():
        _refuse_values(column, made, kind, first_row)
    return made


def plain(column: pl.Series) -> pl.Series:
    """A raw column by its own type: Float64 (numbers, booleans, seconds) or String."""
    kind = column.dtype
    if kind in (pl.Boolean, pl.Null) or kind.is_numeric():
        return column.cast(pl.Float64)
    if kind == pl.Date or isinstance(kind, pl.Datetime):
        return _seconds(column)
    return canonical(column)


def cells(column: pl.Series) -> Keys:
    """One uint64 per value of a Float64 or String column.

    Float64: its IEEE 754 bits, with -0.0 as 0.0 and missing or NaN as 0x7ff8000000000000.
    String: BLAKE2b (unkeyed, digest of 8 bytes) of the UTF-8, read as a little-endian number;
    missing and empty text 0.
    """
    if column.dtype == pl.String:
        return _mapped(column, _text_cell, pl.UInt64()).fill_null(0).to_numpy()
    numbers = column.cast(pl.Float64).fill_null(np.nan).to_numpy() + 0.0
    return np.where(np.isnan(numbers), np.uint64(NAN_BITS), numbers.view(np.uint64))


def row_keys(frame: pl.DataFrame, signature: Signature, project: str) -> Keys:
    """The key of each row of raw columns, in the order of the rows, as `train_rows.bin` has it.

    Key = BLAKE2b, digest of 8 bytes read as a little-endian uint64, keyed with the first 64 bytes
    of the UTF-8 of `gitops:` + project; message = the row's cells, 8 little-endian bytes each, in
    the order of the signature's inputs, then the label (the column `signature.target`: canonical
    text in a classification, a number in a regression).

    Raises:
        EvidenceError: a column is missing, or a value isn't of its type.
    """
    key = f"gitops:{project}".encode()[:64]
    target = "number" if signature.task == "regression" else "categorical"
    kinds = [(item.name, item.type) for item in signature.inputs] + [(signature.target, target)]
    require_columns(frame.columns, [name for name, _ in kinds])
    digests = []
    for start in range(0, frame.height, CHUNK):
        chunk = frame.slice(start, CHUNK)
        columns = [cells(typed(chunk[name], kind, start + 1)) for name, kind in kinds]
        packed = np.column_stack(columns).astype("<u8").tobytes()
        digests.append(_keyed(packed, 8 * len(kinds), key))
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def train_keys(path: Path) -> Keys:
    """The row keys of `train_rows.bin`.

    Layout: the 8 bytes `GTRAIN1\\n`, then sorted unique little-endian uint64.

    Raises:
        EvidenceError: the file is missing, of another format, cut off, unsorted or has a key twice.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise EvidenceError("there is no such file", fix="build it", where=Where(path)) from error
    fault = ""
    keys = np.empty(0, np.uint64)
    if not data.startswith(MAGIC):
        fault = f"begins with {data[:8]!r}, not {MAGIC!r}"
    elif (len(data) - len(MAGIC)) % 8:
        fault = f"is cut off: {len(data) - len(MAGIC)} bytes of keys are no multiple of 8"
    else:
        keys = np.frombuffer(data, dtype="<u8", offset=len(MAGIC)).astype(np.uint64)
        if (keys[1:] <= keys[:-1]).any():
            at = int(np.argmax(keys[1:] <= keys[:-1])) + 1
            fault = f"is not sorted and unique: key {at} is {keys[at]}, after {keys[at - 1]}"
    if fault:
        raise EvidenceError(f"the file {fault}", fix="build the package again", where=Where(path))
    return keys


def require_columns(present: list[str], wanted: list[str]) -> None:
    """Raise EvidenceError if one of the columns `wanted` is not there, with the nearest name."""
    from difflib import get_close_matches

    missing = [name for name in wanted if name not in present]
    if missing:
        near = get_close_matches(missing[0], present, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(repr(name) for name in missing[:10])
        raise EvidenceError(
            f"{len(missing)} of {len(wanted)} columns are missing: {listed}{hint}",
            fix=f"give these columns; the table has {', '.join(present[:20])}",
        )


def _mapped(column: pl.Series, function: Callable[[Any], object], kind: pl.DataType) -> pl.Series:
    """`function` of each value, missing stays missing; distinct values are computed once."""
    distinct = column.drop_nulls().unique()
    made = pl.Series([function(value) for value in distinct.to_list()], dtype=kind)
    if column.dtype == pl.String and len(distinct) <= _FEW:  # a third of the time
        return made.gather(column.cast(pl.Enum(distinct)).to_physical())
    return column.replace_strict(distinct, made, default=None, return_dtype=kind)


def _text_cell(text: str) -> int:
    if text == "":
        return 0
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _keyed(packed: bytes, width: int, key: bytes) -> bytes:
    # Copying a keyed state is faster than keying anew: the key is a block of its own.
    begun = hashlib.blake2b(digest_size=8, key=key)
    digests = []
    for start in range(0, len(packed), width):
        state = begun.copy()
        state.update(packed[start : start + width])
        digests.append(state.digest())
    return b"".join(digests)


def _numbers(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        return column.str.strip_chars().cast(pl.Float64, strict=False)
    if column.dtype == pl.Boolean or column.dtype.is_numeric() or column.dtype == pl.Null:
        return column.cast(pl.Float64)
    return _none(column)


def _booleans(column: pl.Series) -> pl.Series:
    words = canonical(column).str.strip_chars().str.to_lowercase()
    values = dict.fromkeys(TRUE, 1.0) | dict.fromkeys(FALSE, 0.0)
    return words.replace_strict(values, default=None, return_dtype=pl.Float64)


def _seconds(column: pl.Series) -> pl.Series:
    kind = column.dtype
    if kind == pl.String:
        return _mapped(column.str.strip_chars(), _instant, pl.Float64())
    if kind == pl.Date:
        return column.cast(pl.Datetime("us")).dt.timestamp("us") / 1e6
    if isinstance(kind, pl.Datetime):
        # The physical value of a zoned time is UTC.
        return column.dt.timestamp("us") / 1e6
    return column.cast(pl.Float64) if kind == pl.Null else _none(column)


def _instant(text: str) -> float | None:
    """Seconds of ISO 8601, as `datetime.fromisoformat` reads it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH).total_seconds()


def _none(column: pl.Series) -> pl.Series:
    return pl.Series(column.name, [None], dtype=pl.Float64).new_from_index(0, len(column))


def _refuse_values(column: pl.Series, made: pl.Series, kind: str, first_row: int) -> None:
    """Raise if a value that is there became missing (an empty text or NaN is missing already)."""
    wrong = made.is_null() & column.is_not_null()
    if column.dtype == pl.String:
        wrong &= ~column.str.strip_chars().str.to_lowercase().is_in(["", "nan"])
    elif column.dtype.is_float():
        wrong &= ~column.is_nan()
    if not wrong.any():
        return
    at = wrong.arg_max() or 0
    what = {
        "number": "a number",
        "boolean": "true or false",
        "datetime": "a time in ISO 8601, such as 2013-01-31T10:00:00Z",
    }[kind]
    raise EvidenceError(
        f"column {column.name!r}: {wrong.sum():,} values are not {what},"
        f" the first {column[at]!r} in row {at + first_row:,}",
        fix="correct the values, or leave them empty if they are missing",
    )
