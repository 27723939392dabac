"""Drawings of the HTML report: intervals in a table, curves with axes; classes, but no styles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import escape

from gitops.validate.model import Curve
from gitops.validate.reports.drawing import BOUND, Scale

WIDTH, HEIGHT = 440, 320
LEFT, RIGHT, TOP, BOTTOM = 62, 10, 10, 44
NARROW = 1e-9  # relative width below which floats are too coarse for round ticks


@dataclass(frozen=True)
class Axes:
    """What a kind of curve shows. `unit`: both axes from 0 to 1."""

    title: str
    x: str
    y: str
    unit: bool = False
    diagonal: bool = False


AXES: Mapping[str, Axes] = {
    "roc": Axes("ROC", "false positive rate", "true positive rate", True, True),
    "pr": Axes("Precision and recall", "recall", "precision", True),
    "calibration": Axes("Calibration", "predicted", "observed", True, True),
    "residuals": Axes("Residuals", "prediction", "label minus prediction"),
    "scores": Axes("Distribution of the scores", "score", "share of rows"),
}


@dataclass(frozen=True)
class Frame:
    """The region of a plot: data from (x0, y0) to (x1, y1)."""

    x0: float
    x1: float
    y0: float
    y1: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Data to places in the drawing; what lies outside goes to the edge."""
        across = _share(x, self.x0, self.x1) * (WIDTH - LEFT - RIGHT)
        up = _share(y, self.y0, self.y1) * (HEIGHT - TOP - BOTTOM)
        return round(LEFT + across, 1), round(HEIGHT - BOTTOM - up, 1)


def _share(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def strip(ends: tuple[float, float, float], scale: Scale, marks: Mapping[float, str]) -> str:
    """An interval in a cell; its numbers stand beside it, so a screen reader skips it."""
    low, middle, high = (100 * min(1.0, max(0.0, scale.share(end))) for end in ends)
    parts = []
    for value, char in marks.items():
        share = scale.share(value)
        if 0 <= share <= 1:
            kind = "bound" if char == BOUND else "zero"
            x = f"{100 * share:.1f}%"
            parts.append(f'<line class="{kind}" x1="{x}" x2="{x}" y1="0" y2="16"/>')
    parts.append(f'<rect x="{low:.1f}%" y="7" width="{max(high - low, 0.5):.1f}%" height="2"/>')
    if 0 <= scale.share(ends[1]) <= 1:
        parts.append(f'<circle cx="{middle:.1f}%" cy="8" r="3.5"/>')
    # It goes on outside: an arrow, as in the drawing of characters.
    if scale.share(ends[0]) < 0:
        parts.append('<text class="beyond" x="0" y="13">◂</text>')
    if scale.share(ends[2]) > 1:
        parts.append('<text class="beyond" x="100%" y="13" text-anchor="end">▸</text>')
    return f'<svg class="iv" aria-hidden="true">{"".join(parts)}</svg>'


def frame(curves: Sequence[Curve]) -> Frame | None:
    """Axes that hold all finite points; None where there is nothing to draw."""
    points = [point for curve in curves for point in finite(curve)]
    if not points:
        return None
    if AXES[curves[0].kind].unit:
        return Frame(0, 1, 0, 1)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    across, up = _widened(min(xs), max(xs), 0), _widened(min(0.0, *ys), max(0.0, *ys), 0.05)
    found = Frame(*across, *up)
    spans = (found.x1 - found.x0, found.y1 - found.y0)
    return found if all(math.isfinite(span) for span in spans) else None


def plot(title: str, curves: Sequence[Curve], region: Frame, number: int) -> str:
    """Curves of one kind, the candidate's above the champion's."""
    axes = AXES[curves[0].kind]
    parts = [*_grid(region), *_labels(axes)]
    if axes.diagonal:
        parts.append(_path([(0, 0), (1, 1)], region, "diagonal"))
    elif region.y0 < 0 < region.y1:
        parts.append(_path([(region.x0, 0), (region.x1, 0)], region, "diagonal"))
    for curve in sorted(curves, key=lambda curve: curve.of, reverse=True):
        parts.append(_path(finite(curve), region, curve.of))
        if curve.kind == "calibration" and len(curve.x) <= 40:
            places = [region.at(*point) for point in finite(curve)]
            parts += [f'<circle class="{curve.of}" cx="{x}" cy="{y}" r="3"/>' for x, y in places]
    label = f"{title}: {axes.y} by {axes.x}; arrow keys read the values"
    head = f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" tabindex="0"'
    return f'{head} aria-label="{escape(label)}" data-plot="{number}">{"".join(parts)}</svg>'


def finite(curve: Curve) -> list[tuple[float, float]]:
    """The points of a curve that can be drawn."""
    pairs = zip(curve.x, curve.y, strict=False)
    return [(x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]


def _grid(region: Frame) -> list[str]:
    parts = []
    for value in ticks(region.x0, region.x1):
        x, bottom = region.at(value, region.y0)
        parts.append(f'<line class="rule" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{_tick(value)}</text>')
    for value in ticks(region.y0, region.y1):
        left, y = region.at(region.x0, value)
        end = WIDTH - RIGHT
        parts.append(f'<line class="rule" x1="{left}" x2="{end}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{_tick(value)}</text>')
    return parts


def _labels(axes: Axes) -> list[str]:
    middle = (LEFT + WIDTH - RIGHT) / 2
    x = f'<text class="axis" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(axes.x)}'
    y = f'<text class="axis" transform="translate(12 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"'
    return [x + "</text>", f'{y} text-anchor="middle">{escape(axes.y)}</text>']


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` round values from `low` to `high`."""
    raw = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(
        factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9)
    )
    first = math.ceil(low / step - 1e-9)
    count = math.floor((high - first * step) / step + 1e-9) + 1
    return [(first + i) * step for i in range(count)]


def _tick(value: float) -> str:
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value + 0.0:.4g}"
    return "0" if abs(value) < 1e-300 else text.replace("-", "−")


def _path(points: Sequence[tuple[float, float]], region: Frame, kind: str) -> str:
    places = " ".join("{},{}".format(*region.at(*point)) for point in points)
    return f'<polyline class="{kind}" points="{places}"/>'


def _widened(low: float, high: float, room: float) -> tuple[float, float]:
    if high - low <= NARROW * max(abs(low), abs(high), 1e-290):
        half = abs(low) / 2 or 0.5
        return low - half, high + half
    extra = room * (high - low)
    return low - extra, high + extra
