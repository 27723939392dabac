"""Random evaluations as files, and as the table in memory that they must agree with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gitops.validate.model import Array, Column, Predictions, Slice, Table, Task
from gitops.validate.sql import Engine, Evaluations, Measured, measure
from gitops.validate.stats import Estimated, decided
from gitops.validate.stats import measure as in_memory

ODD = "a.b `c` {d} 'e' \"f\""  # the name of a column
VALUES = (None, "", "-", "=", "o'Neil", 'say "no"', "{rows}", "%s\\", "naïve 日本", "x")
CLASSES: dict[Task, tuple[str, ...]] = {
    "binary": ("no", "it's"),
    "multiclass": ("1", "2", "{a}", "four'"),
    "regression": (),
}
METRICS: dict[Task, tuple[str, ...]] = {
    "binary": ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "specificity", "mcc",
               "log_loss", "brier"),
    "multiclass": ("accuracy", "f1", "f1_weighted", "recall_macro", "mcc", "log_loss", "brier",
                   "top_2", "top_3"),
    "regression": ("mae", "rmse", "mape", "bias", "r2", "quantile_loss_90"),
}  # fmt: skip
BY: tuple[tuple[str, ...], ...] = ((), (ODD,), ("Sex",), ("Sex", ODD), ("sex",))


@dataclass(frozen=True)
class Case:
    """What both ways are asked."""

    table: Table
    files: Evaluations
    frames: dict[str, pl.DataFrame]


def made(
    folder: Path, task: Task, seed: int, *, rows: int = 3000, weight: bool = False,
    group: int = 0, time: bool = False, champion: bool = True, twin: bool = False,
) -> Case:  # fmt: skip
    """`group`: how many groups; `twin`: the champion answers the same on all but one slice."""
    rng = np.random.default_rng(seed)
    classes = CLASSES[task]
    label, unseen = _labels(rng, task, rows)
    columns = {
        ODD: _column(rng, rows, VALUES),
        "Sex": _column(rng, rows, ("f", "m", None)),
        "sex": _column(rng, rows, ("f", "m")),
    }
    base: dict[str, Any] = {
        "id": [f"r{at:06}" for at in range(rows)],
        "label": pl.Series(label) if task == "regression" else _texts(classes, label, unseen),
    }
    extra: dict[str, Any] = {
        f"slice_{name}": [one.values[int(at)] for at in one.codes] for name, one in columns.items()
    }
    weights = rng.uniform(0.1, 5.0, rows) if weight else None
    groups = rng.integers(0, group, rows) if group else None
    times = rng.integers(0, rows // 3, rows) * 1_000_001 if time else None
    if weights is not None:
        extra["weight"] = weights
    if groups is not None:
        alone = rng.random(rows) < 0.1
        extra["group"] = [
            None if own else f"g{one}" for own, one in zip(alone, groups, strict=True)
        ]
        groups = np.where(alone, group + np.arange(rows), groups)
    if times is not None:
        start = datetime(2024, 1, 1, tzinfo=UTC)
        kind = pl.Datetime("us", "UTC")
        extra["timestamp"] = pl.Series([start + timedelta(microseconds=int(t)) for t in times],
                                       dtype=kind)  # fmt: skip
    ours = _predictions(rng, task, label, 1.0)
    theirs = _predictions(rng, task, label, 1.2)
    if twin:
        same = columns["sex"].codes == 0
        score = None
        if ours.score is not None and theirs.score is not None:
            wide = same if ours.score.ndim == 1 else same[:, None]
            score = np.where(wide, ours.score, theirs.score)
        theirs = Predictions(np.where(same, ours.prediction, theirs.prediction), score)
    frames = {"candidate": pl.DataFrame({**base, **extra, **_written(task, ours)})}
    if champion:
        frames["champion"] = pl.DataFrame({**base, **extra, **_written(task, theirs)})
    table = Table(
        task, classes, label, ours, theirs if champion else None, weights, groups, times, columns
    )
    return Case(table, written(folder, task, frames), frames)


def written(folder: Path, task: Task, frames: dict[str, pl.DataFrame]) -> Evaluations:
    """The files, with rows in another order than the table's."""
    paths = {}
    for name, frame in frames.items():
        paths[name] = folder / f"{name} [1] {{x}}.parquet"
        frame.sample(fraction=1.0, shuffle=True, seed=len(name)).write_parquet(
            paths[name], row_group_size=700
        )
    return Evaluations(task, CLASSES[task], paths["candidate"], paths.get("champion"))


def _labels(rng: np.random.Generator, task: Task, rows: int) -> tuple[Array, Array]:
    if task == "regression":
        return rng.normal(1000.0, 30.0, rows), np.zeros(rows, bool)
    label = rng.integers(0, len(CLASSES[task]), rows)
    unseen = rng.random(rows) < 0.02
    return np.where(unseen, -1, label), unseen


def _texts(classes: tuple[str, ...], label: Array, unseen: Array) -> list[str]:
    return ["new" if no else classes[int(at)] for at, no in zip(label, unseen, strict=True)]


def _column(rng: np.random.Generator, rows: int, values: tuple[str | None, ...]) -> Column:
    share = 1.0 / np.arange(1, len(values) + 1)
    codes = rng.choice(len(values), rows, p=share / share.sum())
    return Column(codes.astype(np.int32), values)


def _predictions(rng: np.random.Generator, task: Task, label: Array, noise: float) -> Predictions:
    rows = len(label)
    if task == "regression":
        return Predictions(label + rng.normal(0.5, 10 * noise, rows), None)
    if task == "binary":
        score = 1 / (1 + np.exp(-(2.0 * (label == 1) - 1 + rng.normal(0, noise, rows))))
        score[:5] = (0.0, 1.0, 0.0, 1.0, 0.5)
        return Predictions((score >= 0.5).astype(np.int64), score)
    raw = rng.normal(0, noise, (rows, len(CLASSES[task])))
    raw[np.arange(rows), np.maximum(label, 0)] += 1.0
    score = np.round(np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True), 2)  # with ties
    return Predictions(score.argmax(axis=1), score)


def _written(task: Task, of: Predictions) -> dict[str, Any]:
    classes = CLASSES[task]
    if of.score is None:
        return {"prediction": of.prediction}
    texts = [classes[int(at)] for at in of.prediction]
    if task == "binary":
        return {"prediction": texts, "score": of.score}
    return {"prediction": texts, **{f"score_{c}": of.score[:, at] for at, c in enumerate(classes)}}


# ---------------------------------------------------------------- agreement


def agrees(engine: Engine, case: Case, by: Sequence[tuple[str, ...]] = BY) -> Measured:
    """Every number of the statements is that of the table in memory."""
    metrics = METRICS[case.table.task]
    found = measure(engine, case.files, metrics, by, minimum_rows=50, minimum_per_class=5)
    slices = list(dict.fromkeys(one.measure.slice for one in found.estimated))
    assert slices[0] == Slice(), "all rows come first"
    expected = {
        (one.measure.metric, one.measure.slice): one
        for one in in_memory(case.table, metrics, slices, seed=0)
    }
    assert len(found.estimated) == len(expected)
    assert found.rows == case.table.rows
    for one in found.estimated:
        same(one, expected[one.measure.metric, one.measure.slice])
    return found


def same(one: Estimated, other: Estimated) -> None:
    """Counts exactly, sums to 1e-9 of their size, and the same answers."""
    what = f"{one.measure.metric}, {one.measure.slice.text}"
    a, b = one.measure, other.measure
    assert (a.rows, a.method, a.undefined) == (b.rows, b.method, b.undefined), what
    for mine, theirs in ((one.candidate, other.candidate), (one.champion, other.champion),
                         (one.difference, other.difference)):  # fmt: skip
        assert (mine is None) == (theirs is None), what
        if mine is None or theirs is None:
            continue
        scale = max(abs(theirs.value), theirs.se, 1e-9)
        np.testing.assert_allclose(mine.value, theirs.value, 1e-9, 1e-9 * scale, err_msg=what)
        np.testing.assert_allclose(mine.se, theirs.se, 1e-7, 1e-9 * scale, err_msg=what)
        np.testing.assert_allclose(mine.skew, theirs.skew, 1e-5, 1e-7, err_msg=what)
        np.testing.assert_allclose(mine.excess, theirs.excess, 1e-5, 1e-7, err_msg=what)
        assert (mine.df, mine.span) == (theirs.df, theirs.span), what
        assert (mine.few is None) == (theirs.few is None), what
        if theirs.few is not None:
            np.testing.assert_allclose(float(mine.few or 0), theirs.few, 1e-9, err_msg=what)
        for bound in (-1.0, -0.02, 0.0, 0.02, 0.5, 0.7):
            states = [decided(side.interval(0.9), bound, "above") for side in (mine, theirs)]
            assert states[0] == states[1], f"{what}: against {bound}"
