"""Metrics that no linear approximation serves near their edge: calibration error and KS.

Both are biased upward (a sum of absolute values, a maximum), by about their own error where models
are good. A Poisson bootstrap shows the bias: each unit counts Poisson(1) times. Both are functions
of sums over bins of scores, so a resample is one product of matrices; rows of a large table are
dealt out to UNITS units first, which leaves the error of sums as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gitops.validate.model import Array, Predictions, Table
from gitops.validate.stats.metrics import BINS
from gitops.validate.stats.moments import DIFFERENCE, Moments, finished
from gitops.validate.stats.units import Cut, scores

UNITS = 2000
GRID = 128  # bins of equal mass in which the bias of KS is looked for
WINDOW = 0.3  # share of the grid over which the distance is smoothed
_RESAMPLES = 1000  # at most: each is a pass over all units
_TRUTHS = 41  # tried by inversion
METHOD = "Poisson bootstrap, bias taken out"


@dataclass(frozen=True)
class Resampler:
    """How often each unit counts in each resample; the same for all slices."""

    seed: int
    resamples: int

    @cached_property
    def counts(self) -> Array:
        """(UNITS, resamples), minus the expected 1; float32 holds whole numbers below 2 ** 24."""
        resamples = min(self.resamples, _RESAMPLES)
        drawn = np.random.default_rng(self.seed).poisson(1.0, (resamples, UNITS)) - 1
        return np.ascontiguousarray(drawn.T, np.float32)

    def errors(
        self, units: Array, many: int, cell: Array, weight: Array | None, size: int
    ) -> tuple[Array, Array]:
        """Errors (size, resamples) of the sums over the cells, and these sums (size).

        Each row is in one of `many` `units`, and in a `cell`.
        """
        total = np.bincount(cell, weight, size).astype(np.float64)
        if len(cell) == many:  # each row is a unit: added up in the order of the cells
            order = np.argsort(cell)
            drawn = self.counts[units[order]]
            if weight is not None:
                drawn = drawn * weight[order, None]
            rows = np.bincount(cell, minlength=size)
            there = np.flatnonzero(rows)
            found = np.zeros((size, drawn.shape[1]))
            found[there] = np.add.reduceat(drawn, (np.cumsum(rows) - rows)[there])
            return found, total
        sums = np.bincount(cell * many + units, weight, size * many).reshape(size, many)
        counts = self.counts[:many]
        if weight is None:
            return np.asarray(sums.astype(np.float32) @ counts, np.float64), total
        return np.asarray(sums @ counts.astype(np.float64)), total


def _pieces(cut: Cut) -> Iterator[tuple[int, Array, Array, int]]:
    """Slice, its rows, the unit of each, and the number of units."""
    order = np.argsort(cut.shuffler, kind="stable")
    end = np.cumsum(cut.rows)
    for at in range(cut.size):
        rows = order[end[at] - cut.rows[at] : end[at]]
        if not len(rows):
            continue
        if cut.unit is None:
            units = np.arange(len(rows))
        else:
            _, units = np.unique(cut.unit[rows], return_inverse=True)
        yield at, rows, units % UNITS, min(int(units.max()) + 1, UNITS)


def _assemble(
    cut: Cut,
    models: int,
    measured: Iterator[tuple[int, Array, list[Array]]],
    few: Array,
    why: Array,
) -> Moments:
    """From (slice, values, errors) to moments with draws."""
    value, second = np.full((2, cut.size), np.nan), np.full((3, cut.size), np.nan)
    draws: dict[tuple[int, int], Array] = {}
    for at, values, errors in measured:
        value[:models, at] = values
        for which, one in enumerate(errors):
            second[which, at] = one.var()
            draws[which, at] = np.sort(one)
    powers = np.stack([second, *np.zeros((2, *second.shape))])
    found = finished(cut, value, powers, why=why, few=few, span=1.0, method=METHOD)
    kept = {key: one for key, one in draws.items() if found.second[key] > 0}
    return replace(found, draws=kept)


# ---------------------------------------------------------------- calibration error


def calibration_error(table: Table, cut: Cut, resampler: Resampler) -> Moments:
    """Sum over the bins of |mean of outcome minus probability|, each within its bin, by weight."""
    models = [one for one in (table.candidate, table.champion) if one is not None]
    sides = [_outcome(table, one) for one in models]

    def measured() -> Iterator[tuple[int, Array, list[Array]]]:
        for at, rows, units, many in _pieces(cut):
            total = len(rows) if table.weight is None else table.weight[rows].sum()
            means, noises = [], []
            for bins, off in sides:
                noise, mean = resampler.errors(units, many, bins[rows], off[rows] / total, BINS)
                means.append(mean)
                noises.append(noise)
            both = list(zip(means, noises, strict=True))
            errors = [inverted(*one, _total, _spread(*one)) for one in both]
            if len(errors) == 2:
                ours, theirs = map(_coupled, errors, means, noises)
                errors.append(ours - theirs)
            yield at, np.array([np.abs(mean).sum() for mean in means]), errors

    why = np.full((2, cut.size), "", object)
    why[: len(models), cut.rows == 0] = "no rows"
    few = np.repeat(cut.rows[None].astype(float), 2, axis=0)
    return _assemble(cut, len(models), measured(), few, why)


def _outcome(table: Table, of: Predictions) -> tuple[Array, Array]:
    """Bin by probability, and weighted outcome minus probability (of the predicted class)."""
    score, right = scores(of), table.label == 1
    if table.task == "multiclass":
        score, right = score.max(axis=1), table.label == of.prediction
    off = right - score
    bins = np.clip((score * BINS).astype(np.int64), 0, BINS - 1)
    return bins, off if table.weight is None else off * table.weight


def inverted(
    mean: Array,
    noise: Array,
    size: Callable[[Array], Array],
    shape: Array | None = None,
    *,
    strictly: bool = False,
) -> Array:
    """Errors of `size(mean)` (a norm, 0 at best), by inversion.

    `noise` (k, resamples): errors of `mean` (k). The truths tried are multiples of `shape`, or of
    `mean`: each is asked how often it would give a size as large as the one seen. That is a
    confidence distribution of the truth, whose quantiles are the bounds. `strictly`: ask for larger
    sizes only, as an upper bound must where equal sizes are likely (a gap of nothing among few
    rows).
    """
    seen = float(size(mean))
    if shape is None:
        shape = mean if seen > 0 else noise[:, 0]
    shape = shape / (float(size(shape)) or 1.0)
    truths = np.linspace(0.0, seen + 1.5 * float(np.quantile(size(noise), 0.999)), _TRUTHS)
    larger = []
    for truth in truths:
        sizes = size(truth * shape[:, None] + noise)
        larger.append(float((sizes > seen if strictly else sizes >= seen).mean()))
    steps = (np.arange(noise.shape[1]) + 0.5) / noise.shape[1]
    return np.asarray(seen - np.interp(steps, np.maximum.accumulate(larger), truths))


def _spread(mean: Array, noise: Array) -> Array:
    """How the error is spread over the bins: as seen, a little evener (0.3: by simulation).

    Noise makes some bins stand out, and the evener the truth, the less of the size seen is noise.
    """
    return np.asarray(mean + 0.3 * np.sign(mean) * noise.std(axis=1))


def _total(means: Array) -> Array:
    return np.asarray(np.abs(means).sum(axis=0))


def _coupled(inverted: Array, mean: Array, noise: Array) -> Array:
    """The inverted errors in the order of the resamples': two models' then go together.

    Ordered by the size around a calibration curve smoothed over three bins (in logits, which are
    the mean over the variance). One model's rows are in neighbouring bins of the other's: where the
    signs of single bins are noise, the two would seem to have little to do with each other.
    """
    variance = noise.var(axis=1)
    near = np.ones(3)
    spread = np.convolve(variance, near, "same")
    shift = np.convolve(mean, near, "same") / np.where(spread > 0, spread, 1.0)
    smooth = variance * shift
    smooth *= _total(mean) / (_total(smooth) or 1.0)
    found = np.empty_like(inverted)
    found[np.argsort(_total(smooth[:, None] + noise), kind="stable")] = np.sort(inverted)
    return found


# ---------------------------------------------------------------- Kolmogorov-Smirnov


def with_ks_bias(
    found: Moments, table: Table, cut: Cut, orders: list[Array], resampler: Resampler
) -> Moments:
    """Replace the errors of KS values by resampled ones, which know of the upward bias."""
    models = [one for one in (table.candidate, table.champion) if one is not None]
    positive = table.label == 1
    ranks = []
    for order in orders:
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        ranks.append(rank)
    draws: dict[tuple[int, int], Array] = {}
    for at, rows, units, many in _pieces(cut):
        if np.isnan(found.value[: len(models), at]).any():
            continue
        up = positive[rows].astype(np.int64)
        weight = None if table.weight is None else table.weight[rows]
        errors = []
        for rank, of in zip(ranks, models, strict=True):
            bins = _grid(rank[rows], scores(of)[rows])
            noise, total = resampler.errors(units, many, up * GRID + bins, weight, 2 * GRID)
            errors.append(_largest(total.reshape(2, GRID, 1), noise.reshape(2, GRID, -1)))
        each = [*errors, errors[0] - errors[1]] if len(errors) == 2 else errors
        for which, one in enumerate(each):
            # Resamples that all agree know less than the variance: that stays.
            if found.second[which, at] > 0 and one.var() > 0:
                # Of a difference half the way: what its two maxima share goes to the place too.
                share = 0.5 if which == DIFFERENCE else 1.0
                wide = _widened(one, float(found.second[which, at]), share)
                draws[which, at] = np.sort(wide)
    return replace(found, draws=draws, method=METHOD)


def _widened(errors: Array, variance: float, share: float) -> Array:
    """Errors with at least the variance at the place of the largest distance.

    A maximum varies less than what it is taken over, but where that place moves little (few rows of
    a class), a bootstrap falls short of the truth.
    """
    middle = float(errors.mean())
    wider = float(np.sqrt(max(1.0, variance / float(errors.var())) ** share))
    return middle + (errors - middle) * wider


def _grid(rank: Array, score: Array) -> Array:
    """Bins of about equal mass; equal scores share one."""
    order = np.argsort(rank)
    value = score[order]
    opens = np.concatenate(([True], value[1:] != value[:-1]))
    first = np.maximum.accumulate(np.where(opens, np.arange(len(order)), 0))
    bins = np.empty(len(order), np.int64)
    bins[order] = first * GRID // len(order)
    return bins


def _largest(mass: Array, noise: Array) -> Array:
    """Errors (resamples) of the largest distance of two distribution functions.

    `mass` (2, GRID, 1) and its `noise` (2, GRID, resamples). The noise is added to a smoothed
    distance: the bumps of the one that was seen would hide part of the bias.
    """
    distance = _distance(mass)
    smooth = SMOOTH @ distance
    noisy = _distance(mass + noise) - distance
    return np.asarray(np.abs(smooth + noisy).max(axis=0) - np.abs(smooth).max())


def _distance(mass: Array) -> Array:
    running = np.cumsum(mass, axis=1)
    share = running / running[:, -1:]
    return np.asarray(np.nan_to_num(share[0] - share[1]))


def _smoother(window: float) -> Array:
    """Local quadratic regression over a share of the grid (tricube weights): a matrix."""
    at = np.arange(GRID) / GRID
    found = np.empty((GRID, GRID))
    for i, middle in enumerate(at):
        near = np.clip(1 - (np.abs(at - middle) / window) ** 3, 0, None) ** 3
        basis = np.vander(at - middle, 3) * np.sqrt(near)[:, None]
        found[i] = np.linalg.pinv(basis)[2] * np.sqrt(near)
    return found


SMOOTH = _smoother(WINDOW)
