"""Estimated Shapley values against exact ones: enumerated, and in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from gitops.package import Array
from gitops.serve import background, explain
from gitops.serve.explain import Budget, shapley
from gitops.serve.refusal import Refusal
from gitops.serve.rows import Rows
from tests.unit.serve.projects import ROW, body, model

# Background values of each input, independent and equally likely.
VALUES = ((0.0, 1.0), (-1.0, 0.5, 2.0), (0.0, 3.0))
POINT = (1.0, 2.0, -1.0)
LONG = Budget(evaluations=4_000, ms=60_000)


def curved(columns: Sequence[Array]) -> Array:
    """Two and three inputs acting together."""
    one, two, three = (np.asarray(column)[:, 0] for column in columns)
    made: Array = one * two + np.maximum(two, three) * one - 0.5 * three**2
    return made


def columns_of(*values: float) -> list[Array]:
    return [np.array([[value]]) for value in values]


def exact() -> tuple[float, list[float]]:
    """Base value and Shapley values, over all subsets and all background rows."""

    def worth(known: tuple[int, ...]) -> float:
        rows = [
            [POINT[at] if at in known else row[at] for at in range(3)] for row in product(*VALUES)
        ]
        return float(curved([np.array(rows)[:, [at]] for at in range(3)]).mean())

    found = []
    for at in range(3):
        others = [other for other in range(3) if other != at]
        found.append(
            sum(
                (worth((*some, at)) - worth(some))
                * math.factorial(size) * math.factorial(2 - size) / math.factorial(3)
                for size in range(3)
                for some in combinations(others, size)
            )
        )  # fmt: skip
    return worth(()), found


def estimate(seed: int, budget: Budget = LONG) -> explain.Shapley:
    chance = np.random.default_rng(seed)

    def draw(count: int) -> list[Array]:
        return [chance.choice(values, (count, 1)) for values in VALUES]

    return shapley(curved, columns_of(*POINT), draw, chance, budget)


def test_the_estimate_is_within_its_error_of_the_enumerated_values() -> None:
    base, wanted = exact()
    found = estimate(1)
    assert found.score == curved(columns_of(*POINT))[0]
    assert found.draws == 800
    assert sum(wanted) == pytest.approx(found.score - base)
    for value, contribution, error in zip(wanted, found.contributions, found.errors, strict=True):
        assert abs(contribution - value) < 4 * error
        assert 0 < error < 0.1
    assert found.base == pytest.approx(base, abs=0.3)


def test_the_standard_error_is_one() -> None:
    """Over many seeds the deviations, in standard errors, have mean 0 and variance 1."""
    _, wanted = exact()
    each = [estimate(seed, Budget(evaluations=500, ms=60_000)) for seed in range(300)]
    for at, value in enumerate(wanted):
        deviations = [(one.contributions[at] - value) / one.errors[at] for one in each]
        assert abs(np.mean(deviations)) < 0.2
        assert 0.85 < np.std(deviations) < 1.15


def test_a_linear_model_in_closed_form() -> None:
    """The contribution of an input is its weight times its distance from the background's mean."""
    weights, point = np.array([2.0, -3.0, 0.0, 0.5]), np.array([1.0, 2.0, 3.0, 4.0])
    chance = np.random.default_rng(3)
    drawn: list[Array] = []

    def draw(count: int) -> list[Array]:
        drawn.append(chance.normal(size=(count, 4)))
        return [drawn[-1][:, [at]] for at in range(4)]

    def linear(columns: Sequence[Array]) -> Array:
        made: Array = 7 + np.hstack(list(columns)) @ weights
        return made

    found = shapley(linear, columns_of(*point), draw, chance, LONG)
    means = np.vstack(drawn).mean(axis=0)
    np.testing.assert_allclose(found.contributions, weights * (point - means), atol=1e-12)
    assert found.base == pytest.approx(7 + weights @ means)
    spread = np.vstack(drawn).std(axis=0, ddof=1) / math.sqrt(found.draws)
    np.testing.assert_allclose(found.errors, np.abs(weights) * spread, atol=1e-12)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_contributions_add_up_however_few_the_draws(width: int) -> None:
    chance = np.random.default_rng(0)
    point = columns_of(*range(width))

    def product_of(columns: Sequence[Array]) -> Array:
        made: Array = np.hstack(list(columns)).prod(axis=1)
        return made

    def draw(count: int) -> list[Array]:
        return [chance.normal(size=(count, 1)) for _ in range(width)]

    found = shapley(product_of, point, draw, chance, Budget(evaluations=1, ms=0))
    assert found.draws == 2
    assert math.fsum([found.base, *found.contributions]) == pytest.approx(found.score, abs=1e-12)


def test_no_batch_begins_after_the_time() -> None:
    calls = []

    def counted(columns: Sequence[Array]) -> Array:
        calls.append(len(columns[0]))
        return curved(columns)

    chance = np.random.default_rng(0)
    found = shapley(
        counted,
        columns_of(*POINT),
        lambda count: [chance.choice(values, (count, 1)) for values in VALUES],
        chance,
        Budget(evaluations=10**9, ms=0),
    )
    assert (found.draws, len(calls)) == (2, 1)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_predictions_of_a_package(task: str) -> None:
    made = model(task)
    drawn = background.draw(made.package, 2, np.random.default_rng(5))
    rows = made.decode(body(*background.documents(drawn, made.signature)))
    answers = made.predict(rows)
    first = explain.of(made, rows, "r1", LONG)
    assert explain.of(made, rows, "r1", LONG) == first
    assert explain.of(made, rows, "r2", LONG) != first
    values: Any = answers.predictions if task == "regression" else answers.scores
    for row, found in enumerate(first):
        names = [item.name for item in made.signature.inputs]
        assert list(found["contributions"]) == list(found["errors"]) == names
        assert found["draws"] * (2 * len(names) - 1) <= 2_000
        value = max(values[row]) if task == "multiclass" else values[row]
        assert found["score"] == pytest.approx(value, rel=1e-6)
        total = math.fsum(found["contributions"].values())
        assert found["base"] + total == pytest.approx(found["score"], abs=1e-12)
        assert found["of"] == {
            "binary": "true", "multiclass": answers.predictions[row], "regression": None,
        }[task]  # fmt: skip


def test_a_longer_estimate_of_a_package_agrees_with_a_shorter_one() -> None:
    made = model()
    rows = made.decode(body(ROW))
    (short,) = explain.of(made, rows, "r1", Budget(2_000, 60_000))
    (long,) = explain.of(made, rows, "another", Budget(60_000, 60_000))
    assert long["draws"] > 20 * short["draws"]
    for name, contribution in short["contributions"].items():
        error = math.hypot(short["errors"][name], long["errors"][name])
        assert abs(contribution - long["contributions"][name]) <= 4 * error + 1e-9


def test_what_is_not_explained() -> None:
    made = model()
    rows = made.decode(body(*[ROW] * (explain.MOST_ROWS + 1)))
    with pytest.raises(Refusal, match="too many to explain"):
        explain.of(made, rows, "r1")

    class Elsewhere:
        async def answer(self, rows: Rows) -> Any: ...
        async def close(self) -> None: ...

    with pytest.raises(Refusal, match="only an ONNX model"):
        explain.of(replace(made, runner=Elsewhere()), made.decode(body(ROW)), "r1")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_background_is_as_the_profile_says(task: str) -> None:
    package = model(task).package
    count = 20_000
    drawn = background.draw(package, count, np.random.default_rng(0))
    for item in package.signature.inputs:
        profile, column = package.reference["columns"][item.name], drawn[item.name]
        total = package.reference["rows"]
        if item.type == "categorical":
            shares = {name: number / total for name, number in profile["counts"].items()}
            shares[""] = profile["missing"] / total
            found = {name: float((column == name).mean()) for name in shares}
            assert found == pytest.approx(shares, abs=0.02)
            assert set(column) <= {*item.categories, ""}
            continue
        assert np.isnan(column).mean() == pytest.approx(profile["missing"] / total, abs=0.02)
        counted, _ = np.histogram(column[~np.isnan(column)], profile["edges"])
        wanted = np.array(profile["counts"]) / total
        np.testing.assert_allclose(counted / count, wanted, atol=0.02)
        if item.minimum is not None and item.maximum is not None:
            assert np.nanmin(column) >= item.minimum
            assert np.nanmax(column) <= item.maximum
        if item.integer:
            assert (column[~np.isnan(column)] % 1 == 0).all()
