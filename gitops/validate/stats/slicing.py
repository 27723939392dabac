"""Which slices there are, which of them have rows enough to be judged, and which do worst."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from gitops.validate.model import Array, Column, Measure, Predictions, Slice, Table
from gitops.validate.stats.measure import Estimated, measure
from gitops.validate.stats.metrics import METRICS

_MOST = 2000  # slices of a search: the largest
_SEARCHED = 200_000  # rows of a search; what it finds is then measured on all rows
_SHOWN = 10


@dataclass(frozen=True)
class Sized:
    """A slice, its rows, and why it is too small to be judged; else "".

    `times` as many rows of the same kind would be enough (infinite: a class isn't there).
    """

    slice: Slice
    rows: int
    why: str = ""
    times: float = 1.0


def slices_of(
    table: Table,
    columns: Sequence[str],
    *,
    minimum_rows: int = 100,
    minimum_per_class: int = 30,
    pairs: bool = False,
) -> list[Sized]:
    """A slice for each value of each column, and with `pairs` of each two columns.

    In a binary task each class must have `minimum_per_class` rows. Pairs of fewer than
    `minimum_rows` rows are left out: there may be as many as rows.
    """
    found = []
    groups: list[tuple[str, ...]] = [(name,) for name in columns]
    groups += combinations(columns, 2) if pairs else ()
    for names in groups:
        some = [table.columns[name] for name in names]
        keys, rows, positive = _counted(table, some)
        if len(names) == 2:
            large = rows >= minimum_rows
            keys, rows, positive = keys[large], rows[large], positive[large]
        least = np.minimum(positive, rows - positive)
        places = np.unravel_index(keys, tuple(len(column.values) for column in some))
        values = [
            [column.values[int(at)] for at in place]
            for column, place in zip(some, places, strict=True)
        ]
        for number, value in enumerate(zip(*values, strict=True)):
            why = ""
            if rows[number] < minimum_rows:
                why = f"{rows[number]} rows, fewer than {minimum_rows}"
            elif table.task == "binary" and least[number] < minimum_per_class:
                why = f"{least[number]} rows of one class, fewer than {minimum_per_class}"
            times = minimum_rows / rows[number]
            if table.task == "binary":
                rare = int(least[number])
                times = max(times, minimum_per_class / rare if rare else math.inf)
            cut = tuple(zip(names, value, strict=True))
            found.append(Sized(Slice(cut), int(rows[number]), why, max(float(times), 1.0)))
    return found


def _counted(table: Table, columns: Sequence[Column]) -> tuple[Array, Array, Array]:
    """The combinations of values that there are (as one number), their rows and positives."""
    code, span = columns[0].codes, len(columns[0].values)
    for column in columns[1:]:
        code = code.astype(np.int64) * len(column.values) + column.codes
        span *= len(column.values)
    if span <= 4 * table.rows + 100_000:
        by_class = np.bincount(code.astype(np.int64) * 2 + (table.label == 1), minlength=2 * span)
        rows, positive = by_class.reshape(span, 2).sum(axis=1), by_class[1::2]
        keys = np.flatnonzero(rows)
        return keys, rows[keys], positive[keys]
    keys, place, rows = np.unique(code, return_inverse=True, return_counts=True)
    return keys, rows, np.bincount(place, table.label == 1).astype(np.int64)


def worst_slices(
    table: Table,
    metric: str,
    usual: float | None,
    *,
    minimum_rows: int = 100,
    seed: int,
    level: float = 0.9,
) -> list[Measure]:
    """The slices of single columns and pairs on which the candidate is surely worse than `usual`.

    `usual` is its value on all rows. The worst first. The intervals are widened for the number of
    slices looked at (Bonferroni): with the promised confidence none of those shown is there by
    chance alone.
    """
    up = METRICS[metric].up
    if up is None or usual is None or not table.columns:
        return []
    sample = thinned(table, _SEARCHED)
    enough = max(1, minimum_rows * sample.rows // table.rows)
    sized = slices_of(sample, list(table.columns), minimum_rows=max(enough, 30), pairs=True)
    large = sorted((one for one in sized if not one.why), key=lambda one: -one.rows)[:_MOST]
    if not large:
        return []
    strict = 1 - (1 - level) / len(large)
    alone = replace(sample, champion=None)
    each = measure(alone, [metric], [one.slice for one in large], seed=seed, level=strict)
    worse = [found.slice for found in _worse(each, usual, up)]
    shown = measure(_within(table, worse), [metric], worse, seed=seed, level=strict)
    shown = [one for one in shown if one.measure.rows >= minimum_rows]
    return _worse(shown, usual, up)


def _worse(each: Sequence[Estimated], usual: float, up: bool) -> list[Measure]:
    """Slices whose better end is still worse than `usual`: the farthest first."""
    found = []
    for one in each:
        value = one.measure.candidate
        end = value.upper if up else value.lower
        if end is not None and (end < usual if up else end > usual):
            found.append((end - usual if up else usual - end, one.measure.slice.text, one.measure))
    return [measure for _, _, measure in sorted(found, key=lambda each: each[:2])[:_SHOWN]]


def thinned(table: Table, most: int) -> Table:
    """At most `most` rows: one of each stretch of the same length, drawn by a fixed seed.

    Every n-th row instead would go along with whatever order the ids have.
    """
    step = -(-table.rows // most)
    if step == 1:
        return table
    starts = np.arange(0, table.rows, step)
    drawn = starts + np.random.default_rng(table.rows).integers(0, step, len(starts))
    return taken(table, drawn[drawn < table.rows])


def _within(table: Table, slices: Sequence[Slice]) -> Table:
    """The rows of any of the slices."""
    inside = np.zeros(table.rows, bool)
    for one in slices:
        here = np.ones(table.rows, bool)
        for name, value in one.cut:
            column = table.columns[name]
            here &= column.codes == column.values.index(value)
        inside |= here
    return taken(table, inside) if slices else table


def taken(table: Table, rows: Array | slice) -> Table:
    """Some rows of a table."""

    def of(values: Array | None) -> Array | None:
        return None if values is None else values[rows]

    def model(one: Predictions) -> Predictions:
        return Predictions(one.prediction[rows], of(one.score))

    return replace(
        table,
        label=table.label[rows],
        candidate=model(table.candidate),
        champion=None if table.champion is None else model(table.champion),
        weight=of(table.weight),
        group=of(table.group),
        time=of(table.time),
        columns={
            name: Column(column.codes[rows], column.values)
            for name, column in table.columns.items()
        },
    )
