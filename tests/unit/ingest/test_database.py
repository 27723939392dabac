"""Databases as sources: exact types, one order, refusals without secrets. PostgreSQL is real."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import struct
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from sqlalchemy import create_engine, event

from gitops.config.source import Source
from gitops.errors import ConfigError, EvidenceError, GitopsError, ToolError
from gitops.ingest import columns, database, secret
from gitops.ingest.snapshot import Snapshot
from tests import postgres

if TYPE_CHECKING:
    import psycopg

TYPES = """
create table things (
  id int, yes bool, small smallint, big bigint, single real, double double precision,
  price numeric(12, 2), exact numeric, name text, code varchar(10), day date, clock timestamp,
  moment timestamptz, key uuid, nothing numeric, never timestamptz, "Odd ""name" text
)
"""
ROW = """
insert into things values (1, true, -3, 9007199254740993, 0.1, 0.1, 12.30, 1e-10,
  'zoë 😀, "quoted"' || chr(10) || 'second line', 'a%b :c', '2020-02-29',
  '2020-01-01 10:00:00.123456', '2020-06-01 10:00:00+09',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', null, null, '')
"""


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as found:
        yield found


@pytest.fixture
def top(server: postgres.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """Whoever may do everything, in a database without tables; DB is the reader's URL."""
    import psycopg

    monkeypatch.setenv("DB", server.url())
    with psycopg.connect(server.top, autocommit=True) as connection:
        postgres.emptied(connection)
        yield connection


def take(folder: Path, name: str = "t.parquet", query: str = "", **settings: Any) -> Snapshot:
    """A snapshot of the table `things`, or of the query."""
    given: dict[str, Any] = {"kind": "sql", "url_env": "DB", "table": "things", **settings}
    if query:
        (folder / "q.sql").write_text(query)
        given |= {"table": None, "query": "q.sql"}
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return database.take(folder, Source.model_validate(given), out / name, lambda text: None)


def test_types_come_as_they_are(top: psycopg.Connection, tmp_path: Path) -> None:
    top.execute(TYPES)
    top.execute(ROW)
    top.execute("insert into things (id) values (2)")
    found = take(tmp_path)
    assert found.rows == 2
    frame = pl.read_parquet(found.file)
    assert frame.schema == {
        "id": pl.Int64,
        "yes": pl.Boolean,
        "small": pl.Int64,
        "big": pl.Int64,
        "single": pl.Float64,
        "double": pl.Float64,
        "price": pl.Decimal(38, 2),
        "exact": pl.Decimal(38, 10),
        "name": pl.String,
        "code": pl.String,
        "day": pl.Date,
        "clock": pl.Datetime("us"),
        "moment": pl.Datetime("us", "UTC"),
        "key": pl.String,
        "nothing": pl.Decimal(38, 0),
        "never": pl.Datetime("us", "UTC"),
        'Odd "name': pl.String,
    }
    assert frame.rows() == [
        (
            1,
            True,
            -3,
            9007199254740993,
            0.1,
            0.1,
            Decimal("12.30"),
            Decimal("1e-10"),
            'zoë 😀, "quoted"\nsecond line',
            "a%b :c",
            date(2020, 2, 29),
            datetime(2020, 1, 1, 10, 0, 0, 123456),
            datetime(2020, 6, 1, 1, 0, tzinfo=UTC),
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            None,
            None,
            "",
        ),
        (2, *[None] * 16),
    ]
    text = take(tmp_path, "t.csv").file.read_text()
    assert text.splitlines()[1].startswith("1,true,-3,9007199254740993,0.1,0.1,12.30,0.0000000001,")
    assert "2020-01-01T10:00:00.123456,2020-06-01T01:00:00Z," in text
    assert text.endswith("\n2" + "," * 16 + "\n")


def test_the_same_rows_come_to_the_same_bytes(top: psycopg.Connection, tmp_path: Path) -> None:
    rows = [(n % 7, f"name {n % 90}", Decimal(n) / 8) for n in range(3000)]
    digests = set()
    for seed in (1, 2):
        top.execute("drop table if exists things")
        top.execute("create table things (a int, b text, c numeric(12, 3))")
        random.Random(seed).shuffle(rows)
        with top.cursor().copy("copy things from stdin") as copy:
            for row in rows:
                copy.write_row(row)
        for name in ("t.parquet", "t.csv"):
            digests.add((name, hashlib.md5(take(tmp_path, name).file.read_bytes()).hexdigest()))
    assert len(digests) == 2
    by = pl.read_parquet(take(tmp_path, order_by=["b"]).file)
    assert by["b"].is_sorted()
    assert by.filter(pl.col("b") == "name 0")["a"].is_sorted()


def test_a_query_is_one_select_in_utc_whose_signs_are_its_own(
    top: psycopg.Connection, tmp_path: Path
) -> None:
    text = (
        "-- what the model reads; as of today\n"
        "select 'a;b%c :d' as \"t\", extract(hour from timestamptz '2020-01-01 10:00Z')::int as h,"
        " current_setting('transaction_read_only') as r,"
        " current_setting('transaction_isolation') as i;\n"
    )
    found = take(tmp_path, query=text)
    assert pl.read_parquet(found.file).rows() == [("a;b%c :d", 10, "on", "repeatable read")]
    assert found.origin["query"] == "q.sql"
    assert found.origin["query_sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_more_rows_than_a_batch_whose_types_show_late(
    top: psycopg.Connection, tmp_path: Path
) -> None:
    query = (
        "select n, case when n > 110000 then n::numeric / 4 end as late,"
        " case when n < 3 then 'first' end as early from generate_series(1, 120000) n"
    )
    frame = pl.read_parquet(take(tmp_path, query=query).file)
    assert frame.height == 120_000
    assert frame["late"].sum() == sum(Decimal(n) / 4 for n in range(110_001, 120_001))
    assert frame["early"].drop_nulls().to_list() == ["first", "first"]


REFUSALS = {
    "password": (ToolError, "password authentication failed", {"password": "wr0ng-s3cret"}),
    "user": (ToolError, "password authentication failed", {"user": "nosuch"}),
    "database": (ToolError, "does not exist", {"database": "nosuch"}),
    "port": (ToolError, "refused", {"port": "1"}),
    "host": (ToolError, "no-such-host.invalid", {"host": "no-such-host.invalid"}),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_who_is_not_let_in_hears_no_secret(
    top: psycopg.Connection,
    server: postgres.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    kind, said, parts = REFUSALS[case]
    monkeypatch.setenv("DB", server.url(**parts))
    refused(kind, said, tmp_path)


@pytest.mark.parametrize(
    ("query", "kind", "said"),
    [
        ("select nosuch from pg_class", ToolError, 'column "nosuch" does not exist'),
        ("select 1 as n where false", EvidenceError, "no row"),
        ("select '\\x00'::bytea as photo", EvidenceError, "column photo holds bytes values"),
        ("select '{}'::json as doc", EvidenceError, "column doc holds dict values"),
        ("select 1 as a, 2 as a", EvidenceError, "same name 'a'"),
        ("select 'NaN'::numeric as n", EvidenceError, "NaN or infinity"),
        ("select 1e30::numeric + 1e-20::numeric as n", EvidenceError, "more than 38 digits"),
        ("select 'infinity'::timestamptz as t", ToolError, "too large"),
        (
            "with gone as (delete from things returning 1) select * from gone",
            ToolError,
            "data-modifying",
        ),
        ("select 1 as n; commit; drop table things", ConfigError, "not one SELECT"),
        ("delete from things", ConfigError, "not one SELECT"),
        ("", ConfigError, "not one SELECT"),
    ],
)
def test_a_query_that_no_table_comes_of(
    top: psycopg.Connection, tmp_path: Path, query: str, kind: type[GitopsError], said: str
) -> None:
    top.execute("create table things (n int)")
    top.execute("insert into things values (1)")
    refused(kind, said, tmp_path, query=query or " ")
    assert top.execute("select count(*) from things").fetchone() == (1,)


def test_a_table_is_quoted_as_its_database_does(top: psycopg.Connection, tmp_path: Path) -> None:
    for name in ("a%b", 'quo"ted', "select", "Zoë"):
        quoted = '"' + name.replace('"', '""') + '"'
        top.execute(f"create table {quoted} as select 1 as n")
        top.execute(f"grant select on {quoted} to public")
        assert take(tmp_path, table=name).rows == 1


def test_a_table_without_rights_or_columns_asked_for(
    top: psycopg.Connection, tmp_path: Path
) -> None:
    refused(ToolError, 'relation "things" does not exist', tmp_path)
    top.execute("create table things (n int)")
    top.execute("insert into things values (1)")
    refused(ConfigError, "order_by names nosuch", tmp_path, order_by=["nosuch"])
    top.execute("revoke pg_read_all_data from reader")
    try:
        refused(ToolError, "permission denied", tmp_path)
    finally:
        top.execute("grant pg_read_all_data to reader")


def refused(error: type[GitopsError], said: str, folder: Path, /, **more: Any) -> None:
    """The snapshot isn't taken; neither the message nor what --debug prints has the password."""
    with pytest.raises(error) as caught:
        take(folder, **more)
    assert said in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in shown
    assert not list((folder / "out").iterdir())


# ---------------------------------------------------------------- without a server


def test_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", f"sqlite:///{tmp_path}/shop.db")
    refused_by_name = "there is no database sqlite://"
    with pytest.raises(ToolError, match=refused_by_name):
        take(tmp_path)
    assert not (tmp_path / "shop.db").exists()
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("create table things (a integer, b real, c text)")
        shop.executemany("insert into things values (?, ?, ?)", [(2, 0.5, "x"), (1, 3, None)])
    frame = pl.read_parquet(take(tmp_path).file)
    assert frame.rows() == [(1, 3.0, None), (2, 0.5, "x")]
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("insert into things values ('many', 1, 'y')")
    with pytest.raises(EvidenceError, match="column a holds integer and text values"):
        take(tmp_path)


def test_a_csv_can_not_hold_every_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", f"sqlite:///{tmp_path}/shop.db")
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("create table things (country text, n integer)")
        shop.executemany("insert into things values (?, ?)", [("NA", 1), ("", 2), (None, 3)])
    with pytest.raises(EvidenceError, match="column country has the text 'NA'"):
        take(tmp_path, "t.csv")
    assert pl.read_parquet(take(tmp_path).file)["country"].to_list() == ["", "NA", None]


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("postgresql://u:p%40ss%2Fword1@h/d", ["p@ss/word1", "p%40ss%2Fword1"]),
        ("postgresql://h/d?password=abc", ["abc"]),
        ("databricks://token:dapi123@h?http_path=/sql/1.0", ["dapi123"]),
        ("mssql+pyodbc:///?odbc_connect=Server%3Dh%3BUID%3Du%3BPWD%3Dq1w2", ["q1w2"]),
    ],
)
def test_what_lets_in_is_in_nothing_that_is_shown(url: str, hidden: list[str]) -> None:
    found = secret.read("DB", {"DB": url})
    for one in (*hidden, url):
        assert one not in found.place
        assert one not in repr(found)
        assert one not in found.scrubbed(f"could not log in with {one} to h")
    assert found.scrubbed("no such host h") == "no such host h"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "s3cret without a scheme",
        "postgresql://u:s3cret@h:x/d",
        "postgresql://u:half@s3cret@h/d",  # the host would be s3cret@h
        "postgresql://u:half@s3/s3cret@h/d",
    ],
)
def test_a_url_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        secret.read("DB", {"DB": text})
    assert "DB" in caught.value.message
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_dialect_whose_driver_is_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB", "mssql+pyodbc://u:s3cret@h/d?driver=x")
    refused(ToolError, "nothing that speaks to mssql+pyodbc databases is installed", tmp_path)
    monkeypatch.setenv("DB", "nosuch://u:s3cret@h/d")
    refused(ToolError, "nothing that speaks to nosuch databases is installed", tmp_path)
    monkeypatch.setenv("DB", "databricks://token:s3cret@h?http_path=x")
    refused(ToolError, "install databricks-sqlalchemy", tmp_path, kind="databricks")
    monkeypatch.setenv("DB", "postgresql://u:s3cret@h/d")
    refused(ConfigError, "a URL of postgresql, not databricks", tmp_path, kind="databricks")


def test_azure_sql_is_logged_in_to_by_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The edge alone: neither Azure's identity nor the driver are real."""
    identity, driver = ModuleType("azure.identity"), ModuleType("pyodbc")

    class Credential:
        def get_token(self, scope: str) -> Any:
            assert scope == "https://database.windows.net/.default"
            return type("Token", (), {"token": "t0ken"})

    class Reached(Exception):
        pass

    called: list[Any] = []

    def connect(*words: Any, **options: Any) -> None:
        called.append((words, options))
        raise Reached

    identity.DefaultAzureCredential = Credential  # type: ignore[attr-defined]
    driver.__dict__.update(
        connect=connect,
        version="5.2.0",
        paramstyle="qmark",
        pooling=False,
        Cursor=object,
        Error=OSError,
    )
    monkeypatch.setitem(sys.modules, "azure.identity", identity)
    monkeypatch.setitem(sys.modules, "pyodbc", driver)
    engine = create_engine("mssql+pyodbc://h.database.windows.net/d?driver=ODBC+Driver+18")
    event.listen(engine, "do_connect", database.azure_login)
    with pytest.raises(Reached):
        engine.connect()
    ((words, options),) = called
    assert "Trusted_Connection" not in words[0]
    assert "Server=h.database.windows.net" in words[0]
    size = struct.unpack("<I", options["attrs_before"][1256][:4])[0]
    raw = options["attrs_before"][1256][4:]
    assert (size, raw.decode("utf-16-le")) == (len(raw), "t0ken")


def test_numbers_of_several_kinds() -> None:
    found = columns.Columns(["n"], [None])
    found.batch([(1,), (None,)])
    found.batch([(Decimal("0.25"),)])
    assert found.schema() == {"n": pl.Decimal(38, 2)}
    mixed = columns.Columns(["n"], [None])
    assert mixed.batch([(1,), (0.5,)])["n"].to_list() == [1.0, 0.5]
    with pytest.raises(EvidenceError, match="too large to be exact"):
        mixed.batch([(2**53 + 1,), (0.5,)])
    wide = columns.Columns(["n"], [None])
    wide.batch([(2**53 + 1,)])
    with pytest.raises(EvidenceError, match="too large to be exact"):
        wide.batch([(0.5,)])
    exact = columns.Columns(["n"], [None])
    exact.batch([(Decimal("1e30"),)])
    with pytest.raises(EvidenceError, match="more than 38 digits"):
        exact.batch([(Decimal("1e-20"),)])
    with pytest.raises(EvidenceError, match="more than 38 digits"):
        columns.Columns(["n"], [None]).batch([(Decimal("1e-39"),)])
    with pytest.raises(EvidenceError, match="more than 64 bits"):
        columns.Columns(["n"], [None]).batch([(2**63,)])
    with pytest.raises(EvidenceError, match="moment and time"):
        columns.Columns(["t"], [None]).batch(
            [(datetime(2020, 1, 1),), (datetime(2020, 1, 1, tzinfo=UTC),)]
        )
