"""Rows cut into slices, and gathered into units that are independent of each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gitops.validate.model import Array, Predictions, Slice, Table

_CELLS = 2_000_000  # slices times classes in one go: bounds the memory
BLOCKS = 50  # of consecutive rows where there is a time: long enough to hold the dependence


@dataclass(frozen=True)
class Cut:
    """Slices of the same columns, which share no row.

    `code` (int64, n): the number of a row's slice, `size` for a row outside all. `place`: where
    each slice stands in the list that was asked for (more than once if it was). `unit` (int64, n)
    numbers the independent units, None where each row is its own; `unit_code` has their slices.
    """

    code: Array
    size: int
    place: tuple[tuple[int, ...], ...]
    rows: Array
    unit: Array | None
    unit_code: Array

    @cached_property
    def units(self) -> Array:
        """Independent units by slice."""
        return self.rows if self.unit is None else self.sums(None, self.unit_code)

    @cached_property
    def shuffler(self) -> Array:
        """The codes in the narrowest type: a stable sort of these is a radix sort."""
        return self.code.astype(np.min_scalar_type(self.size))

    @cached_property
    def whole(self) -> bool:
        """Is it one slice of all rows?"""
        return self.size == 1 and int(self.rows[0]) == len(self.code)

    def sums(self, values: Array | None, code: Array | None = None) -> Array:
        """Sums by slice (float64, `size`); of None the counts."""
        code = self.code if code is None else code
        if self.whole:
            return np.array([len(code) if values is None else values.sum(dtype=np.float64)])
        return np.bincount(code, values, self.size + 1)[: self.size]

    def by_unit(self, values: Array | None) -> Array:
        """Sums by unit; `values` as they are where each row is its own."""
        if self.unit is None:
            return np.ones(len(self.code)) if values is None else values
        return np.bincount(self.unit, values, len(self.unit_code))


def pieces(rows: int, size: int) -> Iterator[slice]:
    """Rows in pieces that stay in the processor's cache (not much smaller than `size` sums)."""
    step = max(1 << 16, size)
    return (slice(start, start + step) for start in range(0, rows, step))


def scores(of: Predictions) -> Array:
    """The scores of a classification.

    Raises:
        ValueError: there are none.
    """
    if of.score is None:
        raise ValueError("a classification needs scores")
    return of.score


def clusters(table: Table) -> Array | None:
    """What belongs together (int64, n; dense codes): groups, or blocks of time; None: nothing."""
    if table.group is not None:
        _, found = np.unique(table.group, return_inverse=True)
        return None if found.max() + 1 == table.rows else found.astype(np.int64)
    if table.time is None:
        return None
    order = np.argsort(table.time, kind="stable")
    times = table.time[order]
    first = np.concatenate(([True], times[1:] != times[:-1]))
    rank = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))  # equal times together
    block = rank * BLOCKS // len(order)
    found = np.empty(len(order), np.int64)
    found[order] = np.cumsum(np.concatenate(([0], block[1:] != block[:-1])))
    return found


def cuts(table: Table, slices: Sequence[Slice]) -> Iterator[Cut]:
    """One cut for each set of columns that the slices name, in the order of the first mention.

    Raises:
        KeyError: a slice names a column that the table doesn't have.
    """
    cluster = clusters(table)
    by_columns: dict[tuple[str, ...], dict[tuple[str | None, ...], list[int]]] = {}
    for place, one in enumerate(slices):
        pairs = sorted(one.cut, key=lambda pair: pair[0])
        columns = tuple(column for column, _ in pairs)
        by_columns.setdefault(columns, {}).setdefault(tuple(v for _, v in pairs), []).append(place)
    most = max(1, _CELLS // (len(table.classes) + 1))
    for columns, values in by_columns.items():
        for start in range(0, len(values), most):
            some = list(values)[start : start + most]
            places = tuple(tuple(values[value]) for value in some)
            yield cut(_codes(table, columns, some), len(some), places, cluster)


def cut(code: Array, size: int, place: tuple[tuple[int, ...], ...], cluster: Array | None) -> Cut:
    rows = np.bincount(code, minlength=size + 1)[:size]
    if cluster is None:
        return Cut(code, size, place, rows, None, code)
    many = int(cluster.max()) + 1
    pair = code * many + cluster
    if (size + 1) * many <= 4 * len(code) + 1000:
        used = np.flatnonzero(np.bincount(pair, minlength=(size + 1) * many))
        number = np.zeros((size + 1) * many, np.int64)
        number[used] = np.arange(len(used))
        unit = number[pair]
    else:
        used, unit = np.unique(pair, return_inverse=True)
    return Cut(code, size, place, rows, unit, used // many)


def _codes(table: Table, columns: tuple[str, ...], values: list[tuple[str | None, ...]]) -> Array:
    """The number of each row's combination in `values`; their count where it isn't one."""
    outside = len(values)
    if not columns:
        return np.zeros(table.rows, np.int64)
    code = np.zeros(table.rows, np.int64)
    wanted = np.zeros(outside, np.int64)
    known = np.ones(outside, bool)
    for position, name in enumerate(columns):
        column = table.columns[name]
        number = {value: i for i, value in enumerate(column.values)}
        code = code * len(column.values) + column.codes
        at = np.array([number.get(value[position], -1) for value in values], np.int64)
        known &= at >= 0
        wanted = wanted * len(column.values) + at
    span = 1
    for name in columns:
        span *= len(table.columns[name].values)
    if span <= 4 * table.rows + 1000:
        place = np.full(span, outside, np.int64)
        place[wanted[known]] = np.flatnonzero(known)
        return place[code]
    order = np.argsort(wanted)
    at = np.minimum(np.searchsorted(wanted, code, sorter=order), outside - 1)
    hit = order[at]
    return np.where(known[hit] & (wanted[hit] == code), hit, outside)
