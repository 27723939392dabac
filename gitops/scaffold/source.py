"""`gitops add source`: where a model's table comes from, declared in gitops.yaml."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gitops import csvtext, yamlfile
from gitops.config.source import DATABASES
from gitops.errors import GitopsError
from gitops.scaffold import disk, provision
from gitops.scaffold.provision import Declared

if TYPE_CHECKING:
    from gitops.config import Config, Model

DAILY = "17 3 * * *"  # in UTC; not on the hour, when CI platforms are busiest
_QUERY = """\
-- The rows that {model} learns from: one SELECT. `gitops data ingest {model}` runs it, read only.
-- No "now": the same query over the same rows must give the same table.
select
{columns}
from {table}
"""


def add(
    root: Path, declared: Config, kind: str, name: str | None, settings: Mapping[str, str]
) -> Declared:
    """Declare the source of a model's table, or change what is declared, and write what it needs.

    `settings`: fields of `source:` to values as YAML has them; an empty one takes a field away.
    A database without a table or query gets a query, which is then the user's.

    Raises:
        AnswerNo: the repository isn't in sync.
        ConfigError: what would be declared can't be; gitops.yaml is as it was.
    """
    known, model = declared.model(name, "--model")
    there = model.source is not None and model.source.kind == kind
    file = yamlfile.read(root / "gitops.yaml")
    before = file.data["models"][known].get("source") if there else {}
    wanted: dict[str, object] = {"kind": kind, **before}
    if not there:
        wanted["schedule"] = DAILY
    for key, value in settings.items():
        parsed = yamlfile.parse(f"value: {value or 'null'}".encode(), Path(f"--set {key}"))
        wanted[key] = parsed.data["value"]
    wanted = {key: value for key, value in wanted.items() if value is not None}
    query = _query(root, known, model, wanted) if kind in DATABASES else None
    done = provision.declare(root, {("models", known, "source"): wanted})
    if query is None:
        return done
    path = posixpath.normpath(posixpath.join(model.path, query))
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    disk.write_whole(root / path, _starter(root, known, model).encode())
    return Declared((*done.files, path), done.conflicts)


def _query(root: Path, name: str, model: Model, wanted: dict[str, object]) -> str | None:
    """The query that has still to be written, in the model's folder."""
    if "table" not in wanted and "query" not in wanted:
        wanted["query"] = f"queries/{name}.sql"
    query = wanted.get("query")
    absent = isinstance(query, str) and not (root / model.path / query).exists()
    return str(query) if absent else None


def _starter(root: Path, name: str, model: Model) -> str:
    """A query of the columns that the present table has, where it is here."""
    names = ["*"]
    file = root / model.path / str(model.data)
    try:
        if file.suffix.lower() == ".csv":
            names = csvtext.read_text(file, file.read_bytes()).frame.columns
        else:
            import polars as pl

            names = list(pl.read_parquet_schema(file))
        names = ['"' + one.replace('"', '""') + '"' for one in names]
    except (OSError, GitopsError):
        pass
    columns = ",\n".join(f"  {one}" for one in names)
    return _QUERY.format(model=name, columns=columns, table=name.replace("-", "_"))
