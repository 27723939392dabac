"""The same statements on Spark: equal results. A real PySpark, in local mode."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from gitops.errors import EvidenceError
from gitops.validate.model import Task
from gitops.validate.sql import Embedded, Spark, measure, spark_session
from tests.unit.validate.sql_cases import METRICS, ODD, agrees, made, same, written

pytestmark = [
    pytest.mark.functional,
    pytest.mark.extended("a Java machine; the same statements run on the embedded engine"),
]
pytest.importorskip("pyspark", reason="pyspark is not installed (the extra `spark`)")
if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
    pytest.skip("there is no Java runtime", allow_module_level=True)


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    """Starting takes seconds, so all tests share one."""
    folder = tmp_path_factory.mktemp("spark")
    patch = pytest.MonkeyPatch()
    patch.setenv("SPARK_MASTER", "local[2]")
    patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    session = spark_session(
        **{
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
            "spark.local.dir": str(folder / "local"),
            "spark.driver.memory": "1g",
            "spark.ui.showConsoleProgress": "false",
        }
    )
    session.sparkContext.setLogLevel("OFF")
    patch.undo()
    yield Spark(session)
    session.stop()


HOW: dict[str, tuple[Task, dict[str, int]]] = {
    "binary": ("binary", {"weight": True}),
    "binary in groups": ("binary", {"group": 200, "weight": True}),
    "binary in blocks of time": ("binary", {"time": True, "twin": True}),
    "multiclass": ("multiclass", {}),
    "regression": ("regression", {"weight": True}),
    "regression in groups": ("regression", {"group": 200}),
    "first model": ("binary", {"champion": False}),
}


@pytest.mark.parametrize("how", HOW)
def test_numbers_are_those_of_the_table_in_memory_and_of_polars(
    spark: Spark, tmp_path: Path, how: str
) -> None:
    task, options = HOW[how]
    case = made(tmp_path, task, 11, rows=1500, **options)  # type: ignore[arg-type]
    by = ((), (ODD,), ("Sex", ODD))
    found = agrees(spark, case, by)
    embedded = measure(
        Embedded(), case.files, METRICS[task], by, minimum_rows=50, minimum_per_class=5
    )
    assert found.small == embedded.small
    for one, other in zip(found.estimated, embedded.estimated, strict=True):
        assert one.measure.slice == other.measure.slice
        same(one, other)


def test_bad_tables_are_refused_on_spark_too(spark: Spark, tmp_path: Path) -> None:
    case = made(tmp_path, "binary", 2, rows=200)
    first = pl.col("id") == "r000000"
    for column, value, text in (
        ("score", float("nan"), "1 rows have a score outside of 0 to 1"),
        ("prediction", "q", "1 rows have a prediction that is none of the classes"),
        ("label", "new", "1 rows have another label than"),
        ("id", "r000007", "1 rows have an id that another row has"),
    ):
        put = pl.when(first).then(pl.lit(value)).otherwise(column).alias(column)
        frames = {**case.frames, "candidate": case.frames["candidate"].with_columns(put)}
        with pytest.raises(EvidenceError, match=text):
            measure(spark, written(tmp_path, "binary", frames), ["f1"])


def test_damaged_and_missing_files_are_refused_on_spark_too(spark: Spark, tmp_path: Path) -> None:
    case = made(tmp_path, "binary", 2, rows=200)
    assert isinstance(case.files.candidate, Path)
    whole = case.files.candidate.read_bytes()
    for content in (b"", whole[:-9], whole[:300] + bytes(900) + whole[1200:]):
        case.files.candidate.write_bytes(content)
        with pytest.raises(EvidenceError, match="can't be read"):
            measure(spark, case.files, ["f1"])
    case.files.candidate.unlink()
    with pytest.raises(EvidenceError, match="can't be read"):
        measure(spark, case.files, ["f1"])


def test_a_session_of_its_own_leaves_no_views_and_nothing_cached(
    spark: Spark, tmp_path: Path
) -> None:
    case = made(tmp_path, "regression", 2, rows=200)
    measure(spark, case.files, ["mae", "r2"], [(), (ODD,)])
    own = spark._session
    assert own.catalog.listTables() == []
    assert own.sparkContext._jsc.getPersistentRDDs().isEmpty()
