"""Populations for `benchmarks.gate_coverage`: labels, and three models' predictions of them.

The candidate `equal` errs as the champion does, on rows of its own: no metric tells them apart but
by chance. The candidate `worse` sees less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gitops.validate.model import Array, Predictions, Task


@dataclass(frozen=True)
class Drawn:
    label: Array
    champion: Predictions
    equal: Predictions
    worse: Predictions
    weight: Array | None


Draw = Callable[[np.random.Generator, int], Drawn]


@dataclass(frozen=True)
class Scenario:
    """`population`: rows from which the true values are taken."""

    task: Task
    draw: Draw
    population: int = 4_000_000


def binary(base: float, slope: float, noise: float, heat: float, *, weights: bool = False) -> Draw:
    """Scores of a model that sees a cause through noise; `heat` above 1: too sure of itself."""

    def draw(rng: np.random.Generator, rows: int) -> Drawn:
        cause, shared = rng.normal(size=rows), rng.normal(size=rows)
        label = (rng.random(rows) < _sigmoid(base + slope * cause)).astype(np.int8)

        def model(blur: float = 1.0, sure: float = 1.0) -> Predictions:
            own = noise * blur * np.sqrt(0.5)
            seen = cause + own * (shared + rng.normal(size=rows))
            score = _sigmoid(heat * sure * (base + slope * seen / (1 + 2 * own**2)))
            return Predictions((score >= 0.5).astype(np.int8), score)

        return Drawn(label, model(), model(), model(1.4, 1.2), _weight(rng, rows, weights))

    return draw


def multiclass(apart: float, classes: int = 10, *, weights: bool = False) -> Draw:
    def draw(rng: np.random.Generator, rows: int) -> Drawn:
        share = np.linspace(1, 3, classes) / np.linspace(1, 3, classes).sum()
        label = rng.choice(classes, rows, p=share)
        seen = rng.normal(size=(rows, classes))
        seen[np.arange(rows), label] += apart

        def model(blur: float = 0.5) -> Predictions:
            strength = np.exp(1.5 * (seen + blur * rng.normal(size=seen.shape)))
            score = strength / strength.sum(axis=1, keepdims=True)
            return Predictions(score.argmax(axis=1), score)

        return Drawn(label, model(), model(), model(0.8), _weight(rng, rows, weights))

    return draw


def regression(*, weights: bool = False) -> Draw:
    """Errors with heavy tails (Student's t of 5 degrees of freedom)."""

    def draw(rng: np.random.Generator, rows: int) -> Drawn:
        cause = rng.normal(size=rows)
        label = np.maximum(20 + 3 * cause + rng.standard_t(5, rows), 1.0)

        def model(blur: float = 0.8, off: float = 0.0) -> Predictions:
            return Predictions(20 + off + 3 * cause + blur * rng.normal(size=rows), None)

        return Drawn(label, model(), model(), model(1.0, 0.05), _weight(rng, rows, weights))

    return draw


def _weight(rng: np.random.Generator, rows: int, wanted: bool) -> Array | None:
    return rng.gamma(2.0, 1.0, rows) + 0.1 if wanted else None


def _sigmoid(values: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-values)))


SCENARIOS = {
    "overconfident": Scenario("binary", binary(0.0, 1.5, 0.7, 1.5)),
    "calibrated": Scenario("binary", binary(0.0, 1.5, 0.7, 1.0)),
    "imbalanced": Scenario("binary", binary(-2.0, 2.0, 0.5, 1.2)),
    "rare": Scenario("binary", binary(-4.5, 2.5, 0.4, 1.0, weights=True)),
    "sharp": Scenario("binary", binary(0.0, 12.0, 0.05, 1.2)),
    "weighted": Scenario("binary", binary(-1.0, 1.5, 0.7, 1.5, weights=True)),
    "ten-classes": Scenario("multiclass", multiclass(2.0), 2_000_000),
    "ten-classes-weighted": Scenario("multiclass", multiclass(2.0, weights=True), 2_000_000),
    "amounts": Scenario("regression", regression()),
    "amounts-weighted": Scenario("regression", regression(weights=True)),
}
