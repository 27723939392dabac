"""Several questions at once."""

from __future__ import annotations

import math
from collections.abc import Sequence


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses fall when all are tested together (Holm, 1979): the chance of even one false
    rejection stays below `alpha`. What isn't a number counts as 1."""
    known = [1.0 if math.isnan(p) else p for p in p_values]
    rejected = [False] * len(known)
    for rank, at in enumerate(sorted(range(len(known)), key=lambda at: known[at])):
        if not known[at] <= alpha / (len(known) - rank):
            break
        rejected[at] = True
    return rejected
