"""`source:` of gitops.yaml: what is refused before anything is asked; the note in a .dvc file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gitops import dvc, pipelines
from gitops.config import Config, parse
from gitops.errors import ConfigError

HEAD = "version: 1\nproject: flights\nmodels:\n  late:\n    task: binary\n"


def declared(source: str, data: str = "    data: data/late.parquet\n") -> Config:
    return parse(f"{HEAD}{data}    source: {source}\n".encode(), Path("gitops.yaml"))


@pytest.mark.parametrize(
    "source",
    [
        "{kind: files, path: ../landing}",
        "{kind: files, path: /mnt/landing/*.csv, order_by: [a, b]}",
        "{kind: files, path: s3://landing/x, endpoint: 'https://minio.example.org'}",
        "{kind: files, path: azure://landing/x, account: flightsml, marker: _SUCCESS}",
        "{kind: sql, url_env: DB, table: public.flights, schedule: 17 3 * * *, event: landed}",
        "{kind: sql, url_env: DB, query: queries/late.sql, login: azure}",
        "{kind: databricks, url_env: DB, table: main.default.flights}",
    ],
)
def test_what_can_be_declared(source: str) -> None:
    assert declared(source).models["late"].source is not None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{kind: ftp, path: x}", 'is "ftp"'),
        ("{kind: files}", "says no place"),
        ("{kind: files, path: ftp://host/x}", 'the scheme "ftp"'),
        ("{kind: files, path: 's3://key:s3cret@bucket/x'}", "no secret belongs"),
        ("{kind: files, path: ~/landing}", "which only a shell knows"),
        ("{kind: files, path: landing, endpoint: 'https://x'}", "is for s3:// places"),
        ("{kind: files, path: s3://landing, account: flights}", "is for azure:// places"),
        ("{kind: files, path: landing, url_env: DB}", "not for a source of kind files"),
        ("{kind: sql, table: flights}", "names no database"),
        ("{kind: sql, url_env: DB}", "neither a table nor a query"),
        ("{kind: sql, url_env: DB, table: t, query: q.sql}", "both a table and a query"),
        ("{kind: sql, url_env: DB, query: q.txt}", "no .sql file"),
        ("{kind: sql, url_env: DB, query: ../q.sql}", "without .."),
        ("{kind: sql, url_env: DB, table: t, path: x}", "not for a source of kind sql"),
        ("{kind: sql, url_env: 'postgresql://u:s3cret@h/d', table: t}", "is a URL, not"),
        ("{kind: files, path: 'azure://landing/x?sv=1&sig=s3cret'}", "no secret belongs"),
        ("{kind: databricks, url_env: DB, table: t, login: azure}", "not for databricks"),
        ("{kind: sql, url_env: DB, table: t, schedule: daily}", "a cron line has"),
        ("{kind: sql, url_env: DB, table: t, event: Landed!}", "an event has"),
    ],
)
def test_what_can_not(source: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        declared(source)
    assert said in str(caught.value)
    assert "gitops.yaml:" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_source_needs_a_table_that_it_replaces() -> None:
    with pytest.raises(ConfigError, match="has no table that it could replace"):
        declared("{kind: files, path: x}", data="")


def test_a_cron_line_that_never_fires_is_found_before_a_platform_does() -> None:
    source = "{kind: sql, url_env: DB, table: t, schedule: 0 0 30 2 *}"
    with pytest.raises(ConfigError, match=r"models\.late\.source\.schedule.*never fires"):
        pipelines.render(declared(source))


def test_a_note_holds_for_the_bytes_that_it_was_written_for(tmp_path: Path) -> None:
    file = tmp_path / "t.csv.dvc"
    text = "outs:\n- md5: aa\n  path: t.csv  # mine\nmeta: {owner: Ada}\n"
    file.write_text(text)
    dvc.note(tmp_path, "t.csv", None)
    assert file.read_text() == text
    dvc.note(tmp_path, "t.csv", {"kind": "sql", "rows": 3, "snapshot": "aa"})
    assert dvc.origin(dvc.read_yaml(file)) == {"kind": "sql", "rows": 3, "snapshot": "aa"}
    assert "# mine" in file.read_text()
    other = yaml.safe_load(file.read_text().replace("md5: aa", "md5: bb"))
    assert dvc.origin(other) is None
    dvc.note(tmp_path, "t.csv", None)
    assert yaml.safe_load(file.read_text()) == yaml.safe_load(text)
    assert dvc.origin({"meta": {"gitops": "text"}, "outs": [{"md5": "aa"}]}) is None
