"""`python -m benchmarks.gate_coverage [SCENARIO...] [--rows N] [--seeds N]`: are intervals honest?

From a population whose values are known far better than a sample can tell, samples are drawn and
measured. Shown for each metric, on the value and on the paired difference: how often the 95 %
interval covers the truth (`cover`), and how often the truth lies beyond a one-sided 95 % bound:
below the lower one (`low`: such a bound passes wrongly) or above the upper one (`high`: it blocks
wrongly). All samples of a scenario are slices of one table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gitops.validate.model import Array, Column, Predictions, Slice, Table, Task
from gitops.validate.stats import METRICS, measure, names_of

Draw = Callable[[np.random.Generator, int], tuple[Array, Predictions, Predictions, Array | None]]
BATCH = 100  # samples in one table


@dataclass(frozen=True)
class Scenario:
    task: Task
    draw: Draw
    population: int = 3_000_000


def binary(base: float, slope: float, noise: float, heat: float, *, weights: bool = False) -> Draw:
    """Scores of a model that sees a cause through noise; `heat` above 1: too sure of itself."""

    def draw(
        rng: np.random.Generator, rows: int
    ) -> tuple[Array, Predictions, Predictions, Array | None]:
        cause, shared = rng.normal(size=rows), rng.normal(size=rows)
        label = (rng.random(rows) < _sigmoid(base + slope * cause)).astype(np.int8)

        def model(heat: float) -> Predictions:
            seen = cause + noise * np.sqrt(0.5) * (shared + rng.normal(size=rows))
            score = _sigmoid(heat * (base + slope * seen / (1 + noise**2)))
            return Predictions((score >= 0.5).astype(np.int8), score)

        weight = rng.gamma(2.0, 1.0, rows) + 0.1 if weights else None
        return label, model(heat), model(1.0), weight

    return draw


def multiclass(apart: float, classes: int = 10, *, weights: bool = False) -> Draw:
    def draw(
        rng: np.random.Generator, rows: int
    ) -> tuple[Array, Predictions, Predictions, Array | None]:
        share = np.linspace(1, 3, classes) / np.linspace(1, 3, classes).sum()
        label = rng.choice(classes, rows, p=share)
        seen = rng.normal(size=(rows, classes))
        seen[np.arange(rows), label] += apart

        def model() -> Predictions:
            strength = np.exp(1.5 * (seen + 0.5 * rng.normal(size=seen.shape)))
            score = strength / strength.sum(axis=1, keepdims=True)
            return Predictions(score.argmax(axis=1), score)

        weight = rng.gamma(2.0, 1.0, rows) + 0.1 if weights else None
        return label, model(), model(), weight

    return draw


def regression(*, weights: bool = False) -> Draw:
    """Errors with heavy tails (Student's t of 5 degrees of freedom)."""

    def draw(
        rng: np.random.Generator, rows: int
    ) -> tuple[Array, Predictions, Predictions, Array | None]:
        cause = rng.normal(size=rows)
        label = np.maximum(20 + 3 * cause + rng.standard_t(5, rows), 1.0)
        ours, theirs = (
            Predictions(20 + 3 * cause + 0.8 * rng.normal(size=rows), None) for _ in range(2)
        )
        return label, ours, theirs, rng.gamma(2.0, 1.0, rows) + 0.1 if weights else None

    return draw


def _sigmoid(values: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-values)))


SCENARIOS = {
    "overconfident": Scenario("binary", binary(0.0, 1.5, 0.7, 1.5)),
    "calibrated": Scenario("binary", binary(0.0, 1.5, 0.7, 1.0)),
    "imbalanced": Scenario("binary", binary(-2.0, 2.0, 0.5, 1.2)),
    "sharp": Scenario("binary", binary(0.0, 12.0, 0.05, 1.2)),
    "weighted": Scenario("binary", binary(-1.0, 1.5, 0.7, 1.5, weights=True)),
    "ten-classes": Scenario("multiclass", multiclass(2.0), 1_000_000),
    "ten-classes-weighted": Scenario("multiclass", multiclass(2.0, weights=True), 1_000_000),
    "amounts": Scenario("regression", regression()),
    "amounts-weighted": Scenario("regression", regression(weights=True)),
}
_DULL = ("quantile_loss_", "top_", "recall_", "precision_", "f1_")  # like their neighbours


def metrics_of(task: Task) -> list[str]:
    kept = ("quantile_loss_90", "top_2", "top_5", "f1_weighted", "precision_weighted")
    return [name for name in names_of(task) if name in kept or not name.startswith(_DULL)]


@dataclass(frozen=True)
class Rates:
    """Shares of the samples, on (value, difference)."""

    metric: str
    truth: float
    cover: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]


def rates(
    scenario: Scenario, metrics: Sequence[str], *, rows: int, seeds: int, seed: int = 1
) -> list[Rates]:
    rng = np.random.default_rng(seed)
    known = {
        one.measure.metric: (one.candidate, one.difference)
        for one in measure(
            _table(scenario, rng, scenario.population, 1), metrics, [Slice()], seed=0
        )
    }
    slices = [Slice((("sample", str(number)),)) for number in range(BATCH)]
    seen: dict[str, list[Array]] = {name: [] for name in metrics}
    for start in range(0, seeds, BATCH):
        table = _table(scenario, rng, rows, min(BATCH, seeds - start))
        some = slices[: min(BATCH, seeds - start)]
        for one in measure(table, metrics, some, seed=start, level=0.95, resamples=1000):
            name, row = one.measure.metric, []
            for side, truth in zip((one.candidate, one.difference), known[name], strict=True):
                if side is None or truth is None:
                    row.append([np.nan] * 3)
                    continue
                ends = [side.bound("lower", level) for level in (0.975, 0.95)]
                ends += [side.bound("upper", level) for level in (0.975, 0.95)]
                wide_low, low, wide_high, high = (np.nan if end is None else end for end in ends)
                true = truth.value
                row.append([wide_low <= true <= wide_high, low > true, high < true])
            seen[name].append(np.array(row, float))
    found = []
    for name in metrics:
        (value, apart) = np.nanmean(np.stack(seen[name]), axis=0)
        truth = known[name][0]
        shares = [(float(value[at]), float(apart[at])) for at in range(3)]
        found.append(Rates(name, truth.value if truth else np.nan, *shares))
    return found


def _table(scenario: Scenario, rng: np.random.Generator, rows: int, samples: int) -> Table:
    label, ours, theirs, weight = scenario.draw(rng, rows * samples)
    classes: tuple[str, ...] = () if ours.score is None else ("0", "1")
    if ours.score is not None and ours.score.ndim == 2:
        classes = tuple(str(number) for number in range(ours.score.shape[1]))
    codes = np.repeat(np.arange(samples, dtype=np.int32), rows)
    column = Column(codes, tuple(str(number) for number in range(samples)))
    return Table(scenario.task, classes, label, ours, theirs, weight, columns={"sample": column})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate_coverage", description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=[*SCENARIOS], metavar="SCENARIO")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--metrics", help="by commas; default: all that differ in their method")
    options = parser.parse_args()
    began = time.process_time()
    print(f"{options.seeds} samples of {options.rows} rows; value, then paired difference\n")
    print("| scenario | metric | truth | cover | | low | | high | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in options.scenarios:
        scenario = SCENARIOS[name]
        metrics = options.metrics.split(",") if options.metrics else metrics_of(scenario.task)
        metrics = [one for one in metrics if scenario.task in METRICS[one].tasks]
        for one in rates(scenario, metrics, rows=options.rows, seeds=options.seeds):
            numbers = [f"{each:.3f}" for pair in (one.cover, one.low, one.high) for each in pair]
            print(
                f"| {name} | {one.metric} | {one.truth:.4f} | {' | '.join(numbers)} |", flush=True
            )
    print(f"\n{time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()
