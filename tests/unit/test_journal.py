"""Changes of a repository: what arrives, what is refused, and that a refusal leaves no trace."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from gitops.errors import AnswerNo, ConfigError, EvidenceError, ToolError
from gitops.scaffold import journal
from gitops.scaffold.journal import Change, look
from tests.unit.scaffolds import tree

OLD = {"a": b"old", "mine": b"mine", "gone/deep": b"gone"}
NEW = {
    "a": (b"new", False),
    "mine": (b"mine", False),
    "s": None,
    "s/run.sh": (b"#!", True),
    "s/t": None,
    "s/t/b.bin": (bytes(range(256)), False),
}


def change(top: Path, path: str, content: bytes | None, *, executable: bool = False) -> Change:
    return Change(PurePosixPath(path), content, executable, look(top / path).mark)


def old_and_new(top: Path) -> tuple[Path, Path, list[Change]]:
    """A repository with files of both kinds, and changes of it."""
    target, work = top / "repo", top / "repo" / ".git" / "gitops" / "apply"
    for name, content in OLD.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    (target / ".git").mkdir()
    changes = [
        change(target, "a", b"new"),
        change(target, "s/run.sh", b"#!", executable=True),
        change(target, "s/t/b.bin", bytes(range(256))),
        change(target, "gone/deep", None),
    ]
    return target, work, changes


def state(target: Path) -> dict[str, object]:
    return {name: what for name, what in tree(target).items() if not name.startswith(".git")}


def test_changes_are_made(tmp_path: Path) -> None:
    target, work, changes = old_and_new(tmp_path)
    journal.write(changes, target, work)
    assert state(target) == NEW, "and no empty folder is left"
    assert not work.exists()
    assert journal.undo(target, work) is False
    assert journal.last(work) is None


def test_with_a_note_the_old_files_are_kept(tmp_path: Path) -> None:
    target, work, changes = old_and_new(tmp_path)
    (target / "a").chmod(0o640)
    journal.write(changes, target, work, note={"x": 1}, aside={PurePosixPath("b/c"): b"theirs"})
    done = journal.last(work)
    assert done is not None
    assert done.note == {"x": 1}
    assert done.folders == ("s", "s/t")
    assert {step.path: (step.old is None, step.new is None) for step in done.steps} == {
        "a": (False, False),
        "s/run.sh": (True, False),
        "s/t/b.bin": (True, False),
        "gone/deep": (False, True),
    }
    kept = journal.kept(work)
    assert (kept / "old" / "a").read_bytes() == b"old"
    assert (kept / "old" / "gone" / "deep").read_bytes() == b"gone"
    assert (kept / "theirs" / "b" / "c").read_bytes() == b"theirs"
    assert (target / "a").stat().st_mode & 0o777 == 0o640
    assert not work.exists()


def test_a_file_becomes_a_folder_and_back(tmp_path: Path) -> None:
    target, work, _ = old_and_new(tmp_path)
    there = [change(target, "mine", None), change(target, "mine/x", b"x")]
    journal.write(there, target, work)
    assert (target / "mine" / "x").read_bytes() == b"x"


def test_a_symlink_is_replaced_and_put_back(tmp_path: Path) -> None:
    target, work, _ = old_and_new(tmp_path)
    (target / "link").symlink_to("nowhere")
    was = change(target, "link", b"file")
    assert was.before == "-> nowhere"
    journal.write([was], target, work, note={})
    assert (target / "link").read_bytes() == b"file"
    assert (journal.kept(work) / "old" / "link").is_symlink()
    back = Change(PurePosixPath("link"), b"nowhere", before=look(target / "link").mark, link=True)
    journal.write([back], target, work)
    assert look(target / "link").mark == "-> nowhere"


def test_the_executable_bit_is_a_change(tmp_path: Path) -> None:
    target, work, _ = old_and_new(tmp_path)
    journal.write([change(target, "a", b"old", executable=True)], target, work)
    assert look(target / "a").executable
    journal.write([change(target, "a", b"old")], target, work)
    assert not look(target / "a").executable


@pytest.mark.parametrize("name", ["a", "s/run.sh", "gone/deep"])
def test_a_file_that_changed_since_the_plan(tmp_path: Path, name: str) -> None:
    target, work, changes = old_and_new(tmp_path)
    (target / name).parent.mkdir(exist_ok=True)
    (target / name).write_bytes(b"mine now")
    before = state(target)
    with pytest.raises(AnswerNo, match=f"{name} has changed since"):
        journal.write(changes, target, work)
    assert state(target) == before
    assert not work.exists()


def test_a_folder_where_a_file_was_planned_on(tmp_path: Path) -> None:
    target, work, _ = old_and_new(tmp_path)
    for name in ("a", "gone"):
        planned = change(target, name, b"new")
        if name == "a":
            (target / name).unlink()
            (target / name).mkdir()
        with pytest.raises(AnswerNo, match=f"{name} has changed since"):
            journal.write([planned], target, work)


def test_a_folder_that_turned_into_a_way_out(tmp_path: Path) -> None:
    target, work, changes = old_and_new(tmp_path)
    (target / "s").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="leads outside"):
        journal.write(changes, target, work)
    assert (target / "a").read_bytes() == b"old"
    assert not (tmp_path / "run.sh").exists()


def test_a_work_folder_on_another_disk(tmp_path: Path) -> None:
    target, _, changes = old_and_new(tmp_path)
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system")
    elsewhere = other / f"gitops-test-{os.getpid()}"
    before = state(target)
    try:
        with pytest.raises(ToolError, match="cross-device"):
            journal.write(changes, target, elsewhere)
    finally:
        elsewhere.with_name(f"{elsewhere.name}.lock").unlink()
    assert state(target) == before
    assert not elsewhere.exists()


def test_another_process_is_at_work(tmp_path: Path) -> None:
    target, work, changes = old_and_new(tmp_path)
    work.mkdir(parents=True)
    calls: list[Callable[[], object]] = [
        lambda: journal.write(changes, target, work),
        lambda: journal.undo(target, work),
    ]
    with work.with_name("apply.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for call in calls:
            with pytest.raises(AnswerNo, match="another gitops is at work"):
                call()
    assert (target / "a").read_bytes() == b"old"


def test_a_damaged_journal_is_not_guessed_at(tmp_path: Path) -> None:
    target, work, _ = old_and_new(tmp_path)
    work.mkdir(parents=True)
    for text in ("{", "[]", '{"steps": [{}], "folders": []}'):
        (work / "journal").write_text(text)
        with pytest.raises(EvidenceError, match="is damaged"):
            journal.undo(target, work)
        assert journal.unfinished(work)
