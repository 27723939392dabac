"""Snapshots of tables from where they live: files, object stores, databases.

A snapshot is one file whose bytes depend on the rows alone, and a note of where it was taken.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gitops import dvc, git
from gitops.errors import AnswerNo, ConfigError

if TYPE_CHECKING:
    from gitops.config import Model
    from gitops.ingest.snapshot import Snapshot


@contextmanager
def taken(root: Path, name: str, model: Model, say: Callable[[str], None]) -> Iterator[Snapshot]:
    """The table of the model `name` as its source has it now, in a file that goes afterwards.

    Nothing else is written. Database and store are asked by credentials of the environment.

    Raises:
        AnswerNo: another run takes a snapshot in this work tree.
        ConfigError: the model declares no source, or one that can't be read.
        EvidenceError: what is there is incomplete, damaged, empty or changes while it is read.
        ToolError: the database or the store can't be reached, or refuses; no secret is in it.
    """
    source = model.source
    if source is None or model.data is None:
        raise ConfigError(
            f"model {name} declares no source of its table",
            fix=f"gitops add source sql --model {name} --set url_env=NAME --set table=NAME",
        )
    if Path(model.data).suffix.lower() not in (".csv", ".parquet", ".pq"):
        raise ConfigError(
            f"no snapshot can be written as {model.data}",
            fix="let `data:` in gitops.yaml be a .csv or .parquet file",
        )
    with _folder(root) as folder:
        target = folder / Path(model.data).name
        if source.kind == "files":
            from gitops.ingest.files import take as of_files

            yield of_files(root, source, target, say, _separator(root / model.path))
        else:
            from gitops.ingest.database import take as of_database

            base = root / model.path
            yield of_database(base, source, target, say, _separator(base))


def _separator(base: Path) -> str:
    """What the training splits the cells of a CSV file at: `data.separator` of params.yaml."""
    file = base / "params.yaml"
    said = (dvc.read_yaml(file).get("data") or {}) if file.is_file() else {}
    return str(said.get("separator", ",")) if isinstance(said, dict) else ","


@contextmanager
def _folder(root: Path) -> Iterator[Path]:
    """An empty folder on the work tree's disk; what a killed run has left in it is gone."""
    private = git.private_to_tree(root) / "ingest"
    private.mkdir(parents=True, exist_ok=True)
    with (private / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AnswerNo(
                "another run takes a snapshot in this work tree", fix="wait for it"
            ) from error
        folder = private / "work"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
