"""Which slices there are, which of them have rows enough to be judged, and which do worst."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from gitops.validate.model import Array, Column, Measure, Slice, Table
from gitops.validate.stats.measure import Estimated, measure
from gitops.validate.stats.metrics import METRICS

_MOST = 2000  # slices of a search: the largest
_SHOWN = 10


@dataclass(frozen=True)
class Sized:
    """A slice, its rows, and why it is too small to be judged; else ""."""

    slice: Slice
    rows: int
    why: str = ""


def slices_of(
    table: Table,
    columns: Sequence[str],
    *,
    minimum_rows: int = 100,
    minimum_per_class: int = 30,
    pairs: bool = False,
) -> list[Sized]:
    """A slice for each value of each column, and with `pairs` of each two columns.

    In a binary task each class must have `minimum_per_class` rows.
    """
    found = []
    groups: list[tuple[str, ...]] = [(name,) for name in columns]
    groups += combinations(columns, 2) if pairs else ()
    for names in groups:
        code, sizes = _joint([table.columns[name] for name in names])
        count = int(np.prod(sizes))
        rows = np.bincount(code, minlength=count)
        positive = (
            np.bincount(code[table.label == 1], minlength=count) if _is_binary(table) else None
        )
        for at in np.flatnonzero(rows):
            values = np.unravel_index(at, sizes)
            cut = tuple(
                (name, table.columns[name].values[int(value)])
                for name, value in zip(names, values, strict=True)
            )
            why = ""
            if rows[at] < minimum_rows:
                why = f"{rows[at]} rows, fewer than {minimum_rows}"
            elif positive is not None:
                least = min(positive[at], rows[at] - positive[at])
                if least < minimum_per_class:
                    why = f"{least} rows of one class, fewer than {minimum_per_class}"
            found.append(Sized(Slice(cut), int(rows[at]), why))
    return found


def worst_slices(
    table: Table, metric: str, *, minimum_rows: int = 100, seed: int, level: float = 0.9
) -> list[Measure]:
    """The slices of single columns and pairs on which the candidate is surely worse than overall.

    The worst first. The intervals are widened for the number of slices looked at (Bonferroni):
    with the promised confidence none of those shown is there by chance alone.
    """
    up = METRICS[metric].up
    if up is None or not table.columns:
        return []
    sized = slices_of(table, list(table.columns), minimum_rows=minimum_rows, pairs=True)
    large = sorted((one for one in sized if not one.why), key=lambda one: -one.rows)[:_MOST]
    if not large:
        return []
    strict = 1 - (1 - level) / len(large)
    overall, *each = measure(
        table, [metric], [Slice(), *(one.slice for one in large)], seed=seed, level=strict
    )
    usual = overall.measure.candidate.estimate
    if usual is None:
        return []
    worse = sorted(_worse(each, usual, up), key=lambda pair: (pair[0], pair[1].slice.text))
    return [one for _, one in worse[:_SHOWN]]


def _worse(each: Sequence[Estimated], usual: float, up: bool) -> Iterator[tuple[float, Measure]]:
    """Slices whose better end is still worse than `usual`, with how far it is."""
    for found in each:
        value = found.measure.candidate
        end = value.upper if up else value.lower
        if end is not None and (end < usual if up else end > usual):
            yield (end - usual if up else usual - end), found.measure


def _joint(columns: Sequence[Column]) -> tuple[Array, tuple[int, ...]]:
    sizes = tuple(len(column.values) for column in columns)
    code = columns[0].codes.astype(np.int64)
    for column, size in zip(columns[1:], sizes[1:], strict=True):
        code = code * size + column.codes
    return code, sizes


def _is_binary(table: Table) -> bool:
    return table.task == "binary"
