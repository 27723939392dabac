"""`python -m benchmarks.rollout_error_rates [SCENARIO...] [--json FILE]`: does a rollout err as
rarely as it promises, looking after every unit?

For each kind of outcome and of traffic, rollouts are drawn and judged after each of their units, by
the code that judges real ones:

- `promoted`: a challenger that is worse by exactly the margin is promoted (promised: at most 5 %);
- `rolled back`: an equal one is rolled back by its outcomes (promised: 2.5 %; the other half is the
  guardrails');
- the same of a t-test that is repeated after every unit (Welch's, pooled over all shares);
- `equal`: an equal challenger is promoted, and after how many units (median);
- `twice`: one that is worse by twice the margin is rolled back, and after how many units.

Then the guardrail of a share of 1 %, with a look after every ten of 5,000 answers: how often it
breaks where 1 % fail (promised: at most 1.2 %), the same of repeated binomial tests, and after how
many answers it breaks where more fail; and how often the check of the shares is wrong (0.05 %).

`exact` says how outcomes were judged: by betting, or by the asymptotic confidence sequence. With
--asymptotic all are judged by the latter: what exactness costs, and what it saves from.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy import stats

from gitops.config.serving import SHADOW, Rollout
from gitops.rollout import sequence, shares
from gitops.rollout.model import Array, Pairs, Split
from gitops.rollout.verdict import information, levels

LEAST = 30  # units of each arm before the first t-test
Random = np.random.Generator
Pair = tuple[Array, Array]
"""Outcomes of n units: what the champion's and the challenger's answer would bring."""


@dataclass(frozen=True)
class Scenario:
    """`draw(rng, n, worse)`: outcomes of n units, the challenger worse by `worse`."""

    draw: Callable[[Random, int, float], Pair]
    margin: float
    span: tuple[float, float]
    steps: tuple[int | str, ...] = (5, 25, 50)
    repeats: int = 1  # rows of a key: the t-test counts them all
    late: bool = False  # labels come after a delay that depends on the outcome
    units: int = 20_000


def binary(base: float) -> Callable[[Random, int, float], Pair]:
    """0 and 1 (accuracy)."""

    def draw(rng: Random, n: int, worse: float) -> Pair:
        luck = rng.random(n)
        other = np.where(rng.random(n) < 0.7, luck, rng.random(n))
        return (luck < base).astype(float), (other < base - worse).astype(float)

    return draw


def drifting(rng: Random, n: int, worse: float) -> Pair:
    """A base rate that climbs with the shares: pooled arms would show the time, not the model."""
    base = 0.6 + 0.3 * np.minimum(np.arange(n) / 1000, 1) + 0.05 * np.sin(np.arange(n) / 300)
    return (rng.random(n) < base).astype(float), (rng.random(n) < base - worse).astype(float)


def scores(loss: str) -> Callable[[Random, int, float], Pair]:
    """Brier or log loss of a calibrated model, and of one that adds a constant loss on average."""

    def draw(rng: Random, n: int, worse: float) -> Pair:
        cause = 1.5 * rng.normal(size=n)
        label = rng.random(n) < 1 / (1 + np.exp(-cause))
        found = []
        for more in (0.0, worse):
            seen = 1 / (1 + np.exp(-(cause + 0.3 * rng.normal(size=n))))
            there = np.clip(np.where(label, seen, 1 - seen), 0.001, 0.999)
            value = -((1 - there) ** 2) if loss == "brier" else np.log(there)
            low = -1.0 if loss == "brier" else math.log(0.001)
            # Worse by a chance to be all wrong, whose size gives the mean exactly.
            chance = more / (_mean(loss) - low) if more else 0.0
            found.append(np.where(rng.random(n) < chance, low, value))
        return found[0], found[1]

    return draw


@cache
def _mean(loss: str) -> float:
    """The mean of a model that is no worse."""
    return float(scores(loss)(np.random.default_rng(0), 4_000_000, 0.0)[0].mean())


def amounts(power: int) -> Callable[[Random, int, float], Pair]:
    """Absolute (1) and squared (2) errors with Student's t of 5 degrees of freedom."""

    def draw(rng: Random, n: int, worse: float) -> Pair:
        shared = rng.standard_t(5, n)
        one, other = (-(np.abs(shared + 0.5 * rng.normal(size=n)) ** power) for _ in range(2))
        return one, other - worse

    return draw


def revenue(rng: Random, n: int, worse: float) -> Pair:
    """One in ten buys, for a log-normal amount."""
    one, other = (np.where(rng.random(n) < 0.1, rng.lognormal(3, 1, n), 0.0) for _ in range(2))
    return one, other - worse


ACCURACY = (0.0, 1.0)
OPEN = (-math.inf, math.inf)
SCENARIOS = {
    "accuracy": Scenario(binary(0.8), 0.05, ACCURACY),
    "accuracy-50": Scenario(binary(0.8), 0.05, ACCURACY, (50,)),
    "keys": Scenario(binary(0.8), 0.05, ACCURACY, (50,), repeats=5),
    "late-labels": Scenario(binary(0.8), 0.05, ACCURACY, late=True),
    "drift": Scenario(drifting, 0.05, ACCURACY),
    "rare-errors": Scenario(binary(0.99), 0.01, ACCURACY),
    "rare-successes": Scenario(binary(0.01), 0.005, ACCURACY),
    "brier": Scenario(scores("brier"), 0.02, (-1.0, 0.0)),
    "log-loss": Scenario(scores("log_loss"), 0.1, (math.log(0.001), math.log(0.999))),
    "absolute-error": Scenario(amounts(1), 0.1, OPEN),
    "squared-error": Scenario(amounts(2), 0.5, OPEN),
    "value": Scenario(revenue, 1.0, OPEN),
    "all-steps": Scenario(binary(0.8), 0.05, ACCURACY, (SHADOW, 5, 25, 50)),
    "all-steps-brier": Scenario(scores("brier"), 0.02, (-1.0, 0.0), (SHADOW, 5, 25, 50)),
    "shadow-accuracy": Scenario(binary(0.8), 0.05, ACCURACY, (SHADOW,), units=5000),
    "shadow-rare": Scenario(binary(0.99), 0.01, ACCURACY, (SHADOW,), units=5000),
    "shadow-brier": Scenario(scores("brier"), 0.02, (-1.0, 0.0), (SHADOW,), units=5000),
    "shadow-error": Scenario(amounts(1), 0.1, OPEN, (SHADOW,), units=5000),
}


@dataclass(frozen=True)
class Rates:
    """Shares of the rollouts; `..._units`: medians, None where fewer than half were decided."""

    scenario: str
    exact: bool
    promoted: float
    rolled_back: float
    naive_promoted: float
    naive_rolled_back: float
    equal: float
    equal_units: int | None
    twice: float
    twice_units: int | None

    @property
    def off(self) -> list[str]:
        """What isn't as promised, by more than two standard errors of 1,000 rollouts."""
        found = {"promoted": (self.promoted, 0.064), "rolled back": (self.rolled_back, 0.035)}
        return [name for name, (one, most) in found.items() if one > most]


def rates(name: str, *, seeds: int, seed: int = 1, asymptotic: bool = False) -> Rates:
    scenario = SCENARIOS[name]
    if asymptotic:
        scenario = replace(scenario, span=OPEN)
    rng = np.random.default_rng(seed)
    drawn = {
        worse: [_one(scenario, rng, worse * scenario.margin) for _ in range(seeds)]
        for worse in (0, 1, 2)
    }
    at = {worse: np.array(found, np.float64) for worse, found in drawn.items()}
    hit = {worse: np.isfinite(found).mean(axis=0) for worse, found in at.items()}
    return Rates(
        name, math.isfinite(scenario.span[0]),
        float(hit[1][0]), float(hit[0][1]), float(hit[1][2]), float(hit[0][3]),
        float(hit[0][0]), _median(at[0][:, 0]), float(hit[2][1]), _median(at[2][:, 1]),
    )  # fmt: skip


def _median(found: Array) -> int | None:
    middle = float(np.median(found))
    return int(middle) if math.isfinite(middle) else None


def _one(scenario: Scenario, rng: Random, worse: float) -> tuple[float, ...]:
    """After how many units it was promoted and rolled back, by us and by t-tests; inf: never."""
    rollout = Rollout(steps=scenario.steps, margin=scenario.margin, until=scenario.units)
    n = scenario.units
    champion, challenger = scenario.draw(rng, n, worse)
    percent = [int(one) for one in scenario.steps if one != SHADOW]
    paired = 0 if SHADOW not in scenario.steps else rollout.each if percent else n
    good, bad = np.zeros((2, n), np.bool_)
    if paired:
        pairs = Pairs(challenger[:paired], champion[:paired])
        ours = _decided(sequence.of_pairs(pairs, *scenario.span), rollout, "pairs")
        good[:paired], bad[:paired] = ours
        good[paired:], bad[paired:] = (one[-1] for one in ours)  # no more pairs come
        naive = _paired(challenger - champion)
    if percent:
        share = np.repeat(percent, [rollout.each] * (len(percent) - 1) + [n])[: n - paired] / 100
        arm = (rng.random(n - paired) < share).astype(float)
        outcome = np.where(arm == 1, challenger[paired:], champion[paired:])
        if scenario.late:
            order = np.argsort(np.arange(n) + rng.exponential(300, n) * (1 + 3 * outcome))
            arm, share, outcome = arm[order], share[order], outcome[order]
        found = sequence.of_split(Split(arm, share, outcome), *scenario.span)
        ours = _decided(found, rollout, "split")
        good[paired:] |= ours[0]
        bad[paired:] |= ours[1]
        naive = _welch(np.repeat(arm, scenario.repeats), _repeated(rng, outcome, scenario))
    first = rollout.each * len(rollout.steps) - 1
    least = first * scenario.repeats - (paired if percent else 0)
    return (
        _first(good, first),
        _first(bad, 0),
        _first(naive[0] - 1.645 * naive[1] > -scenario.margin, least),
        _first(naive[0] + 1.645 * naive[1] < 0, 0),
    )


def _repeated(rng: Random, outcome: Array, scenario: Scenario) -> Array:
    """A key's rows mostly go as its first one."""
    if scenario.repeats == 1:
        return outcome
    shape = (len(outcome), scenario.repeats)
    same = rng.random(shape) < 0.9
    same[:, 0] = True
    return np.where(same, outcome[:, None], rng.permutation(outcome)[:, None]).ravel()


Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


def _decided(found: sequence.Scores, rollout: Rollout, kind: str) -> tuple[Flags, Flags]:
    """After each unit: is it not worse by the margin, is it worse?"""
    chance, most = levels(rollout), information(rollout, kind)
    if math.isfinite(found.span):
        good = sequence.wealth(found, -rollout.margin, chance.promote, most)
        bad = sequence.wealth(found.flipped(), 0.0, chance.rollback, most)
        return good >= math.log(1 / chance.promote), bad >= math.log(1 / chance.rollback)
    mean, width = sequence.asymptotic(found, chance.promote, most)
    return mean - width > -rollout.margin, (
        mean + sequence.asymptotic(found, chance.rollback, most)[1] < 0
    )


def _welch(arm: Array, outcome: Array) -> tuple[Array, Array]:
    """After each row the difference of the pooled means and its standard error."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means, errors = [], []
        for chosen in (arm == 0, arm == 1):
            count = np.cumsum(chosen)
            mean = np.cumsum(outcome * chosen) / count
            spread = np.cumsum(outcome**2 * chosen) / count - mean**2
            means.append(mean)
            errors.append(np.where(count >= LEAST, spread / (count - 1), np.nan))
    return means[1] - means[0], np.sqrt(errors[0] + errors[1])


def _paired(difference: Array) -> tuple[Array, Array]:
    count = np.arange(1, len(difference) + 1)
    mean = np.cumsum(difference) / count
    spread = np.maximum(np.cumsum(difference**2) / count - mean**2, 0)
    return mean, np.where(count >= LEAST, np.sqrt(spread / count), np.nan)


def _first(flags: Flags, start: int) -> float:
    found = np.flatnonzero(flags[start:])
    return float(found[0] + start + 1) if len(found) else math.inf


def guardrails(seeds: int, seed: int = 1) -> Iterator[str]:
    rng = np.random.default_rng(seed)
    looks = np.arange(10, 5001, 10)
    chance = levels(Rollout(steps=(50,)))
    goal = math.log(1 / chance.guard)
    for failing in (0.01, 0.02, 0.05, 0.2):
        broken: list[float] = []
        naive = 0
        for _ in range(seeds):
            failed = np.cumsum(rng.random(5000) < failing)[looks - 1]
            naive += bool((stats.binom.sf(failed - 1, looks, 0.01) < math.exp(-goal)).any())
            found = (
                float(at) for at, count in zip(looks, failed, strict=True)
                if shares.above(int(count), int(at), 0.01) >= goal
            )  # fmt: skip
            broken.append(next(found, math.inf))
        rate, middle = float(np.isfinite(broken).mean()), float(np.median(broken))
        yield (
            f"{failing:.0%} fail: broken {rate:.1%} (binomial tests {naive / seeds:.1%}),"
            f" median after {middle:g} answers"
        )
    wrong = 0
    for _ in range(seeds):
        mine = np.cumsum(rng.random(5000) < 0.05)[looks - 1]
        evidence = (
            shares.mismatch({5: (int(at - one), int(one))})
            for at, one in zip(looks, mine, strict=True)
        )
        wrong += max(evidence) >= math.log(1 / chance.ratio)
    yield f"shares as declared: unusable {wrong / seeds:.1%}"


# ---------------------------------------------------------------- the report

_HEADS = (
    "traffic", "judged", "promoted though worse by the margin", "t-tests",
    "rolled back though equal", "t-tests", "equal: promoted", "median units",
    "worse by twice the margin: rolled back", "median units",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rollout_error_rates", description=__doc__
    )
    parser.add_argument("scenarios", nargs="*", default=[*SCENARIOS], metavar="SCENARIO")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--asymptotic", action="store_true")
    parser.add_argument("--json", type=Path, help="write the rates there too")
    options = parser.parse_args()
    began = time.process_time()
    print(f"{options.seeds} rollouts of each, in %; ! marks what isn't as promised\n")
    print(f"| {' | '.join(_HEADS)} |\n| {' | '.join('---' for _ in _HEADS)} |")
    every = []
    for name in options.scenarios:
        one = rates(name, seeds=options.seeds, asymptotic=options.asymptotic)
        every.append(asdict(one))
        print(_line(one), flush=True)
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(every, indent=1) + "\n")
    print("", *guardrails(options.seeds), sep="\n")
    print(f"\n{time.process_time() - began:.0f} CPU seconds")


def _line(one: Rates) -> str:
    marks = ["!" if name in one.off else "" for name in ("promoted", "rolled back")]
    cells = [
        one.scenario, "exactly" if one.exact else "asymptotically",
        f"{100 * one.promoted:.1f}{marks[0]}", f"{100 * one.naive_promoted:.1f}",
        f"{100 * one.rolled_back:.1f}{marks[1]}", f"{100 * one.naive_rolled_back:.1f}",
        f"{100 * one.equal:.0f}", str(one.equal_units or "-"),
        f"{100 * one.twice:.0f}", str(one.twice_units or "-"),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
