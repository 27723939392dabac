"""How well one column alone, or a model, tells the label: 0.5 or 0 is nothing, 1 all.

Binary: AUC. Multiclass: AUC of each class against the rest, meaned by the classes' sizes.
Regression: share of the variance of the label's ranks that is explained (R2; ranks, so that a
skewed label doesn't decide). A column is taken by its order and by its values, for which rows of
other folds say what to expect: a name of rows explains nothing that way.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import polars as pl

from gitops.validate.model import Array, Predictions, Table, Task

FOLDS = 5
CLASSES = 20  # the most frequent ones; the rest hardly moves the mean
BINS, ROWS_PER_BIN = 256, 20
_Z = NormalDist().inv_cdf(0.95)


@dataclass(frozen=True)
class Strength:
    """The value, and its one-sided lower bound at 95 %."""

    value: float
    lower: float


def of_column(column: pl.Series, label: Array, task: Task, seed: int) -> Strength | None:
    """Of a typed column; None where the label has one value only."""
    by_value, by_order = _codes(column), _numbers(column)
    if task == "regression":
        ranks = _ranks(label)
        values = [_spearman(numbers, ranks) for numbers in by_order]
        if by_value is not None:
            values.append(_folded_r2(by_value, ranks, seed))
        return _explained(max(values, default=0.0), len(label)) if ranks.std() else None
    classes = _classes(label)
    if len(classes) < 2:
        return None
    hits = label[:, None] == classes[None, :] if task == "multiclass" else (label == 1)[:, None]
    aucs = [np.full(hits.shape[1], 0.5)]
    if task == "binary":
        for numbers in by_order:
            found = auc(numbers, hits[:, 0], ~hits[:, 0])
            aucs.append(np.array([max(found, 1 - found)]))
    if by_value is not None:
        aucs.append(_folded_aucs(by_value, hits, seed))
    return max((_meaned(one, hits) for one in aucs), key=lambda one: one.value)


def of_model(table: Table, model: Predictions, chosen: Array, seed: int) -> Strength | None:
    """The same of a model's predictions; None where it isn't defined."""
    label = table.label[chosen]
    if model.score is None:
        predicted = pl.Series(model.prediction[chosen], dtype=pl.Float64)
        return of_column(predicted, label, "regression", seed)
    score, classes = model.score[chosen], _classes(label)
    if len(classes) < 2:
        return None
    if score.ndim == 1:
        hits = (label == 1)[:, None]
        return _meaned(np.array([auc(score, hits[:, 0], ~hits[:, 0])]), hits)
    hits = label[:, None] == classes[None, :]
    found = [auc(score[:, code], hits[:, at], ~hits[:, at]) for at, code in enumerate(classes)]
    return _meaned(np.array(found), hits)


def auc(score: Array, up: Array, down: Array) -> float:
    """AUC of cells with `up` positive and `down` negative rows each; ties count half."""
    _, place = np.unique(score, return_inverse=True)
    ups, downs = np.bincount(place, up), np.bincount(place, down)
    pairs = float(ups.sum()) * float(downs.sum())
    return float((ups * (np.cumsum(downs) - downs / 2)).sum()) / pairs if pairs else 0.5


def _classes(label: Array) -> Array:
    counts = np.bincount(label)
    order = np.argsort(-counts, kind="stable")[:CLASSES]
    return order[counts[order] > 0]


def _numbers(column: pl.Series) -> list[Array]:
    """The column's order with missing values at either end; none of a text."""
    if column.dtype == pl.String:
        return []
    numbers = column.to_numpy()
    if not column.null_count():
        return [numbers]
    return [np.where(np.isnan(numbers), end, numbers) for end in (-np.inf, np.inf)]


def _codes(column: pl.Series) -> Array | None:
    """Values, or bins of about equal counts, as codes from 0 on; None if hardly any comes twice."""
    if column.dtype == pl.String:
        if column.n_unique() > len(column) / 2:
            return None
        return column.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    numbers = column.to_numpy()
    known = numbers[~np.isnan(numbers)]
    most = int(np.clip(len(known) // ROWS_PER_BIN, 2, BINS))
    edges = np.unique(known)
    if len(edges) > most:
        edges = np.unique(np.quantile(known, np.arange(1, most) / most, method="lower"))
    return np.where(np.isnan(numbers), 0, np.searchsorted(edges, numbers, side="right") + 1)


def _cells(codes: Array, seed: int) -> tuple[Array, Array]:
    """The cell (fold, code) of each row, and each cell's code."""
    width = int(codes.max()) + 1
    fold = np.random.default_rng([seed, len(codes)]).integers(FOLDS, size=len(codes))
    return fold * width + codes, np.tile(np.arange(width), FOLDS)


def _elsewhere(sums: Array, code: Array) -> Array:
    """What the other folds hold under each cell's code."""
    width = len(code) // FOLDS
    whole: Array = sums.reshape(FOLDS, width).sum(axis=0)
    return whole[code] - sums


def _folded_aucs(codes: Array, hits: Array, seed: int) -> Array:
    cell, code = _cells(codes, seed)
    rows = np.bincount(cell, minlength=len(code)).astype(float)
    outside = _elsewhere(rows, code)
    aucs = np.empty(hits.shape[1])
    for at in range(hits.shape[1]):
        up = np.bincount(cell, hits[:, at], minlength=len(code))
        expected = (_elsewhere(up, code) + hits[:, at].mean()) / (outside + 1)
        aucs[at] = auc(expected, up, rows - up)
    return aucs


def _folded_r2(codes: Array, label: Array, seed: int) -> float:
    cell, code = _cells(codes, seed)
    rows = np.bincount(cell, minlength=len(code)).astype(float)
    sums = np.bincount(cell, label, minlength=len(code))
    expected = (_elsewhere(sums, code) + label.mean()) / (_elsewhere(rows, code) + 1)
    total = float(((label - label.mean()) ** 2).sum())
    error = float((label**2).sum() - (2 * expected * sums - expected**2 * rows).sum())
    return 1 - error / total if total else 0.0


def _ranks(values: Array) -> Array:
    """Midranks, from 0 to 1."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: Array = (np.cumsum(counts) - counts / 2) / len(values)
    return middle[place]


def _spearman(numbers: Array, ranks: Array) -> float:
    own = _ranks(numbers)
    return float(np.corrcoef(own, ranks)[0, 1]) ** 2 if own.std() and ranks.std() else 0.0


def _explained(value: float, rows: int) -> Strength:
    value = min(max(value, 0.0), 1.0)
    return Strength(value, value - _Z * 2 * value**0.5 * (1 - value) / rows**0.5)


def _meaned(aucs: Array, hits: Array) -> Strength:
    """The mean by the classes' sizes; error by Hanley and McNeil 1982, the classes' added up.

    A perfect AUC has no error by their formula: half a misplaced row is added.
    """
    up = hits.sum(axis=0).astype(float)
    down = len(hits) - up
    small = np.minimum(up, down)
    careful = (aucs * small + 0.5) / (small + 1)
    q1, q2 = careful / (2 - careful), 2 * careful**2 / (1 + careful)
    spread = careful * (1 - careful) + (up - 1) * (q1 - careful**2) + (down - 1) * (q2 - careful**2)
    error = np.sqrt(np.maximum(spread, 0) / np.maximum(up * down, 1))
    weight = up / up.sum()
    value = float(weight @ aucs)
    return Strength(value, float(weight @ careful) - _Z * float(weight @ error))
