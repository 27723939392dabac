from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from gitops.package import Package
from gitops.validate.analyses import drift
from gitops.validate.analyses.drift import Counts, _chi_squared, compared, counted
from tests.unit.validate.conftest import raw_rows

Make = Callable[..., Any]


@pytest.fixture
def model(tmp_path: Path, people: Make, make_package: Make) -> Package:
    made: Package = make_package(tmp_path / "p", people("binary", 4000, 1))
    return made


def test_samples_of_one_source_are_silent(people: Make, model: Package) -> None:
    for seed in range(20):
        count = (30, 200, 2000, 8000)[seed % 4]
        head, base = people("binary", count, 100 + seed), people("binary", 2000, 200 + seed)
        assert drift(head, model, base, seed=seed) == ()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("income", pl.col("income") * 1.8),
        ("age", pl.when(pl.int_range(pl.len()) % 2 == 0).then("age")),
        ("region", pl.when(pl.col("region") == "east").then(pl.lit("<i>")).otherwise("region")),
        ("member", ~pl.col("member")),
    ],
)
def test_a_moved_column_is_told(people: Make, model: Package, name: str, change: pl.Expr) -> None:
    usual = people("binary", 2000, 2)
    moved = usual.with_columns(change.alias(name))
    since_training, since_base = drift(moved, model, usual)
    assert (since_training.kind, since_base.kind) == ("drift", "drift-base")
    for one in (since_training, since_base):
        assert (one.level, one.column, one.bound) == ("alarm", name, 0.25)
        assert one.value is not None and one.value > 0.25
        assert "2,000 rows" in one.text
    assert drift(raw_rows(moved), model, raw_rows(usual)) == (since_training, since_base)


def test_small_moves_are_notes_and_the_largest_comes_first(people: Make, model: Package) -> None:
    moved = people("binary", 4000, 2).with_columns(pl.col("income") * 1.2, pl.col("age") * 2)
    assert [(one.column, one.level) for one in drift(moved, model)] == [
        ("age", "alarm"),
        ("income", "note"),
    ]
    assert [one.column for one in drift(moved, model, alarm=0.1)] == ["age", "income"]
    assert all(one.level == "alarm" for one in drift(moved, model, alarm=0.1))


def test_counts_are_numpys_and_values_outside_go_to_the_ends() -> None:
    draw = np.random.default_rng(1)
    values = np.round(draw.normal(size=200_000), 2)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, 21)))
    profile = {"type": "number", "edges": edges.tolist(), "counts": []}
    column = pl.Series(values).set(pl.Series(draw.random(200_000) < 0.1), None)
    found = counted(column, profile)
    assert found.missing == column.null_count()
    assert list(found.bins) == np.histogram(column.drop_nulls(), edges)[0].tolist()
    outside = counted(pl.Series([-99.0, 99.0, None, np.inf]), profile)
    assert (outside.bins[0], outside.bins[len(edges) - 2], outside.missing) == (1, 2, 1)  # type: ignore[index]
    texts = counted(
        pl.Series(["a", "b", None, "z"]), {"type": "categorical", "counts": {"a": 20, "c": 30}}
    )
    assert texts == Counts({"a": 1, "c": 0}, 1, 2)


def test_the_index_is_its_formula_less_what_chance_gives() -> None:
    left, right = np.array([500, 300, 200]), np.array([300, 300, 400])
    (one,) = compared({"x": Counts(left, 0)}, {"x": Counts(right, 0)})
    p, q = (left + 0.5) / 1001.5, (right + 0.5) / 1001.5
    assert one.psi == pytest.approx(((p - q) * np.log(p / q)).sum() - 2 * 2 / 1000)
    assert one.gap == pytest.approx(0.2)
    assert (one.rows, one.reference, one.significant) == (1000, 1000, True)


def test_the_chance_of_no_drift_is_held() -> None:
    """Under no drift the raw index is about (1/n + 1/m) chi-squared; few are significant."""
    draw = np.random.default_rng(1)
    shares = draw.dirichlet(np.ones(20))
    pairs = [(draw.multinomial(3000, shares), draw.multinomial(500, shares)) for _ in range(2000)]
    found = [compared({"x": Counts(a, 0)}, {"x": Counts(b, 0)})[0] for a, b in pairs]
    assert np.mean([one.significant for one in found]) < 0.004
    assert np.mean([one.psi for one in found]) < 0.02


def test_the_chi_squared_quantile_is_scipys() -> None:
    for freedom in (1, 2, 5, 20, 300):
        exact = stats.chi2.isf(0.001, freedom)
        assert _chi_squared(freedom, 0.001) == pytest.approx(exact, rel=0.05)


def test_degenerate_columns_are_answered(tmp_path: Path, people: Make, make_package: Make) -> None:
    draw = np.random.default_rng(2)
    frame = people("binary", 3000, 1).with_columns(
        void=pl.lit(None, pl.Float64),
        same=pl.lit(3),
        many=pl.Series(draw.integers(0, 1000, 3000)).cast(pl.String),
    )
    made = make_package(tmp_path / "p", frame[:2000].drop("many"))
    assert drift(frame[2000:], made) == ()
    for rows in (frame[:1], frame[:0], frame.drop("same")):
        assert drift(rows, made, frame) == ()
    void = frame.with_columns(void=pl.lit(1.0), same=pl.lit(None, pl.Int64))
    assert {one.column for one in drift(void, made)} == {"same", "void"}
    few = make_package(tmp_path / "few", frame[:2000].select("many", "id", "label"))
    assert drift(frame[2000:], few) == ()
