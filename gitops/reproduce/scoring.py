"""Predictions of a package for rows of a file."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gitops import package, uv, whole
from gitops.errors import EvidenceError, ToolError, UsageError
from gitops.reproduce.model import Place, places
from gitops.reproduce.revision import model_at

if TYPE_CHECKING:
    import polars as pl

    from gitops.config import Config

_WRITERS = {".csv": "write_csv", ".parquet": "write_parquet", ".jsonl": "write_ndjson"}


def predict(
    root: Path,
    config: Config,
    file: Path,
    name: str | None,
    revision: str | None,
    say: Callable[[str], None],
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Score the rows of `file`; the table (id if there's one, prediction, scores) and warnings.

    Raises:
        UsageError: several models, and none named.
        EvidenceError: no package, or rows that don't fit its signature.
    """
    known, _ = config.model(name)
    rows = package.read_rows(file)
    with contextlib.ExitStack() as stack:
        if revision is None:
            place = places(root, config, [known])[0]
            if not place.package.is_dir():
                raise EvidenceError(
                    f"model {known} has no package yet: {place.package} isn't there",
                    fix=f"gitops build {known}",
                )
        else:
            place = stack.enter_context(model_at(root, revision, known, say))
        found = package.read(place.package)
        return _named(rows, found, package.score(found, rows, command=partial(_by_command, place)))


def alone(folder: Path, file: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """`predict` with the package in a folder, without a repository.

    Raises:
        EvidenceError: no package, one that runs a command of its project, or rows that don't fit.
    """
    found, rows = package.read(folder), package.read_rows(file)
    if found.session is None:
        raise EvidenceError(
            f"{found.signature.model} predicts by a command of its project",
            fix="predict in its repository: gitops predict FILE MODEL",
        )
    return _named(rows, found, package.score(found, rows))


def _named(
    rows: pl.DataFrame, found: package.Package, scored: package.Scored
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The predictions, with the rows' ids where they have any."""
    identity = found.signature.id
    if identity and identity in rows.columns:
        scored.frame.insert_column(0, rows[identity])
    return scored.frame, scored.warnings


@contextlib.contextmanager
def command_at(
    root: Path, commit: str, name: str, say: Callable[[str], None]
) -> Iterator[Callable[[pl.DataFrame], pl.DataFrame]]:
    """What runs the declared command of a model as of a commit, for `package.score`."""
    with model_at(root, commit, name, say) as place:
        yield lambda frame: _by_command(place, frame)


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write a table in the format of the path's ending, replacing the file only when it's whole."""
    writer = _WRITERS.get(path.suffix)
    if writer is None:
        raise UsageError(
            f"{path}: {path.suffix or 'no ending'} isn't a format that we write",
            fix=f"one of {', '.join(_WRITERS)}",
        )
    try:
        with whole.replacing(path) as half:
            getattr(frame, writer)(half)
    except OSError as error:
        raise ToolError(f"{path} can't be written: {error.strerror or error}") from error


def _by_command(place: Place, frame: pl.DataFrame) -> pl.DataFrame:
    """Run a package's declared command in the project's locked environment, over Parquet files."""
    import polars as pl

    command = package.read(place.package).signature.runtime.command
    with tempfile.TemporaryDirectory(prefix="gitops-predict-") as temporary:
        source, target = Path(temporary) / "input.parquet", Path(temporary) / "output.parquet"
        frame.write_parquet(source)
        words = [word.format(input=source, output=target) for word in command]
        done = uv.run_in(place.root, place.folder, words)
        if done.code or not target.is_file():
            said = "\n  ".join((done.err or done.out).strip().splitlines()[-10:])
            raise ToolError(f"the predict command of {place.name} failed ({done.code}):\n  {said}")
        return pl.read_parquet(target)
