"""Errors and bounds: against derivatives and brute force, and what little evidence must not say."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from gitops.validate.model import Array, Predictions, Slice, Table, Task
from gitops.validate.stats import Estimated, measure, names_of
from gitops.validate.stats.distribution import Distribution
from gitops.validate.stats.resampled import Resampler
from tests.unit.validate.test_stats_values import MAKE, binary, multiclass, regression

ALL = [Slice()]


def one(table: Table, metric: str, *, seed: int = 1, level: float = 0.9) -> Estimated:
    (found,) = measure(table, [metric], ALL, seed=seed, level=level, resamples=500)
    return found


def scored(label: list[int], ours: list[float], theirs: list[float] | None = None) -> Table:
    def model(score: list[float]) -> Predictions:
        found = np.array(score, float)
        return Predictions((found >= 0.5).astype(int), found)

    champion = None if theirs is None else model(theirs)
    return Table("binary", ("0", "1"), np.array(label), model(ours), champion)


# ---------------------------------------------------------------- errors


SMOOTH = {
    "binary": ("accuracy balanced_accuracy precision recall f1 specificity mcc "
               "log_loss brier pr_auc roc_auc"),
    "multiclass": ("accuracy balanced_accuracy precision recall f1 mcc f1_weighted "
                   "precision_weighted log_loss brier top_2 roc_auc_ovr"),
    "regression": "mae rmse mape r2 bias quantile_loss_90",
}  # fmt: skip


@pytest.mark.parametrize(
    ("task", "metric"), [(task, name) for task, names in SMOOTH.items() for name in names.split()]
)
def test_errors_come_from_each_rows_influence(task: str, metric: str) -> None:
    """By numeric derivatives in the rows' weights (the infinitesimal jackknife)."""
    rows = 80
    table = MAKE[task](rows, 11, weights=True)
    weight, step = table.weight, 1e-4
    assert weight is not None
    ours, apart = np.zeros((2, rows))
    for row in range(rows):
        ends = []
        for sign in (1, -1):
            moved = weight.copy()
            moved[row] += sign * step
            found = one(replace(table, weight=moved), metric).measure
            assert found.difference is not None
            ends.append((found.candidate.estimate, found.difference.estimate))
        (up, up_apart), (down, down_apart) = ends
        assert up is not None and up_apart is not None
        assert down is not None and down_apart is not None
        ours[row] = (up - down) / (2 * step) * weight[row]
        apart[row] = (up_apart - down_apart) / (2 * step) * weight[row]
    whole = one(table, metric)
    assert whole.candidate is not None and whole.difference is not None
    # n / (n - 1), of each class for the ranks; the difference of counts has one row more.
    near = pytest.approx
    assert whole.candidate.se == near(math.sqrt((ours**2).sum()), rel=0.03)
    assert whole.difference.se == near(math.sqrt((apart**2).sum()), rel=0.12)
    skew = (ours**3).sum() / (ours**2).sum() ** 1.5
    if metric != "rmse":  # there the root's curvature is in it
        assert whole.candidate.skew == near(skew, rel=0.05, abs=0.01)
    excess = (ours**4).sum() / (ours**2).sum() ** 2 - 3 / rows
    assert whole.candidate.excess == near(excess, rel=0.05, abs=0.01)


def test_auc_has_delongs_variance() -> None:
    table = binary(160, 3, decimals=1)
    assert table.champion is not None
    parts = []
    for of in (table.candidate, table.champion):
        assert of.score is not None
        up, down = of.score[table.label == 1], of.score[table.label == 0]
        wins = (up[:, None] > down) + 0.5 * (up[:, None] == down)
        parts.append((wins.mean(axis=1), wins.mean(axis=0)))
    (up_a, down_a), (up_b, down_b) = parts
    found = one(table, "roc_auc")
    assert found.candidate is not None and found.difference is not None

    def variance(up: Array, down: Array) -> float:
        return float(up.var(ddof=1) / len(up) + down.var(ddof=1) / len(down))

    assert found.candidate.se**2 == pytest.approx(variance(up_a, down_a), rel=1e-10)
    apart = variance(up_a - up_b, down_a - down_b)
    assert found.difference.se**2 == pytest.approx(apart, rel=1e-10)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "mcc", "balanced_accuracy"])
def test_intervals_of_counts_agree_with_a_bootstrap_of_the_joint_cells(metric: str) -> None:
    table = binary(2000, 21)
    assert table.champion is not None
    cells = table.label * 4 + table.candidate.prediction * 2 + table.champion.prediction
    rng = np.random.default_rng(0)
    counts = np.bincount(cells, minlength=8)
    label, ours, theirs = (np.arange(8) // 4, np.arange(8) // 2 % 2, np.arange(8) % 2)

    def values(counts: Array, guess: Array) -> Array:
        tp, fp, fn, tn = (
            counts[:, (label == y) & (guess == p)].sum(axis=1)
            for y, p in ((1, 1), (0, 1), (1, 0), (0, 0))
        )
        by_name: dict[str, Callable[[], Array]] = {
            "accuracy": lambda: (tp + tn) / counts.sum(axis=1),
            "f1": lambda: 2 * tp / (2 * tp + fp + fn),
            "balanced_accuracy": lambda: (tp / (tp + fn) + tn / (tn + fp)) / 2,
            "mcc": lambda: (
                (tp * tn - fp * fn) / np.sqrt(1.0 * (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
            ),
        }
        return by_name[metric]()

    drawn = rng.multinomial(len(cells), counts / counts.sum(), 20_000)
    apart = values(drawn, ours) - values(drawn, theirs)
    found = one(table, metric).measure.difference
    assert found is not None and found.lower is not None and found.upper is not None
    low, high = np.quantile(apart, [0.05, 0.95])
    width = high - low
    assert found.lower == pytest.approx(low, abs=0.04 * width)
    assert found.upper == pytest.approx(high, abs=0.04 * width)


def test_equal_accuracy_of_models_that_differ_is_mcnemars_question() -> None:
    """30 rows only the candidate has right, 50 only the champion: p as of the exact test."""
    label = np.ones(1000, int)
    ours, theirs = np.ones(1000), np.ones(1000)
    ours[:50], theirs[50:80] = 0.0, 0.0
    label[-100:] = 0
    found = one(scored(label.tolist(), ours.tolist(), theirs.tolist()), "accuracy")
    exact = scipy_stats.binomtest(30, 80, 0.5, alternative="less").pvalue
    assert found.p_value(0.0, "below") == pytest.approx(exact, abs=0.006)


# ---------------------------------------------------------------- dependence


@pytest.mark.parametrize("task", [*MAKE])
def test_a_row_given_three_times_is_still_one(task: str) -> None:
    """Groups are what counts: copies of rows say no more than the rows."""
    table = MAKE[task](150, 5)
    names = [name for name in SMOOTH[task].split() if name not in ("roc_auc", "roc_auc_ovr")]
    place = np.repeat(np.arange(150), 3)

    def thrice(of: Predictions | None) -> Predictions:
        assert of is not None
        return Predictions(of.prediction[place], None if of.score is None else of.score[place])

    copied = replace(
        table, label=table.label[place], candidate=thrice(table.candidate),
        champion=thrice(table.champion), columns={}, group=place * 7,
    )  # fmt: skip
    for name in names:
        alone, together = one(table, name), one(copied, name)
        assert alone.candidate is not None and together.candidate is not None
        assert together.candidate.value == pytest.approx(alone.candidate.value)
        assert together.candidate.se == pytest.approx(alone.candidate.se, rel=0.01)
        assert together.candidate.df == 149
        assert "as units" in together.measure.method


def test_time_makes_blocks_and_groups_come_first() -> None:
    table = binary(1000, 2)
    rng = np.random.default_rng(3)
    wrong = np.repeat(rng.random(50) < 0.3, 20)  # whole days go wrong
    guess = np.where(wrong, 1 - table.label, table.label)
    table = replace(table, candidate=Predictions(guess, guess.astype(float)), champion=None)
    plain = one(table, "accuracy").candidate
    blocks = one(replace(table, time=np.arange(1000)), "accuracy").candidate
    shuffled = one(replace(table, time=rng.permutation(1000)), "accuracy").candidate
    assert plain is not None and blocks is not None and shuffled is not None
    assert blocks.se > 3 * plain.se
    assert shuffled.se == pytest.approx(plain.se, rel=0.3)
    both = replace(table, time=np.arange(1000), group=np.arange(1000) % 500)
    grouped = one(both, "accuracy").candidate
    assert grouped is not None and grouped.df == 499


@pytest.mark.parametrize("metric", names_of("binary"))
def test_too_few_groups_have_no_interval(metric: str) -> None:
    found = one(replace(binary(200, 2), group=np.arange(200) % 6), metric).measure
    assert found.candidate.estimate is not None
    assert found.candidate.lower is found.candidate.upper is None
    assert found.difference is not None and found.difference.lower is None


# ---------------------------------------------------------------- little evidence


def test_all_right_is_no_proof_of_perfection() -> None:
    table = scored([0, 1] * 50, [0.1, 0.9] * 50, [0.2, 0.8] * 50)
    for metric, rows in (("accuracy", 100), ("recall", 50), ("roc_auc", 50), ("ks", 50)):
        found = one(table, metric).measure
        assert (found.candidate.estimate, found.candidate.upper) == (1.0, 1.0)
        assert found.candidate.lower == pytest.approx(0.05 ** (1 / rows))
        assert found.difference is not None and found.difference.lower is not None
        assert found.difference.lower == pytest.approx(0.05 ** (1 / rows) - 1)
    assert one(table, "accuracy").p_value(0.01, "above") == pytest.approx(0.99**100)
    assert one(table, "accuracy").p_value(0.01, "below") == 1.0


@pytest.mark.parametrize("task", [*MAKE])
def test_the_same_model_differs_by_exactly_nothing(task: Task) -> None:
    table = MAKE[task](60, 1)
    table = replace(table, champion=table.candidate)
    for found in measure(table, names_of(task), ALL, seed=1, resamples=50):
        difference = found.measure.difference
        assert difference is not None
        assert (difference.estimate, difference.lower, difference.upper) == (0.0, 0.0, 0.0)
        if found.up is not None:
            assert found.p_value(0.01) == 0.0
            assert found.p_value(0.0) == found.p_value(0.0, "below") == 1.0


def test_without_any_error_a_regression_has_no_interval() -> None:
    table = regression(50)
    exact = Predictions(table.label, None)
    for metric in ("mae", "rmse", "r2", "bias"):
        found = one(replace(table, candidate=exact, champion=None), metric).measure
        assert found.candidate.estimate in (0.0, 1.0)
        assert found.candidate.lower is found.candidate.upper is None


@pytest.mark.parametrize(
    ("table", "metric", "reason"),
    [
        (scored([1, 1], [0.2, 0.7]), "roc_auc", "only one class"),
        (scored([0, 0], [0.2, 0.7]), "pr_auc", "only one class"),
        (scored([0, 0], [0.2, 0.7]), "ks", "only one class"),
        (scored([0, 0], [0.2, 0.3]), "balanced_accuracy", "only one class"),
        (scored([0, 1], [0.2, 0.3]), "precision", "no row is predicted positive"),
        (scored([0, 0], [0.2, 0.7]), "recall", "no row is positive"),
        (scored([1, 1], [0.2, 0.7]), "specificity", "no row is negative"),
        (scored([0, 0], [0.2, 0.3]), "f1", "no row is positive or predicted positive"),
        (scored([0, 1], [0.2, 0.3]), "mcc", "all of one class"),
        (scored([0, 1], [0.9, 0.7], [0.1, 0.2]), "precision", "the champion's is not defined"),
    ],
)
def test_what_is_not_defined_says_why(table: Table, metric: str, reason: str) -> None:
    found = one(table, metric)
    assert reason in found.measure.undefined
    if table.champion is not None:
        assert found.difference is None
        assert found.p_value(0.1) == 1.0
    else:
        assert found.measure.candidate.estimate is None
        assert found.candidate is None


def test_regressions_that_are_not_defined() -> None:
    table = regression(40)
    flat = replace(table, label=np.full(40, 3.0))
    assert one(flat, "r2").measure.undefined == "all labels are equal"
    label = table.label.copy()
    label[3] = 0.0
    assert one(replace(table, label=label), "mape").measure.undefined == "a label is 0"
    huge = replace(table, label=table.label * 1e200)
    assert one(huge, "rmse").measure.undefined == "not a finite number"
    assert one(huge, "mae").measure.candidate.lower is None


def test_a_value_of_the_table_is_not_there() -> None:
    (found,) = measure(binary(50), ["accuracy"], [Slice((("c", "nobody"),))], seed=1)
    assert (found.measure.rows, found.measure.undefined) == (0, "no rows")


@pytest.mark.parametrize("metric", names_of("binary"))
def test_one_row_has_no_interval(metric: str) -> None:
    found = one(scored([1], [0.7], [0.6]), metric).measure
    assert found.candidate.lower is None
    assert found.difference is not None and found.difference.lower is None


def test_equal_scores_and_certain_ones() -> None:
    equal = one(scored([0, 1] * 30, [0.5] * 60), "roc_auc").measure.candidate
    assert equal.estimate == 0.5
    assert equal.lower is not None and equal.lower < 0.5
    certain = one(scored([0, 1] * 30, [0.0, 1.0] * 30), "log_loss").measure.candidate
    assert certain.estimate == pytest.approx(0.0, abs=1e-15)
    assert certain.upper is not None and certain.upper > 0.5  # one row could have cost 36
    wrong = one(scored([0, 1] * 30, [1.0, 0.0] * 30), "log_loss").measure.candidate
    assert wrong.estimate == pytest.approx(-math.log(np.finfo(float).eps))


def test_the_bias_has_no_better_side() -> None:
    with pytest.raises(ValueError, match="no better side"):
        one(regression(40), "bias").p_value(0.1)


# ---------------------------------------------------------------- symmetries


@pytest.mark.parametrize("task", [*MAKE])
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100))
def test_symmetries(task: str, seed: int, factor: float) -> None:
    """The order of rows and the scale of weights say nothing; swapped models swap the sign."""
    table = MAKE[task](90, seed, weights=True)
    names = [*SMOOTH[task].split()]
    order = np.random.default_rng(seed).permutation(90)

    def moved(of: Predictions | None) -> Predictions:
        assert of is not None
        return Predictions(of.prediction[order], None if of.score is None else of.score[order])

    assert table.weight is not None and table.champion is not None
    turned = replace(
        table, label=table.label[order], candidate=moved(table.candidate), columns={},
        champion=moved(table.champion), weight=table.weight[order] * factor,
    )  # fmt: skip
    swapped = replace(table, candidate=table.champion, champion=table.candidate)
    plain, other, back = (measure(each, names, ALL, seed=1) for each in (table, turned, swapped))
    near: dict[str, Any] = {"rel": 1e-6, "abs": 1e-9}
    for a, b, c in zip(plain, other, back, strict=True):
        if a.difference is None or a.candidate is None:
            assert b.difference is None or b.candidate is None
            continue
        assert b.difference is not None and b.candidate is not None and c.difference is not None
        assert b.candidate.value == pytest.approx(a.candidate.value, **near)
        assert b.candidate.se == pytest.approx(a.candidate.se, **near)
        assert b.difference.se == pytest.approx(a.difference.se, **near)
        assert c.difference.value == pytest.approx(-a.difference.value, **near)
        assert c.difference.se == pytest.approx(a.difference.se, **near)
        low, high = a.difference.bound("lower", 0.95), c.difference.bound("upper", 0.95)
        assert low is not None and high is not None
        assert low == pytest.approx(-high, **near)


def test_the_same_seed_gives_the_same_bytes_and_other_slices_do_not_matter() -> None:
    table = multiclass(400, 3)
    cut = Slice((("c", "a"),))
    names = names_of("multiclass")
    first = [each.measure for each in measure(table, names, [cut], seed=4, resamples=100)]
    again = measure(table, names, [Slice(), cut], seed=4, resamples=100)
    assert first == [each.measure for each in again if each.measure.slice == cut]


# ---------------------------------------------------------------- distributions


@pytest.mark.parametrize("skew", [0.0, 0.3, -0.8, 2.0])
@pytest.mark.parametrize("df", [12.0, 49.0, math.inf])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
@pytest.mark.parametrize("excess", [0.0, 0.4, 8.0])
def test_p_values_turn_bounds_round(
    skew: float, df: float, confidence: float, excess: float
) -> None:
    found = Distribution(0.3, 0.05, skew, df, excess=excess)
    low, high = found.bound("lower", confidence), found.bound("upper", confidence)
    assert low is not None and high is not None
    assert low < 0.3 + 0.05 and low < high
    assert found.p_value(low) == pytest.approx(1 - confidence, rel=1e-6)
    assert found.p_value(high, "below") == pytest.approx(1 - confidence, rel=1e-6)
    flipped = found.flipped()
    assert flipped.bound("upper", confidence) == pytest.approx(-low)


def test_few_independent_units_have_students_t() -> None:
    found = Distribution(0.0, 1.0, df=20)
    assert found.bound("upper", 0.95) == pytest.approx(scipy_stats.t.ppf(0.95, 20), rel=2e-3)
    assert found.bound("upper", 0.995) == pytest.approx(scipy_stats.t.ppf(0.995, 20), rel=1e-2)


def test_errors_that_few_rows_carry_widen_the_bounds() -> None:
    """Gains and losses of uneven weight, as many of one as of the other: no skewness is true."""
    rng, missed, samples = np.random.default_rng(5), {True: 0, False: 0}, 4000
    for _ in range(samples):
        push = rng.choice([-1, 1], 40) * rng.gamma(2.0, 1.0, 40)
        error = math.sqrt((push**2).sum())
        skew, peak = (push**3).sum() / error**3, (push**4).sum() / error**4
        for known in (True, False):
            found = Distribution(push.sum(), error, skew, excess=peak if known else 0.0)
            low, high = found.bound("lower", 0.975), found.bound("upper", 0.975)
            missed[known] += not float(low or 0) <= 0 <= float(high or 0)
    assert missed[False] / samples > 0.065
    assert 0.04 < missed[True] / samples < 0.06


def test_resampled_errors_do_not_depend_on_how_rows_are_summed_up() -> None:
    """Rows that are units of their own, and the same as two units each of half the weight."""
    rng = np.random.default_rng(2)
    cell, weight, units = rng.integers(0, 7, 300), rng.random(300), rng.permutation(300)
    resampler = Resampler(1, 50)
    noise, total = resampler.errors(units, 300, cell, weight, 7)
    halves = (np.tile(units, 2), 300, np.tile(cell, 2), np.tile(weight / 2, 2), 7)
    again, same_total = resampler.errors(*halves)
    np.testing.assert_allclose(noise, again, atol=1e-9)
    np.testing.assert_allclose(total, same_total)


def test_a_sure_bound_outside_the_range_is_cut_off() -> None:
    found = Distribution(0.99, 0.02, low=0.0, high=1.0)
    assert found.bound("upper", 0.95) == 1.0
    assert found.interval(0.9).level == 0.9


def test_drawn_errors() -> None:
    drawn = np.sort(np.random.default_rng(1).normal(0.1, 1.0, 4000))  # biased upward by 0.1
    found = Distribution(2.0, 1.0, draws=drawn)
    low, high = found.bound("lower", 0.95), found.bound("upper", 0.95)
    assert low == pytest.approx(1.9 - 1.645, abs=0.08)
    assert high == pytest.approx(1.9 + 1.645, abs=0.08)
    assert found.p_value(float(low or 0)) == pytest.approx(0.05, abs=0.002)
    assert found.p_value(float(high or 0), "below") == pytest.approx(0.05, abs=0.002)
    assert found.flipped().bound("lower", 0.95) == pytest.approx(-float(high or 0))


@pytest.mark.parametrize(("rows", "share"), [(100, 0.98), (500, 0.95), (2000, 0.99)])
def test_one_sided_bounds_of_a_share_hold(rows: int, share: float) -> None:
    """Exactly, over all outcomes: where a normal interval misses twice as often as it says."""
    hits = np.arange(rows + 1)
    chance = scipy_stats.binom.pmf(hits, rows, share)
    missed = {"lower": 0.0, "upper": 0.0}
    for right, weight in zip(hits, chance, strict=True):
        if weight < 1e-9:
            continue
        mean = right / rows
        error = math.sqrt(mean * (1 - mean) / (rows - 1))
        skew = (1 - 2 * mean) / math.sqrt(rows * mean * (1 - mean)) if error else 0.0
        found = Distribution(mean, error, skew, low=0.0, high=1.0, few=rows)
        low, high = found.bound("lower", 0.95), found.bound("upper", 0.95)
        assert low is not None and high is not None
        missed["lower"] += weight * (low > share)
        missed["upper"] += weight * (high < share)
    assert max(missed.values()) < 0.06
