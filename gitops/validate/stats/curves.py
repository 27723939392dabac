"""The lines of plots: at most 200 points each, whatever the number of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from gitops.validate.model import Array, Curve, Predictions, Table
from gitops.validate.stats.slicing import thinned

_POINTS = 200
_BINS = 20
_ROWS = 200_000  # a picture shows no more
_MOST_CLASSES = 10
Of = Literal["candidate", "champion"]


def curves(table: Table) -> tuple[Curve, ...]:
    """ROC, precision-recall, calibration and scores of a classification; residuals of a regression.

    Weights count. Calibration is over equal-mass bins: x the mean score, y the share of positives.
    Several classes: each against the rest, the most frequent ten. Residuals: x the mean
    prediction of a bin, y the mean of label minus prediction. Of a large table a sample.
    """
    table = thinned(table, _ROWS)
    sides: list[tuple[Of, Predictions | None]] = [
        ("candidate", table.candidate),
        ("champion", table.champion),
    ]
    found = []
    for of, side in sides:
        if side is not None:
            found += list(
                _residuals(table, side, of) if side.score is None else _all(table, side, of)
            )
    return tuple(found)


def _all(table: Table, side: Predictions, of: Of) -> Iterator[Curve]:
    if side.score is None:
        return
    weight = np.ones(table.rows) if table.weight is None else table.weight
    if table.task == "binary":
        pairs = [(table.classes[1], side.score, table.label == 1)]
    else:
        counts = np.bincount(table.label[table.label >= 0], minlength=len(table.classes))
        often = np.argsort(-counts, kind="stable")[:_MOST_CLASSES]
        pairs = [(table.classes[at], side.score[:, at], table.label == at) for at in often]
    for name, score, positive in pairs:
        total, hits = float(weight.sum()), float(weight[positive].sum())
        if not 0 < hits < total:
            continue
        order = np.argsort(-score, kind="stable")
        ranked, mass, up = score[order], weight[order], positive[order]
        true = np.cumsum(mass * up)
        seen = np.cumsum(mass)
        last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        at = last[_spread(len(last))]
        x, y = (seen[at] - true[at]) / (total - hits), true[at] / hits
        yield _curve("roc", of, name, np.append(0.0, x), np.append(0.0, y))
        precise = true[at] / seen[at]
        yield _curve(
            "pr", of, name, np.append(0.0, true[at] / hits), np.append(precise[0], precise)
        )
        edges = np.searchsorted(seen, np.linspace(0, total, _BINS + 1)[1:-1])
        rows = [part for part in np.split(np.arange(len(ranked)), edges) if len(part)]
        middle = np.array([np.average(ranked[part], weights=mass[part]) for part in rows])
        share = np.array([np.average(up[part], weights=mass[part]) for part in rows])
        yield _curve("calibration", of, name, middle[::-1], share[::-1])
        if table.task == "binary":
            height, ends = np.histogram(
                np.clip(score, 0, 1), bins=_BINS, range=(0, 1), weights=weight
            )
            yield _curve("scores", of, name, (ends[1:] + ends[:-1]) / 2, height / total)


def _residuals(table: Table, side: Predictions, of: Of) -> Iterator[Curve]:
    order = np.argsort(side.prediction, kind="stable")
    parts = np.array_split(order, min(_BINS * 2, table.rows))
    weight = np.ones(table.rows) if table.weight is None else table.weight
    rest = table.label - side.prediction
    x = np.array([np.average(side.prediction[part], weights=weight[part]) for part in parts])
    y = np.array([np.average(rest[part], weights=weight[part]) for part in parts])
    yield _curve("residuals", of, "all", x, y)


def _spread(count: int) -> Array:
    return np.unique(np.linspace(0, count - 1, min(count, _POINTS - 1)).astype(np.int64))


def _curve(
    kind: Literal["roc", "pr", "calibration", "residuals", "scores"],
    of: Of,
    name: str,
    x: Array,
    y: Array,
) -> Curve:
    return Curve(kind, of, name, tuple(x.tolist()), tuple(y.tolist()))
