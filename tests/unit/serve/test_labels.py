from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gitops import contracts
from gitops.errors import EvidenceError, ToolError, UsageError, Where
from gitops.serve import label_file, labels, segments
from gitops.serve.refusal import Refusal
from gitops.serve.writer import Writer
from tests.unit.serve.test_log import line, write


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = labels.open(tmp_path)
    yield made
    made.close()


def body(*given: dict[str, Any]) -> bytes:
    return json.dumps({"labels": given}).encode()


def there(state: Path) -> list[tuple[object, ...]]:
    found, position = labels.read(state / "labels")
    assert position.bad == 0
    return [(one.id, one.row, one.label, one.value, one.model) for one in found]


def test_labels_are_on_the_disk_when_they_are_acknowledged(writer: Writer, tmp_path: Path) -> None:
    given = body(
        {"id": "r1", "label": True},
        {"id": "r2", "row": 3, "label": 1.5, "value": 12.5, "model": "late"},
        {"id": "r3", "value": 2},
    )
    assert asyncio.run(labels.take(writer, given)) == 3
    assert there(tmp_path) == [
        ("r1", 0, True, None, None),
        ("r2", 3, 1.5, 12.5, "late"),
        ("r3", 0, None, 2.0, None),
    ]
    for made in labels.lines(given):
        contracts.validate("label", json.loads(made), Where("line"))


@pytest.mark.parametrize(
    ("wrong", "status", "why"),
    [
        (b"{", 400, "not JSON"),
        (b'{"labels": []}', 422, "length >= 1"),
        (b"[]", 422, "object"),
        (body({"label": 1}), 422, "`id`"),
        (body({"id": "", "label": 1}), 422, r"\$\.labels\[0\]\.id"),
        (body({"id": "a", "label": 1}, {"id": "b", "row": -1, "label": 1}), 422, r"\[1\]\.row"),
        (body({"id": "a", "label": [1]}), 422, r"\$\.labels\[0\]\.label"),
        (body({"id": "a", "label": 1, "lable": 2}), 422, "lable"),
        (body({"id": "a"}), 422, "label 0 has no label"),
        (body({"id": "a", "label": ""}), 422, "label 0 has no label"),
        (body({"id": "a", "label": 1, "value": "x"}), 422, "value"),
        (b'{"labels": [{"id": "a", "label": "\xff"}]}', 400, "not JSON"),
    ],
)
def test_a_body_that_is_wrong_is_refused_with_its_place(
    writer: Writer, tmp_path: Path, wrong: bytes, status: int, why: str
) -> None:
    with pytest.raises(Refusal, match=why) as caught:
        asyncio.run(labels.take(writer, wrong))
    assert caught.value.status == status
    assert caught.value.fix
    assert not (tmp_path / "labels").exists()


def test_what_can_not_be_kept_is_not_acknowledged(writer: Writer, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("in the way")
    with pytest.raises(Refusal, match="can't be kept") as caught:
        asyncio.run(labels.take(writer, body({"id": "r1", "label": 1})))
    assert caught.value.status == 503


def table(path: Path, columns: dict[str, Any]) -> Path:
    frame = pl.DataFrame(columns)
    if path.suffix == ".csv":
        frame.write_csv(path)
    elif path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_ndjson(path)
    return path


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".jsonl"])
def test_a_file_is_added_once(tmp_path: Path, kind: str) -> None:
    (tmp_path / "log" / "late").mkdir(parents=True)
    write(tmp_path / "log" / "late", 1, line("r1") + line("r2"))
    columns = {
        "id": ["r1", "r2", "r3", "r4"],
        "row": [0, 1, 0, 0],
        "label": [1.0, 2.5, 3.0, None],
        "value": [None, 0.5, None, None],
    }
    path = table(tmp_path / f"labels{kind}", columns)
    added = label_file.add(path, tmp_path, "late")
    assert (added.written, added.empty, added.repeated, added.conflicts.count) == (3, 1, 0, 0)
    assert (added.unknown.count, added.unknown.first) == (1, ["r3"])
    said = {one[:2]: one[2] for one in there(tmp_path)}
    wanted = ("1.0", "2.5", "3.0") if kind == ".csv" else ("1", "2.5", "3")
    assert list(said.items()) == list(zip([("r1", 0), ("r2", 1), ("r3", 0)], wanted, strict=True))
    again = label_file.add(path, tmp_path, "late")
    assert (again.written, again.repeated) == (0, 3)
    assert len(there(tmp_path)) == 3


def test_the_first_label_stays_and_the_other_is_named(tmp_path: Path) -> None:
    first = table(tmp_path / "a.csv", {"id": ["r1", "r2", "r2"], "label": ["x", "x", "y"]})
    added = label_file.add(first, tmp_path, None)
    assert (added.written, str(added.conflicts)) == (2, "1 (r2)")
    second = table(
        tmp_path / "b.csv", {"id": ["r1", "r2"], "label": ["y", "x"], "value": [None, 2.0]}
    )
    added = label_file.add(second, tmp_path, None)
    assert (added.written, str(added.conflicts)) == (1, "1 (r1)")
    assert there(tmp_path)[-1] == ("r2", 0, "x", 2.0, None)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"ids": ["r1"], "label": ["x"]}, "did you mean 'ids'"),
        ({"id": ["r1"], "target": ["x"]}, "'label'"),
        ({"id": ["r1", ""], "label": ["x", "y"]}, "no id in row 2"),
        ({"id": ["r1"], "label": ["x"], "row": [-1]}, "no row"),
        ({"id": ["r1"], "label": ["x"], "row": ["0.5"]}, "no row"),
        ({"id": ["r1"], "label": ["x"], "value": ["much"]}, "not a number"),
    ],
)
def test_a_file_that_is_wrong_is_refused_whole(
    tmp_path: Path, columns: dict[str, list[Any]], why: str
) -> None:
    with pytest.raises(EvidenceError, match=why):
        label_file.add(table(tmp_path / "labels.csv", columns), tmp_path, None)
    assert not (tmp_path / "labels").exists()


def test_a_folder_that_takes_nothing_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("in the way")
    path = table(tmp_path / "labels.csv", {"id": ["r1"], "label": ["x"]})
    with pytest.raises(ToolError, match="can't be written"):
        label_file.add(path, tmp_path, None)
    with pytest.raises(UsageError, match=r"\.txt"):
        label_file.add(tmp_path / "labels.txt", tmp_path, None)


def test_a_segment_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def breaks() -> Iterator[bytes]:
        yield b"x" * 1_000_000
        raise ValueError

    with pytest.raises(ValueError):
        segments.write(tmp_path, breaks())
    assert segments.listing(tmp_path) == []
