"""An interval drawn in a row of characters: what GitHub and Azure DevOps show of a plot.

┊──●──┊     the bound is always in the same column, better is always to the right
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gitops.validate.model import Check, Interval
from gitops.validate.reports import words

CELLS = 29  # odd: the middle is a cell
BOUND, CHAMPION = "┃", "┊"


@dataclass(frozen=True)
class Scale:
    """From `low` (first cell) to `high` (last cell)."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Where `value` is: 0 at `low`, 1 at `high`; outside at most one length away."""
        return max(-1.0, min(2.0, (value - self.low) / (self.high - self.low)))


def common(intervals: Sequence[Interval], *, zero: bool) -> Scale | None:
    """One scale for all: nine of ten intervals fit, the widest may be cut. None: nothing to show.

    `zero`: differences, with 0 in the middle.
    """
    ends = [ends for one in intervals if (ends := bounds(one))]
    if not ends:
        return None
    if zero:
        reach = _quantile([max(abs(low), abs(high)) for low, _, high in ends]) * 1.1
        return _scale(-reach, reach)
    low = -_quantile([-low for low, _, _ in ends])
    high = _quantile([high for _, _, high in ends])
    room = 0.05 * (high - low)
    return _scale(low - room, high + room)


@dataclass(frozen=True)
class Placed:
    """A judged interval: `ends` (lower, estimate, upper), and the marks by their places."""

    ends: tuple[float, float, float]
    scale: Scale
    marks: dict[float, str]


def place(check: Check) -> Placed | None:
    """The judged interval around its bound, which is in the middle; right of it passes.

    The unit is the margin where there is one, so that the champion is in the same column too.
    None: there is no interval, no bound, or it passes for a reason that the drawing can't show.
    """
    ends, bound = bounds(check.value), check.bound
    if ends is None or bound is None or not math.isfinite(bound) or check.value.lower is None:
        return None
    if check.state == "PASS" and not words.shows_pass(check):
        return None
    sign = 1 if check.sense == "above" else -1
    low, middle, high = sorted(sign * (end - bound) for end in ends)
    reach = max(abs(low), abs(high)) or 1.0
    marks = {0.0: BOUND}
    if check.kind in ("no_worse", "better") and bound:
        reach = max(4 * abs(bound), min(reach, 8 * abs(bound)))
        marks[-sign * bound] = CHAMPION
    if not math.isfinite(2.2 * reach):
        return None
    return Placed((low, middle, high), Scale(-1.1 * reach, 1.1 * reach), marks)


def of_check(check: Check) -> str:
    """The judged interval in one row of characters; empty where it can't be drawn."""
    placed = place(check)
    return draw(placed.ends, placed.scale, placed.marks) if placed else ""


def draw(ends: tuple[float, float, float], scale: Scale, marks: dict[float, str]) -> str:
    """`├──●──┤` on `scale` with `marks` at their places; an arrow where it goes on outside."""
    cells = [" "] * CELLS
    edges = [value for value, char in marks.items() if char == BOUND]
    low, middle, high = (_cell(scale, end, edges) for end in ends)
    for cell in range(max(low, 0), min(high, CELLS - 1) + 1):
        cells[cell] = "─"
    for end, char in ((low, "├"), (high, "┤")):
        if 0 <= end < CELLS and low < high:
            cells[end] = char
    for value, char in marks.items():
        cell = round(scale.share(value) * (CELLS - 1))
        if 0 <= cell < CELLS:
            cells[cell] = char if cells[cell] == " " else "╂" if char == BOUND else "┼"
    if 0 <= middle < CELLS:
        cells[middle] = "●"
    if low < 0:
        cells[0] = "◂"
    if high >= CELLS:
        cells[-1] = "▸"
    return "".join(cells)


def _cell(scale: Scale, value: float, edges: Sequence[float]) -> int:
    """The cell of a value, which is never that of an edge that it is beside."""
    cell = round(scale.share(value) * (CELLS - 1))
    for edge in edges:
        there = round(scale.share(edge) * (CELLS - 1))
        cell = min(cell, there - 1) if value < edge else cell
        cell = max(cell, there + 1) if value > edge else cell
    return cell


def bounds(interval: Interval | None) -> tuple[float, float, float] | None:
    """Lower, estimate, upper where all are finite; a number without an interval is a point."""
    if interval is None or interval.estimate is None:
        return None
    low = interval.estimate if interval.lower is None else interval.lower
    high = interval.estimate if interval.upper is None else interval.upper
    ends = (low, interval.estimate, high)
    return ends if all(map(math.isfinite, ends)) else None


def _scale(low: float, high: float) -> Scale:
    if not (math.isfinite(high - low) and high - low > 0):
        return Scale(low - 1, low + 1) if math.isfinite(low) and abs(low) < 1e9 else Scale(-1, 1)
    return Scale(low, high)


def _quantile(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(0.9 * len(values)) - 1]
