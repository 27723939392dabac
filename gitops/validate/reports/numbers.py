"""How a number is written in every report: as many digits as its interval supports."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

from gitops.validate.figures import MINUS, side
from gitops.validate.figures import MOST as _MOST
from gitops.validate.model import Interval, Verdict

UNDEFINED = "not defined"


def decimals(interval: Interval) -> int:
    """Two significant digits of the interval's half width; without a width four of the estimate."""
    lower, upper, estimate = interval.lower, interval.upper, interval.estimate
    if lower is not None and upper is not None:
        half = upper / 2 - lower / 2
        if math.isfinite(half) and half > 0:
            return _clamp(1 - math.floor(math.log10(half)))
    if estimate is not None and math.isfinite(estimate) and estimate % 1:
        return _clamp(3 - math.floor(math.log10(abs(estimate))))
    return 0


def number(value: float | None, places: int, *, signed: bool = False) -> str:
    """`0.7312`, `+0.0031`, `1,234`; never `-0.0`; NaN and None are not defined."""
    if value is None or math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return f"{MINUS if value < 0 else '+' if signed else ''}∞"
    size = abs(value)
    if size >= 1e12 or (places == _MOST and 0 < size < 0.5 * 10.0**-_MOST):
        text = f"{size:.3g}"
    else:
        text = f"{size:,.{places}f}"
    if not text.strip("0.,"):
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def interval(
    value: Interval | None,
    *,
    signed: bool = False,
    usual: float | None = None,
    bound: float | None = None,
) -> str:
    """`0.731 [0.724, 0.738]`; with its level where that isn't the `usual` one of the report.

    No end is rounded onto `bound` or over it: that would show another answer than was given.
    """
    if value is None or not _defined(value.estimate):
        return UNDEFINED
    places = decimals(value)
    if bound is not None:
        ends = [end for end in (value.lower, value.estimate, value.upper) if end is not None]
        while places < _MOST and any(_crosses(end, bound, places) for end in ends):
            places += 1
    text = number(value.estimate, places, signed=signed)
    if value.lower is None or value.upper is None:
        return text
    text += f" [{number(value.lower, places, signed=signed)}, "
    text += f"{number(value.upper, places, signed=signed)}]"
    return text if usual is None or value.level == usual else f"{text} at {percent(value.level)}"


def count(value: int) -> str:
    """`66,776`."""
    return f"{value:,}"


def percent(level: float) -> str:
    """`90%`, `99.23%`."""
    return f"{100 * level:.4g}%"


def size(value: float, unit: str) -> str:
    """A cost: `1.2 MB`, `0.34 ms`."""
    if unit != "bytes":
        return (
            f"{number(value, _clamp(2 - math.floor(math.log10(value))) if value > 0 else 0)} {unit}"
        )
    for name in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or name == "GB":
            break
        value /= 1000
    return f"{value:,.0f} {name}" if name == "bytes" else f"{value:,.2f} {name}"


def usual_level(verdict: Verdict) -> float:
    """The level of most intervals in a verdict; others are named where they are shown."""
    levels = Counter(one.level for one in _intervals(verdict) if one.lower is not None)
    return min(levels, key=lambda level: (-levels[level], level), default=0.9)


def _intervals(verdict: Verdict) -> Iterator[Interval]:
    yield from (check.value for check in verdict.checks)
    measures: Iterable[tuple[Interval | None, ...]] = (
        (one.candidate, one.champion, one.difference)
        for one in (*verdict.measures, *verdict.slices, *verdict.worst)
    )
    yield from (one for three in measures for one in three if one is not None)


def _crosses(value: float, bound: float, places: int) -> bool:
    return math.isfinite(value) and side(round(value, places), bound) != side(value, bound)


def _defined(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _clamp(places: int) -> int:
    return max(0, min(_MOST, places))
