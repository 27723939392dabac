"""Rows to independent units: what depends on each other counts once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gitops.rollout.model import Array, Evidence, Pairs, Rows, Split

CHAMPION, CHALLENGER, SHADOWED = 0, 1, 2
HOUR = 3600.0

Index = NDArray[np.intp]


def gather(rows: Rows) -> Evidence:
    """The units of all rows.

    A unit is a sticky key or else a request. It is judged once, by the mean over the labelled rows
    of its first request that has a label: what follows from the same key depends on it. In the
    arms it counts once, by its first answer. For guardrails each key counts once in an hour, so
    that one key can't break them alone and a failure that comes late is still seen. Answers that
    no share decided (a version that was asked for by its name, say) don't count.
    """
    unit = np.unique(rows.unit, return_inverse=True)[1]
    request = np.unique(rows.request, return_inverse=True)[1]
    order = np.lexsort((rows.row, rows.at))
    random = (rows.share > 0) & (rows.share < 1) & (rows.arm != SHADOWED)
    first = _firsts(unit, order[random[order]])
    theirs = order[((rows.arm == SHADOWED) | (random & (rows.arm == CHALLENGER)))[order]]
    hours = np.floor((rows.at - rows.at.min()) / HOUR) if len(rows.at) else rows.at
    counted = theirs[_new(np.column_stack([unit[theirs], hours[theirs].astype(np.int64)]))]
    return Evidence(
        arms=_arms(rows.share[first], rows.arm[first] == CHALLENGER),
        shadowed=len(np.unique(unit[rows.arm == SHADOWED])),
        split=_split(rows, unit, request, np.flatnonzero(random)),
        pairs=_pairs(rows, unit, request),
        answers=len(counted),
        failed=int(rows.failed[counted].sum()),
        slow=int(rows.slow[counted].sum()),
    )


def percent_of(share: Array) -> NDArray[np.int64]:
    return np.rint(share * 100).astype(np.int64)


def _arms(share: Array, challenger: NDArray[np.bool_]) -> dict[int, tuple[int, int]]:
    percent = percent_of(share)
    return {
        int(one): (int((~challenger[percent == one]).sum()), int(challenger[percent == one].sum()))
        for one in np.unique(percent)
    }


def _new(codes: NDArray[np.generic]) -> Index:
    """Where each code occurs for the first time, ascending."""
    if not len(codes):
        return np.zeros(0, np.intp)
    return np.sort(np.unique(codes, axis=0, return_index=True)[1])


def _firsts(unit: Index, order: Index) -> Index:
    """The first row of each unit, in the given order of rows."""
    return order[_new(unit[order])]


def _judged(
    rows: Rows, unit: Index, request: Index, among: Index, outcome: Array
) -> tuple[Index, Array]:
    """The first labelled row of each unit in the order of their labels, and its request's mean."""
    labelled = among[np.isfinite(outcome[among])]
    order = labelled[np.lexsort((rows.row[labelled], rows.at[labelled], rows.known[labelled]))]
    first = _firsts(unit, order)
    size = int(request.max()) + 1 if len(request) else 0
    total = np.bincount(request[labelled], outcome[labelled], size)
    count = np.bincount(request[labelled], minlength=size)
    return first, total[request[first]] / count[request[first]]


def _split(rows: Rows, unit: Index, request: Index, among: Index) -> Split:
    first, outcome = _judged(rows, unit, request, among, rows.outcome)
    challenger = (rows.arm[first] == CHALLENGER).astype(np.float64)
    return Split(challenger, rows.share[first], outcome)


def _pairs(rows: Rows, unit: Index, request: Index) -> Pairs:
    """Rows that both have answered; unit and request are the champion's."""
    width = int(rows.row.max()) + 1 if len(rows.row) else 1
    place = request * width + rows.row
    first, shadows = (np.flatnonzero(rows.arm == arm) for arm in (CHAMPION, SHADOWED))
    _, ours, theirs = np.intersect1d(place[first], place[shadows], return_indices=True)
    among, other = first[ours], shadows[theirs]
    there = np.isfinite(rows.outcome[among]) & np.isfinite(rows.outcome[other])
    champion, challenger = np.full((2, len(rows.at)), np.nan)
    champion[among[there]] = rows.outcome[among[there]]
    challenger[among[there]] = rows.outcome[other[there]]
    return Pairs(*(_judged(rows, unit, request, among, one)[1] for one in (challenger, champion)))
