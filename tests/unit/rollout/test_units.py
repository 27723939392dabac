"""Rows to units: what depends on each other counts once."""

from __future__ import annotations

import math

import numpy as np

from gitops.rollout import Evidence, Rows, gather
from gitops.rollout.outcome import CLIP, metric_of, outcomes, span

NAN = math.nan


def rows(*each: tuple[str, str, int, float, int, float, bool, float, float]) -> Rows:
    """unit, request, row, at, arm, share, failed, outcome, known; in any order."""
    table = list(each)
    np.random.default_rng(1).shuffle(table)
    unit, request, row, at, arm, share, failed, outcome, known = (
        np.array(column) for column in zip(*table, strict=True)
    )
    return Rows(
        unit, request, row, at, arm.astype(np.int8), share, failed, failed, outcome, known
    )  # fmt: skip


def test_a_request_is_judged_by_the_mean_of_its_rows() -> None:
    found = gather(
        rows(
            ("r1", "r1", 0, 1.0, 0, 0.5, False, 1.0, 20.0),
            ("r1", "r1", 1, 1.0, 0, 0.5, False, 0.0, 21.0),
            ("r1", "r1", 2, 1.0, 0, 0.5, False, NAN, NAN),
            ("r2", "r2", 0, 2.0, 1, 0.5, False, 0.25, 10.0),
            ("r3", "r3", 0, 3.0, 1, 0.05, True, NAN, NAN),
        )
    )
    assert found.split.outcome.tolist() == [0.25, 0.5]  # as their labels came
    assert found.split.challenger.tolist() == [1, 0]
    assert found.arms == {5: (0, 1), 50: (1, 1)}
    assert (found.answers, found.failed, found.shadowed) == (2, 1, 0)


def test_a_sticky_key_is_judged_once_with_the_share_of_that_moment() -> None:
    found = gather(
        rows(
            ("k", "r1", 0, 1.0, 0, 0.05, False, NAN, NAN),
            ("k", "r2", 0, 2.0, 1, 0.5, False, 0.75, 30.0),
            ("k", "r3", 0, 3.0, 1, 0.5, False, 0.5, 20.0),
            ("k", "r3", 1, 3.0, 1, 0.5, False, 0.0, 40.0),
        )
    )
    assert found.split.outcome.tolist() == [0.25]
    assert found.split.share.tolist() == [0.5]
    assert found.arms == {5: (1, 0)}


def test_a_key_counts_once_an_hour_for_guardrails() -> None:
    each = [
        ("k", f"r{at}", 0, 600.0 * at, 1, 0.5, at > 6, NAN, NAN) for at in range(13)
    ]  # two hours and one answer
    found = gather(rows(*each))
    assert (found.answers, found.failed, found.slow) == (3, 1, 1)


def test_a_shadow_is_paired_row_by_row() -> None:
    found = gather(
        rows(
            ("r1", "r1", 0, 1.0, 0, NAN, False, 1.0, 9.0),
            ("r1", "r1", 0, 1.1, 2, NAN, False, 0.5, 9.0),
            ("r1", "r1", 1, 1.0, 0, NAN, False, 0.0, 9.0),
            ("r1", "r1", 1, 1.1, 2, NAN, True, NAN, 9.0),
            ("r2", "r2", 0, 2.0, 0, NAN, False, 0.2, 8.0),
            ("r2", "r2", 0, 2.1, 2, NAN, False, 0.4, 8.0),
            ("r3", "r3", 0, 3.0, 0, NAN, False, NAN, NAN),
        )
    )
    assert found.pairs.challenger.tolist() == [0.4, 0.5]
    assert found.pairs.champion.tolist() == [0.2, 1.0]
    assert (found.shadowed, found.answers, found.arms) == (2, 2, {})


def test_nothing_answered_is_no_evidence() -> None:
    empty = np.zeros(0)
    found = gather(
        Rows(
            np.array([], "U1"), np.array([], "U1"), empty.astype(np.int64), empty,
            empty.astype(np.int8), empty, empty.astype(bool), empty.astype(bool), empty, empty,
        )
    )  # fmt: skip
    assert isinstance(found, Evidence)
    assert (found.arms, found.shadowed, found.answers) == ({}, 0, 0)
    assert len(found.split.outcome) == len(found.pairs.champion) == 0


def test_dependent_repeats_within_a_key_leave_one_unit() -> None:
    rng = np.random.default_rng(4)
    each = []
    for key in range(50):
        arm, right = int(rng.random() < 0.5), float(rng.random() < 0.8)
        each += [
            (f"k{key}", f"r{key}-{at}", 0, float(key + at), arm, 0.5, False, right, 100.0 + key)
            for at in range(20)
        ]
    found = gather(rows(*each))
    assert len(found.split.outcome) == 50
    assert sum(map(sum, found.arms.values())) == 50


# ---------------------------------------------------------------- outcomes

EMPTY = np.zeros(0)


def test_outcomes_of_a_binary_model() -> None:
    label = np.array(["no", "yes", "", "new", "yes"])
    guess = np.array(["no", "no", "no", "yes", ""])
    score = np.array([0.2, 0.4, 0.3, 0.9, NAN])
    args = {"label": label, "prediction": guess, "score": score, "classes": ("no", "yes")}
    brier = outcomes("brier", "binary", **args, value=EMPTY)  # type: ignore[arg-type]
    expected = [-0.04, -0.36, NAN, -(0.9**2 + 0.1**2 + 1) / 2, NAN]
    assert np.allclose(brier.values, expected, equal_nan=True)
    surprise = outcomes("log_loss", "binary", **args, value=EMPTY)  # type: ignore[arg-type]
    expected = [math.log(0.8), math.log(0.4), NAN, math.log(CLIP), NAN]
    assert np.allclose(surprise.values, expected, equal_nan=True)
    right = outcomes("accuracy", "binary", **args, value=EMPTY)  # type: ignore[arg-type]
    assert np.allclose(right.values, [1, 0, NAN, 0, NAN], equal_nan=True)
    for one in (brier, surprise, right):
        there = one.values[np.isfinite(one.values)]
        assert ((there >= one.low) & (there <= one.high)).all()


def test_outcomes_of_several_classes() -> None:
    score = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    found = outcomes(
        "brier", "multiclass", label=np.array(["c", "b"]), prediction=np.array(["c", "a"]),
        score=score, classes=("a", "b", "c"), value=EMPTY,
    )  # fmt: skip
    assert np.allclose(found.values, [-(0.04 + 0.09 + 0.25), -2])
    assert (found.low, found.high) == (-2, 0)


def test_outcomes_of_a_regression_and_values() -> None:
    label, guess = np.array([1.0, NAN, 3.0]), np.array([2.0, 2.0, 0.0])
    args = {"label": label, "prediction": guess, "score": EMPTY, "value": np.array([5.0, NAN, 1])}
    found = outcomes("absolute_error", "regression", **args)  # type: ignore[arg-type]
    assert np.allclose(found.values, [-1, NAN, -3], equal_nan=True)
    found = outcomes("squared_error", "regression", **args)  # type: ignore[arg-type]
    assert np.allclose(found.values, [-1, NAN, -9], equal_nan=True)
    found = outcomes("value", "regression", **args)  # type: ignore[arg-type]
    assert np.allclose(found.values, [5, NAN, 1], equal_nan=True)
    assert span("value", "binary") == (-math.inf, math.inf)
    assert metric_of(None, "multiclass") == "accuracy"
