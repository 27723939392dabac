"""What runs the statements: polars in this process, or Spark."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from gitops.errors import EvidenceError, ToolError, Where
from gitops.evaluation import FIX

Frame = Any  # of an engine: only it looks inside
Session = Any  # pyspark is an extra
Source = Path | str
Kind = str  # text, number or time; else the engine's own name of the type


class Engine(Protocol):
    """Runs SQL in which `{name}` stands for a frame. A missing or damaged file: EvidenceError."""

    def read(self, source: Source) -> tuple[Frame, dict[str, Kind]]:
        """A Parquet file, and the kinds of its columns."""

    def renamed(self, frame: Frame, names: Mapping[str, str]) -> Frame:
        """Columns by new names (new: old); a time becomes its microseconds since 1970."""

    def made(self, columns: Mapping[str, Sequence[Any]]) -> Frame:
        """A small table."""

    @contextmanager
    def kept(self, sql: str, frames: Mapping[str, Frame]) -> Iterator[Frame]:
        """A table that is computed once."""

    def query(self, sql: str, frames: Mapping[str, Frame]) -> dict[str, list[Any]]:
        """The columns of a small result."""


class Embedded:
    """Polars, in this process."""

    def read(self, source: Source) -> tuple[Frame, dict[str, Kind]]:
        with _polars_errors(source):
            frame = pl.scan_parquet(source, glob=False)
            return frame, {name: _polars_kind(one) for name, one in frame.collect_schema().items()}

    def renamed(self, frame: Frame, names: Mapping[str, str]) -> Frame:
        kinds = frame.collect_schema()
        return frame.select(
            pl.col(old).dt.timestamp("us").alias(new)
            if isinstance(kinds[old], pl.Datetime)
            else pl.col(old).alias(new)
            for new, old in names.items()
        )

    def made(self, columns: Mapping[str, Sequence[Any]]) -> Frame:
        return pl.LazyFrame(dict(columns))

    @contextmanager
    def kept(self, sql: str, frames: Mapping[str, Frame]) -> Iterator[Frame]:
        yield self._run(sql, frames).lazy()

    def query(self, sql: str, frames: Mapping[str, Frame]) -> dict[str, list[Any]]:
        return self._run(sql, frames).to_dict(as_series=False)

    def _run(self, sql: str, frames: Mapping[str, Frame]) -> pl.DataFrame:
        text = sql.format(**{name: name for name in frames})
        with _polars_errors(None), pl.SQLContext(dict(frames)) as context:
            return context.execute(text).collect(engine="streaming")


def _polars_kind(kind: pl.DataType) -> Kind:
    if isinstance(kind, pl.String | pl.Enum | pl.Categorical):
        return "text"
    utc = isinstance(kind, pl.Datetime) and kind.time_zone == "UTC"
    return "number" if kind == pl.Float64 else "time" if utc else str(kind).lower()


@contextmanager
def _polars_errors(source: Source | None) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(error, source) from error


def _unreadable(error: BaseException, source: Source | None) -> EvidenceError:
    return EvidenceError(
        f"a table can't be read: {_first_line(error)}",
        fix=FIX,
        where=Where(source) if source else None,
    )


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


class Spark:
    """Spark (the extra `spark`), in a session of its own beside the given one.

    Its settings: names of columns keep their case, times are UTC.
    """

    def __init__(self, session: Session) -> None:
        # What it would write on stderr is in our errors.
        logging.getLogger("SQLQueryContextLogger").disabled = True
        self._session = session.newSession()
        self._session.conf.set("spark.sql.caseSensitive", "true")
        self._session.conf.set("spark.sql.session.timeZone", "UTC")

    def read(self, source: Source) -> tuple[Frame, dict[str, Kind]]:
        with _spark_errors(source):
            frame = self._session.read.parquet(_literal(source))
            return frame, {name: _SPARK.get(kind, kind) for name, kind in frame.dtypes}

    def renamed(self, frame: Frame, names: Mapping[str, str]) -> Frame:
        from pyspark.sql.functions import col, unix_micros

        columns = []
        for new, old in names.items():
            column = col("`" + old.replace("`", "``") + "`")
            time = frame.schema[old].dataType.typeName() == "timestamp"
            columns.append((unix_micros(column) if time else column).alias(new))
        return frame.select(*columns)

    def made(self, columns: Mapping[str, Sequence[Any]]) -> Frame:
        kinds = {str: "string", int: "bigint", float: "double"}
        schema = ", ".join(f"{name} {kinds[type(each[0])]}" for name, each in columns.items())
        rows = [tuple(row) for row in zip(*columns.values(), strict=True)]
        return self._session.createDataFrame(rows, schema)

    @contextmanager
    def kept(self, sql: str, frames: Mapping[str, Frame]) -> Iterator[Frame]:
        with _spark_errors(None):
            frame = self._session.sql(sql, **frames).persist()
        try:
            yield frame
        finally:
            frame.unpersist()

    def query(self, sql: str, frames: Mapping[str, Frame]) -> dict[str, list[Any]]:
        with _spark_errors(None):
            found = self._session.sql(sql, **frames)
            rows = found.collect()
        return {name: [row[at] for row in rows] for at, name in enumerate(found.columns)}


_SPARK: Mapping[str, Kind] = {"string": "text", "double": "number", "timestamp": "time"}


def _literal(source: Source) -> str:
    """A local path as it is: Spark takes a path for a pattern."""
    text = str(source.absolute()) if isinstance(source, Path) else source
    if isinstance(source, Path):
        for one in "\\{}[]*?":
            text = text.replace(one, "\\" + one)
    return text


@contextmanager
def _spark_errors(source: Source | None) -> Iterator[None]:
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]
    from pyspark.errors import AnalysisException, PySparkException

    try:
        yield
    except AnalysisException as error:
        if source is None:
            raise  # a statement of ours is wrong
        raise _unreadable(error, source) from error
    except (PySparkException, Py4JError) as error:
        raise _unreadable(error, source) from error


def spark_session(**settings: str) -> Session:
    """A session at $SPARK_MASTER, or on all cores of this machine.

    Raises:
        ToolError: pyspark or a Java runtime is missing, or the master doesn't answer.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        fix = "install the extra: pip install 'gitops-ml[spark]'"
        raise ToolError("pyspark is not installed", fix=fix) from error
    if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        fix = "install a Java runtime (17 or later), or set JAVA_HOME"
        raise ToolError("Spark needs Java, and there is none", fix=fix)
    master = os.environ.get("SPARK_MASTER", "local[*]")
    builder = SparkSession.builder.master(master).appName("gitops gate")
    for name, value in {"spark.ui.enabled": "false", **settings}.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except Exception as error:  # py4j and pyspark raise what they like
        fix = "look at SPARK_MASTER and JAVA_HOME"
        raise ToolError(
            f"Spark at {master} doesn't start: {_first_line(error)}", fix=fix
        ) from error
