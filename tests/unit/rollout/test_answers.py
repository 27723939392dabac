"""A table as `gitops.serve.join` makes it, to units."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from gitops.rollout import gather, rows_of


def table(**columns: list[Any]) -> dict[str, Any]:
    """Columns as polars gives them, None among them."""
    frame = pl.DataFrame(columns, strict=False)
    return {name: frame[name].to_numpy() for name in frame.columns}


def test_answers_and_labels_become_units() -> None:
    found = table(
        id=["a", "a", "b", "c", "c", "d", "e"],
        row=[0, 1, 0, 0, 0, 0, 0],
        at=[1.0, 1.0, 2.0, 3.0, 3.1, 4.0, 5.0],
        arm=["champion", "champion", "challenger", "champion", "shadow", *["challenger"] * 2],
        share=[5.0, 5.0, 5.0, None, None, None, 5.0],
        key=["k", "k", None, None, None, None, None],
        prediction=["no", "yes", "yes", "no", "no", "yes", None],
        score=[0.2, 0.9, 0.6, 0.1, 0.3, 0.7, None],
        label=["no", "no", "yes", "no", "no", "yes", "no"],
        value=[None, None, 2.5, None, None, None, None],
        ms=[1.0, 1.0, 300.0, 1.0, 1.0, 1.0, 2.0],
        status=[200, 200, 200, 200, 200, 200, 503],
    )  # fmt: skip
    rows = rows_of(found, "brier", "binary", classes=("no", "yes"), slow_ms=250)
    units = gather(rows)
    assert np.allclose(units.split.outcome, [-(0.04 + 0.81) / 2, -0.16])
    assert units.split.challenger.tolist() == [0, 1]
    assert units.split.share.tolist() == [0.05, 0.05]
    assert np.allclose(units.pairs.challenger - units.pairs.champion, -(0.09 - 0.01))
    assert units.arms == {5: (1, 2)}
    assert (units.answers, units.failed, units.slow, units.shadowed) == (3, 1, 1, 1)
    value = gather(rows_of(found, "value", "binary", slow_ms=250))
    assert value.split.outcome.tolist() == [2.5]
    right = gather(rows_of(found, "accuracy", "binary", slow_ms=250))
    assert right.split.outcome.tolist() == [0.5, 1]


def test_labels_that_came_earlier_are_judged_earlier() -> None:
    found = table(
        id=["a", "b"], row=[0, 0], at=[1.0, 2.0], arm=["champion", "challenger"],
        share=[50.0, 50.0], key=[None, None], prediction=[3.0, 5.0], label=[3.5, 5.0],
        value=[None, None], ms=[1.0, 1.0], status=[200, 200],
    )  # fmt: skip
    by_answer = gather(rows_of(found, "absolute_error", "regression", slow_ms=9))
    assert by_answer.split.outcome.tolist() == [-0.5, 0]
    known = {**found, "known": np.array([9.0, 8.0])}
    by_label = gather(rows_of(known, "absolute_error", "regression", slow_ms=9))
    assert by_label.split.outcome.tolist() == [0, -0.5]


def test_several_classes_have_a_score_each() -> None:
    found = table(
        id=["a"], row=[0], at=[1.0], arm=["champion"], share=[50.0], key=["k"], prediction=["a"],
        score_a=[0.5], score_b=[0.3], score_c=[0.2], label=["b"], value=[None], ms=[1.0],
        status=[200],
    )  # fmt: skip
    units = gather(rows_of(found, "brier", "multiclass", classes=("a", "b", "c"), slow_ms=9))
    assert np.allclose(units.split.outcome, [-(0.25 + 0.49 + 0.04)])


def test_a_class_that_a_release_does_not_know_has_no_chance() -> None:
    found = table(
        id=["a", "b"], row=[0, 0], at=[1.0, 2.0], arm=["champion", "challenger"],
        share=[50.0, 50.0], key=["k", "l"], prediction=["a", "a"], score_a=[0.75, 0.5],
        score_b=[0.25, 0.25], score_c=[None, 0.25], label=["c", "c"], value=[None, None],
        ms=[1.0, 1.0], status=[200, 200],
    )  # fmt: skip
    units = gather(rows_of(found, "brier", "multiclass", classes=("a", "b", "c"), slow_ms=9))
    assert np.allclose(units.split.outcome, [-(0.5625 + 0.0625 + 1), -(0.25 + 0.0625 + 0.5625)])


def test_no_answer_yet_is_no_unit_yet() -> None:
    names = ("id", "row", "at", "arm", "share", "key", "prediction", "score", "label", "value")
    found = {name: np.array([]) for name in (*names, "ms", "status", "known")}
    units = gather(rows_of(found, "brier", "binary", classes=("no", "yes"), slow_ms=9))
    assert (units.arms, units.answers, len(units.split.outcome)) == ({}, 0, 0)
