"""Metrics on slices, for candidate, champion and their paired difference, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from gitops.validate.model import Array, Interval, Measure, Slice, Table
from gitops.validate.stats import counts, losses, ranks, resampled
from gitops.validate.stats.distribution import Distribution
from gitops.validate.stats.metrics import METRICS, Metric
from gitops.validate.stats.moments import CANDIDATE, CHAMPION, DIFFERENCE, Moments, of_contributions
from gitops.validate.stats.units import Cut, cuts

_DELONG = "DeLong, midranks, skewness taken out"
_INFLUENCE = "linearised by row (influence function), skewness taken out"
_RANKS = {"roc_auc": _DELONG, "roc_auc_ovr": _DELONG, "pr_auc": _INFLUENCE, "ks": _INFLUENCE}


@dataclass(frozen=True)
class Estimated:
    """A measure, and the distributions behind its intervals; None where there is none.

    `difference` is candidate minus champion in the metric's own sign, as in the measure.
    """

    measure: Measure
    up: bool | None
    candidate: Distribution | None
    champion: Distribution | None
    difference: Distribution | None

    @property
    def oriented(self) -> Distribution | None:
        """The difference, turned so that up is better.

        Raises:
            ValueError: the metric has no better side (bias).
        """
        if self.up is None:
            raise ValueError(f"{self.measure.metric} has no better side to compare by")
        return self.difference if self.up or not self.difference else self.difference.flipped()

    def p_value(self, margin: float, side: Literal["above", "below"] = "above") -> float:
        """Of the oriented difference against -`margin`; 1 where it isn't known.

        `above`: evidence that the candidate is not worse by the margin; `below`: that it is worse.
        """
        return self.oriented.p_value(-margin, side) if self.oriented else 1.0


def measure(
    table: Table,
    metrics: Iterable[str],
    slices: Sequence[Slice],
    *,
    seed: int,
    level: float = 0.9,
    resamples: int = 2000,
) -> list[Estimated]:
    """Every metric on every slice, metric by metric in the given order.

    `level` is that of the two-sided intervals: 0.9 has both ends at a one-sided 95 %.

    Raises:
        KeyError: a metric is unknown, or a slice names a column that the table doesn't have.
        ValueError: a metric isn't for the task of the table.
    """
    names = list(dict.fromkeys(metrics))
    known = [METRICS[name] for name in names]
    for metric in known:
        if table.task not in metric.tasks:
            raise ValueError(f"{metric.name} is not for a {table.task} task")
    job = Job(table, resampled.Resampler(seed, resamples))
    found: dict[tuple[str, int], Estimated] = {}
    for cut in cuts(table, slices):
        same = job.same(cut)
        for name, moments in job.moments(cut, names).items():
            for at, places in enumerate(cut.place):
                for place in places:
                    one = slices[place]
                    found[name, place] = estimated(
                        METRICS[name], moments, at, one, level, same, cut
                    )
    return [found[name, place] for name in names for place in range(len(slices))]


def estimated(
    metric: Metric, moments: Moments, at: int, one: Slice, level: float, same: Array, cut: Cut
) -> Estimated:
    """One slice's numbers out of the arrays."""
    paired = moments.paired
    low, high = metric.low, metric.high
    why = [str(reason) for reason in moments.why[:, at]]
    sides = [
        moments.distribution(CANDIDATE, at, low, high),
        moments.distribution(CHAMPION, at, low, high) if paired else None,
        moments.distribution(DIFFERENCE, at, low - high, high - low) if paired else None,
    ]
    if same[at] and sides[DIFFERENCE] is not None:
        sides[DIFFERENCE] = Distribution(0.0, 0.0, low=low - high, high=high - low)
    shown = [
        side.interval(level) if side else Interval(_number(moments.value[which, at]), level=level)
        for which, side in enumerate(sides)
    ]
    undefined = why[0] or (f"the champion's is not defined: {why[1]}" if why[1] else "")
    taken = Measure(
        metric.name, one, int(cut.rows[at]), shown[0], shown[1] if paired else None,
        shown[2] if paired else None, moments.method, undefined,
    )  # fmt: skip
    return Estimated(taken, metric.up, *sides)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True)
class Job:
    """A table, and what is computed from it once for all slices and metrics."""

    table: Table
    resampler: resampled.Resampler

    @np.errstate(invalid="ignore", divide="ignore", over="ignore")
    def moments(self, cut: Cut, names: Sequence[str]) -> dict[str, Moments]:
        """Moments of the metrics on the slices of a cut; what isn't defined is NaN."""
        table, found = self.table, {}
        by = {family: [n for n in names if METRICS[n].family == family]
              for family in ("counts", "losses", "ranks", "bins")}  # fmt: skip
        if by["counts"]:
            cells = counts.cells(table, cut)
            for name in by["counts"]:
                found[name] = counts.moments(cells, cut, name, table.task)
        means = {name: losses.loss(name, table.task) for name in by["losses"] if name != "r2"}
        if means:
            sums = losses.sums(table, cut, list(means.values()))
            for (name, (_, span)), one in zip(means.items(), sums, strict=True):
                found[name] = losses.moments(cut, one, name, span)
        if "r2" in by["losses"]:
            found["r2"] = losses.r2(table, cut)
        if by["bins"]:
            found["calibration_error"] = resampled.calibration_error(table, cut, self.resampler)
        found.update(self._ranks(cut, by["ranks"]))
        return {name: found[name] for name in names}

    def same(self, cut: Cut) -> Array:
        """Slices (S) on which both models answered exactly the same."""
        if self._differs is None:
            return np.zeros(cut.size, bool)
        return np.asarray(cut.sums(self._differs) == 0)

    @cached_property
    def _differs(self) -> Array | None:
        ours, theirs = self.table.candidate, self.table.champion
        if theirs is None:
            return None
        differs = ours.prediction != theirs.prediction
        if ours.score is not None and theirs.score is not None:
            other = ours.score != theirs.score
            differs = differs | (other if other.ndim == 1 else other.any(axis=1))
        return np.asarray(differs, np.float64)

    @cached_property
    def _models(self) -> list[Array]:
        """The scores of candidate and champion."""
        both = (self.table.candidate, self.table.champion)
        return [one.score for one in both if one is not None and one.score is not None]

    @cached_property
    def sorted(self) -> list[ranks.Sorted]:
        """The rows by the scores of each model (binary)."""
        positive = self.table.label == 1
        return [ranks.by_score(score, positive, self.table.weight) for score in self._models]

    def _ranks(self, cut: Cut, names: Sequence[str]) -> dict[str, Moments]:
        if not names:
            return {}
        table, many = self.table, len(self._models)
        value = {name: np.full((2, cut.size), np.nan) for name in names}
        push: dict[str, list[Array]] = {name: [] for name in names}
        few, why = np.full((2, cut.size), np.nan), np.full((2, cut.size), "", object)
        for which in range(many):
            if table.task == "multiclass":
                found, pushed, few[which] = _over_classes(table, cut, self._models[which])
            else:
                functions = [getattr(ranks, name) for name in names]
                found, pushed, few[which] = ranks.values(cut, self.sorted[which], functions)
            for name, one, by_row in zip(names, found, pushed, strict=True):
                value[name][which] = one
                push[name].append(by_row)
        why[:many][few[:many] == 0] = "only one class"
        why[:many, cut.rows == 0] = "no rows"
        result = {
            name: of_contributions(
                cut, value[name], push[name][0], push[name][1] if many == 2 else None, why=why,
                few=few, span=1.0, method=_RANKS[name],
            )
            for name in names
        }  # fmt: skip
        if "ks" in result:
            orders = [one.order for one in self.sorted]
            result["ks"] = resampled.with_ks_bias(result["ks"], table, cut, orders, self.resampler)
        return result


def _over_classes(table: Table, cut: Cut, score: Array) -> tuple[list[Array], list[Array], Array]:
    """The mean of each class's ROC-AUC against the rest, over the classes that a slice has."""
    total, push = np.zeros(cut.size), np.zeros(table.rows)
    there, few = np.zeros(cut.size), np.full(cut.size, np.inf)
    for number in range(score.shape[1]):
        one = np.ascontiguousarray(score[:, number])
        ordered = ranks.by_score(one, table.label == number, table.weight)
        (value,), (pushed,), rarer = ranks.values(cut, ordered, [ranks.roc_auc])
        has = rarer > 0
        total += np.where(has, value, 0.0)
        push += pushed
        there += has
        few = np.where(has, np.minimum(few, rarer), few)
    push /= np.append(np.maximum(there, 1), 1.0)[cut.code]
    return [total / there], [push], np.where(there >= 2, few, 0.0)
