"""Objects that no commit needs: found, and deleted."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitops import dvcremote, dvcstore, git
from gitops.errors import AnswerNo, EvidenceError, ToolError
from gitops.promote import gc
from tests.unit.stored_repo import FILES, StoredRepo, md5_of

on_each_remote = pytest.mark.parametrize("stored", ["folder", "s3", "azure"], indirect=True)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OLD_FILES = {**FILES, "models/package": {"model.onnx": b"first", "docs/card.md": b"# Card\n"}}
AT_ONCE = timedelta(seconds=-5)  # whatever was just written is old enough


def quiet(line: str) -> None:
    pass


def test_only_old_objects_that_nobody_needs_are_candidates() -> None:
    ages = {"needed": 90, "unneeded": 8, "young": 6, "newest": 0}
    stored = [gc.Stored(name, 1, NOW - timedelta(days=age)) for name, age in ages.items()]
    found = gc.candidates(stored, {"needed"}, NOW, gc.GRACE)
    assert [one.md5 for one in found] == ["unneeded"]


def test_a_clock_that_is_a_year_ahead_makes_nothing_old() -> None:
    stored = [gc.Stored(str(day), 1, NOW - timedelta(days=day)) for day in range(10)]
    ahead = gc.candidates(stored, set(), NOW + timedelta(days=365), gc.GRACE)
    assert ahead == gc.candidates(stored, set(), NOW, gc.GRACE)
    assert [one.md5 for one in ahead] == ["8", "9"]
    assert gc.candidates(stored, set(), NOW - timedelta(days=365), gc.GRACE) == ()
    assert gc.candidates([], set(), NOW, gc.GRACE) == ()


@on_each_remote
def test_what_only_an_older_commit_needs(stored: StoredRepo) -> None:
    old = stored.built(OLD_FILES)
    new = stored.built()
    assert gc.unneeded(stored.root, [old, new], quiet, grace=AT_ONCE) == ()
    assert gc.unneeded(stored.root, [new], quiet) == ()  # all of it was just pushed
    found = gc.unneeded(stored.root, [new], quiet, grace=AT_ONCE)
    lock = json.loads(git.show(stored.root, old, "dvc.lock") or "")
    (package,) = lock["stages"]["package"]["outs"]
    assert {one.md5: one.size for one in found if not one.md5.endswith(".dir")} == {
        md5_of(b"first"): 5
    }
    assert [one.md5 for one in found if one.md5.endswith(".dir")] == [package["md5"]]

    said: list[str] = []
    assert set(gc.delete(stored.root, found, said.append)) == set(found)
    assert said == ["deleted 2 of 2 objects"]
    assert stored.wrong(new) == []
    assert stored.wrong(old) == [("models/package", "missing")]
    assert gc.delete(stored.root, found, quiet) == ()
    assert gc.unneeded(stored.root, [new], quiet, grace=AT_ONCE) == ()


@on_each_remote
def test_a_rehearsal_deletes_only_from_its_own_folder(
    stored: StoredRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.built(OLD_FILES)
    found = gc.unneeded(stored.root, [stored.built()], quiet, grace=AT_ONCE)
    monkeypatch.setenv("GITOPS_CI", "rehearsal")
    if dvcremote.remote(stored.root).is_folder:
        assert gc.delete(stored.root, found, quiet) != ()
        return
    with pytest.raises(AnswerNo, match="a rehearsal deletes nothing"):
        gc.delete(stored.root, found, quiet)
    monkeypatch.delenv("GITOPS_CI")
    assert set(gc.delete(stored.root, found, quiet)) == set(found)


def test_data_and_outputs_of_no_declared_model_are_kept(stored: StoredRepo) -> None:
    stored.built()
    folder = stored.store("other", {"a": b"a", "b": b"b"})
    single = stored.store("raw.bin", {"": b"raw"})
    stored.write("other.dvc", json.dumps({"outs": [folder]}))
    lock = {"schema": "2.0", "stages": {"make": {"cmd": "x", "outs": [single]}}}
    stored.write("sub/dvc.lock", json.dumps(lock))
    commit = git.commit(stored.root, "More")
    assert gc.unneeded(stored.root, [commit], quiet, grace=AT_ONCE) == ()


@pytest.mark.parametrize("how", ["missing", "corrupt"])
def test_a_listing_that_cannot_be_read_stops_it(stored: StoredRepo, how: str) -> None:
    commit = stored.built()
    (package,) = [one for one in stored.needs(commit) if one.path == "models/package"]
    if how == "missing":
        stored.remove(package.md5)
    else:
        stored.put(package.md5, b"[]")
    with pytest.raises(EvidenceError, match=f"models/package .*{commit[:12]} is {how}"):
        gc.unneeded(stored.root, [commit], quiet, grace=AT_ONCE)


def test_a_listing_in_the_cache_will_do(stored: StoredRepo) -> None:
    commit = stored.built()
    with dvcstore.stores(stored.root) as (cache, _):
        shutil.copytree(Path(stored.url) / "files" / "md5", cache.base)
    (package,) = [one for one in stored.needs(commit) if one.path == "models/package"]
    stored.remove(package.md5)
    assert gc.unneeded(stored.root, [commit], quiet, grace=AT_ONCE) == ()


def test_without_a_commit_nothing_goes(stored: StoredRepo) -> None:
    stored.built()
    with pytest.raises(EvidenceError, match="no commit"):
        gc.unneeded(stored.root, [], quiet, grace=AT_ONCE)


def test_a_lock_that_cannot_be_read_stops_it(stored: StoredRepo) -> None:
    stored.built()
    stored.write("sub/dvc.lock", "schema: '2.0'\n")
    with pytest.raises(EvidenceError, match="no stages"):
        gc.unneeded(stored.root, [git.commit(stored.root, "Odd")], quiet, grace=AT_ONCE)


def test_what_is_no_object_is_left_alone(stored: StoredRepo) -> None:
    commit = stored.built()
    for path in ("README", "files/md5/aa/short", "files/md5/zz/" + "z" * 30, "runs/ab/cd/ef"):
        (Path(stored.url) / path).parent.mkdir(parents=True, exist_ok=True)
        (Path(stored.url) / path).write_text("not DVC's")
    assert gc.unneeded(stored.root, [commit], quiet, grace=AT_ONCE) == ()


def test_what_was_pushed_again_meanwhile_stays(stored: StoredRepo) -> None:
    stored.built(OLD_FILES)
    found = gc.unneeded(stored.root, [stored.built()], quiet, grace=AT_ONCE)
    earlier = [gc.Stored(one.md5, one.size, one.modified - gc.GRACE) for one in found]
    assert gc.delete(stored.root, earlier, quiet) == ()
    assert len(gc.delete(stored.root, found, quiet)) == 2


def test_after_deletion_dvc_pushes_again(stored: StoredRepo) -> None:
    from gitops import dvc

    (stored.root / "folder").mkdir()
    (stored.root / "folder" / "file").write_text("file")
    dvc.add(stored.root, "folder")
    dvc.push(stored.root, ["folder.dvc"])
    kept = git.commit(stored.root, "Data")
    (stored.root / "folder.dvc").rename(stored.root / "folder.txt")
    without = git.commit(stored.root, "No data")
    assert gc.unneeded(stored.root, [kept], quiet, grace=AT_ONCE) == ()
    found = gc.unneeded(stored.root, [without], quiet, grace=AT_ONCE)
    assert len(gc.delete(stored.root, found, quiet)) == 2
    (stored.root / "folder.txt").rename(stored.root / "folder.dvc")
    dvc.push(stored.root, ["folder.dvc"])
    assert {one.md5 for one in found} == {
        file.parent.name + file.name for file in Path(stored.url).rglob("*") if file.is_file()
    }


def test_a_storage_folder_that_is_gone(stored: StoredRepo) -> None:
    commit = stored.built()
    shutil.rmtree(stored.url)
    with pytest.raises(ToolError, match="isn't there"):
        gc.unneeded(stored.root, [commit], quiet)
