from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from gitops import package as packages
from gitops.validate.analyses import importance
from gitops.validate.analyses.importance import METRICS
from gitops.validate.model import Interval
from tests.unit.validate.conftest import raw_rows

Make = Callable[..., Any]
CASES = [(task, metric) for task, found in METRICS.items() for metric in found]


def loss(metric: str, frame: pl.DataFrame, scored: pl.DataFrame, classes: tuple[str, ...]) -> float:
    """The metric by scikit-learn, up is worse."""
    label = frame["label"].to_numpy()
    if metric == "mae":
        return float(metrics.mean_absolute_error(label, scored["prediction"]))
    if metric == "rmse":
        return float(metrics.root_mean_squared_error(label, scored["prediction"]))
    if "score" in scored.columns:
        positive = label == "true"
        score = scored["score"].to_numpy()
        if metric == "roc_auc":
            return -float(metrics.roc_auc_score(positive, score))
        if metric == "brier":
            return float(metrics.brier_score_loss(positive, score))
        return float(metrics.log_loss(positive, score))
    scores = scored.select(pl.selectors.starts_with("score_")).to_numpy()
    scores = scores / scores.sum(axis=1, keepdims=True)
    if metric == "brier":
        hits = label[:, None] == np.array(classes)[None, :]
        return float(((scores - hits) ** 2).sum(axis=1).mean())
    return float(metrics.log_loss(label, scores, labels=list(classes)))


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_it_is_what_shuffling_costs_by_scikit_learn(
    tmp_path: Path, people: Make, make_package: Make, make_table: Make, task: str, metric: str
) -> None:
    model = make_package(tmp_path / "p", people(task, 2000, 1), task=task)
    frame = people(task, 1500, 2)
    found = importance(make_table(model, frame), frame, model, metric=metric, seed=5)
    assert found.rows == 1500
    assert {one.column for one in found.columns} == {"income", "age", "region", "member", "joined"}
    draw = np.random.default_rng(0)
    base = loss(metric, frame, packages.score(model, frame).frame, model.signature.classes)
    for one in found.columns:
        costs = []
        for _ in range(10):
            mixed = frame.with_columns(frame[one.column].gather(draw.permutation(frame.height)))
            scored = packages.score(model, mixed).frame
            costs.append(loss(metric, frame, scored, model.signature.classes) - base)
        interval = one.candidate
        assert interval.lower is not None and interval.upper is not None
        assert interval.estimate is not None
        near = 4 * float(np.std(costs)) + 1e-6
        assert interval.estimate == pytest.approx(np.mean(costs), abs=near)
        assert interval.lower <= interval.estimate <= interval.upper
    top = found.columns[0]
    assert top.column == "income"
    assert top.candidate.lower is not None and top.candidate.lower > 0


def test_a_large_model_is_asked_about_fewer_rows(
    tmp_path: Path,
    people: Make,
    make_package: Make,
    make_table: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, frame = make_package(tmp_path / "p", people(count=500)), people(count=1500, seed=2)
    size = (tmp_path / "p" / "model.onnx").stat().st_size
    module = import_module("gitops.validate.analyses.importance")
    monkeypatch.setattr(module, "WORK", 15 * 400 * size)  # 3 shufflings of 5 columns
    assert 398 <= importance(make_table(model, frame), frame, model).rows <= 400


def test_the_change_is_paired_and_an_unused_column_counts_nothing(
    tmp_path: Path, people: Make, make_package: Make, make_table: Make
) -> None:
    train, frame = people("binary", 2000, 1), people("binary", 1500, 2)
    new = make_package(tmp_path / "new", train)
    old = make_package(tmp_path / "old", train, features=["income", "age", "sex"])
    found = importance(make_table(new, frame, old), frame, new, old, seed=5)
    by_name = {one.column: one for one in found.columns}
    assert by_name["member"].champion == Interval(0.0, 0.0, 0.0)
    assert by_name["sex"].candidate == Interval(0.0, 0.0, 0.0)
    income = by_name["income"]
    assert income.change is not None and income.champion is not None
    width = (income.change.upper or 0) - (income.change.lower or 0)
    assert 0 < width < ((income.candidate.upper or 0) - (income.candidate.lower or 0)) / 2
    same = importance(make_table(new, frame, new), frame, new, new, seed=5)
    assert all(one.change == Interval(0.0, 0.0, 0.0) for one in same.columns)
    assert same == importance(make_table(new, frame, new), raw_rows(frame), new, new, seed=5)


def test_rare_classes_are_made_up_for(
    tmp_path: Path, people: Make, make_package: Make, make_table: Make
) -> None:
    """A sample with every positive row says the same as all rows."""
    model = make_package(tmp_path / "p", people("binary", 2000, 1))
    frame = people("binary", 30_000, 2)
    rare = frame.filter((pl.col("label") == "false") | (pl.int_range(pl.len()) % 40 == 0))
    table = make_table(model, rare)
    sampled = importance(table, rare, model, metric="log_loss", rows=3000, seed=1)
    whole = importance(table, rare, model, metric="log_loss", rows=20_000, seed=1)
    assert sampled.rows < 3500 < whole.rows
    for one in whole.columns[:3]:
        other = next(found for found in sampled.columns if found.column == one.column)
        assert other.candidate.lower is not None and other.candidate.upper is not None
        assert other.candidate.lower <= (one.candidate.estimate or 0) <= other.candidate.upper


def test_weights_are_as_so_many_rows(
    tmp_path: Path, people: Make, make_package: Make, make_table: Make
) -> None:
    model = make_package(tmp_path / "p", people("binary", 2000, 1))
    frame = people("binary", 600, 2)
    positive = frame.filter(pl.col("label") == "true")
    repeated = pl.concat([frame, positive, positive])
    table = make_table(model, frame, weight=np.where(frame["label"] == "true", 3.0, 1.0))
    heavy = importance(table, frame, model, metric="log_loss", repeats=40)
    many = importance(make_table(model, repeated), repeated, model, metric="log_loss", repeats=40)
    assert (heavy.rows, many.rows) == (600, repeated.height)
    for left, right in zip(heavy.columns[:4], many.columns[:4], strict=True):
        assert left.column == right.column
        assert left.candidate.estimate == pytest.approx(right.candidate.estimate, rel=0.1)


def test_rows_of_a_group_count_as_one(
    tmp_path: Path, people: Make, make_package: Make, make_table: Make
) -> None:
    model = make_package(tmp_path / "p", people("regression", 2000, 1), task="regression")
    frame = pl.concat([people("regression", 300, 2)] * 5)
    table = make_table(model, frame)
    group = np.tile(np.arange(300), 5)
    alone = importance(table, frame, model).columns[0].candidate
    together = importance(replace(table, group=group), frame, model).columns[0].candidate
    assert together.estimate == alone.estimate
    wider = ((together.upper or 0) - (together.lower or 0)) / (
        (alone.upper or 0) - (alone.lower or 0)
    )
    assert 1.5 < wider < 3


def test_the_interval_covers_what_a_large_sample_says(
    tmp_path: Path, people: Make, make_package: Make, make_table: Make
) -> None:
    def rows(count: int, seed: int) -> pl.DataFrame:
        made: pl.DataFrame = people("regression", count, seed).drop("joined")
        return made

    model = make_package(tmp_path / "p", rows(2000, 1), task="regression")
    large = rows(60_000, 2)
    truth = {
        one.column: one.candidate.estimate
        for one in importance(make_table(model, large), large, model, rows=60_000).columns
    }
    covered = 0
    for seed in range(60):
        frame = rows(300, 100 + seed)
        for one in importance(make_table(model, frame), frame, model, seed=seed).columns:
            lower, upper = one.candidate.lower or 0, one.candidate.upper or 0
            covered += lower <= (truth[one.column] or 0) <= upper
    assert 0.83 <= covered / 240 <= 0.97


def test_a_declared_command_is_asked_once_or_not_at_all(
    tmp_path: Path, people: Make, make_package: Make, make_table: Make
) -> None:
    made = make_package(tmp_path / "p", people("binary", 2000, 1))
    frame = people("binary", 500, 2)
    table = make_table(made, frame)
    declared = replace(made, session=None)
    runs = []

    def command(asked: pl.DataFrame) -> pl.DataFrame:
        runs.append(asked.height)
        return packages.score(made, asked).frame.select("score")

    assert importance(table, frame, declared).why.startswith("a model is a declared command")
    found = importance(table, frame, declared, command=command, seed=2)
    assert runs == [500 * 3 * 6]
    usual = importance(table, frame, made, seed=2)
    for one, other in zip(found.columns, usual.columns, strict=True):
        assert one.candidate.estimate == pytest.approx(other.candidate.estimate)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_degenerate_tables_are_answered(
    tmp_path: Path, people: Make, make_package: Make, make_table: Make, task: str
) -> None:
    model = make_package(tmp_path / "p", people(task, 500, 1), task=task)
    frame = people(task, 300, 2)
    one_row = importance(make_table(model, frame[:1]), frame[:1], model)
    assert one_row.why == "1 rows are too few"
    constant = frame.with_columns(label=pl.lit(frame["label"].first()))
    assert importance(make_table(model, constant), constant, model).columns
    void = frame.with_columns(income=pl.lit(None, pl.Float64))
    found = importance(make_table(model, void), void, model).columns
    assert next(one for one in found if one.column == "income").candidate.estimate == 0
    unknown = replace(make_table(model, frame), label=np.full(300, -1))
    if task != "regression":
        assert importance(unknown, frame, model).why == "0 rows are too few"
    assert "not defined here" in importance(unknown, frame, model, metric="nonsense").why
