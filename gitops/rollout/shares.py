"""Always-valid tests of shares: is one above its bound, do arms have the shares they should have?

Both are functions of counts, so one may look at any time and as often as one likes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

_ALTERNATIVES = 24
_SURE = 100.0
"""How many units the prior of the arms' shares weighs: at 50 % it looks for deviations of 0.05."""


def above(count: int, of: int, bound: float) -> float:
    """Log evidence that a share is above `bound`: at least log(1 / alpha) with chance <= alpha if
    no event's chance, given all before, is above it.

    A mixture of likelihood ratios over shares above the bound (Robbins, Ann. Math. Statist. 41
    (1970) 1397-1409); each is a supermartingale for every smaller share, whether constant or not.
    """
    share = bound + (1 - bound) * np.geomspace(min(bound, 0.5) / 4, 0.999, _ALTERNATIVES)
    grown = count * np.log(share / bound) + (of - count) * np.log((1 - share) / (1 - bound))
    return float(np.logaddexp.reduce(grown)) - math.log(len(share))


def mismatch(arms: Mapping[int, tuple[int, int]]) -> float:
    """Log evidence that arms don't have their declared shares: >= log(1 / alpha) with chance
    <= alpha if they do.

    `arms`: for each share in percent the champion's and the challenger's units. The test martingale
    of Lindon and Malek (NeurIPS 2022, "Anytime-valid inference for multinomial count data"), one
    for each share, multiplied.
    """
    total = 0.0
    for percent, (champion, challenger) in arms.items():
        p = percent / 100
        a, b = _SURE * p, _SURE * (1 - p)
        total += _beta(a + challenger, b + champion) - _beta(a, b)
        total -= challenger * math.log(p) + champion * math.log(1 - p)
    return total


def _beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
