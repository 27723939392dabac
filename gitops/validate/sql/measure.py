"""Metrics on slices, of tables that need not fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gitops.errors import UsageError
from gitops.validate.model import Slice
from gitops.validate.sql import cells as grouping
from gitops.validate.sql import explained, rows
from gitops.validate.sql.cells import Cells, Part, Plan, Values
from gitops.validate.sql.engines import Engine
from gitops.validate.sql.rows import Evaluations
from gitops.validate.stats import METRICS, Estimated, Sized, counts, losses, names_of, nearest
from gitops.validate.stats.measure import estimated
from gitops.validate.stats.moments import Moments

MOST_CELLS = 2_000_000
_AT_ONCE = 2_000_000  # slices times classes


@dataclass(frozen=True)
class Measured:
    """The estimates, slice by slice, and the slices that are too small to be judged."""

    rows: int
    estimated: tuple[Estimated, ...]
    small: tuple[Sized, ...]


def measure(
    engine: Engine,
    of: Evaluations,
    metrics: Iterable[str],
    by: Iterable[Sequence[str]] = ((),),
    *,
    minimum_rows: int = 100,
    minimum_per_class: int = 30,
    level: float = 0.9,
    most_cells: int = MOST_CELLS,
) -> Measured:
    """What `stats.measure` gives for tables in memory, for every value of the columns `by`.

    `by`: sets of slice columns, `()` for all rows: `[(), ("sex",), ("sex", "age")]`. Metrics are
    those that are counts or sums; the order of the scores of all rows (roc_auc, pr_auc, ks) and
    resampling (calibration_error) are not. `most_cells`: what comes back to this machine.

    Raises:
        UsageError: a metric is unknown, is not for the task, or not one of counts or sums.
        EvidenceError: the tables are unusable (see `rows.judged`), or have too many cells.
    """
    names = list(dict.fromkeys(metrics))
    _require(names, of)
    sets = [tuple(sorted(set(one))) for one in by]
    columns = sorted({name for one in sets for name in one})
    means = [n for n in names if METRICS[n].family == "losses" and n != "r2"]
    found: list[Estimated] = []
    small: list[Sized] = []
    with rows.judged(engine, of, means, columns) as judged:
        unit = grouping.unit_of(engine, judged, most_cells)
        centres = grouping.centres(engine, of, judged, means)
        plan = Plan(of, judged, unit, centres, most_cells)
        for one in dict.fromkeys(sets):
            places = [columns.index(name) for name in one]
            every = grouping.cells(engine, plan, places)
            sized = list(_sized(of, every, one, minimum_rows, minimum_per_class))
            small += [each for each in sized if each.why]
            large = [at for at, each in enumerate(sized) if not each.why]
            step = max(1, _AT_ONCE // (len(of.classes) + 1))
            for start in range(0, len(large), step):
                chosen = large[start : start + step]
                part = grouping.part(every, chosen)
                values = [every.values[at] for at in chosen]
                moments = _moments(engine, plan, names, places, values, part)
                slices = [sized[at].slice for at in chosen]
                found += _estimates(part, moments, slices, level)
        return Measured(judged.count, tuple(found), tuple(small))


def _require(names: Sequence[str], of: Evaluations) -> None:
    known = [n for n in names_of(of.task) if METRICS[n].family in ("counts", "losses")]
    for name in names:
        if name not in known:
            near = nearest(name, of.task)
            fix = f"did you mean {near!r}?" if near in known else f"there are: {', '.join(known)}"
            why = f"is not a metric of a {of.task} task"
            if name in METRICS and of.task in METRICS[name].tasks:
                why = "needs all scores in order, or resampled: it is neither a count nor a sum"
                fix = "measure it in memory, with gitops.validate.stats.measure"
            raise UsageError(f"{name!r} {why}", fix=fix)


def _sized(
    of: Evaluations, cells: Cells, columns: Sequence[str], least: int, per_class: int
) -> Iterator[Sized]:
    """As `stats.slices_of`; all rows are never too few."""
    many = cells.rows()
    positive = cells.rows(cells.columns["y"] == 1) if of.task == "binary" else many
    rarer = np.minimum(positive, many - positive)
    for at, values in enumerate(cells.values):
        why = ""
        if columns and many[at] < least:
            why = f"{many[at]} rows, fewer than {least}"
        elif columns and of.task == "binary" and rarer[at] < per_class:
            why = f"{rarer[at]} rows of one class, fewer than {per_class}"
        cut: Values = values
        yield Sized(Slice(tuple(zip(columns, cut, strict=True))), int(many[at]), why)


@np.errstate(invalid="ignore", divide="ignore", over="ignore")
def _moments(
    engine: Engine,
    plan: Plan,
    names: Sequence[str],
    columns: Sequence[int],
    values: Sequence[Values],
    part: Part,
) -> dict[str, Moments]:
    found = {}
    for name in names:
        if METRICS[name].family == "counts":
            found[name] = counts.moments(part.counts(plan.of), part.cut, name, plan.of.task)
        elif name == "r2":
            found[name] = explained.r2(engine, plan, columns, values, part)
        else:
            _, span = losses.loss(name, plan.of.task)
            sums = part.losses(plan, list(plan.centres).index(name), name)
            found[name] = losses.moments(part.cut, sums, name, span)
    return found


def _estimates(
    part: Part, moments: dict[str, Moments], slices: Sequence[Slice], level: float
) -> Iterator[Estimated]:
    same = part.sums("differs") == 0
    for at, one in enumerate(slices):
        for name, found in moments.items():
            yield estimated(METRICS[name], found, at, one, level, same, part.cut)
