"""Several questions at once."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses fall when all are tested together (Holm, 1979): the chance of even one false
    rejection stays below `alpha`."""
    rejected = [False] * len(p_values)
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        if not p_values[at] <= alpha / (len(p_values) - rank):
            break
        rejected[at] = True
    return rejected
