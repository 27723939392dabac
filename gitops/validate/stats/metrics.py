"""The metrics that a policy may name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal

from gitops.validate.model import Task

Family = Literal["counts", "losses", "ranks", "bins"]

BINS = 15  # of the calibration error: of equal width, so that the true value depends on no sample
_SKLEARN = "scikit-learn, sklearn.metrics."


@dataclass(frozen=True)
class Metric:
    """What a name means.

    `up`: is more better; None: neither (the bias is best at 0, so it can be bounded, not compared).
    `low` to `high`: its range. `family`: counts of (label, prediction), means of a loss by row,
    ranks of scores, or bins of scores. `parameter`: the quantile or the number of classes tried.
    """

    name: str
    tasks: tuple[Task, ...]
    up: bool | None
    low: float
    high: float
    meaning: str
    source: str
    family: Family
    parameter: float | None = None


def _counts() -> list[Metric]:
    both: tuple[Task, ...] = ("binary", "multiclass")
    macro = "; of several classes the plain mean over them"
    f1 = "harmonic mean of precision and recall"
    ratios = {
        "precision": ("share of the predicted positives that are positive", "precision_score"),
        "recall": ("share of the positives that are predicted positive", "recall_score"),
        "f1": (f1 + " of the positive class", "f1_score"),
    }
    found = [
        _of("accuracy", both, "share of rows predicted right", "accuracy_score"),
        _of("balanced_accuracy", both, "mean recall over the classes", "balanced_accuracy_score"),
        *(_of(name, both, text + macro, call) for name, (text, call) in ratios.items()),
        _of("specificity", ("binary",), "share of the negatives predicted negative",
            "recall_score with pos_label=negative"),
        _of("mcc", both, "Matthews correlation of label and prediction", "matthews_corrcoef",
            low=-1.0),
    ]  # fmt: skip
    ways = {
        "macro": "plain mean over the classes",
        "micro": "over all decisions at once, which is the accuracy",
        "weighted": "mean over the classes by their rows",
    }
    for name, (_, call) in ratios.items():
        for way, text in ways.items():
            found.append(
                _of(f"{name}_{way}", ("multiclass",), f"{name}: {text}", f"{call}, {way} average")
            )
    return found


def _of(
    name: str,
    tasks: tuple[Task, ...],
    meaning: str,
    call: str,
    *,
    up: bool | None = True,
    low: float = 0.0,
    high: float = 1.0,
    family: Family = "counts",
    parameter: float | None = None,
) -> Metric:
    return Metric(name, tasks, up, low, high, meaning, _SKLEARN + call, family, parameter)


def _scores() -> list[Metric]:
    both: tuple[Task, ...] = ("binary", "multiclass")
    binary: tuple[Task, ...] = ("binary",)
    ece = "Guo et al., On calibration of modern neural networks, ICML 2017 (15 bins, equal width)"
    ks = "scipy, scipy.stats.ks_2samp of the scores of positives and negatives"
    found = [
        _of("log_loss", both, "mean of minus the log of the label's probability", "log_loss",
            up=False, high=math.inf, family="losses"),
        _of("brier", both, "mean squared error of the probabilities (several classes: summed)",
            "brier_score_loss", up=False, high=2.0, family="losses"),
        _of("roc_auc", binary, "how often a positive is scored above a negative", "roc_auc_score",
            family="ranks"),
        _of("pr_auc", binary, "average precision: mean precision over the positives found",
            "average_precision_score", family="ranks"),
        Metric("ks", binary, True, 0.0, 1.0,
               "largest distance between the score distributions of positives and negatives",
               ks, "ranks"),
        Metric("calibration_error", both, False, 0.0, 1.0,
               "mean distance between predicted probability and observed rate, in 15 bins", ece,
               "bins"),
        _of("roc_auc_ovr", ("multiclass",), "mean over the classes of the ROC-AUC against the rest",
            "roc_auc_score, multi_class='ovr', macro average", family="ranks"),
    ]  # fmt: skip
    for k in range(2, 11):
        text = f"share of rows whose label is among the {k} most likely classes"
        call = f"top_k_accuracy_score, k={k}"
        found.append(_of(f"top_{k}", ("multiclass",), text, call, family="losses", parameter=k))
    return found


def _amounts() -> list[Metric]:
    only: tuple[Task, ...] = ("regression",)
    infinite = math.inf
    texts = {
        "mae": ("mean absolute error", "mean_absolute_error"),
        "rmse": ("root of the mean squared error", "root_mean_squared_error"),
        "mape": ("mean absolute error relative to the label", "mean_absolute_percentage_error"),
    }
    found = [
        _of(name, only, text, call, up=False, high=infinite, family="losses")
        for name, (text, call) in texts.items()
    ]
    found.append(
        _of("r2", only, "share of the label's variance that is explained", "r2_score",
            low=-infinite, family="losses")
    )  # fmt: skip
    found.append(
        Metric("bias", only, None, -infinite, infinite, "mean of prediction minus label",
               "its definition", "losses")
    )  # fmt: skip
    for percent in range(1, 100):
        text = f"mean pinball loss at the {percent} % quantile"
        call = f"mean_pinball_loss, alpha={percent / 100:g}"
        found.append(
            _of(f"quantile_loss_{percent}", only, text, call, up=False, high=infinite,
                family="losses", parameter=percent / 100)
        )  # fmt: skip
    return found


METRICS: Mapping[str, Metric] = MappingProxyType(
    {metric.name: metric for metric in (*_counts(), *_scores(), *_amounts())}
)


def names_of(task: Task) -> tuple[str, ...]:
    """The metrics of a task."""
    return tuple(name for name, metric in METRICS.items() if task in metric.tasks)


def nearest(name: str, task: Task | None = None) -> str | None:
    """The known name that was probably meant."""
    known = names_of(task) if task else tuple(METRICS)
    flat = {"auc": "roc_auc", "roc": "roc_auc", "ap": "pr_auc", "average_precision": "pr_auc",
            "ece": "calibration_error", "logloss": "log_loss", "brier_score": "brier",
            "mse": "rmse", "pinball": "quantile_loss_50", "f1_score": "f1",
            "sensitivity": "recall", "tpr": "recall"}  # fmt: skip
    text = name.lower().replace("-", "_").replace(" ", "_")
    if flat.get(text) in known:
        return flat[text]
    close = get_close_matches(text, known, n=1)
    return close[0] if close else None
