"""Which rows the analyses look at, and their columns as the signature types them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import polars as pl

from gitops import rows
from gitops.errors import EvidenceError
from gitops.evaluation import RawRows
from gitops.signature import Signature
from gitops.validate.model import Array, Table

Inputs = pl.DataFrame | RawRows


def choose(total: int, most: int, seed: int) -> Array:
    """At most `most` of `total` row numbers, ascending; each row is as likely as any other."""
    if total <= most:
        return np.arange(total)
    drawn = np.random.default_rng([seed, total]).choice(total, most, replace=False, shuffle=False)
    return np.sort(drawn)


def stratified(table: Table, most: int, seed: int) -> tuple[Array, Array]:
    """At most about `most` row numbers, ascending, and their weights (sum 1).

    Of a classification every class gets at least an even share of half the rows, so that rare
    classes are there; weights make up for it. Rows of a class that no model knows are left out.
    """
    if table.task == "regression":
        chosen = choose(table.rows, most, seed)
        weight = np.ones(len(chosen))
    else:
        known = np.flatnonzero(table.label >= 0)
        counts = np.bincount(table.label[known], minlength=1)
        present = int((counts > 0).sum()) or 1
        quota = np.maximum(counts * most // max(len(known), 1), most // (2 * present))
        parts = [
            places[choose(len(places), max(int(quota[code]), 1), seed + 1 + code)]
            for code, places in _places(table.label, known, counts)
        ]
        chosen = np.sort(np.concatenate(parts)) if parts else known
        label = table.label[chosen]
        drawn = np.bincount(label, minlength=len(counts))
        weight = counts[label] / drawn[label]
    if table.weight is not None:
        weight = weight * table.weight[chosen]
    return chosen, weight / max(weight.sum(), np.finfo(float).tiny)


def _places(label: Array, known: Array, counts: Array) -> Iterable[tuple[int, Array]]:
    order = known[np.argsort(label[known], kind="stable")]
    parts = np.split(order, np.cumsum(counts)[:-1])
    return ((code, places) for code, places in enumerate(parts) if len(places))


def take(inputs: Inputs, names: Sequence[str], chosen: Array) -> pl.DataFrame:
    """The columns that are there among `names`, of the rows numbered `chosen` (ascending)."""
    present = set(inputs.collect_schema().names())
    wanted = [name for name in names if name in present]
    if isinstance(inputs, pl.DataFrame):
        return inputs.select(wanted)[chosen]
    return inputs.take(chosen, wanted)


def typed(frame: pl.DataFrame, signature: Signature) -> tuple[dict[str, pl.Series], dict[str, str]]:
    """The signature's inputs as `rows.typed` makes them, and by name what is wrong with others."""
    columns, faults = {}, {}
    for item in signature.inputs:
        if item.name not in frame.columns:
            faults[item.name] = "the column is missing"
            continue
        raw = frame[item.name]
        try:
            plain = raw.dtype == pl.Boolean and item.type == "boolean"
            columns[item.name] = raw.cast(pl.Float64) if plain else rows.typed(raw, item.type)
        except EvidenceError as error:
            faults[item.name] = error.message
    return columns, faults


def level(alarm: bool) -> Literal["alarm", "note"]:
    """The level of a finding."""
    return "alarm" if alarm else "note"


def share(mask: pl.Series) -> float:
    """The share of rows where `mask` holds; 0 of none."""
    return int(mask.sum() or 0) / max(len(mask), 1)


def names(*signatures: Signature | None) -> list[str]:
    """The inputs of these models, each once."""
    found = (item.name for one in signatures if one is not None for item in one.inputs)
    return list(dict.fromkeys(found))
