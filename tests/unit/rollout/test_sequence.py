"""Bounds of a mean difference: against formulas written down once more, and by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from benchmarks import rollout_error_rates as simulation
from gitops.rollout import sequence
from gitops.rollout.model import Pairs, Split

RNG = np.random.default_rng(5)


def split(n: int = 400, worse: float = 0.0, base: float = 0.7) -> Split:
    share = np.where(np.arange(n) < n / 2, 0.1, 0.5)
    arm = (RNG.random(n) < share).astype(float)
    return Split(arm, share, (RNG.random(n) < base - worse * arm).astype(float))


def test_contributions_are_overlap_weighted_augmented_inverse_probability_weights() -> None:
    one = split(60)
    found = sequence.of_split(one, 0, 1)
    for i in range(60):
        a, p, y = one.challenger[i], one.share[i], one.outcome[i]
        before = one.challenger[:i]
        if not before.any() or before.all():
            assert (found.z[i], found.h[i]) == (0, 0)
            continue
        m = one.outcome[:i].mean()
        augmented = (m - m) + a / p * (y - m) - (1 - a) / (1 - p) * (y - m)
        assert found.h[i] == pytest.approx(p * (1 - p))
        assert found.z[i] == pytest.approx(p * (1 - p) * augmented)


def test_no_contribution_can_lose_more_than_its_bound() -> None:
    for value in (0.0, 1.0):
        for arm in (0.0, 1.0):
            one = split(50)
            one.outcome[-1], one.challenger[-1] = value, arm
            found = sequence.of_split(one, 0, 1)
            assert (found.z - found.h * 0.1 >= -found.down).all()
            assert (found.z + found.h * 0.1 <= found.up).all()


def test_the_mean_difference_is_unbiased_while_shares_and_base_rates_move() -> None:
    estimates, pooled = [], []
    for _ in range(200):
        n = 2000
        share = np.repeat([0.05, 0.5], n // 2)
        base = np.where(np.arange(n) < n / 2, 0.3, 0.8)
        arm = (RNG.random(n) < share).astype(float)
        outcome = (RNG.random(n) < base - 0.1 * arm).astype(float)
        estimates.append(sequence.estimate(sequence.of_split(Split(arm, share, outcome), 0, 1))[0])
        pooled.append(outcome[arm == 1].mean() - outcome[arm == 0].mean())
    error = np.std(estimates) / math.sqrt(200)
    assert abs(np.mean(estimates) + 0.1) < 4 * error
    assert np.mean(pooled) > 0  # Simpson: the worse one looks better


def test_wealth_is_the_mean_of_gamblers_with_fixed_stakes() -> None:
    found = sequence.of_split(split(300), 0, 1)
    stakes = np.geomspace(math.sqrt(8 * math.log(20) / 5000), 8, 12)
    total = np.zeros(300)
    for stake in stakes:
        money = 1.0
        for i in range(300):
            money *= 1 + min(stake, 0.9 / found.down[i]) * (found.z[i] + 0.05 * found.h[i])
            total[i] += money / 12
    assert sequence.wealth(found, -0.05, 0.05, 5000) == pytest.approx(np.log(total))


def test_wealth_is_on_average_what_it_was_where_the_challenger_is_worse_by_the_margin() -> None:
    """The mean over all ways in which six units can go, shares and base rates moving."""
    share, base = np.array([0.1, 0.1, 0.5, 0.5, 0.5, 0.5]), np.linspace(0.4, 0.8, 6)
    expected = np.zeros(6)
    for ways in itertools.product((0.0, 1.0), repeat=12):
        arm, outcome = np.array(ways[:6]), np.array(ways[6:])
        right = base - 0.2 * arm
        chance = np.where(arm == 1, share, 1 - share) * np.where(outcome == 1, right, 1 - right)
        found = sequence.of_split(Split(arm, share, outcome), 0, 1)
        expected += chance.prod() * np.exp(sequence.wealth(found, -0.2, 0.05, 200))
    assert expected == pytest.approx(np.ones(6))


@pytest.mark.parametrize("flip", [False, True])
def test_the_bound_is_where_the_gambler_has_just_won(flip: bool) -> None:
    found = sequence.of_split(split(3000), 0, 1)
    found = found.flipped() if flip else found
    low = sequence.lower_by_betting(found, 0.05, 5000)
    goal = math.log(20)
    assert sequence.wealth(found, low, 0.05, 5000)[-1] >= goal
    assert sequence.wealth(found, low + 1e-4, 0.05, 5000)[-1] < goal
    mean, sd = sequence.estimate(found)
    assert low < mean and mean - low < 5 * sd / math.sqrt(found.h.sum())


def test_without_evidence_there_is_no_bound() -> None:
    few = sequence.of_split(split(10), 0, 1)
    assert sequence.lower_by_betting(few, 0.05, 5000) == -math.inf
    none = sequence.of_pairs(Pairs(np.zeros(0), np.zeros(0)), 0, 1)
    assert sequence.lower_by_betting(none, 0.05, 5000) == -math.inf
    assert all(math.isnan(one) for one in sequence.estimate(none))


def test_the_asymptotic_width_is_the_papers() -> None:
    one, other = RNG.normal(size=(2, 500))
    found = sequence.of_pairs(Pairs(one, other), -math.inf, math.inf)
    mean, width = sequence.asymptotic(found, 0.05, 800)
    assert np.isnan(width[:100]).all()
    r2 = (-2 * math.log(0.1) + math.log(-2 * math.log(0.1) + 1)) / 200
    for t in (150, 500):
        x = (one - other)[:t]
        inner = math.log(1 + math.sqrt(t * r2 + 1) / (2 * 0.05))
        expected = x.std() * math.sqrt(2 * (t * r2 + 1) / (t**2 * r2) * inner)
        assert (mean[t - 1], width[t - 1]) == pytest.approx((x.mean(), expected))


def test_the_asymptotic_width_bounds_the_half_normal_mixture() -> None:
    """2 exp(x^2 / 2) P(x) / sqrt(t r^2 + 1) has reached 1 / alpha where the boundary is crossed."""
    t, r2, alpha = 400.0, 0.02, 0.05
    grown = t * r2 + 1
    s = math.sqrt(2 * grown / r2 * math.log(1 + math.sqrt(grown) / (2 * alpha)))
    x = s * math.sqrt(r2 / grown)
    mixture = 2 / math.sqrt(grown) * math.exp(x**2 / 2) * stats.norm.cdf(x)
    assert 1 / alpha <= mixture < 1.2 / alpha


@pytest.mark.parametrize("name", ["accuracy", "keys", "drift", "late-labels", "rare-errors"])
def test_looking_after_every_unit_costs_no_more_than_promised_but_t_tests_do(name: str) -> None:
    found = simulation.rates(name, seeds=60)
    # 5 and 2.5 % of 60, and three standard errors.
    assert found.promoted <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 60)
    assert found.rolled_back <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 60)
    assert max(found.naive_promoted, found.naive_rolled_back) > 0.2
    assert found.equal > 0.9 and found.twice > 0.9


@pytest.mark.parametrize("name", ["absolute-error", "shadow-error", "shadow-accuracy"])
def test_other_outcomes_and_pairs_keep_the_promise_too(name: str) -> None:
    found = simulation.rates(name, seeds=60)
    assert found.promoted <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 60)
    assert found.rolled_back <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 60)
    assert found.equal > 0.9 and found.twice > 0.9
