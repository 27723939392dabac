"""Labels from a file, into a state folder: `gitops data labels`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl

from gitops import package, rows
from gitops.errors import EvidenceError, ToolError, Where
from gitops.rows import label_text
from gitops.serve import labels, log, segments
from gitops.serve.labels import Value
from gitops.serve.segments import Position

_NAMED = 5
_Said = tuple[Value, float | None]


@dataclass
class Named:
    """A number of rows, and the first few of them by name."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, id: str, row: int) -> None:
        self.count += 1
        if len(self.first) < _NAMED:
            self.first.append(f"{id} row {row}" if row else id)

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.first) else ""
        return f"{self.count:,} ({', '.join(self.first)}{more})"


@dataclass
class Added:
    """What became of a file's rows.

    `written` are new, `repeated` were there already; `conflicts` say another thing than what is
    there, which stays; `empty` have neither label nor value; `unknown` are of requests that the log
    doesn't have, or not yet: they are written all the same.
    """

    written: int = 0
    repeated: int = 0
    empty: int = 0
    conflicts: Named = field(default_factory=Named)
    unknown: Named = field(default_factory=Named)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def add(path: Path, state: Path, model: str | None) -> Added:
    """Add the labels of a .csv, .parquet or .jsonl file: all of them, or none.

    Columns: `id`; `label` or `value` or both; `row` (0 if there's no such column).

    Raises:
        UsageError, EvidenceError: the file can't be read, or has no such columns or values.
        ToolError: the labels can't be written.
    """
    added = Added()
    new: dict[tuple[str, int], _Said] = {}
    for id, row, label, value in _table(path):
        if label is None and value is None:
            added.empty += 1
        elif (id, row) not in new:
            new[id, row] = (label, value)
        else:
            _count(added, (id, row), new[id, row], (label, value))
    there = _there(state / "labels", set(new), model)
    for at, before in there.items():
        if not _count(added, at, before, new[at]):
            del new[at]
    if new:
        _write(state / "labels", new, model)
    added.written = len(new)
    unknown = {id for id, _ in new}
    for folder in [state / "log" / model] if model else sorted((state / "log").glob("*")):
        unknown -= {one.id for one in log.everything(folder)}
    for id, row in new:
        if id in unknown:
            added.unknown.add(id, row)
    return added


def _count(added: Added, at: tuple[str, int], before: _Said, now: _Said) -> bool:
    """Count what is said again; True if it says more than before, and nothing else."""
    pairs = [(_text(one), _text(two)) for one, two in zip(before, now, strict=True)]
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        added.conflicts.add(*at)
        return False
    if any(one is None and two is not None for one, two in pairs):
        return True
    added.repeated += 1
    return False


def _text(value: Value) -> str | None:
    return None if value is None else label_text(value)


def _there(
    folder: Path, wanted: set[tuple[str, int]], model: str | None
) -> dict[tuple[str, int], _Said]:
    """What is said already of the rows `wanted`: of each, the first label and the first value."""
    found: dict[tuple[str, int], _Said] = {}
    position = Position()
    while True:
        some, position = labels.read(folder, position)
        if not some:
            return found
        for one in some:
            at = (one.id, one.row)
            if at in wanted and one.model in (None, model):
                label, value = found.get(at, (None, None))
                label = one.label if label is None else label
                found[at] = (label, one.value if value is None else value)


def _write(folder: Path, new: dict[tuple[str, int], _Said], model: str | None) -> None:
    now = round(time.time(), 6)
    try:
        segments.write(folder, (labels.encoded(*at, *said, model, now) for at, said in new.items()))
    except OSError as error:
        raise ToolError(
            f"the labels can't be written: {error.strerror or error}; none was",
            fix="make room, or give the folder back, and run it again",
            where=Where(folder),
        ) from error


def _table(path: Path) -> Iterator[tuple[str, int, Value, float | None]]:
    frame = package.read_rows(path)
    rows.require_columns(frame.columns, ["id"])
    if "value" not in frame.columns:
        rows.require_columns(frame.columns, ["label"])
    ids = rows.typed(frame["id"], "categorical")
    if ids.null_count():
        first = ids.is_null().arg_max() or 0
        fix = "each label names the request that it is of"
        raise EvidenceError(f"no id in row {first + 1:,}", fix=fix, where=Where(path))
    height = frame.height
    places = _places(path, frame["row"]) if "row" in frame.columns else [0] * height
    said: list[Value] = [None] * height
    if "label" in frame.columns:
        said = list(rows.typed(frame["label"], "categorical"))
    worth: list[float | None] = [None] * height
    if "value" in frame.columns:
        worth = rows.typed(frame["value"], "number").to_list()
    yield from zip(ids.to_list(), places, said, worth, strict=True)


def _places(path: Path, column: pl.Series) -> list[int]:
    found = rows.typed(column, "number")
    bad = (found.is_null() | (found < 0) | (found != found.floor())).fill_null(True)
    if bad.any():
        raise EvidenceError(
            f"{column[bad.arg_max() or 0]!r} is no row",
            fix="give the position of the row in its request, from 0",
            where=Where(path),
        )
    return [int(place) for place in found.to_list()]
