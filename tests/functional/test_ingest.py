"""`gitops data ingest` from a real PostgreSQL: consistent, exact, repeatable, or nothing at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import yaml

from tests import postgres

if TYPE_CHECKING:
    import psycopg

    from tests.conftest import Command, Gitops, Repository, Table

pytestmark = pytest.mark.functional
SOURCE = "    source: {kind: sql, url_env: FLIGHTS_DB, table: customers, order_by: [customer]}\n"


@pytest.fixture(scope="module")
def database() -> Iterator[postgres.Server]:
    """A server of this module's own; each test makes its tables anew."""
    with postgres.server() as found:
        yield found


@pytest.fixture
def top(database: postgres.Server) -> Iterator[psycopg.Connection]:
    """Whoever may do everything, in a database without tables."""
    import psycopg

    with psycopg.connect(database.top, autocommit=True) as connection:
        postgres.emptied(connection)
        yield connection


def fill(top: psycopg.Connection, text: str) -> None:
    """The table of customers, from a CSV."""
    top.execute("drop table if exists customers")
    top.execute(
        "create table customers (customer text, plan text, months int, fee numeric(6,2), calls int,"
        ' "left" text)'
    )
    with top.cursor().copy("copy customers from stdin (format csv, header)") as copy:
        copy.write(text)


def declare(repository: Repository, git: Command, source: str = SOURCE) -> None:
    """Give the light repository's model a source."""
    file = repository.root / "gitops.yaml"
    line = "  left: {task: binary, framework: custom, data: data/customers.csv}\n"
    fields = "    task: binary\n    framework: custom\n    data: data/customers.csv\n"
    assert line in file.read_text()
    file.write_text(file.read_text().replace(line, f"  left:\n{fields}{source}"))
    git(repository.root, "commit", "--quiet", "--all", "-m", "Declare the source")


def pointer(repository: Repository) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(
        (repository.root / "data" / "customers.csv.dvc").read_text()
    )
    return found


def state(repository: Repository, git: Command) -> tuple[object, ...]:
    """All that a refusal must leave alone."""
    root = repository.root
    return (
        (root / "data" / "customers.csv").read_bytes(),
        pointer(repository),
        git(root, "status", "--porcelain"),
        git(root, "branch", "--all"),
        git(root, "rev-parse", "HEAD"),
        sorted(repository.storage.rglob("*")),
        sorted((root / ".git" / "gitops" / "ingest").glob("*/*")),
    )


def test_a_snapshot_is_taken_noted_and_not_taken_twice(
    light: Repository,
    gitops: Gitops,
    git: Command,
    churn: Table,
    database: postgres.Server,
    top: psycopg.Connection,
) -> None:
    declare(light, git)
    fill(top, churn(rows=340, seed=11))
    env = {"FLIGHTS_DB": database.url()}
    done = gitops(light.root, "data", "ingest", "--branch", "data/october", "--json", env=env)
    assert done.code == 0, done.err
    (answer,) = json.loads(done.out)["models"]
    assert (answer["state"], answer["branch"]) == ("changed", "data/october")
    assert git(light.root, "show", "--format=", "--name-only", "HEAD") == "data/customers.csv.dvc"

    found = pointer(light)
    note = found["meta"]["gitops"]
    assert note.pop("at").endswith("Z")
    assert note == {
        "kind": "sql",
        "place": f"postgresql://127.0.0.1:{database.port}/flights",
        "table": "customers",
        "rows": 340,
        "snapshot": found["outs"][0]["md5"],
    }
    assert light.stored(note["snapshot"]).is_file()
    table = (light.root / "data" / "customers.csv").read_text()
    assert table.splitlines()[:2] == [
        "customer,plan,months,fee,calls,left",
        churn(rows=340, seed=11).splitlines()[1],
    ]
    told = gitops(light.root, "status").out
    assert f"340 rows of postgresql://127.0.0.1:{database.port}/flights, taken at" in told

    before = state(light, git)
    # The same rows, in another order on the server's disk.
    top.execute("create table other as select * from customers order by md5(customer)")
    top.execute("drop table customers; alter table other rename to customers")
    again = gitops(light.root, "data", "ingest", "--json", env=env)
    assert again.code == 0, again.err
    assert json.loads(again.out)["models"][0]["state"] == "unchanged"
    assert state(light, git) == before

    top.execute("insert into customers values ('C99999', 'basic', 3, 12.30, null, 'yes')")
    changed = gitops(light.root, "data", "ingest", "--commit", env=env)
    assert changed.code == 0, changed.err
    assert "341 rows" in changed.out
    assert (
        (light.root / "data" / "customers.csv").read_text().endswith("C99999,basic,3,12.30,,yes\n")
    )
    differ = gitops(light.root, "diff", "HEAD~1", "HEAD")
    assert "HEAD: 341 rows of postgresql://" in differ.out, differ.out
    assert "HEAD~1: 340 rows of postgresql://" in differ.out, differ.out
    secret = postgres.PASSWORD
    for one in (done, again, changed, differ):
        assert secret not in one.out + one.err
        assert "s3cret" not in one.out + one.err
    assert "s3cret" not in git(light.root, "log", "-p", "--all")


def test_a_file_of_ones_own_leaves_no_false_note(
    light: Repository,
    gitops: Gitops,
    git: Command,
    churn: Table,
    database: postgres.Server,
    top: psycopg.Connection,
    tmp_path: Path,
) -> None:
    declare(light, git)
    fill(top, churn(rows=340, seed=11))
    env = {"FLIGHTS_DB": database.url()}
    file = light.root / "data" / "customers.csv.dvc"
    file.write_text(file.read_text() + "meta:\n  owner: Ada  # hers\n")
    assert gitops(light.root, "data", "ingest", env=env).code == 0
    assert pointer(light)["meta"]["owner"] == "Ada"
    assert pointer(light)["meta"]["gitops"]["rows"] == 340
    (tmp_path / "own.csv").write_text(churn(rows=330, seed=12))
    assert gitops(light.root, "data", "update", str(tmp_path / "own.csv")).code == 0
    assert pointer(light)["meta"] == {"owner": "Ada"}
    assert "no snapshot yet" in gitops(light.root, "status").out


def test_what_would_break_the_training_is_refused(
    light: Repository,
    gitops: Gitops,
    git: Command,
    churn: Table,
    database: postgres.Server,
    top: psycopg.Connection,
) -> None:
    declare(light, git)
    fill(top, churn(rows=340, seed=11))
    top.execute("alter table customers drop column months")
    before = state(light, git)
    done = gitops(light.root, "data", "ingest", env={"FLIGHTS_DB": database.url()})
    assert done.code == 1, done.err
    assert "months" in done.err
    assert state(light, git) == before


@pytest.mark.parametrize(
    ("case", "code", "said"),
    [
        ("password", 4, "password authentication failed"),
        ("table", 4, 'relation "nosuch" does not exist'),
        ("unset", 3, "isn't set"),
    ],
)
def test_a_refusal_changes_nothing_and_tells_no_secret(
    light: Repository,
    gitops: Gitops,
    git: Command,
    database: postgres.Server,
    top: psycopg.Connection,
    case: str,
    code: int,
    said: str,
) -> None:
    declare(light, git, SOURCE.replace("customers", "nosuch"))
    urls = {"password": database.url(password="wr0ng-s3cret"), "unset": ""}
    before = state(light, git)
    words = ["data", "ingest", "--branch", "data/new", "--json"]
    done = gitops(light.root, *words, env={"FLIGHTS_DB": urls.get(case, database.url())})
    assert done.code == code, done.err
    assert said in done.err, done.err
    assert json.loads(done.out)["error"]["code"] == code
    assert state(light, git) == before
    assert "s3cret" not in done.out + done.err


def test_one_moment_of_the_database_whoever_writes_meanwhile(
    light: Repository,
    gitops: Gitops,
    git: Command,
    database: postgres.Server,
    top: psycopg.Connection,
) -> None:
    """A writer moves an amount between two rows all the while: no snapshot has another sum."""
    import psycopg

    top.execute("create table accounts (id int primary key, amount int, pad text)")
    top.execute(
        "insert into accounts select i, 100, repeat('x', 100) from generate_series(1, 200000) i"
    )
    declare(light, git, SOURCE.replace("customers", "accounts").replace("[customer]", "[id]"))
    stop = threading.Event()
    moved = 0

    def write() -> None:
        nonlocal moved
        with psycopg.connect(database.top) as writer:
            while not stop.is_set():
                with writer.transaction():
                    # From the last pages to the first ones: a reader on its way would miss it.
                    writer.execute("update accounts set amount = amount - 1 where id = 200000")
                    writer.execute("update accounts set amount = amount + 1 where id = 1")
                moved += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        env = {"FLIGHTS_DB": database.url()}
        done = gitops(light.root, "data", "ingest", "--force", env=env)
    finally:
        stop.set()
        thread.join()
    assert done.code == 0, done.err
    assert moved > 10
    frame = pl.read_csv(light.root / "data" / "customers.csv")
    assert frame.height == 200_000
    assert frame["amount"].sum() == 200_000 * 100
    assert frame["id"].is_sorted()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_in_the_middle_nothing_has_changed(
    light: Repository,
    gitops: Gitops,
    installed: Path,
    git: Command,
    git_identity: dict[str, str],
    churn: Table,
    database: postgres.Server,
    top: psycopg.Connection,
    number: signal.Signals,
) -> None:
    fill(top, churn(rows=340, seed=11))
    (light.root / "queries").mkdir()
    slow = "select c.*, pg_sleep(60) from customers c limit 3\n"
    (light.root / "queries" / "left.sql").write_text(slow)
    git(light.root, "add", "queries")
    declare(light, git, SOURCE.replace("table: customers", "query: queries/left.sql"))
    before = state(light, git)
    running = subprocess.Popen(
        [installed / "gitops", "data", "ingest"],
        cwd=light.root,
        env={**git_identity, "FLIGHTS_DB": database.url()},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    assert "reading queries/left.sql" in running.stderr.readline()
    asleep = "select 1 from pg_stat_activity where usename = 'reader' and wait_event = 'PgSleep'"
    while not top.execute(asleep.encode()).fetchone():
        assert running.poll() is None
    os.kill(running.pid, number)
    assert running.wait(30) == (130 if number == signal.SIGTERM else -number)
    running.stderr.close()
    if number == signal.SIGTERM:
        assert state(light, git) == before
    top.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'reader'")
    (light.root / "queries" / "left.sql").write_text("select * from customers\n")
    git(light.root, "commit", "--quiet", "--all", "-m", "Without the pause")
    done = gitops(light.root, "data", "ingest", "--commit", env={"FLIGHTS_DB": database.url()})
    assert done.code == 0, done.err
    assert not list((light.root / ".git" / "gitops" / "ingest" / "work").glob("*"))
