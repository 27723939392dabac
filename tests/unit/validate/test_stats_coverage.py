"""Coverage of intervals and rates of wrong answers, by simulation: fewer seeds than a benchmark."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.gate_coverage import rates
from benchmarks.populations import SCENARIOS
from gitops.validate.model import Column, Predictions, Slice, Table
from gitops.validate.stats import decided, measure

SAMPLES = 400  # a rate of 5 % has a standard error of 1.1 %


@pytest.mark.parametrize(
    ("scenario", "metrics", "samples"),
    [
        ("imbalanced", "accuracy precision f1 mcc log_loss brier roc_auc pr_auc", SAMPLES),
        ("imbalanced", "ks calibration_error", 60),
        ("weighted", "recall f1 log_loss roc_auc", SAMPLES),
        ("rare", "accuracy recall specificity roc_auc", SAMPLES),
        ("ten-classes-weighted", "top_8", SAMPLES // 2),
        ("ten-classes", "accuracy f1 mcc precision_weighted", SAMPLES // 2),
        ("amounts", "mae rmse r2 mape quantile_loss_90", SAMPLES),
    ],
)
def test_intervals_hold_what_they_promise(scenario: str, metrics: str, samples: int) -> None:
    smaller = replace(SCENARIOS[scenario], population=300_000)
    for one in rates(smaller, metrics.split(), rows=2000, seeds=samples):
        off = 3.5 * np.sqrt(0.05 * 0.95 / samples)
        for cover in (one.value, one.equal, one.apart):
            assert cover == pytest.approx(0.955, abs=0.015 + off), one
        wrong = (one.low, one.high, one.blocked, one.passed_at)
        assert max(each for each in wrong if each is not None) < 0.06 + off, one


def test_calibration_errors_of_two_models_share_their_noise() -> None:
    """Labels that make one overconfident model look worse make a second one do so too, and an
    underconfident one look better: a difference is narrower than of strangers, or wider."""
    scenario, ratio = SCENARIOS["ten-classes"], {"equal": 0.0, "worse": 0.0}
    for seed in range(6):
        drawn = scenario.draw(np.random.default_rng(seed), 2000)
        for name, candidate in (("equal", drawn.equal), ("worse", drawn.worse)):
            table = Table("multiclass", tuple("0123456789"), drawn.label, candidate, drawn.champion)
            (found,) = measure(table, ["calibration_error"], [Slice()], seed=1)
            assert found.candidate and found.champion and found.difference
            alone = found.candidate.se**2 + found.champion.se**2
            ratio[name] += found.difference.se**2 / alone / 6
    assert ratio["equal"] < 0.83
    assert ratio["worse"] > 1.17


@pytest.mark.parametrize(
    ("worse", "least_passed", "most_passed", "least_failed", "most_failed"),
    [(0.0, 0.5, 0.68, 0.0, 0.02), (0.02, 0.0, 0.02, 0.25, 0.6), (0.01, 0.02, 0.08, 0.02, 0.08)],
)
def test_equal_models_pass_worse_ones_do_not(
    worse: float, least_passed: float, most_passed: float, least_failed: float, most_failed: float
) -> None:
    """Accuracy, 2,000 rows, 6 % of them answered otherwise, margin 0.01, 95 % confidence.

    At the margin itself (0.01 worse) both errors have the promised 5 %.
    """
    samples, rows, rng = 500, 2000, np.random.default_rng(2)
    draw = rng.random(samples * rows)
    label = np.ones(samples * rows, np.int8)
    better, flipped = draw < 0.03 - worse / 2, draw > 1 - 0.03 - worse / 2
    base = rng.random(samples * rows) < 0.8
    ours = np.where(better, 1, np.where(flipped, 0, base))
    theirs = np.where(better, 0, np.where(flipped, 1, base))
    codes = np.repeat(np.arange(samples, dtype=np.int32), rows)
    table = Table(
        "binary", ("0", "1"), label, Predictions(ours, ours * 1.0),
        Predictions(theirs, theirs * 1.0),
        columns={"sample": Column(codes, tuple(map(str, range(samples))))},
    )  # fmt: skip
    slices = [Slice((("sample", str(number)),)) for number in range(samples)]
    states = []
    for found in measure(table, ["accuracy"], slices, seed=1):
        assert found.oriented is not None
        states.append(decided(found.oriented.interval(0.9), -0.01, "above"))
    passed, failed = (states.count(state) / samples for state in ("PASS", "FAIL"))
    assert least_passed <= passed <= most_passed
    assert least_failed <= failed <= most_failed
