"""Three answers from an interval: PASS, FAIL, or too few rows; and how many would do.

A one-sided bound on the good side of what is asked passes, one on the bad side fails.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

from gitops.validate.model import Interval, State

Sense = Literal["above", "below"]
POWER = 0.8  # of the test-set size that is named where rows are too few
_NORMAL = NormalDist()


def decided(value: Interval, bound: float, sense: Sense, *, strict: bool = False) -> State:
    """What an interval says about a bound; nothing that isn't a finite number passes.

    The bound itself passes, unless `strict`: equal models are no worse, but neither is better.
    """
    ends = (value.estimate, value.lower, value.upper)
    if any(end is None or not math.isfinite(end) for end in ends):
        return "INCONCLUSIVE"
    low, high = float(value.lower or 0), float(value.upper or 0)
    if sense == "below":
        low, high, bound = -high, -low, -bound
    if low > bound or (low == bound and not strict):
        return "PASS"
    return "FAIL" if high < bound or (high == bound and strict) else "INCONCLUSIVE"


def needed_rows(value: Interval, bound: float, rows: int, confidence: float) -> int | None:
    """The test-set size that would decide with a chance of 0.8, if the estimate is the truth.

    The standard error shrinks with the root of the rows; None where the estimate is so near to the
    bound that no size is of use (above a billion).
    """
    if value.estimate is None or value.lower is None or value.upper is None:
        return None
    error = (value.upper - value.lower) / 2 / max(_NORMAL.inv_cdf(confidence), 1e-9)
    away = abs(value.estimate - bound)
    wanted = (_NORMAL.inv_cdf(confidence) + _NORMAL.inv_cdf(POWER)) * error
    if not away or not math.isfinite(ratio := wanted / away) or rows * ratio**2 > 1e9:
        return None
    return max(math.ceil(rows * ratio**2), rows + 1)
