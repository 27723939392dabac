"""A package by name: the very bytes, or none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gitops.errors import AnswerNo, EvidenceError, UsageError
from gitops.promote import fetch
from tests.unit.promote.line import Line
from tests.unit.promote.test_audit import tag
from tests.unit.validate.gate_repo import Made


def get(
    line: Line, target: Path, environment: str | None = None, version: str | None = None
) -> tuple[str, bool]:
    """The version, and whether it was there already."""
    world = line.world()
    chosen = fetch.choose(world, line.config, "demo", environment, version)
    known = fetch.there(chosen, target)
    if not known:
        fetch.into(world, chosen, target)
    return str(chosen.version), known


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        one.relative_to(folder).as_posix(): one.read_bytes()
        for one in folder.rglob("*")
        if one.is_file()
    }


def test_what_runs_somewhere_or_a_version(
    past: Line, good: Made, better: Made, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert get(past, out / "a") == ("v1.0.0", False)
    assert bytes_of(out / "a") == bytes_of(good.folder / "package")
    assert get(past, out / "b", "staging") == ("v1.1.0", False)
    assert bytes_of(out / "b") == bytes_of(better.folder / "package")
    assert get(past, out / "c", None, "v1.1.0") == ("v1.1.0", False)
    assert sorted(one.name for one in out.iterdir()) == ["a", "b", "c"]
    assert not any(one.is_symlink() for one in out.rglob("*"))


def test_what_is_there_stays(past: Line, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()  # an empty folder is none
    assert get(past, out) == ("v1.0.0", False)
    assert get(past, out) == ("v1.0.0", True)
    with pytest.raises(AnswerNo, match=r"is there, and isn.t demo v1\.1\.0"):
        get(past, out, "staging")
    (out / "more.txt").write_text("mine")
    with pytest.raises(AnswerNo, match=r"is there, and isn.t demo v1\.0\.0"):
        get(past, out)
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(AnswerNo):
        get(past, file)
    assert (file.read_text(), (out / "more.txt").read_text()) == ("mine", "mine")


def test_a_clone_without_a_cache_asks_the_storage(past: Line, tmp_path: Path) -> None:
    shutil.rmtree(past.root / ".dvc" / "cache")
    assert get(past, tmp_path / "out") == ("v1.0.0", False)


def test_corrupt_and_missing_objects_leave_nothing(past: Line, tmp_path: Path) -> None:
    shutil.rmtree(past.root / ".dvc" / "cache")
    stored = [one for one in past.repo.storage.rglob("*") if one.is_file()]
    for one in stored:
        one.chmod(0o644)
        one.write_bytes(one.read_bytes() + b"x")
    with pytest.raises(EvidenceError, match="stored bytes are not what is tracked"):
        get(past, tmp_path / "out")
    for one in stored:
        one.unlink()
    with pytest.raises(EvidenceError, match="not in the cache, and not in the remote"):
        get(past, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".out")]


def test_another_package_than_the_tag_says(past: Line, better: Made, tmp_path: Path) -> None:
    """dvc.lock of the versioned commit says one thing, the signed tag another."""
    world = past.world()
    chosen = fetch.choose(world, past.config, "demo", None, None)
    lie = fetch.Chosen(**{**vars(chosen), "package": "f" * 64, "files": {"model.onnx": "0" * 64}})
    with pytest.raises(
        EvidenceError, match=r"isn.t the one that demo@v1\.0\.0 names: .*model\.onnx"
    ):
        fetch.into(world, lie, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_fetched(past: Line, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"demo has no version v3\.0\.0"):
        get(past, tmp_path / "out", None, "v3.0.0")
    with pytest.raises(UsageError, match="no environment 'nowhere'"):
        get(past, tmp_path / "out", "nowhere")
    with pytest.raises(UsageError, match="no version of 'other' is registered"):
        fetch.choose(past.world(), past.config, "other", None, None)
    with pytest.raises(AnswerNo, match="no version of demo runs in dev"):
        get(past, tmp_path / "out", "dev")


def test_unsigned_tags_do_not_count_where_signatures_are_required(
    past: Line, tmp_path: Path
) -> None:
    tag(past, "demo#production#6", "demo@v1.1.0^{commit}", "Assigning stage production")
    with pytest.raises(AnswerNo, match="the tag demo#production#6 doesn't count: it is not signed"):
        get(past, tmp_path / "out")


def test_a_tag_that_says_nothing_about_its_package(running: Line, tmp_path: Path) -> None:
    tag(running, "demo@v1.5.0", "HEAD", "Registering artifact demo version v1.5.0")
    with pytest.raises(EvidenceError, match="doesn't say what its package is"):
        get(running, tmp_path / "out", None, "v1.5.0")
