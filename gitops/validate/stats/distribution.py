"""The sampling distribution of an estimate: bounds at any confidence, and p-values.

An estimate's error is a sum of many small terms (its influence values). The sum's first three
moments give a studentised statistic; Hall's cubic transformation takes its skewness out, so that
one-sided bounds hold too: P. Hall, On the removal of skewness by transformation, JRSS B 54 (1992)
221-228. The skewness is itself estimated, by the same large terms that move the estimate: what that
costs, z (1 + 2 z^2) / 6 times the kurtosis less 3/2 of the squared skewness, is added (P. Hall,
Theoretical comparison of bootstrap confidence intervals, Ann. Statist. 16 (1988) 927-953). It is
nothing but where few rows carry the error. Dependent rows leave few independent terms: Student's t
in place of the normal, by Abramowitz and Stegun 26.7.8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np

from gitops.validate.model import Array, Interval

Side = Literal["lower", "upper"]
_NORMAL = NormalDist()
_FAR = 40.0  # a normal error beyond it has a probability of 0 in floating point


@dataclass(frozen=True)
class Distribution:
    """An estimate with its error.

    `se`: standard error; `skew`, `excess`: third and fourth standardised cumulant of the error (not
    of a row). `df`: degrees of freedom where rows depend on each other, else infinite. `low`,
    `high`: the range of the metric. `few`: with a standard error of 0, how many rows say so, each
    of which could have moved the value by `span`; None: no row could (the two models answered the
    same), or with `span` infinite nothing is known. `draws`: sorted resampled errors; they replace
    the moments.
    """

    value: float
    se: float
    skew: float = 0.0
    df: float = math.inf
    low: float = -math.inf
    high: float = math.inf
    few: float | None = None
    span: float = 1.0
    draws: Array | None = None
    excess: float = 0.0

    def bound(self, side: Side, confidence: float) -> float | None:
        """The true value is beyond this bound with probability 1 - `confidence` only."""
        found = self._bound(1.0 if side == "lower" else -1.0, confidence)
        return None if math.isnan(found) else min(max(found, self.low), self.high)

    def interval(self, level: float) -> Interval:
        confidence = (1 + level) / 2
        lower, upper = self.bound("lower", confidence), self.bound("upper", confidence)
        return Interval(self.value, lower, upper, level)

    def p_value(self, bound: float, side: Literal["above", "below"] = "above") -> float:
        """How likely such an estimate is if the truth isn't on this side of `bound`; 1: no say."""
        above = side == "above"
        if self.draws is not None:
            root = self.value - bound
            found = np.searchsorted(self.draws, root, side="left" if above else "right")
            count = len(self.draws) - int(found) if above else int(found)
            return (count + 1) / (len(self.draws) + 1)
        away = self.value - bound if above else bound - self.value
        if self.se == 0:
            if self.few is None:
                return 0.0 if away > 0 else 1.0
            share = away / self.span if math.isfinite(self.span) else 0.0
            return 1.0 if share <= 0 else max(0.0, 1 - share) ** self.few
        z = self._unstretched((self.value - bound) / self.se)
        z = _normal_of_t(z, self.df)
        return _NORMAL.cdf(-z if above else z)

    def flipped(self) -> Distribution:
        """Of minus the value."""
        return replace(
            self,
            value=0.0 - self.value,
            skew=-self.skew,
            low=-self.high,
            high=-self.low,
            draws=None if self.draws is None else -self.draws[::-1],
        )

    def _bound(self, sign: float, confidence: float) -> float:
        if self.draws is not None:
            at = confidence if sign > 0 else 1 - confidence
            return self.value - float(np.quantile(self.draws, at))
        if self.se == 0:
            if self.few is None:
                return self.value
            if not math.isfinite(self.span):
                return math.nan
            # Rule of three, exactly: none of `few` rows differed.
            return self.value - sign * self.span * (1 - float((1 - confidence) ** (1 / self.few)))
        z = _t_of_normal(sign * _NORMAL.inv_cdf(confidence), self.df)
        return self.value - self.se * self._stretched(z)

    def _stretched(self, z: float) -> float:
        """The studentised error that is as likely as z of a normal one."""
        return _skewed(z, self.skew) + self._noise * z * (1 + 2 * z * z) / 6

    def _unstretched(self, t: float) -> float:
        """The inverse, which has no closed form: by bisection."""
        if not self._noise:
            return _unskewed(t, self.skew)
        low, high = -_FAR, _FAR
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self._stretched(middle) < t else (low, middle)
        return (low + high) / 2

    @property
    def _noise(self) -> float:
        """Of the estimated skewness, as far as it goes with the error; never narrower for it."""
        return max(0.0, self.excess - 1.5 * self.skew**2)


def _skewed(z: float, skew: float) -> float:
    """Hall's cubic, inverted."""
    if abs(skew) < 1e-8:
        return z
    return 3 / skew * (math.cbrt(1 + skew * (z - skew / 6)) - 1)


def _unskewed(t: float, skew: float) -> float:
    """Hall's cubic."""
    if abs(skew) < 1e-8:
        return t
    return ((1 + skew * t / 3) ** 3 - 1) / skew + skew / 6


def _t_of_normal(z: float, df: float) -> float:
    if math.isinf(df):
        return z
    rest = (1 - 1 / (4 * df)) ** 2 - z * z / (2 * df)
    return math.copysign(math.inf, z) if rest <= 0 else z / math.sqrt(rest)


def _normal_of_t(t: float, df: float) -> float:
    return t if math.isinf(df) else t * (1 - 1 / (4 * df)) / math.sqrt(1 + t * t / (2 * df))
