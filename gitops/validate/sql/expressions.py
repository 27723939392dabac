"""Losses of one row as SQL, the same as in `stats.losses`.

Numbers are written with an exponent: both dialects take `0.5` for a decimal, whose arithmetic is
not that of a double. There is no text in any statement, so nothing to be escaped.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gitops.validate.model import Task
from gitops.validate.stats import METRICS

_EPS = float(np.finfo(np.float64).eps)


def number(value: float) -> str:
    """A literal of type double."""
    text = repr(float(value))
    return f"({text})" if "e" in text else f"({text}e0)"


def one_if(condition: str) -> str:
    return f"CASE WHEN {condition} THEN 1e0 ELSE 0e0 END"


def added(terms: Sequence[str]) -> str:
    """A sum as a balanced tree: parsers bound the depth of what they read."""
    if len(terms) <= 1:
        return terms[0] if terms else "0e0"
    half = len(terms) // 2
    return f"({added(terms[:half])} + {added(terms[half:])})"


def loss(name: str, task: Task, of: str, classes: int) -> str:
    """The loss of model `of` (a or b): label `y`, prediction `a`, scores `pa` or `pa0`, `pa1`, ...,
    and of several classes `owna`.

    Of mape 0 where the label is 0: those rows are counted beside it.
    """
    if task == "regression":
        return _amount(name, of, METRICS[name].parameter or 0.0)
    if task == "binary":
        score = f"p{of}"
        if name == "brier":
            off = f"({score} - {one_if('y = 1')})"
            return f"CASE WHEN y > 1 THEN 1e0 ELSE {off} * {off} END"
        own = f"CASE WHEN y = 1 THEN {score} WHEN y = 0 THEN 1e0 - {score} ELSE 0e0 END"
        return _surprise(own)
    scores, own = [f"p{of}{at}" for at in range(classes)], f"own{of}"
    if name == "log_loss":
        return _surprise(own)
    if name == "brier":
        return f"({added([f'{one} * {one}' for one in scores])} - 2e0 * {own} + 1e0)"
    before = added(
        [one_if(f"{one} > {own} OR ({one} = {own} AND y < {at})") for at, one in enumerate(scores)]
    )
    return one_if(f"{before} < {number(METRICS[name].parameter or 0.0)} AND y < {classes}")


def own_score(of: str, classes: int) -> str:
    """The score of the label's own class (column `owna` or `ownb`), 0 for an unknown one."""
    return added([f"CASE WHEN y = {at} THEN p{of}{at} ELSE 0e0 END" for at in range(classes)])


def _surprise(probability: str) -> str:
    high, low = number(1 - _EPS), number(_EPS)
    return f"(-LN(GREATEST(LEAST({probability}, {high}), {low})))"


def _amount(name: str, of: str, share: float) -> str:
    short = f"(y - {of})"
    if name.startswith("quantile_loss"):
        return f"GREATEST({number(share)} * {short}, {number(share - 1)} * {short})"
    return {
        "mae": f"ABS{short}",
        "rmse": f"({short} * {short})",
        # Spark stops at a division by 0.
        "mape": f"CASE WHEN y = 0e0 THEN 0e0 ELSE ABS{short} / ABS(y) END",
        "bias": f"({of} - y)",
    }[name]
