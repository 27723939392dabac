"""Codes, bands and the alignment of classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gitops import package
from gitops.errors import EvidenceError
from gitops.evaluation import Evaluation
from gitops.signature import Signature
from gitops.validate.evidence import bands, tables
from gitops.validate.evidence.tables import Judging
from gitops.validate.model import Array
from tests.unit.validate.conftest import make_evaluation, make_package, people


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[package.Package, Evaluation]:
    folder = tmp_path_factory.mktemp("made")
    found = make_package(folder / "package", people(count=500, seed=1))
    return found, make_evaluation(folder / "evaluation", found, people(count=100, seed=2))


def test_bands_are_quartiles_with_readable_names() -> None:
    column = bands.of_numbers(pl.Series([*range(1, 101), None]).cast(pl.Float64))
    assert column.values == ("up to 25", "over 25 to 50", "over 50 to 75", "over 75", None)
    assert np.bincount(column.codes).tolist() == [25, 25, 25, 25, 1]


def test_equal_quartiles_make_fewer_bands() -> None:
    numbers = pl.Series([0.0] * 80 + [float(one) for one in range(1, 30)])
    column = bands.of_numbers(numbers)
    assert column.values == ("up to 0", "over 0 to 2", "over 2")[: len(column.values)]
    assert np.bincount(column.codes)[0] == 80


def test_bands_of_close_numbers_keep_their_names_apart() -> None:
    column = bands.of_numbers(pl.Series([1 + one * 1e-9 for one in range(100)]))
    assert len(set(column.values)) == 4


@pytest.mark.parametrize("values", [[float("inf"), 1.0, 2.0, 3.0], [-float("inf"), 0.0, 1.0]])
def test_infinite_numbers_have_a_band(values: list[float]) -> None:
    column = bands.of_numbers(pl.Series(values))
    assert (column.codes >= 0).all()
    assert None not in column.values


@pytest.mark.parametrize("count", [1, 127, 128, 40_000])
def test_codes_of_many_values(count: int) -> None:
    values = [f"v{one:05}" for one in range(count)]
    frame = pl.DataFrame({"x": [*values, "other", None]})
    codes = frame.select(tables.coded("x", values)).to_series()
    assert codes.to_list() == [*range(count), -1, -1]
    assert codes.dtype.is_signed_integer()


def test_codes_of_no_values() -> None:
    frame = pl.DataFrame({"x": [None, None]}, schema={"x": pl.String})
    assert frame.select(tables.coded("x", [])).to_series().to_list() == [-1, -1]


def of(signature: Signature, *classes: str) -> Signature:
    return replace(signature, classes=classes)


def test_which_class_is_positive_is_the_bases_to_say(
    made: tuple[package.Package, Evaluation],
) -> None:
    found, evaluated = made
    signature = found.signature
    flipped = of(signature, "true", "false")
    assert tables.classes_of(signature, None) == ("false", "true")
    assert tables.classes_of(signature, flipped) == ("true", "false")
    usual, other = (Judging(evaluated, one.classes) for one in (signature, flipped))
    mine = usual.predictions(evaluated.predictions, evaluated.order, signature)
    turned = other.predictions(evaluated.predictions, evaluated.order, signature)
    assert mine.score is not None
    assert turned.score is not None
    np.testing.assert_array_equal(turned.score, 1 - mine.score)
    np.testing.assert_array_equal(turned.prediction, 1 - mine.prediction)


def test_sensitive_columns(made: tuple[package.Package, Evaluation]) -> None:
    judging = Judging(made[1], made[0].signature.classes)
    names = ["member", "income", "sex"]
    predicted = judging.predictions(made[1].predictions, made[1].order, made[0].signature)
    found, _ = tables.table(judging, predicted, None, names)
    assert found.columns["member"].values == ("false", "true")
    assert len(found.columns["income"].values) == 4
    assert found.columns["sex"].values == ("female", "male")
    with pytest.raises(EvidenceError, match="did you mean 'income'") as caught:
        tables.table(judging, predicted, None, ["incom"])
    assert "sensitive" in caught.value.fix


def test_a_sensitive_column_of_ids_is_no_column_of_groups(
    made: tuple[package.Package, Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MOST_VALUES", 2)
    judging = Judging(made[1], made[0].signature.classes)
    predicted = judging.predictions(made[1].predictions, made[1].order, made[0].signature)
    with pytest.raises(EvidenceError, match="'joined' has 100 values: those are no groups"):
        tables.table(judging, predicted, None, ["joined"])


def test_training_rows_are_found_in_parts_and_in_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = people(count=500, seed=1)
    found = make_package(tmp_path / "package", train)
    rows = pl.concat([people(count=300, seed=2), train.head(40)]).sample(
        fraction=1, shuffle=True, seed=1
    )
    evaluated = make_evaluation(tmp_path / "evaluation", found, rows)
    judging = Judging(evaluated, found.signature.classes)

    def look(*, all_rows: bool, project: str = "demo") -> Array:
        keys = tables.row_keys(judging, found.signature, project, all_rows=all_rows)
        return tables.trained_on(keys, found)

    expected = rows.sort("id")["id"].str.starts_with("1-").to_numpy()
    whole = look(all_rows=False)
    np.testing.assert_array_equal(whole == 1, expected)
    monkeypatch.setattr(tables, "_SAMPLED", 100)
    monkeypatch.setattr(tables, "_CHUNK", 37)
    np.testing.assert_array_equal(look(all_rows=True), whole)
    sample = look(all_rows=False)
    assert (sample >= 0).sum() == 100
    np.testing.assert_array_equal(sample[sample >= 0], whole[sample >= 0])
    assert (look(all_rows=True, project="another") == 0).all()
