"""Files onto the disk: what arrives, what is refused, and that a refusal leaves no trace."""

import os
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from gitops.errors import AnswerNo, ToolError
from gitops.scaffold import apply
from gitops.scaffold.plan import plan
from gitops.scaffold.render import Rendered
from tests.unit.scaffolds import tree


def file(path: str, content: bytes = b"new", *, executable: bool = False) -> Rendered:
    return Rendered(PurePosixPath(path), content, executable, "user", "core")


FILES = [file("a"), file("s/run.sh", b"#!", executable=True), file("s/t/b.bin", bytes(range(256)))]
TREE = {
    "a": (b"new", False),
    "s": None,
    "s/run.sh": (b"#!", True),
    "s/t": None,
    "s/t/b.bin": (bytes(range(256)), False),
}


def test_staging_writes_everything(tmp_path: Path) -> None:
    apply.stage(FILES, tmp_path / "x")
    assert tree(tmp_path / "x") == TREE
    apply.stage([file("s/more"), file("z/w")], tmp_path / "x")
    assert tree(tmp_path / "x") == {
        **TREE,
        "s/more": (b"new", False),
        "z": None,
        "z/w": (b"new", False),
    }


def test_staging_honours_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        apply.stage(FILES, tmp_path / "x")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "x" / "s" / "run.sh").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "x" / "a").stat().st_mode & 0o777 == 0o600


def test_staging_replaces_nothing_and_follows_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "s").mkdir()
    (tmp_path / "x" / "s" / "run.sh").symlink_to(tmp_path / "outside")
    before = tree(tmp_path)
    with pytest.raises(ToolError, match=r"run\.sh cannot be written: File exists"):
        apply.stage(FILES, tmp_path / "x")
    assert tree(tmp_path) == before


def test_a_new_folder(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "flights"
    with apply.staging(target) as folder:
        apply.stage(FILES, folder)
        (folder / "link").symlink_to("s/run.sh")
        assert not target.exists()
        apply.install(folder, target)
    assert tree(tmp_path / "deep") == {
        "flights": None,
        "flights/link": "s/run.sh",
        **{f"flights/{name}": what for name, what in TREE.items()},
    }


def test_an_empty_folder_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "flights"
    target.mkdir()
    target.chmod(0o750)
    with apply.staging(target) as folder:
        apply.stage(FILES, folder)
        apply.install(folder, target)
    assert tree(target) == TREE
    assert target.stat().st_mode & 0o7777 == 0o750
    assert [path.name for path in tmp_path.iterdir()] == ["flights"]


def test_the_folder_that_we_sit_in_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inode = tmp_path.stat().st_ino
    with apply.staging(Path()) as folder:
        apply.stage(FILES, folder)
        subprocess.run(["git", "init", "-q", folder], check=True)
        (folder / "link").symlink_to("s/run.sh")
        apply.install(folder, Path())
    assert Path("a").read_bytes() == b"new"
    assert Path("link").resolve() == tmp_path / "s" / "run.sh"
    assert Path().stat().st_ino == inode == tmp_path.stat().st_ino
    status = subprocess.run(["git", "status", "-s"], capture_output=True, text=True, check=True)
    assert status.stdout.split() == ["??", "a", "??", "link", "??", "s/"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".git", "a", "link", "s"]


def test_a_folder_by_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "flights").symlink_to("real")
    with apply.staging(tmp_path / "flights") as folder:
        apply.stage(FILES, folder)
        apply.install(folder, tmp_path / "flights")
    assert tree(tmp_path / "real") == TREE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flights", "real"]


def test_a_failure_while_building_leaves_no_trace(tmp_path: Path) -> None:
    for error in (KeyboardInterrupt, OSError):
        with pytest.raises(error), apply.staging(tmp_path / "deep" / "flights") as folder:
            apply.stage(FILES, folder)
            raise error
        assert tree(tmp_path) == {}


def test_a_target_that_is_not_free(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "file").touch()
    before = tree(tmp_path)
    for name, words in (("full", "is not empty: mine"), ("file", "is no folder")):
        with pytest.raises(AnswerNo, match=words), apply.staging(tmp_path / name):
            pass
    assert tree(tmp_path) == before


def test_a_target_that_is_taken_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "flights"
    with pytest.raises(AnswerNo, match="is not empty"), apply.staging(target) as folder:
        apply.stage(FILES, folder)
        target.mkdir()
        (target / "mine").touch()
        apply.install(folder, target)
    assert tree(tmp_path) == {"flights": None, "flights/mine": (b"", False)}


def test_two_at_once(tmp_path: Path) -> None:
    target = tmp_path / "flights"
    with apply.staging(target) as folder:
        apply.stage(FILES, folder)
        with pytest.raises(AnswerNo, match="another gitops is at work"), apply.staging(target):
            pass
        apply.install(folder, target)
    assert tree(target) == TREE


def test_one_conflict_and_nothing_is_written(tmp_path: Path) -> None:
    apply.stage([file("a", b"old"), file("mine", b"mine")], tmp_path / "repo")
    planned = plan([*FILES, file("mine")], tmp_path / "repo")
    before = tree(tmp_path)
    with pytest.raises(AnswerNo, match=r"(?s)nothing was written.*a: .*mine: it is there"):
        apply.apply(planned, tmp_path / "repo", tmp_path / "work")
    assert tree(tmp_path) == before


def test_a_plan_without_conflicts_is_applied(tmp_path: Path) -> None:
    apply.stage([file("a")], tmp_path / "repo")
    apply.apply(plan(FILES, tmp_path / "repo"), tmp_path / "repo", tmp_path / "work")
    assert tree(tmp_path / "repo") == TREE
    assert not apply.recover(tmp_path / "repo", tmp_path / "work")
