"""Metrics that are means of a loss by row, or simple functions of such means.

Sums of the losses, of their powers up to the fourth and of products with the weights give values
and moments of the error: they come from one GROUP BY over the slice. Losses are counted from a
centre near their mean, so that powers of large numbers don't drown small differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gitops.validate.model import Array, Predictions, Table
from gitops.validate.stats.metrics import METRICS
from gitops.validate.stats.moments import Moments, finished, of_contributions
from gitops.validate.stats.units import Cut, pieces, scores

METHOD = "paired differences by row, skewness taken out"
_EPS = float(np.finfo(np.float64).eps)  # probabilities are clipped to it, as scikit-learn does

Loss = Callable[[Array, Predictions], Array]
"""Losses (float64, n) of labels and predictions."""


# ---------------------------------------------------------------- losses by row


def loss(name: str, task: str) -> tuple[Loss, float]:
    """The loss whose mean the metric is (rmse: the root of it), and the range of one row's."""
    parameter = METRICS[name].parameter or 0.0
    if name.startswith("top_"):
        return (lambda label, of: _among(label, of, int(parameter))), 1.0
    if name.startswith("quantile_loss"):
        return (lambda label, of: _pinball(label, of, parameter)), math.inf
    if name == "log_loss":
        return (_log_binary if task == "binary" else _log_multiclass), -math.log(_EPS)
    if name == "brier":
        return (_brier_binary, 1.0) if task == "binary" else (_brier_multiclass, 2.0)
    return {
        "mae": lambda label, of: np.abs(label - of.prediction),
        "rmse": lambda label, of: (label - of.prediction) ** 2,
        "mape": lambda label, of: np.abs(label - of.prediction) / np.abs(label),
        "bias": lambda label, of: of.prediction - label,
    }[name], math.inf


def _log_binary(label: Array, of: Predictions) -> Array:
    score = scores(of)
    there = np.where(label == 1, score, 1 - score)
    if label.min() < 0:
        there[label < 0] = 0.0  # nobody gave the class a chance
    return _surprise(there)


def _surprise(probability: Array) -> Array:
    return np.asarray(-np.log(np.clip(probability, _EPS, 1 - _EPS)))


def _log_multiclass(label: Array, of: Predictions) -> Array:
    there = _of_label(label, scores(of))
    return _surprise(there)


def _of_label(label: Array, score: Array) -> Array:
    """The score of each row's own class; 0 for a class that the model doesn't know."""
    found = score[np.arange(len(label)), np.maximum(label, 0)]
    return np.where(label < 0, 0.0, found)


def _brier_binary(label: Array, of: Predictions) -> Array:
    found = (scores(of) - (label == 1)) ** 2
    return np.where(label < 0, 1.0, found) if label.min() < 0 else found


def _brier_multiclass(label: Array, of: Predictions) -> Array:
    score = scores(of)
    return np.asarray(np.einsum("ij,ij->i", score, score) - 2 * _of_label(label, score) + 1)


def _among(label: Array, of: Predictions, k: int) -> Array:
    """Is the label among the k best? Of equal scores the last class is better, as in sklearn."""
    score = scores(of)
    own = _of_label(label, score)[:, None]
    later = np.arange(score.shape[1]) > label[:, None]
    before = ((score > own) | ((score == own) & later)).sum(axis=1)
    return np.asarray((before < k) & (label >= 0), np.float64)


def _pinball(label: Array, of: Predictions, share: float) -> Array:
    short = label - of.prediction
    return np.maximum(share * short, (share - 1) * short)


# ---------------------------------------------------------------- sums


MIXED = ((1, 1), (2, 1), (1, 2), (3, 1), (2, 2), (1, 3))  # powers of X and W
PLAIN = [a - 1 for a, _ in MIXED]  # where all weights are 1: as these powers of X


@dataclass(frozen=True)
class Sums:
    """Sums over the independent units of a slice: the GROUP BY.

    With W a unit's weight and X its weighted losses (minus `centre` times W): `w` (4, S) sums of
    the powers of W; `x` (3, 10, S) for candidate, champion, difference: powers of X, then MIXED.
    """

    centre: tuple[float, float, float]
    w: Array
    x: Array

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.centre, self.w + other.w, self.x + other.x)


def sums(table: Table, cut: Cut, losses: list[tuple[Loss, float]]) -> list[Sums]:
    """The sums of several losses (with the range of a row's) in one pass over the rows."""
    models = [table.candidate] if table.champion is None else [table.candidate, table.champion]
    total: list[Sums] = []
    centres: list[tuple[float, float, float]] = []
    # Units reach over pieces: then all rows at once.
    for rows in pieces(table.rows, cut.size if cut.unit is None else table.rows):
        label, weight = table.label[rows], _at(table.weight, rows)
        some = [Predictions(m.prediction[rows], _at(m.score, rows)) for m in models]
        found = [[one(label, of) for of in some] for one, _ in losses]
        if not centres:
            centres = [_centre(each, span) for each, (_, span) in zip(found, losses, strict=True)]
        parts = [_sums(cut, rows, weight, *pair) for pair in zip(centres, found, strict=True)]
        total = [a + b for a, b in zip(total, parts, strict=True)] if total else parts
    return total


def _at(values: Array | None, rows: slice) -> Array | None:
    return None if values is None else values[rows]


def _centre(losses: list[Array], span: float) -> tuple[float, float, float]:
    """Near the means; 0 where losses are bounded, so that those of 0 and 1 are counted exactly."""
    if math.isfinite(span):
        return 0.0, 0.0 if len(losses) == 2 else math.nan, 0.0
    first, other = (
        float(one[np.isfinite(one)].mean()) if np.isfinite(one).any() else 0.0
        for one in (losses[0], losses[-1])
    )
    return (first, other, first - other) if len(losses) == 2 else (first, math.nan, math.nan)


def _sums(
    cut: Cut,
    rows: slice,
    weight: Array | None,
    centre: tuple[float, float, float],
    losses: list[Array],
) -> Sums:
    plain = weight is None and cut.unit is None
    units = cut.code[rows] if cut.unit is None else cut.unit_code
    by_unit = (lambda values: values) if cut.unit is None else cut.by_unit

    def add(values: Array | None) -> Array:
        return cut.sums(values, units)

    x = np.full((3, 10, cut.size), np.nan)
    each = [one - middle if middle else one for one, middle in zip(losses, centre, strict=False)]
    if weight is not None:
        each = [one * weight for one in each]
    each = [by_unit(one) for one in each]
    if len(each) == 2:
        each.append(each[0] - each[1])
    if plain:
        w = np.repeat(add(None)[None].astype(float), 4, axis=0)
    else:
        unit_weight = by_unit(np.ones(len(losses[0])) if weight is None else weight)
        w = np.array([add(unit_weight**power) for power in (1, 2, 3, 4)])
    for which, one in enumerate(each):
        square = one * one
        x[which, :4] = add(one), add(square), add(square * one), add(square * square)
        if plain:
            x[which, 4:] = x[which, PLAIN]
        else:
            x[which, 4:] = [add(one**a * unit_weight**b) for a, b in MIXED]
    return Sums(centre, w, x)


# ---------------------------------------------------------------- moments


def moments(cut: Cut, found: Sums, metric: str, span: float) -> Moments:
    """Of a mean of losses, or of the root of one."""
    w, x = found.w, found.x
    one, two, three, four, xw, xxw, xww, xxxw, xxww, xwww = np.moveaxis(x, 1, 0)
    off = one / w[0]
    second = two - 2 * off * xw + off**2 * w[1]
    second = np.where(second <= 1e-12 * two, 0.0, second) / w[0] ** 2
    third = three - 3 * off * xxw + 3 * off**2 * xww - off**3 * w[2]
    fourth = four - 4 * off * xxxw + 6 * off**2 * xxww - 4 * off**3 * xwww + off**4 * w[3]
    powers = np.stack([second, third / w[0] ** 3, fourth / w[0] ** 4])
    value = (off + np.array(found.centre)[:, None])[:2]
    few = np.repeat((w[0] ** 2 / w[1])[None], 2, axis=0)
    if cut.unit is None:
        powers[0] *= cut.rows / (cut.rows - 1)
    floor: Array | float = 0.0
    if metric == "rmse":
        value, powers = _rooted(value, powers)
    elif metric.startswith("top_"):  # a count, as those of `counts`
        floor = np.nan_to_num(np.fmin(few[0], cut.units) ** -2.0, posinf=0.0)
    text = "a label is 0" if metric == "mape" else "not a finite number"
    why = np.where(np.isfinite(value), "", text).astype(object)
    why[:, cut.rows == 0] = "no rows"
    why[1:] = "" if math.isnan(found.centre[1]) else why[1:]
    return finished(cut, value, powers, why=why, few=few, span=span, method=METHOD, floor=floor)


def _rooted(value: Array, powers: Array) -> tuple[Array, Array]:
    """Of the roots of two means: linearised, with the root's curvature put into the skewness."""
    root = np.sqrt(value)
    slope = 1 / (2 * root)
    second = powers[0]
    skew, peak = powers[1] / second**1.5, powers[2] / second**2
    bend = np.vstack([0.75 * np.sqrt(second[:2]) / value, np.zeros(value.shape[1])])
    both = (second[0] + second[1] - second[2]) / 2
    apart = slope[0] ** 2 * second[0] + slope[1] ** 2 * second[1] - 2 * slope.prod(axis=0) * both
    second = np.vstack([slope**2 * second[:2], np.maximum(apart, 0.0)])
    second[:2][value == 0] = 0.0
    return root, np.stack([second, (skew - bend) * second**1.5, peak * second**2])


def r2(table: Table, cut: Cut) -> Moments:
    """1 - residual / total sum of squares."""
    label, weight = table.label, np.ones(table.rows) if table.weight is None else table.weight
    total = cut.sums(weight)
    middle = _by_row(cut, cut.sums(weight * label) / total)
    around = (label - middle) ** 2
    spread = cut.sums(weight * around)
    flat = ~(spread > 1e-24 * total * np.fmax(1e-280, cut.sums(weight * label**2) / total))
    values, pushes = np.full((2, cut.size), np.nan), []
    for which, of in enumerate((table.candidate, table.champion)):
        if of is not None:
            error = (label - of.prediction) ** 2
            share = cut.sums(weight * error) / spread
            values[which] = 1 - share
            part = weight * (_by_row(cut, share) * around - error) / _by_row(cut, spread)
            pushes.append(np.where(cut.code < cut.size, part, 0.0))
    why = np.where(np.isfinite(values), "", "not a finite number").astype(object)
    why[:, flat] = "all labels are equal"
    why[:, cut.rows == 0] = "no rows"
    champion = pushes[1] if len(pushes) == 2 else None
    why[1:] = "" if champion is None else why[1:]
    few = np.full((2, cut.size), 1.0)
    return of_contributions(
        cut, values, pushes[0], champion, why=why, few=few, span=math.inf, method=METHOD
    )


def _by_row(cut: Cut, values: Array) -> Array:
    """A slice's value at each of its rows; 1 outside all."""
    return np.append(values, 1.0)[cut.code]
