"""Statistics as SQL, embedded: they are those of tables in memory, and bad tables are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from gitops.errors import EvidenceError, ToolError, UsageError
from gitops.validate.model import Slice, Task
from gitops.validate.sql import Embedded, measure, spark_session
from gitops.validate.stats import METRICS
from tests.unit.validate.sql_cases import ODD, agrees, made, written

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"weight": True},
        {"group": 200},
        {"group": 200, "weight": True},
        {"time": True},
        {"champion": False},
        {"twin": True},
        {"group": 10**9},
    ],
    ids=lambda how: "-".join(how) or "plain",
)
def test_numbers_are_those_of_the_table_in_memory(
    tmp_path: Path, task: Task, how: dict[str, int]
) -> None:
    agrees(Embedded(), made(tmp_path, task, 7, **how))  # type: ignore[arg-type]


def test_every_metric_of_counts_and_sums_is_there(tmp_path: Path) -> None:
    for task in TASKS:
        case = made(tmp_path, task, 1, rows=300)
        names = [n for n, m in METRICS.items() if task in m.tasks
                 and m.family in ("counts", "losses")]  # fmt: skip
        found = measure(Embedded(), case.files, names)
        assert [one.measure.metric for one in found.estimated] == names
        assert all(one.measure.candidate.estimate is not None for one in found.estimated)


def test_small_slices_are_named_and_not_judged(tmp_path: Path) -> None:
    case = made(tmp_path, "binary", 3, rows=400)
    found = measure(Embedded(), case.files, ["f1"], [(ODD,)], minimum_rows=60)
    rows = {one.measure.slice: one.measure.rows for one in found.estimated}
    assert rows and all(count >= 60 for count in rows.values())
    assert found.small and all("fewer than" in one.why for one in found.small)
    assert sum(rows.values()) + sum(one.rows for one in found.small) == 400


def test_a_label_of_0_and_equal_labels_are_undefined_as_in_memory(tmp_path: Path) -> None:
    case = made(tmp_path, "regression", 5, rows=400)
    zero = {
        name: frame.with_columns(pl.col("label").replace(case.table.label[0], 0.0))
        for name, frame in case.frames.items()
    }
    found = measure(Embedded(), written(tmp_path, "regression", zero), ["mape"])
    assert found.estimated[0].measure.undefined == "a label is 0"
    flat = {n: frame.with_columns(label=pl.lit(4.0)) for n, frame in case.frames.items()}
    found = measure(Embedded(), written(tmp_path, "regression", flat), ["r2"])
    assert found.estimated[0].measure.undefined == "all labels are equal"


def test_a_row_without_a_time_leaves_no_order(tmp_path: Path) -> None:
    case = made(tmp_path, "binary", 5, time=True)
    first = pl.col("id") == "r000000"
    frames = {
        name: frame.with_columns(
            pl.when(first).then(None).otherwise("timestamp").alias("timestamp")
        )
        for name, frame in case.frames.items()
    }
    agrees(Embedded(), replace(case, table=replace(case.table, time=None),
                               files=written(tmp_path, "binary", frames)))  # fmt: skip


def test_a_champion_that_knows_fewer_classes(tmp_path: Path) -> None:
    case = made(tmp_path, "multiclass", 5)
    lost = pl.col("prediction") == "four'"
    theirs = (
        case.frames["champion"]
        .drop("score_four'")
        .with_columns(pl.when(lost).then(pl.lit("1")).otherwise("prediction").alias("prediction"))
    )
    champion = case.table.champion
    assert champion is not None and champion.score is not None
    prediction, score = champion.prediction.copy(), champion.score.copy()
    prediction[prediction == 3], score[:, 3] = 0, 0.0
    table = replace(case.table, champion=replace(champion, prediction=prediction, score=score))
    frames = {**case.frames, "champion": theirs}
    agrees(Embedded(), replace(case, table=table, files=written(tmp_path, "multiclass", frames)))


Change = Callable[[pl.DataFrame], pl.DataFrame]


def put(column: str, value: object) -> Change:
    """The value in the first row."""
    first = pl.col("id") == "r000000"
    return lambda frame: frame.with_columns(
        pl.when(first).then(pl.lit(value, frame[column].dtype)).otherwise(column).alias(column)
    )


BAD: dict[str, tuple[Task, Change, str]] = {
    "no label": ("binary", put("label", None), "1 rows have no label"),
    "no prediction": ("binary", put("prediction", None), "1 rows have a prediction that is none"),
    "strange prediction": ("multiclass", put("prediction", "q"), r"none of the classes \(1, 2, "),
    "no score": ("binary", put("score", None), "1 rows have a score outside of 0 to 1"),
    "score NaN": ("binary", put("score", float("nan")), "1 rows have a score outside"),
    "score 1.5": ("multiclass", put("score_2", 1.5), "1 rows have a score_2 outside"),
    "label infinite": ("regression", put("label", float("inf")), "label that is not finite"),
    "prediction NaN": ("regression", put("prediction", float("nan")), "prediction that is not fin"),
    "weight 0": ("binary", put("weight", 0.0), "1 rows have a weight that is not a finite number"),
    "weight NaN": ("binary", put("weight", float("nan")), "1 rows have a weight that is not"),
    "no id": ("binary", put("id", None), "1 rows have no id"),
    "an id twice": ("binary", put("id", "r000007"), "1 rows have an id that another row has"),
    "another id": ("binary", put("id", "other"), "199 in both"),
    "a row less": ("binary", lambda f: f.filter(pl.col("id") != "r000003"), "199 in both"),
    "no rows": ("binary", lambda f: f.clear(), "there are no rows"),
    "no column": ("binary", lambda f: f.drop("score"), "column 'score' is missing"),
    "texts for numbers": (
        "binary",
        lambda f: f.with_columns(pl.col("score").cast(pl.String)),
        "column 'score' is text, not float64",
    ),
    "a time without a zone": (
        "binary",
        lambda f: f.with_columns(timestamp=datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)),
        "column 'timestamp' is .*, not datetime",
    ),
}


@pytest.mark.parametrize("side", ["candidate", "champion"])
@pytest.mark.parametrize("fault", BAD)
def test_bad_tables_are_refused_with_the_file(tmp_path: Path, fault: str, side: str) -> None:
    task, change, text = BAD[fault]
    case = made(tmp_path, task, 2, rows=200, weight=True)
    if side == "candidate" and fault in ("weight 0", "weight NaN", "a time without a zone"):
        return  # rows are weighed and ordered by the champion's table
    frames = {**case.frames, side: change(case.frames[side])}
    with pytest.raises(EvidenceError, match=text) as raised:
        measure(
            Embedded(),
            written(tmp_path, task, frames),
            ["accuracy" if task != "regression" else "mae"],
        )
    assert raised.value.where is not None and raised.value.fix


def test_a_changed_label_is_refused(tmp_path: Path) -> None:
    case = made(tmp_path, "binary", 2, rows=200)
    frames = {**case.frames, "candidate": put("label", "other")(case.frames["candidate"])}
    with pytest.raises(EvidenceError, match="1 rows have another label than"):
        measure(Embedded(), written(tmp_path, "binary", frames), ["f1"])


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    case = made(tmp_path, "binary", 2, rows=200)
    assert isinstance(case.files.candidate, Path)
    whole = case.files.candidate.read_bytes()
    for content in (b"", whole[:-9], b"x" * 900, whole[:300] + bytes(900) + whole[1200:]):
        case.files.candidate.write_bytes(content)
        with pytest.raises(EvidenceError, match="can't be read"):
            measure(Embedded(), case.files, ["f1"])
    case.files.candidate.unlink()
    with pytest.raises(EvidenceError, match="can't be read"):
        measure(Embedded(), case.files, ["f1"])


def test_too_many_cells_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    for how in ({"group": 150}, {"time": True}):
        case = made(tmp_path, "binary", 2, **how)
        with pytest.raises(EvidenceError, match="more than 50 "):
            measure(Embedded(), case.files, ["f1"], most_cells=50)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("roc_auc", "'roc_auc' needs all scores in order"),
        ("acuracy", "not a metric of a binary task.*did you mean 'accuracy'"),
        ("mae", "not a metric of a binary task"),
    ],
)
def test_other_metrics_are_refused_by_name(tmp_path: Path, name: str, text: str) -> None:
    case = made(tmp_path, "binary", 2, rows=50)
    with pytest.raises(UsageError) as raised:
        measure(Embedded(), case.files, [name])
    assert re.search(text, f"{raised.value.message} {raised.value.fix}")


def test_an_unknown_slice_column_is_refused(tmp_path: Path) -> None:
    case = made(tmp_path, "binary", 2, rows=50)
    with pytest.raises(EvidenceError, match="column 'slice_age' is missing"):
        measure(Embedded(), case.files, ["f1"], [("age",)])


def test_a_thousand_classes(tmp_path: Path) -> None:
    classes = tuple(str(at) for at in range(1000))
    frame = pl.DataFrame(
        {"id": [str(at) for at in range(1500)], "label": [classes[at % 1000] for at in range(1500)]}
    ).with_columns(pl.col("label").alias("prediction"))
    frame = frame.with_columns(
        (pl.col("label") == one).cast(pl.Float64).alias(f"score_{one}") for one in classes
    )
    files = written(tmp_path, "multiclass", {"candidate": frame})
    found = measure(Embedded(), replace(files, classes=classes), ["f1", "log_loss", "top_2"])
    assert [one.measure.candidate.estimate for one in found.estimated] == pytest.approx([1, 0, 1])
    assert found.estimated[0].measure.slice == Slice()


def test_spark_without_java_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match="Java"):
        spark_session()
