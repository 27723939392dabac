"""The old file or the new one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gitops import whole


def names(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_written_where_none_was_and_over_one(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "folder" / "file.json"
    whole.write(path, "one\n", durable=durable)
    assert path.read_bytes() == b"one\n"
    whole.write(path, b"\xff", durable=durable)
    assert path.read_bytes() == b"\xff"
    assert names(path.parent) == ["file.json"]


def test_what_is_interrupted_leaves_the_old_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole.replacing(path) as half:
        half.write_text("ne")
        assert path.read_text() == "old"
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "hook"
    path.write_text("old")
    path.chmod(0o750)
    whole.write(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_folder_that_is_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError):
        whole.write(tmp_path / "file", "new")
    assert names(tmp_path) == ["file"]
