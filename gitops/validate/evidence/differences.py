"""How a candidate's evaluation differs from the base's: its rows, and what they are judged by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from gitops import rows
from gitops.evaluation import Evaluation
from gitops.testset import Positions
from gitops.validate.evidence.notes import listed, note
from gitops.validate.model import Array, Finding


def findings(base: Evaluation, candidate: Evaluation, excluded: int) -> Iterator[Finding]:
    """Notes on a changed test set, and on slices, groups and the like that change or go."""
    both = _aligned(base, candidate)
    changed = base.test_set != candidate.test_set
    if changed:
        relabelled = both.differing(*(pl.col("label"),) * 2)
        parts = [*_rows(both), *([f"{_count(relabelled)} relabelled"] if relabelled else [])]
        parts += [*_weights(both), *_raw(both)]
        text = ", ".join(parts) or "raw columns of other types"
        text = f"the test set changed ({base.rows:,} -> {candidate.rows:,} rows): {text}"
        if excluded:
            text += f"; {_count(excluded)} that a model was trained on are left out"
        yield note("test-set-changed", text)
        if relabelled:
            text = f"{_count(relabelled)} of the test set have another label than at the base"
            yield note("labels-changed", text)
    if parts := [*_cuts(both)]:
        holds = "" if changed else "; the base's hold, until this is merged"
        text = f"what the evaluation's rows are cut and grouped by changes: {listed(parts)}{holds}"
        yield note("evaluation-columns-changed", text)


@dataclass(frozen=True)
class _Both:
    """Both evaluations, and where the rows that they have in common stand among the sorted ids."""

    old: Evaluation
    new: Evaluation
    left: Array
    right: Array

    def differing(self, one: pl.Expr, other: pl.Expr) -> int:
        """Common rows on which two columns of the tables of predictions aren't equal."""
        before = _taken(self.old.predictions, one, self.old.order[self.left])
        after = _taken(self.new.predictions, other, self.new.order[self.right])
        return int(before.ne_missing(after).sum())


def _aligned(base: Evaluation, candidate: Evaluation) -> _Both:
    if base.test_set == candidate.test_set:
        every = np.arange(base.rows)
        return _Both(base, candidate, every, every)
    # As 64-bit hashes: a tenth of the memory of a join on the texts.
    ids = (_taken(one.predictions, pl.col("id").hash(), one.order) for one in (base, candidate))
    old, new = (one.to_numpy() for one in ids)
    _, left, right = np.intersect1d(old, new, assume_unique=True, return_indices=True)
    return _Both(base, candidate, left, right)


def _rows(both: _Both) -> Iterator[str]:
    if added := both.new.rows - len(both.right):
        yield f"{_count(added)} added"
    if removed := both.old.rows - len(both.left):
        yield f"{_count(removed)} removed"


def _weights(both: _Both) -> Iterator[str]:
    have = [_names(one.predictions) for one in (both.old, both.new)]
    if not any("weight" in names for names in have):
        return
    one = pl.col("id").is_null() + 1.0  # in all rows
    old, new = (pl.col("weight") if "weight" in names else one for names in have)
    if other := both.differing(old, new):
        yield f"{_count(other)} weighted otherwise"


def _raw(both: _Both) -> Iterator[str]:
    old, new = (_names(one.inputs) for one in (both.old, both.new))
    if gone := sorted(old - new):
        yield f"raw columns gone: {listed(gone)}"
    if more := sorted(new - old):
        yield f"raw columns new: {listed(more)}"
    differs = np.zeros(len(both.left), np.bool_)
    columns = []
    for name in sorted((old & new) - {"__id__"}):
        one, other = (
            rows.cells(rows.plain(_taken(of.inputs, pl.col(name), of.input_order[places])))
            for of, places in ((both.old, both.left), (both.new, both.right))
        )
        if (here := one != other).any():
            columns.append(name)
            differs |= here
    if columns:
        yield f"{_count(int(differs.sum()))} with other values of {listed(columns)}"


def _cuts(both: _Both) -> Iterator[str]:
    """Columns of slices, groups and times that are gone, or have other values for the same row."""
    old, new = (_names(one.predictions) for one in (both.old, both.new))
    for name in sorted(old):
        if not name.startswith("slice_") and name not in ("group", "timestamp"):
            continue
        if name not in new:
            yield f"{name} is gone"
            continue
        if other := both.differing(*(pl.col(name),) * 2):
            yield f"{name} is another on {_count(other)}"
        if name.startswith("slice_") and (gone := _gone(both, name)):
            yield f"{name} has no rows any more of {listed(gone)}"


def _gone(both: _Both, name: str) -> list[str]:
    """Values that no row has any more."""
    old, new = (one.predictions.select(pl.col(name).unique()) for one in (both.old, both.new))
    left = old.join(new, on=name, how="anti").collect().to_series().drop_nulls()
    return sorted(left.cast(pl.String).to_list())


def _names(table: pl.LazyFrame) -> set[str]:
    return set(table.collect_schema().names())


def _taken(table: pl.LazyFrame, column: pl.Expr, places: Positions) -> pl.Series:
    values = table.select(column).collect(engine="streaming").to_series()
    if len(values) == len(places) and (places == np.arange(len(places))).all():
        return values
    return values.gather(pl.Series(places))


def _count(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"
