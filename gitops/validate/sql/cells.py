"""One GROUP BY for each set of slice columns: everything that the statistics need of the rows."""

# ruff: noqa: S608 - statements are made of our own names and numbers only

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gitops.errors import EvidenceError
from gitops.validate.model import Array
from gitops.validate.sql.engines import Engine
from gitops.validate.sql.expressions import added, number, one_if
from gitops.validate.sql.rows import Evaluations, Rows
from gitops.validate.stats import METRICS, counts, losses
from gitops.validate.stats.units import BLOCKS, Cut

Values = tuple[str | None, ...]  # of the slice columns


@dataclass(frozen=True)
class Plan:
    """What is summed up for every cell.

    `unit`: what numbers dependent rows (SQL), None where each row is its own; then the engine sums
    squares and cubes, else we do it, of the sums by unit. `centres`: of the losses by metric.
    """

    of: Evaluations
    rows: Rows
    unit: str | None
    centres: Mapping[str, tuple[float, float, float]]
    most: int

    def statement(self, columns: Sequence[int]) -> str:
        """Cells are (slice values, unit, label, predictions); a regression has no labels."""
        keys = [f"s{at}" for at in columns]
        keys += [] if self.unit is None else ["u"]
        keys += ["y", *self.of.models] if self.of.classes else []
        inner = [*(f"s{at}" for at in columns), "y", *self.of.models, "w", "differs"]
        inner += [] if self.unit is None else [f"{self.unit} AS u"]
        outer = [*keys, "COUNT(*) AS n", "SUM(differs) AS differs", *_powers("w", "w")]
        if not self.of.classes:
            outer += ["SUM(w * y) AS wy", f"SUM({one_if('y = 0e0')}) AS zeros"]
        for at, centre in enumerate(self.centres.values()):
            sides = [
                f"w * (l{at}{m} - {number(c)})"
                for m, c in zip(self.of.models, centre, strict=False)
            ]
            if len(sides) == 2:
                sides.append(f"({sides[0]} - {sides[1]})")
            inner += [f"{side} AS x{at}{m}" for m, side in zip("abd", sides, strict=False)]
            outer += [text for m in "abd"[: len(sides)] for text in self._sums(f"x{at}{m}")]
        group = f" GROUP BY {', '.join(keys)}" if keys else ""
        return (
            f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner)} FROM {{rows}}) AS summed"
            f"{group} LIMIT {self.most + 1}"
        )

    def _sums(self, x: str) -> list[str]:
        if self.unit is not None:
            return [f"SUM({x}) AS {x}_0"]
        each = [" * ".join([x] * power) for power in (1, 2, 3, 4)]
        if self.rows.weighted:
            each += [" * ".join([x] * a + ["w"] * b) for a, b in losses.MIXED]
        return [f"SUM({one}) AS {x}_{at}" for at, one in enumerate(each)]


def _powers(x: str, name: str) -> list[str]:
    return [f"SUM({' * '.join([x] * power)}) AS {name}{power}" for power in (1, 2, 3, 4)]


def unit_of(engine: Engine, rows: Rows, most: int) -> str | None:
    """The unit of a row as SQL: its group, or its block of time, as in `stats.units.clusters`."""
    if rows.grouped:
        sql = "SELECT COUNT(DISTINCT grp) AS n FROM {rows}"
        many = engine.query(sql, {"rows": rows.frame})["n"][0]
        return None if many == rows.count else "grp"
    if not rows.timed:
        return None
    sql = f"SELECT t, COUNT(*) AS n FROM {{rows}} GROUP BY t LIMIT {most + 1}"
    found = engine.query(sql, {"rows": rows.frame})
    bounded(len(found["t"]), most, "distinct times")
    time, many = np.array(found["t"], np.int64), np.array(found["n"], np.int64)
    order = np.argsort(time)
    block = (np.cumsum(many[order]) - many[order]) * BLOCKS // rows.count
    opens = time[order][1:][block[1:] != block[:-1]]
    return added([one_if(f"t >= {int(edge)}") for edge in opens])


def bounded(found: int, most: int, what: str) -> None:
    if found > most:
        raise EvidenceError(
            f"more than {most:,} {what}: too many to bring together on one machine",
            fix="cut by columns with fewer values, or raise `most_cells`",
        )


@dataclass(frozen=True)
class Cells:
    """The cells of one set of columns.

    `values`: the combinations of slice values, sorted; `slice` (cells): which one; `columns`: the
    other columns of the statement. `unit`: numbers of units (cells), None: each row is its own.
    """

    values: tuple[Values, ...]
    slice: Array
    columns: Mapping[str, Array]
    unit: Array | None

    def rows(self, where: Array | None = None) -> Array:
        """Rows by slice; `where` (cells): only in these."""
        n = self.columns["n"] if where is None else np.where(where, self.columns["n"], 0)
        return np.bincount(self.slice, n, len(self.values)).astype(np.int64)


def cells(engine: Engine, plan: Plan, columns: Sequence[int]) -> Cells:
    found = engine.query(plan.statement(columns), {"rows": plan.rows.frame})
    bounded(len(found["n"]), plan.most, "cells of slices, groups and classes")
    every: list[Values] = list(zip(*(found.pop(f"s{at}") for at in columns), strict=True))
    every = every or [()] * len(found["n"])
    values = sorted(set(every), key=lambda one: [(each is None, each or "") for each in one])
    place = {one: at for at, one in enumerate(values)}
    unit = None
    if plan.unit is not None:
        _, unit = np.unique(np.array(found.pop("u")), return_inverse=True)
    return Cells(
        tuple(values),
        np.array([place[one] for one in every], np.int64),
        {name: np.array(column) for name, column in found.items()},
        unit,
    )


@dataclass(frozen=True)
class Part:
    """Some slices of the cells, as the statistics take them."""

    cut: Cut
    slice: Array
    unit: Array | None
    columns: Mapping[str, Array]

    def sums(self, name: str) -> Array:
        return np.bincount(self.slice, self.columns[name], self.cut.size)

    def by_unit(self, unit: Array, name: str) -> Array:
        return np.bincount(unit, self.columns[name], len(self.cut.unit_code))

    def counts(self, of: Evaluations) -> counts.Cells:
        one = self.columns
        champion = one["b"] if of.champion is not None else None
        return counts.Cells(
            len(of.classes) + 1, self.slice, one["y"], one["a"], champion, self.unit,
            np.array([one[f"w{power}"] for power in (1, 2, 3, 4)]),
        )  # fmt: skip

    def losses(self, plan: Plan, at: int, metric: str) -> losses.Sums:
        models = "a" if plan.of.champion is None else "abd"
        x = np.full((3, 10, self.cut.size), np.nan)
        if self.unit is None:
            w = np.array([self.sums(f"w{power}") for power in (1, 2, 3, 4)])
            for which, m in enumerate(models):
                for power in range(10 if plan.rows.weighted else 4):
                    x[which, power] = self.sums(f"x{at}{m}_{power}")
                if not plan.rows.weighted:
                    x[which, 4:] = x[which, losses.PLAIN]
        else:
            weight, code = self.by_unit(self.unit, "w1"), self.cut.unit_code
            w = np.array([self.cut.sums(weight**power, code) for power in (1, 2, 3, 4)])
            for which, m in enumerate(models):
                one = self.by_unit(self.unit, f"x{at}{m}_0")
                each = [one**power for power in (1, 2, 3, 4)]
                each += [one**a * weight**b for a, b in losses.MIXED]
                x[which] = [self.cut.sums(values, code) for values in each]
        if metric == "mape":
            x[:, :, self.sums("zeros") > 0] = math.nan
        return losses.Sums(plan.centres[metric], w, x)


def part(of: Cells, chosen: Sequence[int]) -> Part:
    """The slices at `chosen`, in this order."""
    number = np.full(len(of.values), -1)
    number[np.array(chosen, int)] = np.arange(len(chosen))
    inside = number[of.slice] >= 0
    code = number[of.slice[inside]]
    columns = {name: column[inside] for name, column in of.columns.items()}
    rows = np.bincount(code, columns["n"], len(chosen)).astype(np.int64)
    place = tuple((at,) for at in range(len(chosen)))
    nowhere = np.zeros(0, np.int64)
    if of.unit is None:
        return Part(Cut(nowhere, len(chosen), place, rows, None, nowhere), code, None, columns)
    many = int(of.unit.max()) + 1
    used, unit = np.unique(code * many + of.unit[inside], return_inverse=True)
    return Part(Cut(nowhere, len(chosen), place, rows, unit, used // many), code, unit, columns)


def centres(
    engine: Engine, of: Evaluations, rows: Rows, names: Sequence[str]
) -> dict[str, tuple[float, float, float]]:
    """As in `stats.losses`: near the means of unbounded losses; rounded, so that engines agree."""
    found = dict.fromkeys(names, (0.0, 0.0 if of.champion is not None else math.nan, 0.0))
    open_ended = [at for at, name in enumerate(names) if math.isinf(METRICS[name].high)]
    if of.classes or not open_ended:
        return found
    asked = ", ".join(f"AVG(l{at}{m}) AS m{at}{m}" for at in open_ended for m in of.models)
    means = engine.query(f"SELECT {asked} FROM {{rows}}", {"rows": rows.frame})
    for at in open_ended:
        each = [float(f"{means[f'm{at}{m}'][0]:.4g}") for m in of.models]
        other = each[1] if len(each) == 2 else math.nan
        found[names[at]] = (each[0], other, each[0] - other)
    return found
