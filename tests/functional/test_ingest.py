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


@pytest.fixture
def env(
    light: Repository,
    git: Command,
    churn: Table,
    database: postgres.Server,
    top: psycopg.Connection,
) -> dict[str, str]:
    """The light repository's model has a source of 340 rows, which is where this says."""
    declare(light, git)
    fill(top, churn(rows=340, seed=11))
    return {"FLIGHTS_DB": database.url()}


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


def test_a_dirty_tree_is_refused_before_the_source_is_read(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    declare(light, git)
    (light.root / "README.md").write_text("half done")
    env = {"FLIGHTS_DB": "postgresql://nobody@127.0.0.1:1/nothing"}  # exit code 4, if it is asked
    done = gitops(light.root, "data", "ingest", "--commit", env=env)
    assert done.code == 2 and "the work tree has other changes: README.md" in done.err


def test_a_snapshot_is_taken_noted_and_not_taken_twice(
    light: Repository,
    gitops: Gitops,
    env: dict[str, str],
    git: Command,
    churn: Table,
    database: postgres.Server,
    top: psycopg.Connection,
) -> None:
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
    env: dict[str, str],
    churn: Table,
    tmp_path: Path,
) -> None:
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
    env: dict[str, str],
    git: Command,
    top: psycopg.Connection,
) -> None:
    top.execute("alter table customers drop column months")
    before = state(light, git)
    done = gitops(light.root, "data", "ingest", env=env)
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
    assert running.wait(60) == (130 if number == signal.SIGTERM else -number)
    running.stderr.close()
    if number == signal.SIGTERM:
        assert state(light, git) == before
    top.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'reader'")
    (light.root / "queries" / "left.sql").write_text("select * from customers\n")
    git(light.root, "commit", "--quiet", "--all", "-m", "Without the pause")
    done = gitops(light.root, "data", "ingest", "--commit", env={"FLIGHTS_DB": database.url()})
    assert done.code == 0, done.err
    assert not list((light.root / ".git" / "gitops" / "ingest" / "work").glob("*"))


def test_in_ci_each_new_table_becomes_one_pull_request(
    light: Repository,
    gitops: Gitops,
    env: dict[str, str],
    git: Command,
    churn: Table,
    database: postgres.Server,
    top: psycopg.Connection,
    tmp_path: Path,
) -> None:
    """On a forge, by the run's own token, from a detached checkout; said again it adds nothing."""
    from tests.forge_server import serve
    from tests.forge_simulator import Simulator

    with serve(Simulator(tmp_path / "forge")) as server:
        git(light.root, "push", "--quiet", str(server.simulator.path), "main")
        git(light.root, "remote", "add", "origin", server.github_url)
        git(light.root, "switch", "--quiet", "--detach")
        env |= {**server.github_env, "GITHUB_ACTIONS": "true"}
        before = (
            git(light.root, "status", "--porcelain"),
            git(light.root, "branch"),
            (light.root / "data" / "customers.csv").read_bytes(),
        )
        done = gitops(light.root, "data", "ingest", "--pr", "--json", env=env)
        assert done.code == 0, done.err
        (answer,) = json.loads(done.out)["models"]
        branch = answer["pushed"]
        assert (answer["state"], answer["branch"]) == ("proposed", branch)
        assert branch.startswith("data/left-")
        (pull,) = server.simulator.seen()
        assert (pull.head, pull.base) == (branch, "main")
        assert pull.title == "New data for left: 340 rows"
        assert "gitops build left --push" in pull.body
        assert f"postgresql://127.0.0.1:{database.port}/flights" in pull.body
        assert "s3cret" not in pull.body
        changed = server.simulator.git("diff", "--name-only", "main", branch)
        assert changed == "data/customers.csv.dvc"
        pushed = yaml.safe_load(server.simulator.git("show", f"{branch}:data/customers.csv.dvc"))
        assert light.stored(pushed["outs"][0]["md5"]).is_file()
        assert before == (
            git(light.root, "status", "--porcelain"),
            git(light.root, "branch"),
            (light.root / "data" / "customers.csv").read_bytes(),
        )

        again = gitops(light.root, "data", "ingest", "--pr", "--json", env=env)
        assert json.loads(again.out)["models"][0]["state"] == "proposed before"
        server.simulator.close(1)
        still = gitops(light.root, "data", "ingest", "left", "--pr", env=env)
        assert (still.code, "nothing to do" in still.out) == (0, True), still.err
        assert len(server.simulator.seen()) == 1

        top.execute("delete from customers where customer = 'C00001'")
        server.simulator.rules(ruled=("main",))
        more = gitops(light.root, "data", "ingest", "--pr", env=env)
        assert more.code == 0, more.err
        assert [one.state for one in server.simulator.seen()] == ["closed", "open"]

        # Merged, and then replaced by other data: what was taken before may be proposed anew.
        branch = server.simulator.seen()[1].head
        server.simulator.merge(branch, "main", "merge")
        git(light.root, "fetch", "--quiet", str(server.simulator.path), "main")
        git(light.root, "switch", "--quiet", "--detach", "FETCH_HEAD")
        (tmp_path / "own.csv").write_text(churn(rows=330, seed=12))
        own = ["data", "update", str(tmp_path / "own.csv"), "--branch", "own"]
        assert gitops(light.root, *own).code == 0
        anew = gitops(light.root, "data", "ingest", "--pr", "--json", env=env)
        assert json.loads(anew.out)["models"][0]["pushed"] == branch
        assert git(light.root, "branch", "--show-current") == "own"
        assert server.simulator.git("rev-parse", f"{branch}~1") == git(
            light.root, "rev-parse", "own"
        )
        assert server.problems == []


@pytest.mark.extended("real training twice over; its steps have tests of their own")
def test_from_a_new_project_to_a_second_snapshot(
    repository: Repository,
    gitops: Gitops,
    git: Command,
    churn: Table,
    database: postgres.Server,
    top: psycopg.Connection,
) -> None:
    """The whole road by the command line, with a real training."""
    root, env = repository.root, {"FLIGHTS_DB": database.url()}
    words = ["source", "sql", "--set", "url_env=FLIGHTS_DB", "--set", "order_by=[customer]"]
    added = gitops(root, "add", *words, "--json")
    assert added.code == 0, added.err + added.out
    files = json.loads(added.out)["files"]
    assert files[0] == "gitops.yaml"
    assert {".github/workflows/ingest.yml", "queries/left.sql"} <= set(files)
    query = root / "queries" / "left.sql"
    assert '"customer",\n  "plan",' in query.read_text()
    query.write_text(query.read_text().replace("from left", "from customers"))
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "Declare the source")
    assert json.loads(gitops(root, "add", *words, "--json").out)["state"] == "unchanged"
    assert gitops(root, "sync", "--check").code == 0

    fill(top, churn(rows=400, seed=3))
    taken = gitops(root, "data", "ingest", "--commit", env=env)
    assert taken.code == 0, taken.err
    assert gitops(root, "build", "--check").code == 1
    built = gitops(root, "build")  # which asks no database
    assert built.code == 0, built.err
    assert gitops(root, "data", "ingest", env=env).code == 0
    assert gitops(root, "build", "--check").code == 0

    fill(top, churn(rows=430, seed=3))
    again = gitops(root, "data", "ingest", "--commit", env=env)
    assert again.code == 0, again.err
    assert "430" in again.out
    assert gitops(root, "build").code == 0
    told = gitops(root, "diff", "HEAD~2", "HEAD", "--json")
    assert told.code == 0, told.err
    (model,) = json.loads(told.out)["models"]
    sides = model["sources"]["data/customers.csv"]
    assert [one["rows"] for one in sides] == [400, 430]
    assert sides[0]["query"] == "queries/left.sql"
