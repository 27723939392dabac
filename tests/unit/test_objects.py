from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gitops import dvc, objects
from gitops.errors import EvidenceError
from tests.unit import dvc_repo
from tests.unit.dvc_repo import STAGE, clone, repo

__all__ = ["clone", "repo"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built and pushed repository; tests work on copies of it."""
    return dvc_repo.make(tmp_path_factory.mktemp("made"), STAGE % "../", "model/dvc.yaml")


def items(root: Path) -> tuple[dvc.Tracked, ...]:
    return dvc.tracked(root, ["model"])


def stored(repo: Path, md5: str) -> Path:
    return repo.parent / "storage" / "files" / "md5" / md5[:2] / md5[2:]


def alter(path: Path, content: bytes) -> None:
    """Change an object; its mode, which DVC takes for a proof, stays."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)


def test_data_elsewhere_in_the_repository_belongs_to_the_model(repo: Path) -> None:
    assert [item.path for item in items(repo)] == ["model/out", "table.csv"]


def test_a_clone_is_made_whole_once(repo: Path, clone: Path) -> None:
    assert objects.bring(clone, items(clone)) == ()
    assert dvc.damaged(clone, items(clone)) == ()
    assert dvc.stale(clone, []) == {}
    shutil.rmtree(repo.parent / "storage")
    shutil.rmtree(clone / "model" / "out")
    assert objects.bring(clone, items(clone)) == ()  # from the cache


def test_nothing_asked_for_nothing_brought(clone: Path) -> None:
    assert objects.bring(clone, []) == ()
    assert not (clone / "table.csv").exists()


def test_a_corrupt_file_in_the_remote_is_never_used(repo: Path, clone: Path) -> None:
    md5 = dvc.hash_of(repo / "table.csv")
    alter(stored(repo, md5), b"a,b\n1,3\n")
    with pytest.raises(
        objects.Altered, match=rf"table\.csv \(object {md5}\): corrupt in the remote"
    ):
        objects.bring(clone, items(clone))
    assert not (clone / "table.csv").exists()
    assert stored(repo, md5).read_bytes() == b"a,b\n1,3\n"  # the evidence stays


def test_a_corrupt_listing_and_a_corrupt_file_of_a_folder_are_never_used(
    repo: Path, clone: Path
) -> None:
    md5 = dvc.hash_of(repo / "model" / "out")
    listing = stored(repo, md5)
    good = listing.read_bytes()
    for bad in (good.replace(b'"x"', b'"z"'), b"{"):
        alter(listing, bad)
        with pytest.raises(objects.Altered, match=r"out \(object .*\.dir\): corrupt in the remote"):
            objects.bring(clone, items(clone))
        assert not (clone / "model" / "out").exists()
    alter(listing, good)
    one = dvc.file_md5(repo / "model" / "out" / "y")
    alter(stored(repo, one), b"Y")
    with pytest.raises(objects.Altered, match=rf"its y \(object {one}\) is corrupt"):
        objects.bring(clone, items(clone))
    assert not (clone / "model" / "out").exists()


def test_missing_data_is_refused_and_a_missing_output_is_not(repo: Path, clone: Path) -> None:
    stored(repo, dvc.hash_of(repo / "model" / "out")).unlink()
    assert [item.path for item in objects.bring(clone, items(clone))] == ["model/out"]
    stored(repo, dvc.hash_of(repo / "table.csv")).unlink()
    shutil.rmtree(clone / ".dvc" / "cache")
    (clone / "table.csv").unlink()
    with pytest.raises(EvidenceError, match=r"table\.csv .*: missing in the remote"):
        objects.bring(clone, items(clone))


def test_altered_bytes_of_the_cache_are_replaced_by_those_of_the_remote(
    repo: Path, clone: Path
) -> None:
    assert objects.bring(clone, items(clone)) == ()
    md5 = dvc.file_md5(repo / "model" / "out" / "y")
    alter(clone / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:], b"Y")
    shutil.rmtree(clone / "model" / "out")
    assert objects.bring(clone, items(clone)) == ()
    assert (clone / "model" / "out" / "y").read_text() == "y"


def test_what_was_checked_out_altered_is_removed(clone: Path) -> None:
    assert objects.bring(clone, items(clone)) == ()
    objects.prove(clone, items(clone))
    (clone / "table.csv").chmod(0o644)
    (clone / "table.csv").write_text("other")
    with pytest.raises(objects.Altered, match=r"table\.csv"):
        objects.prove(clone, items(clone))
    assert not (clone / "table.csv").exists()
