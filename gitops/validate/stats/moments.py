"""From sums to distributions: a metric on many slices, and the moments of its errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gitops.validate.model import Array
from gitops.validate.stats.distribution import Distribution
from gitops.validate.stats.units import Cut, pieces

CANDIDATE, CHAMPION, DIFFERENCE = 0, 1, 2


@dataclass(frozen=True)
class Moments:
    """A metric on the S slices of a cut, for candidate, champion and their difference.

    `value` (3, S). `powers` (3, 3, S): sums over the independent units of the squared, cubed and
    fourth powers of the contributions to the error. `few` (3, S): how many rows stand behind an
    error of 0, and `span` how far one of them could move the value; few NaN: no row could. `draws`:
    resampled errors by (which, slice), which replace the moments. `why` (2, S): reasons why a
    model's value is not defined, else "".
    """

    value: Array
    powers: Array
    few: Array
    span: float
    why: Array
    method: str
    units: Array
    dependent: bool
    draws: dict[tuple[int, int], Array] = field(default_factory=dict)

    @property
    def second(self) -> Array:
        return np.asarray(self.powers[0])

    @cached_property
    def paired(self) -> bool:
        """Is there a champion, if only one whose value is nowhere defined?"""
        return bool(np.isfinite(self.value[CHAMPION]).any() or (self.why[CHAMPION] != "").any())

    def distribution(self, which: int, at: int, low: float, high: float) -> Distribution | None:
        """None if the value or its error isn't known."""
        value, second = float(self.value[which, at]), float(self.second[which, at])
        units = int(self.units[at])
        if not math.isfinite(value) or not math.isfinite(second):
            return None
        drawn = self.draws.get((which, at))
        if drawn is not None:
            return Distribution(value, math.sqrt(second), low=low, high=high, draws=drawn)
        df = units - 1.0 if self.dependent else math.inf
        if second > 0:
            skew = float(self.powers[1, which, at]) / second**1.5
            excess = float(self.powers[2, which, at]) / second**2 - 3 / units
            skew, excess = (one if math.isfinite(one) else 0.0 for one in (skew, excess))
            return Distribution(value, math.sqrt(second), skew, df, low, high, excess=excess)
        few = float(self.few[which, at])
        if math.isnan(few):
            return Distribution(value, 0.0, low=low, high=high)
        few = min(few, units)
        return Distribution(value, 0.0, low=low, high=high, few=few, span=self.span)


def of_contributions(
    cut: Cut,
    value: Array,
    candidate: Array,
    champion: Array | None,
    *,
    why: Array,
    few: Array,
    span: float,
    method: str,
) -> Moments:
    """Moments of errors whose terms are known by row.

    `value` (2, S); `candidate`, `champion` (n): each row's contribution to the error of its slice's
    value, weight included. `few` (2, S).
    """
    powers = np.full((3, 3, cut.size), np.nan)
    ours = cut.by_unit(candidate)
    theirs = None if champion is None else cut.by_unit(champion)
    many = 1 if theirs is None else 3
    powers[:, :many] = 0.0
    for rows in pieces(len(ours), cut.size):
        code = cut.unit_code[rows]
        each = [ours[rows]]
        if theirs is not None:
            each += [theirs[rows], each[0] - theirs[rows]]
        for which, one in enumerate(each):
            square = one * one
            for power, values in enumerate((square, square * one, square * square)):
                powers[power, which] += cut.sums(values, code)
    return finished(cut, value, powers, why=why, few=few, span=span, method=method)


def finished(
    cut: Cut,
    value: Array,
    powers: Array,
    *,
    why: Array,
    few: Array,
    span: float,
    method: str,
    floor: Array | float = 0.0,
) -> Moments:
    """Add the difference, and what dependence asks for; `powers` (3, 3, S) as in `Moments`.

    `floor` (S): added to the variance of a difference that isn't 0, for the rows that speak for the
    other side and happen not to be in a small sample (as in Agresti and Min, Biometrics 61 (2005)).
    """
    value = np.where(why == "", value, np.nan)
    value = np.vstack([value, value[CANDIDATE] - value[CHAMPION]])
    second = powers[0]
    if cut.unit is not None:
        second = second * (cut.units / (cut.units - 1))
        second = np.where(cut.units < 10, np.nan, second)
        method += ", time blocks or groups as units"
    # What rounding leaves of a sum that is 0.
    tiny = 1e-28 * np.fmax(np.abs(value[CANDIDATE]), np.abs(value[CHAMPION])) ** 2
    second = np.where(second <= tiny, 0.0, second)
    second = np.where(cut.units < 2, np.nan, second)
    second[DIFFERENCE] += np.where(second[DIFFERENCE] > 0, floor, 0.0)
    few = np.vstack([few, np.fmin(few[CANDIDATE], few[CHAMPION])])
    powers = np.stack([second, *powers[1:]])
    return Moments(value, powers, few, span, why, method, cut.units, cut.unit is not None)
