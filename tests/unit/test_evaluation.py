import math
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gitops import contracts, evaluation, package, testset
from gitops.errors import EvidenceError, Where

PACKAGES = Path(__file__).parents[1] / "contracts" / "packages"
Change = Callable[[pl.DataFrame], pl.DataFrame]


def write(folder: Path, task: str = "binary", change: Change | None = None) -> package.Package:
    """Write the evaluation that the example package gives for its test rows, then change it."""
    found = package.read(PACKAGES / task / "package")
    raw = package.read_rows(PACKAGES / task / "test.csv")
    label = raw[found.signature.target].alias("label")
    if task == "regression":
        label = label.cast(pl.Float64)
    predictions = package.score(found, raw).frame.insert_column(0, raw["id"])
    predictions.insert_column(1, label)
    folder.mkdir(exist_ok=True)
    (change or (lambda frame: frame))(predictions).write_parquet(folder / "predictions.parquet")
    raw.insert_column(0, raw["id"].alias("__id__")).write_parquet(folder / "inputs.parquet")
    return found


def at(row: int, **values: object) -> Change:
    """Set cells of one row (from 0)."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        here = pl.int_range(pl.len()) == row
        return frame.with_columns(
            pl.when(here).then(pl.lit(value, frame.schema[name])).otherwise(name).alias(name)
            for name, value in values.items()
        )

    return change


def with_column(name: str, value: object, dtype: pl.DataType | type[pl.DataType]) -> Change:
    return lambda frame: frame.with_columns(pl.lit(value, dtype).alias(name))


def refusal(folder: Path, task: str, change: Change) -> str:
    """What `read` says about a changed evaluation."""
    found = write(folder, task, change)
    with pytest.raises(EvidenceError) as caught:
        evaluation.read(folder, found.signature)
    assert caught.value.fix
    assert caught.value.where is not None
    return caught.value.message


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_read_describes_what_it_found(tmp_path: Path, task: str) -> None:
    found = write(tmp_path, task)
    table = evaluation.read(tmp_path, found.signature)
    assert (table.rows, table.slices, table.unseen) == (60, (), {})
    assert table.description["test_set"] == table.test_set
    known, *_ = testset.identify(table.predictions, table.inputs, found.signature)
    assert table.test_set == known
    contracts.validate("evaluation", dict(table.description), Where(tmp_path))
    assert table.description["inputs"]["distance"] == "string"
    evaluation.ask(found, table, rows=2000)
    evaluation.ask(found, table, rows=7)


def test_read_takes_all_optional_columns(tmp_path: Path) -> None:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            weight=pl.lit(0.5),
            group=pl.lit("g"),
            timestamp=pl.lit(datetime(2013, 1, 1, tzinfo=UTC)).dt.cast_time_unit("us"),
            slice_carrier=pl.lit(None, pl.String),
        )

    found = write(tmp_path, change=change)
    table = evaluation.read(tmp_path, found.signature)
    assert table.slices == ("carrier",)
    assert table.description["columns"]["timestamp"] == "datetime[us, UTC]"


def test_a_label_outside_of_the_classes_is_counted(tmp_path: Path) -> None:
    found = write(tmp_path, change=lambda f: at(2, label="maybe")(at(5, label="maybe")(f)))
    assert evaluation.read(tmp_path, found.signature).unseen == {"maybe": 2}


def test_inputs_may_have_another_order(tmp_path: Path) -> None:
    found = write(tmp_path)
    path = tmp_path / "inputs.parquet"
    first = evaluation.read(tmp_path, found.signature)
    pl.read_parquet(path).reverse().write_parquet(path)
    table = evaluation.read(tmp_path, found.signature)
    assert table == first
    evaluation.ask(found, table, rows=20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (at(7, id="2-001"), "predictions: 1 rows repeat the id of another: '2-001'"),
        (at(7, id=None), "predictions: 1 rows have no id (rows 8)"),
        (at(7, id="x"), "1 of inputs not in predictions: 'x', '2-007'"),
        (lambda frame: frame.head(59), "1 of inputs not in predictions: '2-059'"),
        (at(3, score=math.nan), "1 rows have a score that is not finite: '2-003'"),
        (at(3, score=math.inf), "1 rows have a score that is not finite: '2-003'"),
        (at(3, score=None), "1 rows have a score that is not finite: '2-003'"),
        (at(3, score=1.01), "1 rows have a score outside of 0 to 1: '2-003'"),
        (at(3, score=-0.01), "1 rows have a score outside of 0 to 1: '2-003'"),
        (at(3, prediction="False"), "none of the classes (false, true): '2-003'"),
        (at(3, prediction=None), "none of the classes"),
        (at(3, prediction="true", score=0.4), "contradicts the threshold: '2-003'"),
        (at(3, prediction="false", score=0.5), "contradicts the threshold: '2-003'"),
        (at(3, label=None), "1 rows have no label: '2-003'"),
        (at(3, label=" TRUE"), "1 rows have the label ' TRUE', which the model knows as 'true'"),
        (at(3, label="True"), "1 rows have the label 'True', which the model knows as 'true'"),
        (
            with_column("weight", 0.0, pl.Float64),
            "60 rows have a weight that is not a finite number above 0: '2-000', '2-001'",
        ),
        (with_column("weight", -1.0, pl.Float64), "60 rows have a weight that is not"),
        (with_column("weight", math.nan, pl.Float64), "60 rows have a weight that is not"),
        (with_column("weight", None, pl.Float64), "60 rows have a weight that is not"),
        (lambda frame: frame.head(0), "there are no rows"),
        (lambda frame: frame.drop("score"), "column 'score' is missing"),
        (
            lambda frame: frame.rename({"score": "scores"}),
            "'scores' is none of the contract's; did you mean 'score'?",
        ),
        (with_column("score_true", 0.5, pl.Float64), "'score_true' is none of the contract's"),
        (with_column("weight", 1, pl.Int64), "column 'weight' is Int64, not float64"),
        (with_column("score", 0.5, pl.Float32), "column 'score' is Float32, not float64"),
        (with_column("id", 1, pl.Int64), "column 'id' is Int64, not string"),
        (with_column("label", True, pl.Boolean), "column 'label' is Boolean, not string"),
        (with_column("slice_carrier", 1, pl.Int64), "column 'slice_carrier' is Int64, not string"),
        (with_column("slice_carrier", "x", pl.Categorical), "is Categorical, not string"),
        (with_column("timestamp", None, pl.Datetime("us")), "column 'timestamp' is Datetime"),
    ],
)
def test_read_refuses_binary(tmp_path: Path, change: Change, message: str) -> None:
    assert message in refusal(tmp_path, "binary", change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (at(3, score_0=0.9, score_1=0.2, score_2=0.0), "scores that don't add up to 1: '2-003'"),
        (at(3, score_1=math.nan), "1 rows have a score that is not finite: '2-003'"),
        (at(3, score_0=1.5, score_1=-0.5, score_2=0.0), "outside of 0 to 1: '2-003'"),
        (at(3, score_0=0.2, score_1=0.4, score_2=0.4, prediction="2"), "the largest score"),
        (at(3, label="1.0"), "1 rows have the label '1.0', which the model knows as '1'"),
        (lambda frame: frame.with_columns(score=0.5), "column 'score' is none of the contract's"),
        (lambda frame: frame.drop("score_1"), "column 'score_1' is missing"),
    ],
)
def test_read_refuses_multiclass(tmp_path: Path, change: Change, message: str) -> None:
    assert message in refusal(tmp_path, "multiclass", change)


def test_the_first_of_equal_scores_is_the_decision(tmp_path: Path) -> None:
    equal = at(3, score_0=0.2, score_1=0.4, score_2=0.4, prediction="1")
    found = write(tmp_path, "multiclass", equal)
    evaluation.read(tmp_path, found.signature)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (at(3, label=math.inf), "1 rows have a label that is not finite: '2-003'"),
        (at(3, label=None), "1 rows have no label"),
        (at(3, prediction=math.nan), "1 rows have a prediction that is not finite: '2-003'"),
        (at(3, prediction=None), "1 rows have a prediction that is not finite"),
        (with_column("label", "1", pl.String), "column 'label' is String, not float64"),
        (with_column("score", 0.5, pl.Float64), "column 'score' is none of the contract's"),
    ],
)
def test_read_refuses_regression(tmp_path: Path, change: Change, message: str) -> None:
    assert message in refusal(tmp_path, "regression", change)


@pytest.mark.parametrize("name", ["predictions.parquet", "inputs.parquet"])
def test_read_names_a_table_that_is_missing_or_damaged(tmp_path: Path, name: str) -> None:
    found = write(tmp_path)
    (tmp_path / name).write_bytes(b"PAR1 and then nothing")
    with pytest.raises(EvidenceError, match="not a Parquet file that can be read") as caught:
        evaluation.read(tmp_path, found.signature)
    assert caught.value.where == Where(tmp_path / name)
    (tmp_path / name).unlink()
    with pytest.raises(EvidenceError, match="there is no such file"):
        evaluation.read(tmp_path, found.signature)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop("__id__"), "'__id__' must be string, it is missing"),
        (lambda frame: frame.with_columns(__id__=1), "'__id__' must be string, it is Int32"),
        (at(5, __id__=None), r"inputs: 1 rows have no __id__ \(rows 6\)"),
        (at(5, __id__="2-006"), "inputs: 1 rows repeat the id of another: '2-006'"),
        (lambda frame: frame.with_columns(distance=pl.lit([1])), "no canonical text"),
    ],
)
def test_read_refuses_inputs(tmp_path: Path, change: Change, message: str) -> None:
    found = write(tmp_path)
    path = tmp_path / "inputs.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    with pytest.raises(EvidenceError, match=message):
        evaluation.read(tmp_path, found.signature)


def test_asking_finds_scores_that_the_package_does_not_give(tmp_path: Path) -> None:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(score=pl.col("score") * 0.999)

    found = write(tmp_path, change=lambda frame: change(frame.head(1)).vstack(frame.tail(-1)))
    table = evaluation.read(tmp_path, found.signature)
    with pytest.raises(EvidenceError, match=r"1 of 60 rows have other.*: '2-000'"):
        evaluation.ask(found, table, rows=2000)


def test_asking_tolerates_the_last_bits_but_no_other_decision(tmp_path: Path) -> None:
    def nudge(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(score=(pl.col("score") + 5e-6).clip(0, 1))

    found = write(tmp_path, change=nudge)
    evaluation.ask(found, evaluation.read(tmp_path, found.signature), rows=2000)
    # The same scores, but a package that decides by another threshold.
    folder = Path(shutil.copytree(PACKAGES / "binary/package", tmp_path / "package"))
    path = folder / "signature.json"
    path.write_text(
        path.read_text("utf-8").replace('"threshold": 0.5', '"threshold": 0.9'), "utf-8"
    )
    table = evaluation.read(tmp_path, found.signature)
    with pytest.raises(EvidenceError, match="of 60 rows have other predictions"):
        evaluation.ask(package.read(folder), table, rows=2000)


def test_asking_a_regression_is_relative_to_the_size(tmp_path: Path) -> None:
    for factor, fine in ((1 + 5e-6, True), (1 + 5e-5, False)):
        found = write(
            tmp_path,
            "regression",
            lambda frame, by=factor: frame.with_columns(pl.col("prediction") * by),  # type: ignore[misc]
        )
        table = evaluation.read(tmp_path, found.signature)
        if fine:
            evaluation.ask(found, table, rows=2000)
        else:
            with pytest.raises(EvidenceError, match="60 of 60 rows"):
                evaluation.ask(found, table, rows=2000)


def test_a_sample_is_as_large_as_asked_and_another_each_time(tmp_path: Path) -> None:
    found = write(tmp_path)
    table = evaluation.read(tmp_path, found.signature)
    folder = Path(shutil.copytree(PACKAGES / "binary/package", tmp_path / "package"))
    path = folder / "signature.json"
    runtime = '"runtime": {"kind": "command", "command": ["fake", "{input}", "{output}"]}, "old": '
    text = path.read_text("utf-8").replace('"runtime": ', runtime)
    start = text.index('"old"')
    path.write_text(text[:start] + text[text.index('"inputs"') :], "utf-8")
    asked: list[pl.DataFrame] = []

    def command(frame: pl.DataFrame) -> pl.DataFrame:
        asked.append(frame)
        return package.score(found, frame).frame

    for _ in range(2):
        evaluation.ask(package.read(folder), table, rows=10, command=command)
    assert asked[0].height == 10
    assert not asked[0].equals(asked[1])


def test_whoever_is_asked_about_all_rows_answers_in_the_order_of_ids(tmp_path: Path) -> None:
    found = write(tmp_path, change=lambda frame: frame.sample(fraction=1, shuffle=True, seed=3))
    table = evaluation.read(tmp_path, found.signature)
    answers = evaluation.ask(found, table, rows=60)
    assert answers is not None
    claimed = pl.read_parquet(tmp_path / "predictions.parquet").sort("id")
    assert answers["score"].to_list() == pytest.approx(claimed["score"].to_list())
    assert evaluation.ask(found, table, rows=59) is None


def test_an_evaluation_like_another_is_not_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = write(tmp_path / "a")
    first = evaluation.read(tmp_path / "a", found.signature)
    write(tmp_path / "b", change=with_column("slice_x", "y", pl.String))
    (tmp_path / "b" / "inputs.parquet").unlink()
    (tmp_path / "b" / "inputs.parquet").symlink_to(tmp_path / "a" / "inputs.parquet")
    hashed: list[int] = []
    whole = testset.identify

    def counted(*given: Any) -> Any:
        hashed.append(1)
        return whole(*given)

    monkeypatch.setattr(testset, "identify", counted)
    second = evaluation.read(tmp_path / "b", found.signature, like=first)
    assert (second.test_set, second.slices, hashed) == (first.test_set, ("x",), [])
    path = tmp_path / "b" / "predictions.parquet"
    table = pl.read_parquet(path)
    other = {"true": "false", "false": "true"}[table["label"][0]]
    for change in (at(0, label=other), pl.DataFrame.reverse):
        change(table).write_parquet(path)
        third = evaluation.read(tmp_path / "b", found.signature, like=first)
        known, *_ = whole(third.predictions, third.inputs, found.signature)
        assert third.test_set == known
    assert len(hashed) == 2


def test_damage_inside_of_a_table(tmp_path: Path) -> None:
    found = write(tmp_path)
    path = tmp_path / "predictions.parquet"
    raw = bytearray(path.read_bytes())
    raw[8:200] = b"\xff" * 192
    path.write_bytes(raw)
    with pytest.raises(EvidenceError, match="can't be read"):
        evaluation.read(tmp_path, found.signature)


def test_words_where_the_model_takes_numbers_are_named_with_their_file(tmp_path: Path) -> None:
    found = write(tmp_path)
    path = tmp_path / "inputs.parquet"
    pl.read_parquet(path).with_columns(distance=pl.lit("far")).write_parquet(path)
    table = evaluation.read(tmp_path, found.signature)
    with pytest.raises(EvidenceError, match="60 values are not a number") as caught:
        evaluation.ask(found, table, rows=2000)
    assert str(caught.value.where) == str(path)
