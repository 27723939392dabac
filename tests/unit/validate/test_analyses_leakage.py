from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import datasets, metrics
from sklearn.model_selection import train_test_split

from gitops.validate.analyses import leakage
from gitops.validate.analyses.strength import auc
from gitops.validate.model import Finding

Make = Callable[..., Any]
TASKS = ["binary", "multiclass", "regression"]


@pytest.fixture
def found(
    tmp_path: Path, people: Make, make_package: Make, make_table: Make
) -> Callable[..., tuple[Finding, ...]]:
    """Findings about a candidate whose rows `change` has altered; the champion has the old ones."""

    def call(
        change: Callable[[pl.DataFrame], pl.DataFrame],
        task: str = "binary",
        count: int = 2000,
        champion: bool = True,
        **options: Any,
    ) -> tuple[Finding, ...]:
        whole = change(people(task, 2 * count, 1))
        train, test = whole[:count], whole[count:]
        place = Path(tempfile.mkdtemp(dir=tmp_path))
        model = make_package(place / "new", train, task=task)
        old = ["income", "age", "region", "member"]
        rival = make_package(place / "old", train, task=task, features=old) if champion else None
        return leakage(make_table(model, test, rival), test, model, rival, **options)

    return call


def kinds(findings: tuple[Finding, ...], level: str = "alarm") -> set[tuple[str, str | None]]:
    return {
        (one.kind.removeprefix("leakage-"), one.column) for one in findings if one.level == level
    }


def noise(frame: pl.DataFrame, seed: int = 7) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=frame.height)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("champion", [True, False])
def test_sane_data_is_silent(found: Make, task: str, champion: bool) -> None:
    assert found(lambda frame: frame, task, champion=champion) == ()


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("iris", "multiclass"),
        ("wine", "multiclass"),
        ("breast_cancer", "binary"),
        ("digits", "multiclass"),
        ("diabetes", "regression"),
    ],
)
def test_known_data_sets_raise_no_alarm(
    tmp_path: Path, make_package: Make, make_table: Make, name: str, task: str
) -> None:
    data = getattr(datasets, f"load_{name}")()
    label = pl.Series(data.target).cast(pl.Float64 if task == "regression" else pl.String)
    frame = pl.DataFrame(data.data, schema=[str(one) for one in data.feature_names])
    frame = frame.with_columns(id=pl.int_range(pl.len()).cast(pl.String), label=label)
    for seed in range(3):
        rows = train_test_split(np.arange(len(label)), test_size=0.4, random_state=seed)
        train, test = (frame[part] for part in rows)
        model = make_package(tmp_path / f"{seed}", train, task=task)
        findings = leakage(make_table(model, test), test, model)
        assert [one for one in findings if one.level == "alarm"] == []


@pytest.mark.parametrize("task", TASKS)
def test_the_label_under_another_name_is_told(found: Make, task: str) -> None:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        if task == "regression":
            return frame.with_columns(copy=pl.col("label") * 0.01 - 3)
        return frame.with_columns(copy=pl.lit("code ") + pl.col("label"))

    assert kinds(found(change, task)) == {("target-like", "copy")}


@pytest.mark.parametrize("champion", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_one_column_that_predicts_alone_is_told(found: Make, task: str, champion: bool) -> None:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        hidden = frame["label"].cast(pl.Float64, strict=False)
        if task == "binary":
            hidden = (frame["label"] == "true").cast(pl.Float64)
        size = 0.05 * float(hidden.std())  # type: ignore[arg-type]
        return frame.with_columns(paid=hidden + noise(frame) * size)

    findings = found(change, task, champion=champion)
    assert kinds(findings) == {("single-feature", "paid")}
    (one,) = findings
    # A new column that beats the champion breaks any bound.
    assert one.value is None if champion else one.value is not None and one.value > 0.98
    assert one.bound == 0.98
    assert "2,000 rows" in one.text


def test_a_leak_in_categories_in_missing_values_or_out_of_order_is_told(found: Make) -> None:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        positive = frame["label"] == "true"
        draw = np.random.default_rng(3).integers(0, 10, frame.height)
        codes = pl.Series(np.where(positive, draw * 2, draw * 2 + 1))
        return frame.with_columns(
            code=pl.lit("c") + codes.cast(pl.String),
            parity=codes,
            closed=pl.Series(noise(frame)).set(~positive, None),
        )

    columns = {
        ("single-feature", "code"),
        ("single-feature", "parity"),
        ("single-feature", "closed"),
    }
    assert kinds(found(change)) == columns


def test_a_new_column_that_beats_the_whole_champion_is_told(found: Make) -> None:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        flipped = (frame["label"] == "true") ^ pl.Series(np.abs(noise(frame)) > 1.9)
        return frame.with_columns(flag=flipped)

    (one,) = found(change)
    assert (one.level, one.column) == ("alarm", "flag")
    assert "the whole champion reaches" in one.text


def test_without_a_champion_a_strong_column_alone_is_a_note_at_most(found: Make) -> None:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        level = (frame["label"] == "true").cast(pl.Float64)
        return frame.with_columns(strong=level + noise(frame) * 0.42)

    (one,) = found(change, champion=False)
    assert (one.level, one.column) == ("note", "strong")
    assert found(change, champion=False, count=1000, single_feature=0.9)[0].level == "alarm"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("customer", lambda rows: [f"K{row * 7919 % 100_003:06}" for row in rows]),
        ("contract", lambda rows: [100_000 + row * 3 % 11_987 for row in rows]),
        ("order_id", lambda rows: [row * 7_919_777 % 1_000_000_007 for row in rows]),
    ],
)
def test_a_name_of_rows_is_told(found: Make, name: str, values: Make) -> None:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.Series(name, values(range(frame.height))))

    # The test's model would need a weight for each name.
    count = 300 if name == "customer" else 2000
    assert kinds(found(change, count=count)) == {("id-like", name)}


def test_amounts_counts_and_free_text_are_no_names_of_rows(found: Make) -> None:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        draw = np.random.default_rng(5)
        return frame.with_columns(
            cents=draw.lognormal(11, 1, frame.height).astype(np.int64),
            visits=draw.poisson(3, frame.height),
            year=draw.integers(1950, 2020, frame.height),
            remark=pl.lit("asked for help ") + pl.int_range(pl.len()).cast(pl.String),
        )

    findings = found(change, count=300)
    assert kinds(findings) == set()
    assert kinds(findings, "note") == {("id-like", "remark")}


def test_test_rows_from_before_the_end_of_training_are_told(
    tmp_path: Path, people: Make, make_package: Make, make_table: Make
) -> None:
    frame = people("binary", 2000, 1)
    model = make_package(tmp_path / "p", frame[:1000])

    def findings(test: pl.DataFrame) -> tuple[Finding, ...]:
        return leakage(make_table(model, test), test, model)

    assert findings(frame[1000:]) == ()  # split by time
    assert findings(frame[:900]) == ()  # not split by time
    (one,) = findings(frame[900:])
    assert (one.kind, one.level, one.column) == ("leakage-time-order", "alarm", "joined")
    assert one.value == pytest.approx(99 / 1100)
    few = pl.concat([frame[1000:], frame[:3]])
    assert [(one.kind, one.level) for one in findings(few)] == [("leakage-time-order", "note")]


def test_a_column_that_lags_behind_the_split_is_no_leak(
    tmp_path: Path, people: Make, make_package: Make, make_table: Make
) -> None:
    lag = np.random.default_rng(1).integers(0, 200, 2000)
    late = pl.Series([timedelta(minutes=int(minutes)) for minutes in lag])
    frame = people("binary", 2000, 1).with_columns(shipped=pl.col("joined") + late)
    model = make_package(tmp_path / "p", frame[:1000])
    test = frame[1000:]
    assert leakage(make_table(model, test), test, model) == ()


@pytest.mark.parametrize("task", TASKS)
def test_degenerate_tables_and_odd_names_are_answered(
    tmp_path: Path, people: Make, make_package: Make, make_table: Make, task: str
) -> None:
    odd = "<script>alert('x')</script>|`\n"
    train = people(task, 400, 1).rename({"region": odd})
    train = train.with_columns(
        void=pl.lit(None, pl.Float64), words=pl.lit(None, pl.String), same=pl.lit(1)
    )
    model = make_package(tmp_path / "p", train, task=task)
    test = train.with_columns(label=pl.lit(train["label"].first()))
    assert kinds(leakage(make_table(model, test), test, model)) == set()
    assert leakage(make_table(model, test[:1]), test[:1], model) == ()
    assert leakage(make_table(model, train), train.drop(odd, "income"), model) == ()


def test_the_auc_is_scikit_learns() -> None:
    draw = np.random.default_rng(1)
    score, label = draw.integers(0, 8, 300), draw.random(300) < 0.3
    assert auc(score, label, ~label) == pytest.approx(metrics.roc_auc_score(label, score))
    assert auc(score, label & False, ~label) == 0.5
