"""Numbers in the sentences of a verdict, which are read beside a bound."""

from __future__ import annotations

import math

MINUS = "−"  # as wide as a plus, never broken over a line
MOST = 8  # decimals


def plain(value: float) -> str:
    """A bound or a measured number, as a person would have written it: `0.01`, `10,000,000`."""
    if math.isinf(value):
        return f"{MINUS if value < 0 else ''}∞"
    short = float(f"{value + 0.0:.6g}")
    text = f"{short:,.15g}"
    if 10.0**-MOST <= abs(short) < 1e-4:
        text = f"{short:.{MOST + 6}f}".rstrip("0")
    return text.replace("-", MINUS)


def beside(value: float | None, bound: float, digits: int = 3) -> str:
    """`value` to `digits` significant digits, or as many as keep it on its side of `bound`."""
    if value is None or math.isnan(value):
        return "?"
    for places in range(digits, 18):
        short = float(f"{value:.{places}g}")
        if side(short, bound) == side(value, bound):
            break
    return f"{short + 0.0:,.{max(places, 15)}g}".replace("-", MINUS)


def side(value: float, bound: float) -> int:
    """Below (-1), on (0) or above (1) the bound."""
    return (value > bound) - (value < bound)


def about(rows: int) -> str:
    """A number of rows that was estimated: two digits, rounded up."""
    unit = 10 ** max(len(str(rows)) - 2, 0)
    return f"{math.ceil(rows / unit) * unit:,}"
