"""Always-valid one-sided bounds of the mean difference between two arms.

Each unit i contributes a `score` z and an amount of `information` h, both such that, given all that
came before, E[z] = h x (its mean difference). In split steps, with A = 1 where the challenger
answered, p its share at that moment, Y the outcome and m the mean of all earlier outcomes,

    z = (A - p)(Y - m),  h = p(1 - p):

the augmented inverse-probability-weighted difference, (A - p)(Y - m) / (p(1 - p)), times the
overlap weight p(1 - p) (Li, Morgan and Zaslavsky, JASA 113 (2018) 390-400). The weight makes a unit
count by what it tells, and keeps contributions small at small shares. Shares may change from unit
to unit, and base rates drift: nothing is pooled over shares. In a shadow step z is the paired
difference and h = 1. The mean difference is sum(z) / sum(h).

Outcomes within known bounds are judged by betting, exactly: for no more than the stated chance at
any time, for any dependence on what came before. Others by an asymptotic confidence sequence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gitops.rollout.model import Array, Pairs, Split

BURN_IN = 100
"""Units that each arm needs (or pairs) before the asymptotic bounds say anything."""
_BETS = 12
_STAKE = 0.9  # of what a bet could lose at most
_FAR = 0.1  # of the span: null hypotheses go up to it


@dataclass(frozen=True)
class Scores:
    """Contributions of n units: `z`, `h`. `down`, `up`: how far z may fall below and rise above 0,
    plus h x what a null hypothesis may lie beyond it (infinite: no bounds). `ready`: is the burn-in
    over? `span`: the largest possible difference.
    """

    z: Array
    h: Array
    down: Array
    up: Array
    ready: NDArray[np.bool_]
    span: float

    def flipped(self) -> Scores:
        """Of the difference champion - challenger."""
        return replace(self, z=-self.z, down=self.up, up=self.down)


def of_split(split: Split, low: float, high: float) -> Scores:
    """A unit counts once both arms have been seen: before, nothing is known of its worth."""
    arm, share, outcome = split.challenger, split.share, split.outcome
    count = np.arange(len(arm), dtype=np.float64)
    before = np.cumsum(arm) - arm
    both = ((before > 0) & (before < count)).astype(np.float64)
    mean = (np.cumsum(outcome) - outcome) / np.maximum(count, 1)
    z = both * (arm - share) * (outcome - mean)
    h = both * share * (1 - share)
    with np.errstate(invalid="ignore"):  # infinite bounds: not used
        reach = h * _FAR * (high - low)
        down = np.maximum((1 - share) * (mean - low), share * (high - mean)) + reach
        up = np.maximum((1 - share) * (high - mean), share * (mean - low)) + reach
    ready = np.minimum(before, count - before) >= BURN_IN
    return Scores(z, h, down, up, ready, high - low)


def of_pairs(pairs: Pairs, low: float, high: float) -> Scores:
    z = pairs.challenger - pairs.champion
    reach = np.full(len(z), (1 + _FAR) * (high - low))
    ready = np.arange(len(z)) >= BURN_IN
    return Scores(z, np.ones(len(z)), reach, reach, ready, high - low)


def estimate(scores: Scores) -> tuple[float, float]:
    """The mean difference, and the standard deviation by unit of information; NaN: not known."""
    total = float(scores.h.sum())
    if total <= 0:
        return math.nan, math.nan
    mean = float(scores.z.sum()) / total
    return mean, math.sqrt(float(((scores.z - scores.h * mean) ** 2).sum()) / total)


# ---------------------------------------------------------------- by betting: bounded outcomes


def wealth(scores: Scores, null: float, alpha: float, information: float) -> Array:
    """Log wealth after each unit of a gambler against "no difference is above `null`" (n).

    It starts at 0, and if the hypothesis is true the chance that it ever reaches log(1 / alpha) is
    at most alpha (Ville's inequality); the mean of several gamblers with fixed stakes
    (Waudby-Smith and Ramdas, JRSSB 86 (2024) 1-27, section 5; the mixture after Robbins, Ann. Math.
    Statist. 41 (1970) 1397-1409). Stakes reach from what pays just before `information` is used up
    to nearly all.
    """
    x, most = scores.z - scores.h * null, _STAKE / scores.down
    total = np.full(len(x), -np.inf)
    for stake in _stakes(scores.span, alpha, information):
        total = np.logaddexp(total, np.cumsum(np.log1p(np.minimum(stake, most) * x)))
    return np.asarray(total - math.log(_BETS))


def _stakes(span: float, alpha: float, information: float) -> Array:
    """Per unit of outcome: fixed beforehand, from the largest variance to a 1,000th of it."""
    least = math.sqrt(8 * math.log(1 / alpha) / information)
    return np.geomspace(min(least, 1.0), 8.0, _BETS) / span


def lower_by_betting(scores: Scores, alpha: float, information: float) -> float:
    """The largest difference against which the gambler has won, to a 30,000th of the span.

    Wealth falls with the null hypothesis, so it is found by bisection. Not looked for above a tenth
    of the span: so large null hypotheses would take from the stakes against small ones.
    """
    goal, most = math.log(1 / alpha), _STAKE / scores.down
    stakes = [np.minimum(one, most) for one in _stakes(scores.span, alpha, information)]

    def won(null: float) -> bool:
        x = scores.z - scores.h * null
        grown = [float(np.log1p(stake * x).sum()) for stake in stakes]
        return float(np.logaddexp.reduce(grown)) - math.log(_BETS) >= goal

    low, high = -scores.span, _FAR * scores.span
    if not won(low):
        return -math.inf
    while high - low > scores.span / 30_000:
        middle = (low + high) / 2
        low, high = (middle, high) if won(middle) else (low, middle)
    return low


# ---------------------------------------------------------------- asymptotic: other outcomes


def asymptotic(scores: Scores, alpha: float, information: float) -> tuple[Array, Array]:
    """After each unit the mean difference and the width of a one-sided bound; NaN: none yet.

    With t the information so far and s^2 the variance by unit of it, the width is

        s sqrt(2 (t r^2 + 1) / (t^2 r^2) log(1 + sqrt(t r^2 + 1) / (2 alpha)))

    (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Ann. Statist. 52 (2024) 2613-2640: the
    asymptotic confidence sequence under martingale dependence, and its one-sided form). r makes it
    tightest at a quarter of `information`, by the paper's approximation at level 2 alpha.
    """
    t, total = np.cumsum(scores.h), np.cumsum(scores.z)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / t
        squares = np.cumsum(scores.z**2) - 2 * mean * np.cumsum(scores.z * scores.h)
        s2 = np.maximum(squares + mean**2 * np.cumsum(scores.h**2), 0.0) / t
        first = -2 * math.log(2 * alpha)
        r2 = (first + math.log(first + 1)) / (information / 4)
        grown = t * r2 + 1
        width = np.sqrt(s2 * 2 * grown / r2 * np.log(1 + np.sqrt(grown) / (2 * alpha))) / t
    return mean, np.where(scores.ready & (s2 > 0), width, np.nan)
