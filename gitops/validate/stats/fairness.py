"""Gaps of rates between the groups of a sensitive column, with intervals.

The largest gap of several noisy rates is biased upward: equal groups show one too. So its interval
comes from resampled counts (a parametric bootstrap of each group's cells), by inversion as for the
calibration error: which true gaps would show as large a one as was seen? With more than two groups
that depends on where the others are: each bound assumes what is worst for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from gitops.validate.figures import about
from gitops.validate.model import Array, Fairness, GroupRate, Interval, Table
from gitops.validate.stats.moments import CANDIDATE, Moments, of_contributions
from gitops.validate.stats.resampled import inverted
from gitops.validate.stats.units import Cut, clusters, cut, scores

RESAMPLES = 2000
_DRAWN = 1_000_000  # numbers drawn for a criterion: many groups get fewer resamples
_CLASSES = 20  # of a multiclass task: the most frequent ones
_MISSING = "(missing)"


@dataclass(frozen=True)
class _Rate:
    """A rate to compare: the mean of `of` (n) over the rows `among` (n, bool; None: all).

    `share`: is it a share of rows, of which resamples are binomial counts? `label` says of what it
    is the rate where a criterion has several, and `needed` how many rows a group must have.
    """

    of: Array
    among: Array | None
    share: bool
    label: str
    needed: int


def fairness(
    table: Table,
    column: str,
    *,
    minimum_rows: int = 100,
    minimum_per_class: int = 30,
    level: float = 0.9,
    seed: int,
) -> list[Fairness]:
    """Each criterion of the task for one column, on the candidate's predictions.

    binary: demographic_parity (share predicted positive), equal_opportunity (true positive rate),
    false_positive_rate, equalized_odds (the larger of those two gaps), error_rate, calibration
    (mean score minus share of positives). multiclass: demographic_parity and equal_opportunity (the
    largest gap of any class), error_rate. regression: error_rate (mean absolute error) and
    calibration (mean of prediction minus label), both in the label's unit.

    A group of fewer rows is left out; with fewer than two groups left nothing is assessed. Rows
    without a value are left out as `(missing)`.
    """
    values = table.columns[column].values
    groups = np.array([number for number, value in enumerate(values) if value is not None], int)
    code = table.columns[column].codes.astype(np.int64)
    renumber = np.full(len(values), len(groups))
    renumber[groups] = np.arange(len(groups))
    names = [str(values[number]) for number in groups]
    lost = (_MISSING,) if None in values and (renumber[code] == len(groups)).any() else ()
    asked = _Asked(table, renumber[code], names, lost, clusters(table), minimum_rows, level, seed)
    return [
        asked.judged(column, criterion, rates)
        for criterion, rates in _criteria(table, minimum_rows, minimum_per_class)
    ]


def _criteria(table: Table, rows: int, per_class: int) -> Iterator[tuple[str, list[_Rate]]]:
    prediction, label = table.candidate.prediction, table.label
    if table.task == "regression":
        off = prediction - label
        yield "error_rate", [_Rate(np.abs(off), None, False, "", rows)]
        yield "calibration", [_Rate(off, None, False, "", rows)]
        return
    wrong = _Rate((prediction != label).astype(float), None, True, "", rows)
    if table.task == "multiclass":
        counts = np.bincount(label[label >= 0], minlength=len(table.classes))
        often = [int(one) for one in np.argsort(-counts, kind="stable")[:_CLASSES]]
        chosen = {one: (prediction == one).astype(float) for one in often}
        names = {one: table.classes[one] for one in often}
        yield "demographic_parity", [_Rate(chosen[c], None, True, names[c], rows) for c in often]
        hits = [_Rate(chosen[c], label == c, True, names[c], per_class) for c in often]
        yield "equal_opportunity", hits
        yield "error_rate", [wrong]
        return
    positive = (prediction == 1).astype(float)
    hit = _Rate(positive, label == 1, True, "true positives", per_class)
    alarm = _Rate(positive, label == 0, True, "false positives", per_class)
    yield "demographic_parity", [_Rate(positive, None, True, "", rows)]
    yield "equal_opportunity", [replace(hit, label="")]
    yield "false_positive_rate", [replace(alarm, label="")]
    yield "equalized_odds", [hit, alarm]
    yield "error_rate", [wrong]
    yield "calibration", [_Rate(scores(table.candidate) - (label == 1), None, False, "", rows)]


@dataclass(frozen=True)
class _Asked:
    """What holds for all criteria of a column; `code` (n) numbers the groups, their count: none."""

    table: Table
    code: Array
    names: list[str]
    lost: tuple[str, ...]
    cluster: Array | None
    minimum_rows: int
    level: float
    seed: int

    @np.errstate(invalid="ignore", divide="ignore")
    def judged(self, column: str, criterion: str, rates: list[_Rate]) -> Fairness:
        many = len(self.names)
        rows = np.bincount(self.code, minlength=many + 1)[:many]
        found = [self._rate(one) for one in rates]
        enough = [
            (rows >= self.minimum_rows) & (one.rows >= rate.needed) & np.isfinite(moments.value[0])
            for rate, (one, moments) in zip(rates, found, strict=True)
        ]
        usable = [at for at, groups in enumerate(enough) if groups.sum() >= 2]
        left = np.any(enough, axis=0) if len(rates) > 2 else np.all(enough, axis=0)
        out = (*(n for n, kept in zip(self.names, left, strict=True) if not kept), *self.lost)
        if self.cluster is not None and self.cluster.max() < 1:
            why = "all rows belong together (`group`), so nothing is known of the noise"
            return Fairness(column, criterion, Interval(None, level=self.level), (), out, why)
        if len(usable) < (len(rates) if len(rates) <= 2 else 1) or left.sum() < 2:
            why = self._too_few(rows, rates, [one.rows for one, _ in found])
            return Fairness(column, criterion, Interval(None, level=self.level), (), out, why)
        kept = [enough[at] & left for at in usable]
        rng = np.random.default_rng([self.seed, *map(ord, f"{column} {criterion}")])
        centre, noise = [], []
        for at, groups in zip(usable, kept, strict=True):
            centre.append(found[at][1].value[0, groups])
            noise.append(self._noise(rng, rates[at], *found[at], groups))
        spans = (0, *(int(one) for one in np.cumsum([len(one) for one in centre])))
        largest = max(range(len(usable)), key=lambda at: float(np.ptp(centre[at])))
        shown = tuple(self._shown(*found[usable[largest]], rates[usable[largest]], kept[largest]))
        gap = self._gap(np.concatenate(centre), np.concatenate(noise), _Widest(spans), shown)
        return Fairness(column, criterion, gap, shown, out)

    def _too_few(self, rows: Array, rates: list[_Rate], counts: list[Array]) -> str:
        """Why nothing is assessed, and with how many test rows a second group would be enough."""
        every = [
            np.maximum(self.minimum_rows / rows, rate.needed / count)
            for rate, count in zip(rates, counts, strict=True)
        ]
        times = np.max(every, axis=0) if len(rates) <= 2 else np.min(every, axis=0)
        text = f"fewer than two groups have {self.minimum_rows} rows"
        if (needed := rates[0].needed) != self.minimum_rows:
            text += f", and {needed} of the class that it is about"
        if len(times) > 1 and np.isfinite(second := float(np.sort(times)[1])):
            text += f"; about {about(math.ceil(self.table.rows * second))} test rows would do"
        return text

    def _rate(self, rate: _Rate) -> tuple[Cut, Moments]:
        many = len(self.names)
        code = self.code if rate.among is None else np.where(rate.among, self.code, many)
        groups = cut(code, many, (), self.cluster)
        weight = np.ones(self.table.rows) if self.table.weight is None else self.table.weight
        total = groups.sums(weight)
        value = groups.sums(weight * rate.of) / total
        push = weight * (rate.of - np.append(value, 0.0)[code]) / np.append(total, 1.0)[code]
        push[code == many] = 0.0
        both = np.vstack([value, np.full(many, np.nan)])
        few = np.repeat((total**2 / groups.sums(weight**2))[None], 2, axis=0)
        why = np.full((2, many), "", object)
        found = of_contributions(
            groups, both, push, None, why=why, few=few, span=1.0 if rate.share else np.inf,
            method="",
        )  # fmt: skip
        return groups, found

    def _noise(
        self, rng: np.random.Generator, rate: _Rate, groups: Cut, found: Moments, kept: Array
    ) -> Array:
        """Errors (groups, resamples) of the rates: binomial counts, or normal with weights."""
        value, rows = found.value[CANDIDATE, kept], groups.rows[kept]
        shape = (len(value), max(200, min(RESAMPLES, _DRAWN // len(self.names))))
        if rate.share and self.table.weight is None and self.cluster is None:
            # Half a row of each kind added: a group without a single hit isn't known to be at 0.
            near = (value * rows + 0.5) / (rows + 1)
            return np.asarray(
                rng.binomial(rows[:, None], near[:, None], shape) / rows[:, None] - near[:, None]
            )
        second = found.second[CANDIDATE, kept]
        if rate.share:
            few = found.few[CANDIDATE, kept]
            near = (value * few + 0.5) / (few + 1)
            second = np.where(second > 0, second, near * (1 - near) / few)
        return np.asarray(rng.standard_normal(shape) * np.sqrt(second)[:, None])

    def _gap(
        self, centre: Array, noise: Array, size: _Widest, groups: Sequence[GroupRate]
    ) -> Interval:
        seen = float(size(centre))
        if not np.isfinite(noise).all():
            return Interval(seen, level=self.level)
        near = inverted(centre, noise, size, size.apart(centre))
        far = inverted(centre, noise, size, size.alone(centre), strictly=True)
        low = seen - np.quantile(near, (1 + self.level) / 2)
        high = seen - np.quantile(far, (1 - self.level) / 2)
        if high <= seen:  # hardly a gap: less than most truths would show, so nothing to invert
            high = seen + _reach(groups)
        return Interval(seen, min(max(float(low), 0.0), seen), float(high), self.level)

    def _shown(self, groups: Cut, found: Moments, rate: _Rate, kept: Array) -> Iterator[GroupRate]:
        low, high = (0.0, 1.0) if rate.share else (-np.inf, np.inf)
        for at in np.flatnonzero(kept):
            one = found.distribution(CANDIDATE, int(at), low, high)
            value = Interval(float(found.value[CANDIDATE, at]), level=self.level)
            name = f"{self.names[at]} ({rate.label})" if rate.label else self.names[at]
            shown = one.interval(self.level) if one else value
            yield GroupRate(name, int(groups.rows[at]), shown)


def _reach(groups: Sequence[GroupRate]) -> float:
    """How far the gap of the groups farthest apart may be from the one seen, either way.

    From the intervals of both rates (Newcombe 1998, method 10), which know that a group without a
    single hit isn't known to be at 0.
    """
    arms = []
    for one in (each.rate for each in groups):
        middle, low, high = one.estimate, one.lower, one.upper
        if middle is None or low is None or high is None:
            return math.inf
        arms.append((middle, middle - low, high - middle))
    (_, down, up), (_, down_too, up_too) = min(arms), max(arms)
    return max(math.hypot(down, up_too), math.hypot(up, down_too))


@dataclass(frozen=True)
class _Widest:
    """The largest range of any part (between two of `spans`) of the first axis."""

    spans: tuple[int, ...]

    def __call__(self, rates: Array) -> Array:
        parts = [np.ptp(rates[start:end], axis=0) for start, end in pairwise(self.spans)]
        return np.asarray(np.max(parts, axis=0))

    def apart(self, rates: Array) -> Array:
        """The truth that noise makes look largest: each group at one of two ends, its nearer."""
        parts = [rates[start:end] for start, end in pairwise(self.spans)]
        ends = [np.where(one >= (one.max() + one.min()) / 2, 0.5, -0.5) for one in parts]
        return np.concatenate(ends)

    def alone(self, rates: Array) -> Array:
        """The truth that noise makes look smallest: two groups of one part apart, no others."""
        start, end = max(pairwise(self.spans), key=lambda part: np.ptp(rates[slice(*part)]))
        found = np.zeros(len(rates))
        found[start + int(np.argmax(rates[start:end]))] += 0.5
        found[start + int(np.argmin(rates[start:end]))] -= 0.5
        return found
