"""Snapshots of tables from where they live: files, object stores, databases.

A snapshot is one file whose bytes depend on the rows alone, and a note of where it was taken.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gitops.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops.config import Model
    from gitops.ingest.snapshot import Snapshot


def take(root: Path, name: str, model: Model, folder: Path, say: Callable[[str], None]) -> Snapshot:
    """The table of the model `name` as its source has it now, as a file in the empty `folder`.

    Nothing else is written. Database and store are asked by credentials of the environment.

    Raises:
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
    target = folder / Path(model.data).name
    if source.kind == "files":
        from gitops.ingest.files import take as of_files

        return of_files(root, source, target, say)
    from gitops.ingest.database import take as of_database

    return of_database(root / model.path, source, target, say)
