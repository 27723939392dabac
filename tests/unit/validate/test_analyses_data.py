from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gitops.package import Package
from gitops.validate.analyses import data
from gitops.validate.model import Finding
from tests.unit.validate.conftest import raw_rows

Make = Callable[..., Any]
Found = list[tuple[str, str, str | None]]


def short(findings: tuple[Finding, ...]) -> Found:
    return [(one.kind, one.level, one.column) for one in findings]


@pytest.fixture
def model(tmp_path: Path, people: Make, make_package: Make) -> Package:
    made: Package = make_package(tmp_path / "p", people("binary", 2000, 1).drop("joined"))
    return made


def test_data_of_the_same_source_is_silent(people: Make, model: Package) -> None:
    test = people("binary", 2000, 2)
    assert data(test, model, model, people("binary", 2000, 3)) == ()
    assert data(raw_rows(test), model, rows=500) == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (pl.lit("many").alias("income"), ("data-schema", "alarm", "income")),
        (
            pl.when(pl.int_range(pl.len()) % 4 > 0).then("age"),
            ("data-missing", "alarm", "age"),
        ),
        (
            pl.when(pl.int_range(pl.len()) % 25 > 0).then("income"),
            ("data-missing", "note", "income"),
        ),
        (pl.col("income") * 5, ("data-range", "alarm", "income")),
        (pl.col("age") + 2, ("data-range", "note", "age")),
        (
            pl.when(pl.int_range(pl.len()) % 8 > 0).then("region").otherwise(pl.lit("<b>west</b>")),
            ("data-unseen", "alarm", "region"),
        ),
        (
            pl.when(pl.int_range(pl.len()) % 40 > 0).then("region").otherwise(pl.lit("west")),
            ("data-unseen", "note", "region"),
        ),
        (pl.lit(True).alias("member"), ("data-constant", "note", "member")),
    ],
)
def test_each_fault_is_told(
    people: Make, model: Package, change: pl.Expr, expected: tuple[str, str, str]
) -> None:
    name = expected[2]
    test = people("binary", 2000, 2).with_columns(change.alias(name))
    findings = data(test, model)
    assert short(findings) == [expected]
    assert repr(name) in findings[0].text


def test_a_column_that_is_gone_is_told_for_either_model(
    tmp_path: Path, people: Make, make_package: Make, model: Package
) -> None:
    older = make_package(tmp_path / "old", people("binary", 2000, 1), features=["sex", "age"])
    test = people("binary", 500, 2).drop("sex", "income")
    findings = data(test, model, older)
    assert short(findings) == [("data-schema", "alarm", "income"), ("data-schema", "alarm", "sex")]
    assert "for the champion" in findings[1].text


def test_missing_where_the_model_takes_none_is_told(
    tmp_path: Path, people: Make, make_package: Make, model: Package
) -> None:
    from dataclasses import replace

    strict = tuple(replace(item, nullable=item.name == "age") for item in model.signature.inputs)
    refusing = replace(model, signature=replace(model.signature, inputs=strict))
    findings = data(people("binary", 2000, 2), refusing)
    assert short(findings) == [("data-missing", "alarm", "region")]
    assert "takes none missing" in findings[0].text


def test_changes_since_the_base_are_told(people: Make, model: Package) -> None:
    base = people("binary", 2000, 2)
    head = people("binary", 2000, 3).with_columns(
        pl.col("member").cast(pl.Int64), age=pl.lit(None, pl.Int64), extra=pl.lit(1)
    )
    findings = data(head.drop("sex"), model, None, base)
    assert short(findings) == [
        ("data-missing", "alarm", "age"),
        ("data-missing", "alarm", "age"),
        ("data-schema", "note", "member"),
        ("data-schema", "note", "sex"),
        ("data-schema", "note", "extra"),
        ("data-constant", "note", "age"),
    ]


def test_rare_categories_and_few_rows_are_no_fault(
    tmp_path: Path, people: Make, make_package: Make
) -> None:
    """Of many categories some come only in the test set, and of few training rows some extremes."""
    draw = np.random.default_rng(1)
    frame = people("binary", 750, 1).with_columns(
        town=pl.Series(np.minimum(draw.geometric(0.01, 750), 400)).cast(pl.String)
    )
    made = make_package(tmp_path / "p", frame[:600].drop("joined"))
    assert data(frame[600:], made) == ()
    small = make_package(tmp_path / "small", frame[:90].drop("joined", "town"))
    assert data(frame[90:150], small) == ()


def test_one_row_and_no_values_are_answered(people: Make, model: Package) -> None:
    test = people("binary", 20, 2)
    assert data(test[:1], model, model, test[:1]) == ()
    void = test.with_columns(
        pl.lit(None).alias(name) for name in ("income", "age", "region", "member")
    )
    assert {one.kind for one in data(void, model)} == {"data-missing", "data-constant"}
    assert data(test[:0], model) == ()
