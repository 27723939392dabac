from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fairlearn.metrics import (
    demographic_parity_difference,
    equal_opportunity_difference,
    equalized_odds_difference,
)

from gitops.validate import stats
from gitops.validate.model import Column, Fairness, Predictions, Table


def lending(seed: int, rows: int = 2000, gap: float = 0.2, groups: int = 2) -> Table:
    """Who gets a loan: with `gap`, the last group is selected less often."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, rows).astype(np.int32)
    label = rng.integers(0, 2, rows)
    chance = 0.25 + 0.4 * label - gap * (group == groups - 1)
    prediction = (rng.random(rows) < chance).astype(np.int64)
    column = Column(group, tuple("abcdefgh"[:groups]))
    side = Predictions(prediction, np.clip(chance, 0, 1))
    return Table("binary", ("no", "yes"), label, side, None, columns={"sex": column})


def judged(table: Table, criterion: str, level: float = 0.9) -> Fairness:
    found = stats.fairness(table, "sex", level=level, seed=3)
    return next(one for one in found if one.criterion == criterion)


@pytest.mark.parametrize("weighted", [False, True])
def test_gaps_are_those_of_fairlearn(weighted: bool) -> None:
    table = lending(1, groups=3)
    weight = np.random.default_rng(2).uniform(0.5, 2, table.rows) if weighted else None
    table = replace(table, weight=weight)
    given = {
        "y_true": table.label,
        "y_pred": table.candidate.prediction,
        "sensitive_features": table.columns["sex"].codes,
        "sample_weight": weight,
    }
    for criterion, oracle in (
        ("demographic_parity", demographic_parity_difference),
        ("equal_opportunity", equal_opportunity_difference),
        ("equalized_odds", equalized_odds_difference),
    ):
        assert judged(table, criterion).gap.estimate == pytest.approx(oracle(**given), abs=1e-12)


def test_equal_groups_rarely_break_a_bound_and_a_true_gap_does() -> None:
    """A bound of 0.1, at a one-sided 95 %."""
    for groups, least in ((2, 0.9), (4, 0.8)):
        equal = [judged(lending(seed, gap=0, groups=groups), "demographic_parity").gap
                 for seed in range(20)]  # fmt: skip
        apart = [judged(lending(seed, groups=groups), "demographic_parity").gap
                 for seed in range(20)]  # fmt: skip
        assert sum((gap.lower or 0) > 0.1 for gap in equal) <= 3
        assert sum((gap.lower or 0) > 0.1 for gap in apart) >= 20 * least


def test_few_rows_without_a_gap_are_no_proof_of_equality() -> None:
    """Thirty hits of thirty in both groups: the true rates may still differ by 5 %."""
    label = np.ones(60, np.int64)
    label = np.concatenate([label, np.zeros(400, np.int64)])
    group = (np.arange(460) % 2).astype(np.int32)
    side = Predictions(label, label.astype(float))
    table = Table("binary", ("no", "yes"), label, side, None,
                  columns={"sex": Column(group, ("a", "b"))})  # fmt: skip
    found = judged(table, "equal_opportunity")
    assert found.gap.estimate == 0
    assert found.gap.upper is not None
    assert found.gap.upper > 0.03


@pytest.mark.parametrize(
    ("rows", "hits", "least"),
    # 1.645 deviations of a difference of two rates; of none in 50, some two of them.
    [(50, (0, 0), 2 / 50), (1000, (20, 20), 0.009), (1000, (400, 401), 0.03)],
)
def test_a_gap_of_nearly_nothing_lies_in_its_interval(
    rows: int, hits: tuple[int, int], least: float
) -> None:
    """Groups without a single hit, and rates that agree by chance, aren't known to be equal."""
    chosen = np.concatenate([np.arange(rows) < hit for hit in hits]).astype(np.int64)
    column = Column(np.repeat([0, 1], rows).astype(np.int32), ("f", "m"))
    side = Predictions(chosen, chosen * 0.9)
    label = np.ones(2 * rows, np.int64)
    table = Table("binary", ("no", "yes"), label, side, None, columns={"sex": column})
    (gap,) = (
        one.gap
        for one in stats.fairness(table, "sex", minimum_rows=rows, seed=1)
        if one.criterion == "equal_opportunity"
    )
    assert gap.estimate is not None and gap.lower is not None and gap.upper is not None
    assert gap.lower <= gap.estimate <= least < gap.upper


def test_small_and_missing_groups_are_named_and_left_out() -> None:
    table = lending(4, groups=3)
    codes = table.columns["sex"].codes.copy()
    codes[codes == 2] = 0
    codes[:20] = 2
    codes[20:50] = 3
    table = replace(table, columns={"sex": Column(codes, ("a", "b", "c", None))})
    found = judged(table, "demographic_parity")
    assert found.left_out == ("c", "(missing)")
    assert {one.group for one in found.groups} == {"a", "b"}


def test_what_cannot_be_judged_says_why() -> None:
    table = lending(5)
    alone = replace(table, columns={"sex": Column(np.zeros(table.rows, np.int32), ("a",))})
    assert "fewer than two groups" in judged(alone, "demographic_parity").why
    together = replace(table, group=np.zeros(table.rows, np.int64))
    found = judged(together, "demographic_parity")
    assert found.gap.estimate is None
    assert "belong together" in found.why


def test_rows_that_belong_together_widen_the_interval() -> None:
    table = lending(6)
    grouped = replace(table, group=np.arange(table.rows) // 2)
    doubled = np.repeat(np.arange(table.rows // 2), 2)
    side = Predictions(table.candidate.prediction[doubled], None)
    twice = replace(
        grouped,
        label=table.label[doubled],
        candidate=replace(side, score=table.candidate.score[doubled]),  # type: ignore[index]
        columns={"sex": Column(table.columns["sex"].codes[doubled], ("a", "b"))},
    )
    narrow = judged(replace(twice, group=None), "demographic_parity").gap
    wide = judged(twice, "demographic_parity").gap
    assert wide.estimate == narrow.estimate
    assert (wide.upper or 0) - (wide.lower or 0) > 1.2 * ((narrow.upper or 0) - (narrow.lower or 0))


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_have_their_own_criteria(task: str) -> None:
    rng = np.random.default_rng(7)
    group = rng.integers(0, 2, 3000).astype(np.int32)
    columns = {"sex": Column(group, ("a", "b"))}
    if task == "regression":
        label = rng.normal(size=3000)
        side = Predictions(label + rng.normal(size=3000) * (1 + group), None)
        found = stats.fairness(
            Table("regression", (), label, side, None, columns=columns), "sex", seed=1
        )
        assert [one.criterion for one in found] == ["error_rate", "calibration"]
        assert (found[0].gap.lower or 0) > 0.5
    else:
        classes = rng.integers(0, 3, 3000)
        prediction = np.where((group == 1) & (rng.random(3000) < 0.3), 0, classes)
        side = Predictions(prediction, np.eye(3)[prediction])
        table = Table("multiclass", ("x", "y", "z"), classes, side, None, columns=columns)
        found = stats.fairness(table, "sex", seed=1)
        assert next(one for one in found if one.criterion == "error_rate").gap.lower > 0.1  # type: ignore[operator]
