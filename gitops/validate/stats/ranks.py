"""Metrics of the order that the scores give: one sort, then sums along it.

Scores are sorted once for a model. A stable partition by slice keeps that order within each slice,
and reads memory in as many streams as there are slices. Ties count half (midranks).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gitops.validate.model import Array
from gitops.validate.stats.units import Cut


@dataclass(frozen=True)
class Sorted:
    """All rows by ascending score: their numbers, scores, is it a positive, weights."""

    order: Array
    score: Array
    positive: Array
    weight: Array | None


def by_score(score: Array, positive: Array, weight: Array | None) -> Sorted:
    order = np.argsort(score)
    heavy = None if weight is None else weight[order]
    return Sorted(order, score[order], positive[order], heavy)


@dataclass(frozen=True)
class Ranked:
    """One slice in the order of its scores, by groups of equal ones.

    `size` (g): rows of each group; None: no two scores are equal. `positive`, `every` (g): weight
    of the positives, and of all rows, in the group; `positive_below`, `below` (g): before it.
    `positives`, `negatives`: total weights; `many` rows of each class (positives, negatives).
    """

    label: Array
    weight: Array | None
    size: Array | None
    positive: Array
    every: Array
    positive_below: Array
    below: Array
    positives: float
    negatives: float
    many: tuple[int, int]

    def by_row(self, if_positive: Array, if_negative: Array) -> Array:
        """Contributions by row from those of each group."""
        if self.size is not None:
            if_positive = np.repeat(if_positive, self.size)
            if_negative = np.repeat(if_negative, self.size)
        found = np.where(self.label, if_positive, if_negative)
        return found if self.weight is None else found * self.weight


def ranked(score: Array, label: Array, weight: Array | None) -> Ranked:
    """Of ascending scores."""
    rows = len(score)
    many = int(np.count_nonzero(label))
    heavy = label if weight is None else np.where(label, weight, 0.0)
    opens = np.empty(rows, bool)
    opens[0] = True
    np.not_equal(score[1:], score[:-1], out=opens[1:])
    if opens.all():
        size, positive = None, heavy
        every = np.broadcast_to(1.0, rows) if weight is None else weight
    else:
        first = np.flatnonzero(opens)
        size = np.diff(first, append=rows)
        positive = np.add.reduceat(heavy, first, dtype=np.float64)
        every = size.astype(np.float64) if weight is None else np.add.reduceat(weight, first)
    positive_upto, upto = _running(positive), _running(every)
    positives, total = float(positive_upto[-1]), float(upto[-1])
    positive_upto -= positive
    upto -= every
    return Ranked(
        label, weight, size, positive, every, positive_upto, upto, positives,
        max(total - positives, 0.0) if many < rows else 0.0, (many, rows - many),
    )  # fmt: skip


def _running(values: Array) -> Array:
    """Running sums (float64); of ones, and of what is so or not, without a sum of floats."""
    if not values.strides[0]:
        return np.arange(1, len(values) + 1, dtype=np.float64)
    if values.dtype == bool:
        return np.cumsum(values.view(np.int8), dtype=np.int32).astype(np.float64)
    return np.cumsum(values)


def by_slice(cut: Cut, ordered: Sorted) -> Iterator[tuple[int, Array, Ranked]]:
    """Slice, numbers of its rows, and their ranks; slices without rows are left out."""
    if cut.size == 1 and cut.rows[0] == len(ordered.order):
        yield 0, ordered.order, ranked(ordered.score, ordered.positive, ordered.weight)
        return
    place = np.argsort(cut.shuffler[ordered.order], kind="stable")
    end = np.cumsum(cut.rows)
    for at in np.flatnonzero(cut.rows):
        some = place[end[at] - cut.rows[at] : end[at]]
        weight = None if ordered.weight is None else ordered.weight[some]
        yield (
            int(at),
            ordered.order[some],
            ranked(ordered.score[some], ordered.positive[some], weight),
        )


Metric = Callable[[Ranked], tuple[float, Array]]
"""The value, and by row the contribution to its error."""


def values(
    cut: Cut, ordered: Sorted, metrics: Sequence[Metric]
) -> tuple[list[Array], list[Array], Array]:
    """By metric values (S) and contributions (n), and the rows (S) of the rarer class."""
    value = [np.full(cut.size, np.nan) for _ in metrics]
    push = [np.zeros(len(cut.code)) for _ in metrics]
    rarer = np.zeros(cut.size)
    for at, rows, one in by_slice(cut, ordered):
        rarer[at] = min(one.many)
        if not rarer[at]:
            continue
        for number, metric in enumerate(metrics):
            value[number][at], push[number][rows] = metric(one)
    return value, push, rarer


def roc_auc(of: Ranked) -> tuple[float, Array]:
    """DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988) 837-845, with midranks by Sun and Xu,
    IEEE Signal Process. Lett. 21 (2014) 1389-1393. Their n / (n - 1) of each class is in the
    contributions.
    """
    positive_middle = of.positive * 0.5
    positive_middle += of.positive_below
    higher = of.every * 0.5
    higher += of.below
    higher -= positive_middle
    higher /= of.negatives  # a positive's share of negatives below it
    value = float(np.einsum("i,i", of.positive, higher)) / of.positives
    one, other = (np.sqrt(many / (many - 1)) if many > 1 else 1.0 for many in of.many)
    higher -= value
    higher *= one / of.positives
    lower = positive_middle  # a negative's share of positives above it
    lower *= -1 / of.positives
    lower += 1 - value
    lower *= other / of.negatives
    return value, of.by_row(higher, lower)


def pr_auc(of: Ranked) -> tuple[float, Array]:
    """Average precision; the contributions are its derivatives by the rows' weights."""
    taken = of.positives + of.negatives - of.below
    precision = (of.positives - of.positive_below) / taken
    share = of.positive / of.positives
    value = float(np.einsum("i,i", share, precision))
    gain, loss = np.cumsum(share / taken), np.cumsum(share * precision / taken)
    return value, of.by_row((precision - value) / of.positives + gain - loss, -loss)


def ks(of: Ranked) -> tuple[float, Array]:
    """Largest distance of the two distribution functions; contributions at that place."""
    positive = (of.positive_below + of.positive) / of.positives
    negative = (of.below + of.every) / of.negatives - positive * (of.positives / of.negatives)
    apart = positive - negative
    place = int(np.argmax(np.abs(apart)))
    below = np.arange(len(apart)) <= place
    sign = np.sign(apart[place])
    if_positive = sign * (below - positive[place]) / of.positives
    if_negative = -sign * (below - negative[place]) / of.negatives
    return float(abs(apart[place])), of.by_row(if_positive, if_negative)
