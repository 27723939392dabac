"""Slices, the search for the worst of them, Holm, and the lines of plots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from gitops.validate import stats
from gitops.validate.model import Column, Predictions, Table


def scored(rows: int, seed: int = 0, bad: np.ndarray | None = None) -> Table:
    """Two columns; where `bad` holds, the model is always wrong."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, rows)
    score = np.clip(0.3 + 0.4 * label + rng.normal(0, 0.25, rows), 0, 1)
    if bad is not None:
        score = np.where(bad, 1 - label, score).astype(float)
    columns = {
        "origin": Column((np.arange(rows) % 3).astype(np.int32), ("EWR", "JFK", None)),
        "kind": Column(rng.integers(0, 4, rows).astype(np.int32), ("a", "b", "c", "d")),
    }
    side = Predictions((score >= 0.5).astype(np.int64), score)
    return Table("binary", ("no", "yes"), label, side, None, columns=columns)


def usual(table: Table) -> float:
    return float((table.candidate.prediction == table.label).mean())


def test_each_value_is_a_slice_and_small_ones_say_why() -> None:
    table = scored(330)
    found = {one.slice.text: one for one in stats.slices_of(table, ["origin"], minimum_rows=111)}
    assert set(found) == {"origin = EWR", "origin = JFK", "origin = (missing)"}
    assert all(one.rows == 110 and "fewer than 111" in one.why for one in found.values())
    pairs = stats.slices_of(table, ["origin", "kind"], minimum_rows=1, pairs=True)
    assert sum(one.rows for one in pairs if len(one.slice.cut) == 2) == 330
    few = stats.slices_of(table, ["kind"], minimum_rows=1, minimum_per_class=80)
    assert all("of one class" in one.why for one in few)


def test_of_how_many_times_the_rows_a_small_slice_is_large_enough() -> None:
    table = scored(330)
    found = stats.slices_of(table, ["origin"], minimum_rows=220, minimum_per_class=1)
    assert {one.times for one in found} == {2.0}
    rare = replace(table, label=np.where(np.arange(330) % 33 == 0, 1, 0))
    (most, *_) = sorted(stats.slices_of(rare, ["origin"]), key=lambda one: one.times)
    assert most.times == 3  # 10 of the 30 positive rows that it takes
    never = replace(table, label=np.zeros(330, int))
    assert {one.times for one in stats.slices_of(never, ["origin"])} == {np.inf}


@pytest.mark.parametrize("rows", [3_000, 450_000])
def test_the_worst_slice_is_found_whatever_the_order_of_rows(rows: int) -> None:
    table = scored(rows, bad=np.arange(rows) % 3 == 1)
    worst = stats.worst_slices(table, "accuracy", usual(table), seed=1)
    assert worst[0].slice.cut[0] == ("origin", "JFK")
    assert worst[0].candidate.estimate == 0


def test_no_slice_of_an_even_model_is_shown() -> None:
    tables = [scored(2_000, seed) for seed in range(20)]
    shown = [stats.worst_slices(one, "accuracy", usual(one), seed=1) for one in tables]
    assert sum(bool(one) for one in shown) <= 4


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03], [True, False, False]),
        ([0.01, 0.02, 0.03], [True, True, True]),
        ([float("nan"), 1e-6], [False, True]),
        ([], []),
    ],
)
def test_holm(p_values: list[float], expected: list[bool]) -> None:
    assert stats.holm(p_values, 0.05) == expected


def test_curves_have_the_areas_of_scikit_learn() -> None:
    table = scored(5_000)
    score = table.candidate.score
    found = {one.kind: one for one in stats.curves(table)}
    assert set(found) == {"roc", "pr", "calibration", "scores"}
    assert all(len(one.x) <= 200 for one in found.values())
    area = auc(found["roc"].x, found["roc"].y)
    assert area == pytest.approx(roc_auc_score(table.label, score), abs=2e-3)
    area = auc(found["pr"].x, found["pr"].y)
    assert area == pytest.approx(average_precision_score(table.label, score), abs=1e-2)
    assert sum(found["scores"].y) == pytest.approx(1)


def test_large_tables_are_drawn_whatever_the_order_of_labels() -> None:
    rows = 400_002
    label = (np.arange(rows) % 3 == 0).astype(np.int64)
    side = Predictions(label, label.astype(float))
    assert stats.curves(Table("binary", ("no", "yes"), label, side, None))


def test_one_class_has_no_curve() -> None:
    label = np.ones(50, np.int64)
    side = Predictions(label, np.full(50, 0.7))
    assert stats.curves(Table("binary", ("no", "yes"), label, side, None)) == ()
