"""The table of answers and labels (`gitops.serve.join`) as rows with outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gitops.config.serving import Metric
from gitops.rollout.model import Array, Rows
from gitops.rollout.outcome import Task, outcomes
from gitops.rollout.units import CHALLENGER, CHAMPION, SHADOWED

_ARMS = {"champion": CHAMPION, "challenger": CHALLENGER, "shadow": SHADOWED}
FAILED = 500  # the HTTP status from which on an answer has failed


def rows_of(
    columns: Mapping[str, NDArray[np.generic]],
    metric: Metric,
    task: Task,
    *,
    classes: Sequence[str] = (),
    slow_ms: float,
) -> Rows:
    """Rows of one rollout, from columns named as in the table; None is what isn't there.

    `classes` are those of the signatures, in the order of the columns `score_<class>`; binary
    [negative, positive] with the column `score`. Rows are judged in the order of the column `known`
    (when the label came, in seconds), or else in that of the answers.
    """
    arm = np.array([_ARMS[str(one)] for one in columns["arm"]], np.int8)
    at = columns["at"].astype(np.float64)
    found = outcomes(
        metric,
        task,
        label=_said(columns["label"], task),
        prediction=_said(columns["prediction"], task),
        score=_scores(columns, metric, task, classes),
        classes=tuple(classes),
        value=columns["value"].astype(np.float64),
    )
    request = _text(columns["id"])
    key = _text(columns["key"])
    failed = columns["status"].astype(np.int64) >= FAILED
    return Rows(
        unit=np.where(key == "", np.char.add("request ", request), np.char.add("key ", key)),
        request=request,
        row=columns["row"].astype(np.int64),
        at=at,
        arm=arm,
        share=columns["share"].astype(np.float64) / 100,
        failed=failed,
        slow=columns["ms"].astype(np.float64) > slow_ms,
        outcome=np.where(failed, np.nan, found.values),
        known=columns["known"].astype(np.float64) if "known" in columns else at,
    )


def _text(column: NDArray[np.generic]) -> NDArray[np.str_]:
    return np.array([one if isinstance(one, str) else "" for one in column.tolist()], np.str_)


def _said(column: NDArray[np.generic], task: Task) -> NDArray[np.generic]:
    return column.astype(np.float64) if task == "regression" else _text(column)


def _scores(
    columns: Mapping[str, NDArray[np.generic]],
    metric: Metric,
    task: Task,
    classes: Sequence[str],
) -> Array:
    if metric not in ("brier", "log_loss"):
        return np.zeros(0)
    if task == "binary":
        return columns["score"].astype(np.float64)
    found = np.column_stack([columns[f"score_{name}"].astype(np.float64) for name in classes])
    answered = np.isfinite(found).any(axis=1, keepdims=True)
    return np.where(answered & np.isnan(found), 0.0, found)  # a class that this release hasn't
