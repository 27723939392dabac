"""Drift of the inputs: the test set against the training data, and against the base's test set.

Both are counted on the bins of the package's reference.json and compared by the population
stability index (Siddiqi 2006; a symmetric Kullback-Leibler divergence). Two samples of the same
source differ too: with B bins and n, m rows their index is about (1/n + 1/m) times a chi-squared
number of B - 1 degrees of freedom (Yurdakul 2018). That mean is taken off, and what is within the
chance of 1 in 1,000 over all columns is no drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

import gitops.validate.analyses.sample as sample
from gitops.package import Package
from gitops.validate.model import Array, Finding

ALARM, NOTE = 0.25, 0.1  # the usual reading: above 0.1 moved, above 0.25 moved much
ROWS = 200_000
CHANCE = 0.001
EXPECTED = 5  # rows that a bin must have to be compared by itself
_BLOCK = 65_536


@dataclass(frozen=True)
class Drift:
    """One column of `rows` rows, compared with `reference` rows.

    `psi`: less what chance gives, never below 0; `significant`: more than chance gives. `gap`: the
    largest difference of the distribution functions (categories: half the sum of the differences).
    """

    column: str
    psi: float
    gap: float
    rows: int
    reference: int
    significant: bool


def drift(
    inputs: sample.Inputs,
    package: Package,
    base_inputs: sample.Inputs | None = None,
    *,
    seed: int = 0,
    alarm: float = ALARM,
    note: float = NOTE,
    rows: int = ROWS,
) -> tuple[Finding, ...]:
    """Findings `drift` (training data to test set) and `drift-base` (base's test set to this one).

    By size. From `alarm` on they are alarms, from `note` on notes. Times are left out: rows that
    are split by time always move.
    """
    names = [item.name for item in package.signature.inputs if item.type != "datetime"]
    head = _profiled(inputs, names, package, rows, seed)
    profiles = {name: _of_profile(package.reference["columns"][name]) for name in names}
    pairs = [("drift", "since training", compared(profiles, head))]
    if base_inputs is not None:
        base = _profiled(base_inputs, names, package, rows, seed)
        pairs.append(("drift-base", "since the base's test set", compared(base, head)))
    found = []
    for kind, since, measured in pairs:
        for one in measured:
            if one.significant and one.psi >= min(alarm, note):
                text = (
                    f"{one.column!r} has drifted {since}: PSI {one.psi:.2f}, distributions up to"
                    f" {one.gap:.0%} apart ({one.rows:,} rows against {one.reference:,})"
                )
                level = sample.level(one.psi >= alarm)
                found.append(Finding(kind, level, text, one.column, one.psi, alarm))
    return tuple(found)


@dataclass(frozen=True)
class Counts:
    """Rows by bin: `bins` in order, or by category; and without a value."""

    bins: Array | Mapping[str, int]
    missing: int
    other: int = 0


def compared(one: Mapping[str, Counts], two: Mapping[str, Counts]) -> tuple[Drift, ...]:
    """The drift of each column that both have, the largest first."""
    shared = [name for name in one if name in two]
    chance = CHANCE / max(len(shared), 1)
    found = [_drift(name, one[name], two[name], chance) for name in shared]
    return tuple(sorted(found, key=lambda drift: (not drift.significant, -drift.psi)))


def counted(column: pl.Series, profile: Mapping[str, Any]) -> Counts:
    """A typed column (`rows.typed`) on the bins of a column of reference.json.

    Values outside of the bins count in the outermost; categories that it doesn't name are other.
    """
    missing = column.null_count()
    if profile["type"] == "categorical":
        seen = dict(column.drop_nulls().value_counts().iter_rows())
        bins = {name: seen.pop(name, 0) for name in profile["counts"]}
        return Counts(bins, missing, sum(seen.values()))
    numbers = column.to_numpy()
    edges = profile["edges"][1:-1]
    below = np.zeros(len(edges), np.int64)
    for start in range(0, len(numbers), _BLOCK):  # within the cache: ten times as fast as a search
        block = numbers[start : start + _BLOCK]
        below += np.array([np.count_nonzero(block < edge) for edge in edges], np.int64)
    return Counts(np.diff([0, *below, len(numbers) - missing]), missing)


def _profiled(
    inputs: sample.Inputs, names: list[str], package: Package, rows: int, seed: int
) -> dict[str, Counts]:
    frame = sample.take(inputs, names, sample.choose(len(inputs), rows, seed))
    columns, _ = sample.typed(frame, package.signature)
    return {name: counted(one, package.reference["columns"][name]) for name, one in columns.items()}


def _of_profile(profile: Mapping[str, Any]) -> Counts:
    bins = profile["counts"]
    if profile["type"] != "categorical":
        bins = np.array(bins)
    return Counts(bins, profile["missing"], profile.get("other", 0))


def _drift(name: str, one: Counts, two: Counts, chance: float) -> Drift:
    left, right = _aligned(one), _aligned(two)
    n, m = int(left.sum()), int(right.sum())
    if not n or not m:
        return Drift(name, 0.0, 0.0, m, n, False)
    ordered = not isinstance(one.bins, Mapping)
    p, q = left / n, right / m
    gap = np.abs(np.cumsum(p - q)).max() if ordered else np.abs(p - q).sum() / 2
    left, right = _merged(left, right, ordered)
    bins = len(left)
    p, q = (left + 0.5) / (n + bins / 2), (right + 0.5) / (m + bins / 2)
    psi = float(((p - q) * np.log(p / q)).sum())
    noise = 1 / n + 1 / m
    significant = bins > 1 and psi > noise * _chi_squared(bins - 1, chance)
    return Drift(name, max(psi - (bins - 1) * noise, 0.0), float(gap), m, n, significant)


def _aligned(counts: Counts) -> Array:
    """All counts in one row: bins, other, missing."""
    bins = counts.bins.values() if isinstance(counts.bins, Mapping) else counts.bins
    return np.array([*bins, counts.other, counts.missing], dtype=np.int64)


def _merged(left: Array, right: Array, ordered: bool) -> tuple[Array, Array]:
    """Counts without bins that are too small to compare: neighbours (or small ones) together."""
    share = (left + right) / (left.sum() + right.sum())
    expected = share * min(left.sum(), right.sum())
    if ordered:
        values = expected[:-2]  # the last two aren't neighbours of anything
        place = np.zeros(len(values), np.int64)
        filled, bin_ = 0.0, 0
        for at, rows in enumerate(values):
            place[at] = bin_
            filled += rows
            if filled >= EXPECTED:
                filled, bin_ = 0.0, bin_ + 1
        if bin_ and 0 < filled < EXPECTED:
            place[place == bin_] = bin_ - 1
        place = np.append(place, [place.max(initial=0) + 1, place.max(initial=0) + 2])
        small = np.append(np.zeros(len(values), bool), expected[-2:] < EXPECTED)
        place[small] = place[len(values) - 1]
    else:
        place = np.where(expected < EXPECTED, 0, np.arange(1, len(expected) + 1))
    sums = [np.bincount(place, counts, minlength=place.max() + 1) for counts in (left, right)]
    used = sums[0] + sums[1] > 0
    return sums[0][used], sums[1][used]


def _chi_squared(freedom: int, chance: float) -> float:
    """The value that a chi-squared number exceeds with that chance (Wilson and Hilferty 1931)."""
    part = 2 / (9 * freedom)
    root: float = 1 - part + NormalDist().inv_cdf(1 - chance) * part**0.5
    return float(freedom * root**3)
