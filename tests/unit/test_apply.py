"""Files onto the disk: what arrives, what is refused, and that a refusal leaves no trace."""

import fcntl
import os
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from gitops.errors import AnswerNo, ConfigError, EvidenceError, ToolError
from gitops.scaffold import apply, lock
from gitops.scaffold.plan import Plan, plan
from gitops.scaffold.render import Rendered


def file(path: str, content: bytes = b"new", *, executable: bool = False) -> Rendered:
    return Rendered(PurePosixPath(path), content, executable, "user", "core")


def tree(top: Path) -> dict[str, object]:
    """All under `top`: content and executable bit, a link's destination, None for a folder."""
    found: dict[str, object] = {}
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = os.readlink(path)  # noqa: PTH115
        elif path.is_dir():
            found[name] = None
        else:
            found[name] = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return found


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


def old_and_new(top: Path) -> tuple[Path, Path, Plan]:
    """A repository with a generated file, one of its owner's, and a plan to change it."""
    target, work = top / "repo", top / "repo" / ".git" / "gitops" / "apply"
    apply.stage([file("a", b"old"), file("mine", b"mine")], target)
    (target / ".git").mkdir()
    before = lock.of([], {}, [file("a", b"old")])
    return target, work, plan(FILES, target, before)


def test_a_plan_is_applied(tmp_path: Path) -> None:
    target, work, planned = old_and_new(tmp_path)
    apply.apply(planned, target, work)
    found = tree(target)
    assert {name: found[name] for name in TREE} == TREE
    assert found["mine"] == (b"mine", False)
    assert not work.exists()
    assert not plan(FILES, target, lock.of([], {}, FILES)).changes
    assert apply.recover(target, work) is False


def test_one_conflict_and_nothing_is_written(tmp_path: Path) -> None:
    target, work, _ = old_and_new(tmp_path)
    planned = plan([*FILES, file("mine")], target, None)
    before = tree(target)
    with pytest.raises(AnswerNo, match=r"(?s)nothing was written.*a: .*mine: it is there"):
        apply.apply(planned, target, work)
    assert tree(target) == before


@pytest.mark.parametrize("name", ["a", "s/run.sh"])
def test_a_file_that_changed_since_the_plan(tmp_path: Path, name: str) -> None:
    target, work, planned = old_and_new(tmp_path)
    (target / name).parent.mkdir(exist_ok=True)
    (target / name).write_bytes(b"mine now")
    before = tree(target)
    with pytest.raises(AnswerNo, match=f"{name} has changed since"):
        apply.apply(planned, target, work)
    (target / ".git" / "gitops" / "apply.lock").unlink()
    (target / ".git" / "gitops").rmdir()
    assert tree(target) == before


def test_a_folder_that_turned_into_a_way_out(tmp_path: Path) -> None:
    target, work, planned = old_and_new(tmp_path)
    (target / "s").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="leads outside"):
        apply.apply(planned, target, work)
    assert (target / "a").read_bytes() == b"old"
    assert not (tmp_path / "run.sh").exists()


def test_a_work_folder_on_another_disk(tmp_path: Path) -> None:
    target, _, planned = old_and_new(tmp_path)
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system")
    elsewhere = other / f"gitops-test-{os.getpid()}"
    before = tree(target)
    try:
        with pytest.raises(ToolError, match="cross-device"):
            apply.apply(planned, target, elsewhere)
    finally:
        elsewhere.with_name(f"{elsewhere.name}.lock").unlink()
    assert tree(target) == before
    assert not elsewhere.exists()


def test_another_process_is_at_work(tmp_path: Path) -> None:
    target, work, planned = old_and_new(tmp_path)
    work.mkdir(parents=True)
    with work.with_name("apply.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for call in (
            lambda: apply.apply(planned, target, work),
            lambda: apply.recover(target, work),
        ):
            with pytest.raises(AnswerNo, match="another gitops is at work"):
                call()
    assert (target / "a").read_bytes() == b"old"


def test_a_damaged_journal_is_not_guessed_at(tmp_path: Path) -> None:
    target, work, _ = old_and_new(tmp_path)
    work.mkdir(parents=True)
    for text in ("{", "[]", '{"steps": [{}], "folders": []}'):
        (work / "journal").write_text(text)
        with pytest.raises(EvidenceError, match="is damaged"):
            apply.recover(target, work)
        assert (work / "journal").exists()
