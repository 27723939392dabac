"""Tests of shares, against likelihoods written down once more and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from gitops.rollout import shares


@pytest.mark.parametrize("bound", [0.001, 0.01, 0.2, 0.9])
def test_a_share_above_its_bound_is_a_mixture_of_likelihood_ratios(bound: float) -> None:
    others = bound + (1 - bound) * np.geomspace(min(bound, 0.5) / 4, 0.999, 24)
    ratios = stats.binom.pmf(7, 300, others) / stats.binom.pmf(7, 300, bound)
    assert shares.above(7, 300, bound) == pytest.approx(math.log(ratios.mean()))
    assert shares.above(0, 0, bound) == pytest.approx(0)


def test_all_failing_is_seen_at_once_and_none_never() -> None:
    goal = math.log(1 / 0.0125)
    assert shares.above(0, 10_000, 0.01) < 0
    assert shares.above(1, 1, 0.01) < goal <= shares.above(2, 2, 0.01)
    assert shares.above(11, 1000, 0.01) < goal <= shares.above(30, 1000, 0.01)


def test_a_share_at_its_bound_is_rarely_found_above_it_however_often_one_looks() -> None:
    rng = np.random.default_rng(2)
    wrong = naive = 0
    for _ in range(300):
        failed = np.cumsum(rng.random(3000) < 0.05)
        looks = np.arange(0, 3000, 10)
        wrong += any(
            shares.above(int(failed[at]), int(at) + 1, 0.05) >= math.log(20) for at in looks
        )
        naive += bool((stats.binom.sf(failed[looks] - 1, looks + 1, 0.05) < 0.05).any())
    assert wrong / 300 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert naive / 300 > 0.2


def test_the_arms_are_held_against_a_beta_binomial() -> None:
    arms = {5: (90, 10), 50: (40, 60)}
    expected = sum(
        stats.betabinom.logpmf(mine, n, 100 * p, 100 * (1 - p)) - stats.binom.logpmf(mine, n, p)
        for p, mine, n in ((0.05, 10, 100), (0.5, 60, 100))
    )
    assert shares.mismatch(arms) == pytest.approx(expected)
    assert shares.mismatch({}) == 0


def test_a_mismatch_of_the_arms_is_found_and_a_match_is_not() -> None:
    goal = math.log(2000)
    assert shares.mismatch({5: (190, 10), 50: (5030, 4970)}) < goal
    assert shares.mismatch({50: (5500, 4500)}) > goal
    rng = np.random.default_rng(3)
    looks = [
        max(
            shares.mismatch({25: (at - int(mine), int(mine))})
            for at, mine in zip(
                range(20, 4000, 20), np.cumsum(rng.binomial(20, 0.25, 199)), strict=True
            )
        )
        for _ in range(200)
    ]
    assert np.mean([one >= math.log(20) for one in looks]) <= 0.05
