"""Canonical text, cells, row keys and the identity of a test set.

Everything here is a contract with code that is not ours (a project writes `train_rows.bin` with
pandas), so the byte layouts are stated exactly, and tests/unit/test_rows.py has a known answer
for each that was computed with nothing but `hashlib` and `struct`.
"""

from __future__ import annotations

import hashlib
import json
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
Positions = np.ndarray[Any, np.dtype[np.uint32]]

MAGIC = b"GTRAIN1\n"
NAN_BITS = 0x7FF8000000000000
# What stands for a missing value in a CSV file.
NULL_MARKERS = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "#N/A")
TRUE = ("true", "t", "yes", "y", "1", "1.0")
FALSE = ("false", "f", "no", "n", "0", "0.0")
_FEW = 1000
_CHUNK = 250_000  # rows hashed at once: bounds the memory
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def label_text(value: bool | int | float | str) -> str:
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
    for start in range(0, frame.height, _CHUNK):
        chunk = frame.slice(start, _CHUNK)
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


def test_set_identity(
    predictions: pl.DataFrame | pl.LazyFrame,
    inputs: pl.DataFrame | pl.LazyFrame,
    signature: Signature,
) -> str:
    """SHA-256, in hex, of a test set: id, label, weight and all raw inputs of each row.

    It doesn't depend on the order of rows or columns, nor on what a model predicts or which of the
    raw columns it uses. Hashed column by column, rows sorted by the UTF-8 of their id:

    1. `GTEST1\\n`, then {"columns": [names of the raw columns, sorted], "rows": n} as JSON without
       spaces and with non-ASCII characters as they are, then `\\n`;
    2. ids: n little-endian uint32 lengths in bytes, then all the UTF-8;
    3. labels: n cells (of text in a classification, of a number in a regression);
    4. weights: n cells of a number, 1.0 where there is no column `weight`;
    5. for each raw column (`__id__` left out), n cells: of a number for numbers, booleans (0/1) and
       times (seconds), otherwise of text; by the column's own type, not by the signature.

    Raises:
        EvidenceError: ids that are missing, twice in a table, or not the same in both.
    """
    return identified(predictions, inputs, signature)[0]


test_set_identity.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test


def identified(
    predictions: pl.DataFrame | pl.LazyFrame,
    inputs: pl.DataFrame | pl.LazyFrame,
    signature: Signature,
) -> tuple[str, Positions, Positions]:
    """`test_set_identity`, and the positions (uint32, n) that sort predictions and inputs by id."""
    left, right = predictions.lazy(), inputs.lazy()
    ids, orders = _orders(left, right)
    names = sorted(name for name in right.collect_schema().names() if name != "__id__")
    head = {"columns": names, "rows": len(ids)}
    text = json.dumps(head, ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(b"GTEST1\n" + text.encode() + b"\n")
    digest.update(ids.str.len_bytes().to_numpy().astype("<u4").tobytes())
    for start in range(0, len(ids), _CHUNK):
        digest.update(ids.slice(start, _CHUNK).str.join("").item().encode())
    del ids
    labels = _column(left, "label")
    labels = labels if signature.task == "regression" else canonical(labels)
    digest.update(_bytes(labels, orders[0]))
    weighted = "weight" in left.collect_schema().names()
    weights = _column(left, "weight") if weighted else pl.repeat(1.0, len(labels), eager=True)
    digest.update(_bytes(weights, orders[0]))
    for name in names:
        digest.update(_bytes(plain(_column(right, name)), orders[1]))
    return digest.hexdigest(), orders[0].to_numpy(), orders[1].to_numpy()


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


def _orders(
    left: pl.LazyFrame, right: pl.LazyFrame
) -> tuple[pl.Series, tuple[pl.Series, pl.Series]]:
    """The ids sorted, and the positions that sort each of the tables by id."""
    ids = _ids(left, "id", "predictions")
    others = _ids(right, "__id__", "inputs")
    same = ids.equals(others)
    ids, order = _sorted(ids)
    _refuse_twice(ids, "predictions")
    if same:
        return ids, (order, order)
    others, order_of_others = _sorted(others)
    _refuse_twice(others, "inputs")
    if not ids.equals(others):
        absent = ids.filter(~ids.is_in(others.implode()))
        extra = others.filter(~others.is_in(ids.implode()))
        first = ", ".join(repr(text) for text in [*absent.head(3), *extra.head(3)])
        raise EvidenceError(
            f"{len(absent):,} ids of predictions are not in inputs,"
            f" {len(extra):,} of inputs not in predictions: {first}",
            fix="write both tables from the same rows",
        )
    return ids, (order, order_of_others)


def _sorted(ids: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The ids sorted by their UTF-8, and the positions they come from."""
    if (ids.head(-1) <= ids.tail(-1)).all():
        return ids, pl.arange(0, len(ids), dtype=pl.UInt32, eager=True)
    if (words := _words(ids)) is not None:
        at = pl.Series("at", np.argsort(words).astype(np.uint32))
        return ids.gather(at), at
    # Three times as fast as `arg_sort` on ten million ids with a common beginning.
    table = ids.to_frame("id").lazy().with_row_index("at").sort("id").collect(engine="streaming")
    return table["id"], table["at"]


def _words(ids: pl.Series) -> Keys | None:
    """Short ids (up to 8 bytes of ASCII) as numbers of the same order; sorted in half the time."""
    long = ids.str.len_bytes().max()
    if not isinstance(long, int) or long > 8 or ids.str.contains(r"[^\x01-\x7f]").any():
        return None
    parts = []
    for start in range(0, len(ids), _CHUNK):
        padded = ids.slice(start, _CHUNK).str.pad_end(8, "\0").str.join("").item()
        parts.append(np.frombuffer(padded.encode(), dtype=">u8").astype(np.uint64))
    return np.concatenate(parts)


def _ids(table: pl.LazyFrame, name: str, of: str) -> pl.Series:
    ids = _column(table, name).cast(pl.String)
    if ids.null_count():
        rows = ", ".join(str(row + 1) for row in ids.is_null().arg_true().head(5))
        raise EvidenceError(
            f"{of}: {ids.null_count():,} rows have no {name} (rows {rows})",
            fix="give every row of the test set an id",
        )
    return ids


def _refuse_twice(ids: pl.Series, of: str) -> None:
    again = ids.filter(ids == ids.shift(1))
    if len(again):
        first = ", ".join(repr(text) for text in again.head(5))
        raise EvidenceError(
            f"{of}: {len(again):,} rows repeat the id of another: {first}",
            fix="give every row of the test set an id of its own",
        )


def _column(table: pl.LazyFrame, name: str) -> pl.Series:
    return table.select(name).collect().to_series()


def plain(column: pl.Series) -> pl.Series:
    """A raw column by its own type: Float64 (numbers, booleans, seconds) or String."""
    kind = column.dtype
    if kind in (pl.Boolean, pl.Null) or kind.is_numeric():
        return column.cast(pl.Float64)
    if kind == pl.Date or isinstance(kind, pl.Datetime):
        return _seconds(column)
    return canonical(column)


def _bytes(column: pl.Series, order: pl.Series) -> memoryview:
    """The cells in `order` (of numbers rather than texts: faster), little-endian."""
    return np.ascontiguousarray(cells(column)[order.to_numpy()].astype("<u8", copy=False)).data
