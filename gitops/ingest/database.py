"""A table or query of a database: one consistent snapshot, read only, batch by batch.

Everything goes through SQLAlchemy, so one road leads to PostgreSQL, SQLite, Azure SQL, Databricks
and whatever else has a dialect. Values are the driver's own, not converted on the way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import polars as pl

from gitops import csvtext
from gitops.errors import ConfigError, EvidenceError, GitopsError, ToolError, Where
from gitops.ingest import secret as secrets
from gitops.ingest import snapshot
from gitops.ingest.columns import POSTGRESQL, Columns
from gitops.ingest.snapshot import Snapshot

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult, Engine

    from gitops.config.source import Source

_BATCH = 50_000  # rows that are Python objects at a time
_CONNECT_SECONDS = 10
# The levels at which all that a transaction reads is of one moment; elsewhere one statement is.
_ISOLATION = {
    "postgresql": "REPEATABLE READ",
    "mysql": "REPEATABLE READ",
    "mariadb": "REPEATABLE READ",
    "mssql": "SNAPSHOT",
}
_DRIVERS = {
    "postgresql": "gitops-ml[sql]",
    "mssql": "pyodbc and Microsoft's ODBC driver, or mssql-python, beside gitops",
    "databricks": "databricks-sqlalchemy beside gitops",
}
_SKIPPED = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w*)\$.*?\$\1\$", re.DOTALL
)
# https://learn.microsoft.com/sql/connect/odbc/using-azure-active-directory
_AZURE_SCOPE = "https://database.windows.net/.default"
_ACCESS_TOKEN = 1256  # SQL_COPT_SS_ACCESS_TOKEN


def take(
    base: Path, source: Source, target: Path, say: Callable[[str], None], separator: str = ","
) -> Snapshot:
    """The rows of the declared table, or of the query in `base`, as the file `target`.

    Raises:
        ConfigError: the URL isn't set, or the query is missing or no single SELECT.
        EvidenceError: no row, or a column that no table can hold.
        ToolError: the database can't be reached, or refuses.
    """
    assert source.url_env is not None  # noqa: S101  # config.source has seen to it
    secret = secrets.read(source.url_env)
    dialect = secret.url.get_backend_name()
    if source.kind == "databricks" and dialect != "databricks":
        raise ConfigError(
            f"the environment variable {source.url_env} holds a URL of {dialect}, not databricks",
            fix="write databricks://token:TOKEN@HOST?http_path=/sql/1.0/warehouses/ID, or let the"
            " source be of kind sql",
        )
    query, origin = _query(base, source)
    say(f"reading {source.table or source.query} of {secret.place}")
    with (
        _engine(secret, source) as engine,
        TemporaryDirectory(dir=target.parent, prefix="parts-") as parts,
    ):
        rows = _Reading(
            secret, engine, query or _whole(engine, str(source.table)), Path(parts), say
        )
        frame = snapshot.ordered(rows.read(), source.order_by, whole=True)
        snapshot.check_texts(frame, target)
        snapshot.write(frame, target, separator)
    more = {"kind": source.kind, "place": secret.place, **origin, "rows": frame.height}
    return Snapshot(target, frame.height, more)


def _query(base: Path, source: Source) -> tuple[str, Mapping[str, object]]:
    """The text of the query (empty: the whole table), and what is noted of it.

    Raises:
        ConfigError: the file is missing, no text, or holds anything but one SELECT.
    """
    if source.query is None:
        return "", {"table": source.table}
    path = base / source.query
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
        raise ConfigError(
            f"the query can't be read: {reason}", fix="write one SELECT there", where=Where(path)
        ) from error
    bare = _SKIPPED.sub(" ", text).strip().rstrip(";").strip()
    if not re.match(r"(select|with|values)\b", bare, re.IGNORECASE) or ";" in bare:
        raise ConfigError(
            "this is not one SELECT", fix="write one SELECT and nothing else", where=Where(path)
        )
    digest = hashlib.sha256(text.encode()).hexdigest()
    return text.strip().rstrip(";"), {"query": source.query, "query_sha256": digest}


def _whole(engine: Engine, table: str) -> str:
    # quote_identifier() doubles a %, for parameters, of which there are none here.
    words = engine.dialect.identifier_preparer
    first, last = words.initial_quote, words.final_quote
    parts = [f"{first}{part.replace(last, 2 * last)}{last}" for part in table.split(".")]
    return f"SELECT * FROM {'.'.join(parts)}"  # noqa: S608  # quoted


@contextmanager
def _engine(secret: secrets.Secret, source: Source) -> Iterator[Engine]:
    from sqlalchemy import create_engine, event
    from sqlalchemy.exc import NoSuchModuleError
    from sqlalchemy.pool import NullPool

    url, dialect = secret.url, secret.url.get_backend_name()
    more: dict[str, Any] = {}
    if dialect == "postgresql" and "connect_timeout" not in url.query:
        more = {"connect_args": {"connect_timeout": _CONNECT_SECONDS}}
    if dialect == "sqlite" and url.database and not Path(url.database).is_file():
        # SQLite would make an empty one.
        raise ToolError(f"there is no database {secret.place}", fix="correct the URL")
    try:
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True, **more)
    except (NoSuchModuleError, ModuleNotFoundError):
        raise ToolError(
            f"nothing that speaks to {url.drivername} databases is installed",
            fix=f"install {_DRIVERS.get(dialect, 'its SQLAlchemy dialect and driver')}",
        ) from None
    except Exception as error:
        raise ConfigError(
            f"{secret.place}: {secret.scrubbed(str(error))[:300]}",
            fix=f"correct the URL in {source.url_env}",
        ) from None
    if source.login == "azure":
        event.listen(engine, "do_connect", azure_login)
    try:
        yield engine
    finally:
        engine.dispose()


def azure_login(
    dialect: object, record: object, words: list[str], options: dict[str, object]
) -> None:
    """Give a connection to Azure SQL a token of whoever is logged in to Azure, as ODBC wants it.

    A listener of SQLAlchemy's `do_connect`, for pyodbc and mssql-python. With a token the
    connection string must name no other way to log in.

    Raises:
        ToolError: azure-identity isn't installed, or nobody is logged in.
    """
    import struct

    try:
        from azure.identity import DefaultAzureCredential
    except ModuleNotFoundError as error:
        raise ToolError(
            "logging in to Azure needs azure-identity, which is not installed",
            fix="install gitops-ml[azure]",
        ) from error
    try:
        token = DefaultAzureCredential().get_token(_AZURE_SCOPE).token
    except Exception:  # its text lists every way that was tried
        raise ToolError("nobody is logged in to Azure", fix="az login") from None
    if words:
        words[0] = re.sub(r"(?i);Trusted_Connection=Yes", "", words[0])
    raw = token.encode("utf-16-le")
    options["attrs_before"] = {_ACCESS_TOKEN: struct.pack(f"<I{len(raw)}s", len(raw), raw)}


@dataclass(frozen=True)
class _Reading:
    """One query, whose rows go to files in `parts` batch by batch."""

    secret: secrets.Secret
    engine: Engine
    query: str
    parts: Path
    say: Callable[[str], None]

    def read(self) -> pl.LazyFrame:
        """The rows in the order in which they came.

        Raises:
            EvidenceError, ToolError: as `take`.
        """
        with self._refusals():
            connection = self.engine.connect()
        with connection:
            with self._refusals():
                result = self._result(connection)
            names = list(result.keys())
            csvtext.check_names(Path("the query's result"), names)
            columns, files = Columns(names, self._declared(result)), []
            for number, rows in enumerate(self._batches(result)):
                file = self.parts / f"{number:06}.parquet"
                columns.batch(rows).write_parquet(file, compression="lz4")
                files.append(file)
                self.say(f"read {number * _BATCH + len(rows):,} rows")
            # Nothing that the query may have done stays done.
            connection.rollback()
        if not files:
            raise EvidenceError("the source has no row", fix="look at the query and the table")
        schema = pl.Schema(columns.schema())
        return pl.concat([pl.scan_parquet(one).cast(schema) for one in files])

    def _result(self, connection: Connection) -> CursorResult[Any]:
        dialect = self.engine.dialect.name
        options: dict[str, Any] = {}
        if dialect in _ISOLATION:
            options["isolation_level"] = _ISOLATION[dialect]
        if dialect == "postgresql":
            options["postgresql_readonly"] = True
        connection = connection.execution_options(**options)
        if dialect == "postgresql":
            connection.exec_driver_sql("SET TIME ZONE 'UTC'")  # dates in a query depend on it
        if dialect == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
        return connection.exec_driver_sql(
            self.query,
            execution_options={
                "stream_results": True,
                "max_row_buffer": _BATCH,
                "no_parameters": True,  # a % in the query is one
            },
        )

    def _declared(self, result: CursorResult[Any]) -> Sequence[str | None]:
        described = result.cursor.description if result.cursor is not None else ()
        if self.engine.dialect.name != "postgresql":
            return [None] * len(described or ())
        return [POSTGRESQL.get(int(str(one[1]))) for one in described or ()]

    def _batches(self, result: CursorResult[Any]) -> Iterator[Sequence[Sequence[Any]]]:
        batches = result.partitions(_BATCH)
        while True:
            with self._refusals():
                rows = next(batches, None)
            if rows is None:
                return
            yield rows

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Whatever the driver says becomes an error of ours, without what lets in."""
        try:
            yield
        except GitopsError:
            raise
        except Exception as error:  # each driver has errors of its own
            text = str(getattr(error, "orig", None) or error) or type(error).__name__
            said = self.secret.scrubbed(text.splitlines()[0])
            raise ToolError(
                f"the database {self.secret.place} refused: {said[:300]}",
                fix="look at the URL in the environment, at the rights of its user (SELECT is"
                " enough), and at the table or query",
            ) from None
