"""Outcomes of answered rows by the metric that a rollout is judged by; more is better."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gitops.config.serving import Metric
from gitops.errors import UsageError
from gitops.rollout.model import Array
from gitops.signature import Task as Task

CLIP = 0.001
"""Probabilities are clipped to [0.001, 0.999] in log_loss: one row then costs at most 6.9, and the
comparison can be exact. The gate's log_loss clips at 2.2e-16."""

DEFAULT: dict[Task, Metric] = {
    "binary": "brier",
    "multiclass": "accuracy",
    "regression": "absolute_error",
}
_TASKS: dict[Metric, tuple[Task, ...]] = {
    "brier": ("binary", "multiclass"),
    "log_loss": ("binary", "multiclass"),
    "accuracy": ("binary", "multiclass"),
    "absolute_error": ("regression",),
    "squared_error": ("regression",),
    "value": ("binary", "multiclass", "regression"),
}


@dataclass(frozen=True)
class Outcomes:
    """`values` (n), and the bounds `low`, `high` that no outcome can leave (infinite: none)."""

    values: Array
    low: float
    high: float


def metric_of(metric: Metric | None, task: Task) -> Metric:
    """The metric, or the task's default.

    Raises:
        UsageError: the metric isn't one of the task.
    """
    found = metric or DEFAULT[task]
    if task not in _TASKS[found]:
        fits = ", ".join(name for name, tasks in _TASKS.items() if task in tasks)
        raise UsageError(
            f"rollout.metric: {found} can't judge a {task} model", fix=f"write one of: {fits}"
        )
    return found


def span(metric: Metric, task: Task) -> tuple[float, float]:
    """The bounds of an outcome."""
    if metric == "brier":
        return (-1.0 if task == "binary" else -2.0), 0.0
    if metric == "log_loss":
        return math.log(CLIP), math.log(1 - CLIP)
    return (0.0, 1.0) if metric == "accuracy" else (-math.inf, math.inf)


def outcomes(
    metric: Metric,
    task: Task,
    *,
    label: NDArray[np.generic],
    prediction: NDArray[np.generic],
    score: Array,
    classes: tuple[str, ...] = (),
    value: Array,
) -> Outcomes:
    """Of each row by its label; NaN where there is none ("" or NaN), or no answer.

    `label`, `prediction` (n): canonical texts, in a regression float64. `score`: (n) probability
    of the positive class, or (n, k) in the order of `classes`. A label that the model doesn't know
    has the probability 0. `value` (n): what came with the label. What the metric doesn't use may
    be empty.
    """
    low, high = span(metric, task)
    if metric == "value":
        return Outcomes(np.asarray(value, np.float64), low, high)
    if task == "regression":
        error = np.abs(np.asarray(label, np.float64) - np.asarray(prediction, np.float64))
        return Outcomes(-(error if metric == "absolute_error" else error**2), low, high)
    there = (label != "") & (prediction != "")
    if metric == "accuracy":
        found = (label == prediction).astype(np.float64)
        return Outcomes(np.where(there, found, np.nan), low, high)
    if score.ndim == 1:
        score = np.column_stack([1 - score, score])
    own = np.full(len(label), np.nan)
    own[there] = 0.0
    for at, name in enumerate(classes):
        chosen = there & (label == name)
        own[chosen] = score[chosen, at]
    if metric == "log_loss":
        return Outcomes(np.log(np.clip(own, CLIP, 1 - CLIP)), low, high)
    loss = (score**2).sum(axis=1) - 2 * own + 1
    return Outcomes(-loss / 2 if task == "binary" else -loss, low, high)
