"""Metrics that are functions of how often each label meets each prediction.

All of them need only, by class j, the rows that are right (tp_j), predicted (pred_j) and labelled
(sup_j). Their gradient in these gives each row's influence on the value, which depends on its label
and prediction only. So everything here comes from one GROUP BY over (slice, label, candidate,
champion), and costs the same for any number of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gitops.validate.model import Array, Table
from gitops.validate.stats.moments import Moments, finished
from gitops.validate.stats.units import Cut, pieces

METHOD = "joint counts, linearised, skewness taken out"


@dataclass(frozen=True)
class Cells:
    """Counts of the joint cells of a cut: the GROUP BY.

    `slice`, `label`, `candidate`, `champion`: codes, one entry per cell; class k of k + 1 is one
    that no model knows; `unit` where rows depend on each other. `weights` (4, cells): sums of the
    weights and of their powers up to the fourth.
    """

    classes: int
    slice: Array
    label: Array
    candidate: Array
    champion: Array | None
    unit: Array | None
    weights: Array


def cells(table: Table, cut: Cut) -> Cells:
    """The cells that any row is in (code `size` of a cut: outside every slice, left out)."""
    classes = len(table.classes) + 1
    parts = [_known(table.label, classes), _known(table.candidate.prediction, classes)]
    if table.champion is not None:
        parts.append(_known(table.champion.prediction, classes))
    head, span = cut.code, cut.size + 1
    if cut.unit is not None:
        head, span = cut.unit, len(cut.unit_code)
    span *= classes ** len(parts)

    def key(rows: slice) -> Array:
        found = head[rows]
        for part in parts:
            found = found * classes + part[rows]
        return found

    if span <= 4 * table.rows + 100_000:
        counted, sums = np.zeros(span, np.int64), [np.zeros(span) for _ in _powers(table.weight)]
        for rows in pieces(table.rows, span):
            keys = key(rows)
            counted += np.bincount(keys, minlength=span)
            for total, power in zip(sums, _powers(table.weight, rows), strict=True):
                total += np.bincount(keys, power, span)
        used = np.flatnonzero(counted)
        count, sums = counted[used].astype(float), [one[used] for one in sums]
    else:
        used, inverse, counted = np.unique(
            key(slice(None)), return_inverse=True, return_counts=True
        )
        sums = [np.bincount(inverse, power) for power in _powers(table.weight)]
        count = counted.astype(float)
    codes = []
    rest = used
    for _ in parts:
        rest, code = np.divmod(rest, classes)
        codes.append(code)
    slices = rest if cut.unit is None else cut.unit_code[rest]
    inside = slices < cut.size
    weights = np.array(sums or [count] * 4)[:, inside]
    champion = codes[0][inside] if len(parts) == 3 else None
    label, candidate = codes[-1][inside], codes[-2][inside]
    unit = None if cut.unit is None else rest[inside]
    return Cells(classes, slices[inside], label, candidate, champion, unit, weights)


def _known(code: Array, classes: int) -> Array:
    return np.where(code < 0, classes - 1, code) if code.size and code.min() < 0 else code


def _powers(weight: Array | None, rows: slice = slice(None)) -> list[Array]:
    return [] if weight is None else _powers_of(weight[rows])


def _powers_of(weight: Array) -> list[Array]:
    square = weight * weight
    return [weight, square, square * weight, square * square]


def moments(cells: Cells, cut: Cut, metric: str, task: str) -> Moments:
    """A metric of this family on every slice of the cut."""
    shape = (cut.size, cells.classes)
    label = _sums(cells, cells.label, shape)
    values, whys, few = np.full((2, cut.size), np.nan), np.full((2, cut.size), "", object), []
    pushes = []
    for which, prediction in enumerate((cells.candidate, cells.champion)):
        if prediction is None:
            continue
        right = np.where(prediction == cells.label, cells.weights[0], 0.0)
        tp = np.bincount(cells.slice * shape[1] + cells.label, right, shape[0] * shape[1])
        found = _metric(metric, task)(tp.reshape(shape), _sums(cells, prediction, shape), label)
        values[which], whys[which] = found.value, found.why
        pushes.append(found.pushes(cells.slice, cells.label, prediction))
        few.append(found.few(label))
    ours, theirs = pushes[0], pushes[1] if len(pushes) == 2 else None
    powers = np.full((3, 3, cut.size), np.nan)
    for which, push in enumerate((ours, theirs, None if theirs is None else ours - theirs)):
        if push is not None:
            powers[:, which] = _powers_by_slice(cells, cut, push)
    total = label.sum(axis=1)
    w2 = np.bincount(cells.slice, cells.weights[1], cut.size)
    few_rows = np.full((2, cut.size), np.nan)
    few_rows[: len(few)] = np.array(few) * total / w2
    floor = np.nan_to_num(np.fmin(few_rows.min(axis=0), cut.units) ** -2.0, posinf=0.0)
    if cells.unit is None:
        powers[0] *= cut.rows / (cut.rows - 1)
    return finished(
        cut, values, powers, why=whys, few=few_rows, span=2.0 if metric == "mcc" else 1.0,
        method=METHOD, floor=floor,
    )  # fmt: skip


def _sums(cells: Cells, code: Array, shape: tuple[int, int]) -> Array:
    flat = np.bincount(cells.slice * shape[1] + code, cells.weights[0], shape[0] * shape[1])
    return flat.reshape(shape)


def _powers_by_slice(cells: Cells, cut: Cut, push: Array) -> Array:
    """Sums of the second to the fourth powers: (3, S)."""
    if cells.unit is None:
        each = (cells.weights[power - 1] * push**power for power in (2, 3, 4))
        return np.array([np.bincount(cells.slice, one, cut.size) for one in each])
    by_unit = np.bincount(cells.unit, cells.weights[0] * push, len(cut.unit_code))
    return np.array([cut.sums(by_unit**power, cut.unit_code) for power in (2, 3, 4)])


# ---------------------------------------------------------------- values and gradients


@dataclass(frozen=True)
class _Found:
    """A value (S) and its derivatives by tp, pred and sup (S, k), and by all rows (S)."""

    value: Array
    by_tp: Array
    by_pred: Array
    by_sup: Array
    by_all: Array
    why: Array

    def pushes(self, at: Array, label: Array, prediction: Array) -> Array:
        """What one more row of each cell does to the value."""
        right = np.where(label == prediction, self.by_tp[at, label], 0.0)
        return right + self.by_pred[at, prediction] + self.by_sup[at, label] + self.by_all[at]

    def few(self, sup: Array) -> Array:
        """Over how many rows (in weight) the value is a mean: 1 / the most that one moves."""
        return np.asarray(1 / np.where(sup > 0, np.abs(self.by_tp), 0.0).max(axis=1))


_Function = Callable[[Array, Array, Array], _Found]


def _metric(name: str, task: str) -> _Function:
    base, _, way = name.rpartition("_")
    if name in ("accuracy", "balanced_accuracy", "mcc"):
        return {"accuracy": _accuracy, "balanced_accuracy": _balanced, "mcc": _mcc}[name]
    if task == "binary":
        return lambda tp, pred, sup: _single(name, tp, pred, sup)
    if way == "micro":
        return _accuracy
    if base not in _RATIOS:
        base, way = name, "macro"
    return {
        "macro": lambda tp, pred, sup: _macro(base, tp, pred, sup),
        "weighted": lambda tp, pred, sup: _weighted(base, tp, pred, sup),
    }[way]


# a tp / (b pred + c sup)
_RATIOS = {"precision": (1, 1, 0), "recall": (1, 0, 1), "f1": (2, 1, 1), "specificity": (1, 0, 1)}


def _ratio(name: str, tp: Array, pred: Array, sup: Array) -> tuple[Array, Array, Array, Array]:
    """A ratio by class (0 where there's nothing to divide by), and its derivatives."""
    a, b, c = _RATIOS[name]
    over = b * pred + c * sup
    inverse = np.where(over > 0, 1 / over, 0.0)
    value = a * tp * inverse
    return value, a * inverse, -b * value * inverse, -c * value * inverse


def _single(name: str, tp: Array, pred: Array, sup: Array) -> _Found:
    """Of the positive class (specificity: the recall of the negative one)."""
    only = np.zeros(tp.shape[1])
    only[0 if name == "specificity" else 1] = 1
    value, by_tp, by_pred, by_sup = (one * only for one in _ratio(name, tp, pred, sup))
    _, b, c = _RATIOS[name]
    lacks = ((b * pred + c * sup) @ only) <= 0
    text = {
        "precision": "no row is predicted positive",
        "recall": "no row is positive",
        "specificity": "no row is negative",
        "f1": "no row is positive or predicted positive",
    }[name]
    zero = np.zeros(len(tp))
    return _Found(value.sum(axis=1), by_tp, by_pred, by_sup, zero, _why(sup, lacks, text))


def _macro(name: str, tp: Array, pred: Array, sup: Array) -> _Found:
    """Over the classes that are labelled or predicted, as scikit-learn does."""
    there = (sup > 0) | (pred > 0)
    share = there / np.maximum(there.sum(axis=1, keepdims=True), 1)
    value, by_tp, by_pred, by_sup = (one * share for one in _ratio(name, tp, pred, sup))
    zero = np.zeros(len(tp))
    return _Found(value.sum(axis=1), by_tp, by_pred, by_sup, zero, _why(sup))


def _weighted(name: str, tp: Array, pred: Array, sup: Array) -> _Found:
    total = sup.sum(axis=1, keepdims=True)
    share = sup / total
    each, *slopes = _ratio(name, tp, pred, sup)
    value = (each * share).sum(axis=1)
    by_tp, by_pred, by_sup = (one * share for one in slopes)
    by_sup = by_sup + (each - value[:, None]) / total
    zero = np.zeros(len(tp))
    return _Found(value, by_tp, by_pred, by_sup, zero, _why(sup))


def _balanced(tp: Array, pred: Array, sup: Array) -> _Found:
    there = sup > 0
    share = there / np.maximum(there.sum(axis=1, keepdims=True), 1)
    value, by_tp, by_pred, by_sup = (one * share for one in _ratio("recall", tp, pred, sup))
    zero = np.zeros(len(tp))
    lacks = there.sum(axis=1) == 1
    return _Found(
        value.sum(axis=1), by_tp, by_pred, by_sup, zero, _why(sup, lacks, "only one class")
    )


def _accuracy(tp: Array, pred: Array, sup: Array) -> _Found:
    total = sup.sum(axis=1)
    value = tp.sum(axis=1) / total
    flat = np.zeros(tp.shape)
    by_tp = flat + 1 / total[:, None]
    return _Found(value, by_tp, flat, flat, -value / total, _why(sup))


def _mcc(tp: Array, pred: Array, sup: Array) -> _Found:
    """Gorodkin, Comparing two K-category assignments, Comput. Biol. Chem. 28 (2004) 367-374."""
    right, total = tp.sum(axis=1), sup.sum(axis=1)
    first, other = total**2 - (pred**2).sum(axis=1), total**2 - (sup**2).sum(axis=1)
    root = np.sqrt(first * other)
    value = (right * total - (pred * sup).sum(axis=1)) / root
    by_tp = np.repeat((total / root)[:, None], tp.shape[1], axis=1)
    by_pred = -sup / root[:, None] + (value / first)[:, None] * pred
    by_sup = -pred / root[:, None] + (value / other)[:, None] * sup
    by_all = right / root - value * total * (1 / first + 1 / other)
    lacks = ~((first > 1e-12 * total**2) & (other > 1e-12 * total**2))
    text = "labels or predictions are all of one class"
    return _Found(value, by_tp, by_pred, by_sup, by_all, _why(sup, lacks, text))


def _why(sup: Array, lacks: Array | None = None, text: str = "") -> Array:
    found = np.full(len(sup), "", object)
    if lacks is not None:
        found[lacks] = text
    found[sup.sum(axis=1) == 0] = "no rows"
    return found
