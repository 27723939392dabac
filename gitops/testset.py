"""The identity of a test set: which rows a model was evaluated on, whatever it made of them.

A contract with code that is not ours, as `rows` is; tests/unit/test_rows.py has known answers.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from gitops import rows
from gitops.errors import EvidenceError
from gitops.rows import CHUNK

if TYPE_CHECKING:
    from gitops.signature import Signature

Positions = np.ndarray[Any, np.dtype[np.uint32]]


def identify(
    predictions: pl.DataFrame | pl.LazyFrame,
    inputs: pl.DataFrame | pl.LazyFrame,
    signature: Signature,
) -> tuple[str, Positions, Positions]:
    """A test set's identity, and the positions (uint32, n) that sort predictions and inputs by id.

    The identity is a SHA-256, in hex, of id, label, weight and all raw inputs of each row.

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
    left, right = predictions.lazy(), inputs.lazy()
    ids, orders = _orders(left, right)
    names = sorted(name for name in right.collect_schema().names() if name != "__id__")
    head = {"columns": names, "rows": len(ids)}
    text = json.dumps(head, ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(b"GTEST1\n" + text.encode() + b"\n")
    digest.update(ids.str.len_bytes().to_numpy().astype("<u4").tobytes())
    for start in range(0, len(ids), CHUNK):
        digest.update(ids.slice(start, CHUNK).str.join("").item().encode())
    del ids
    labels = _column(left, "label")
    labels = labels if signature.task == "regression" else rows.canonical(labels)
    digest.update(_bytes(labels, orders[0]))
    weighted = "weight" in left.collect_schema().names()
    weights = _column(left, "weight") if weighted else pl.repeat(1.0, len(labels), eager=True)
    digest.update(_bytes(weights, orders[0]))
    for name in names:
        digest.update(_bytes(rows.plain(_column(right, name)), orders[1]))
    return digest.hexdigest(), orders[0].to_numpy(), orders[1].to_numpy()


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


def _words(ids: pl.Series) -> rows.Keys | None:
    """Short ids (up to 8 bytes of ASCII) as numbers of the same order; sorted in half the time."""
    long = ids.str.len_bytes().max()
    if not isinstance(long, int) or long > 8 or ids.str.contains(r"[^\x01-\x7f]").any():
        return None
    parts = []
    for start in range(0, len(ids), CHUNK):
        padded = ids.slice(start, CHUNK).str.pad_end(8, "\0").str.join("").item()
        parts.append(np.frombuffer(padded.encode(), dtype=">u8").astype(np.uint64))
    return np.concatenate(parts)


def _ids(table: pl.LazyFrame, name: str, of: str) -> pl.Series:
    ids = _column(table, name).cast(pl.String)
    if ids.null_count():
        numbers = ", ".join(str(row + 1) for row in ids.is_null().arg_true().head(5))
        raise EvidenceError(
            f"{of}: {ids.null_count():,} rows have no {name} (rows {numbers})",
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


def _bytes(column: pl.Series, order: pl.Series) -> memoryview:
    """The cells in `order` (of numbers rather than texts: faster), little-endian."""
    return np.ascontiguousarray(rows.cells(column)[order.to_numpy()].astype("<u8", copy=False)).data
