"""R2: two more statements for each set of columns, since its errors are squares around a mean."""

# ruff: noqa: S608 - statements are made of our own names and numbers only

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gitops.validate.model import Array
from gitops.validate.sql.cells import Part, Plan, Values
from gitops.validate.sql.engines import Engine
from gitops.validate.stats import losses
from gitops.validate.stats.moments import Moments, finished


def r2(
    engine: Engine, plan: Plan, columns: Sequence[int], values: Sequence[Values], of: Part
) -> Moments:
    """As `stats.losses.r2`, of the slices with these values."""
    models, size = plan.of.models, of.cut.size
    total = of.sums("w1")
    known = {"mid": of.sums("wy") / total}
    square = "SUM(w * (y - {0}) * (y - {0})) AS {1}"
    asked = [square.format(m, f"e{m}") for m in models]
    asked += [square.format("mid", "around"), "SUM(w * y * y) AS yy"]
    statement = f"SELECT at, {', '.join(asked)} FROM ({_joined(plan, columns, known)}) AS j"
    slices: dict[str, Sequence[object]] = {"at": list(range(size)), **_keys(columns, values)}
    frames = {"rows": plan.rows.frame, "slices": engine.made({**slices, **_lists(known)})}
    sums = _placed(engine.query(f"{statement} GROUP BY at", frames), size)
    spread = sums["around"]
    flat = ~(spread > 1e-24 * total * np.fmax(1e-280, sums["yy"] / total))
    value = np.full((2, size), np.nan)
    known["spread"] = np.where(flat, 1.0, spread)
    for which, m in enumerate(models):
        known[f"share{m}"] = sums[f"e{m}"] / known["spread"]
        value[which] = 1 - known[f"share{m}"]
    frames["slices"] = engine.made({**slices, **_lists(known)})
    powers = _powers(engine, plan, columns, frames, known, size)
    why = np.where(np.isfinite(value), "", "not a finite number").astype(object)
    why[:, flat] = "all labels are equal"
    why[1:] = "" if len(models) == 1 else why[1:]
    few = np.full((2, size), 1.0)
    return finished(of.cut, value, powers, why=why, few=few, span=math.inf, method=losses.METHOD)


def _powers(
    engine: Engine,
    plan: Plan,
    columns: Sequence[int],
    frames: dict[str, object],
    known: dict[str, Array],
    size: int,
) -> Array:
    """Sums of the second to the fourth powers of the contributions to the error: (3, 3, S)."""
    pushes = [
        f"w * (share{m} * (y - mid) * (y - mid) - (y - {m}) * (y - {m})) / spread AS x{m}"
        for m in plan.of.models
    ]
    names = [f"x{m}" for m in plan.of.models]
    keys = "at" if plan.unit is None else "at, u"
    text = f"SELECT {keys}, {', '.join(pushes)} FROM ({_joined(plan, columns, known)}) AS j"
    if plan.unit is not None:
        by_unit = ", ".join(f"SUM({name}) AS {name}" for name in names)
        text = f"SELECT {keys}, {by_unit} FROM ({text}) AS p GROUP BY {keys}"
    each = [*names, "(xa - xb)"] if len(names) == 2 else names
    asked = [
        f"SUM({' * '.join([one] * power)}) AS p{power}{which}"
        for which, one in enumerate(each)
        for power in (2, 3, 4)
    ]
    sql = f"SELECT at, {', '.join(asked)} FROM ({text}) AS q GROUP BY at"
    found = _placed(engine.query(sql, frames), size)
    powers = np.full((3, 3, size), np.nan)
    for which in range(len(each)):
        powers[:, which] = [found[f"p{power}{which}"] for power in (2, 3, 4)]
    return powers


def _joined(plan: Plan, columns: Sequence[int], known: dict[str, Array]) -> str:
    """Rows with what is known of their slice."""
    taken = ["at", *known, "y", *plan.of.models, "w"]
    taken += [] if plan.unit is None else [f"{plan.unit} AS u"]
    tests = [f"CASE WHEN s{at} IS NULL THEN '-' ELSE '=' || s{at} END = k{at}" for at in columns]
    inner = f"INNER JOIN {{slices}} AS k ON {' AND '.join(tests)}" if tests else ""
    join = inner or "CROSS JOIN {slices} AS k"
    return f"SELECT {', '.join(taken)} FROM {{rows}} AS r {join}"


def _keys(columns: Sequence[int], values: Sequence[Values]) -> dict[str, list[str]]:
    """Slice values without a null, which equals nothing in a join."""
    return {
        f"k{at}": ["-" if one[position] is None else f"={one[position]}" for one in values]
        for position, at in enumerate(columns)
    }


def _lists(known: dict[str, Array]) -> dict[str, list[float]]:
    return {name: [float(one) for one in values] for name, values in known.items()}


def _placed(found: dict[str, list[float]], size: int) -> dict[str, Array]:
    """Columns in the order of the slices."""
    at = np.array(found["at"], int)
    placed = {}
    for name, values in found.items():
        placed[name] = np.full(size, np.nan)
        placed[name][at] = values
    return placed
