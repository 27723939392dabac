"""Killed, refused, or out of space at any step: the old state or the new one, never a mixture.

A child process runs the operation with an audit hook that strikes just before its n-th change of
the file system, for n = 1, 2, ... until it gets through. Every n leaves a folder to look at here.
"""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from gitops.errors import AnswerNo, ToolError
from gitops.scaffold import apply, journal
from gitops.scaffold.render import Rendered

STRIKER = r"""
import errno, os, shutil, signal, sys
from pathlib import Path, PurePosixPath
from gitops.errors import GitopsError
from gitops.scaffold import apply, journal
from gitops.scaffold.journal import Change
from gitops.scaffold.render import Rendered

CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod"}

def file(path, content, executable=False):
    return Rendered(PurePosixPath(path), content, executable, "user", "core")

NEW = [
    file("a", b"new a"), file("s/b.sh", b"new b", True), file("s/same", b"same"),
    file("s/t/c", b"new c"), file("u/v/w", b"new w"), file("z", b"new z"),
]

fired = []

def arm(at, kind):
    count = 0
    def hook(event, args):
        nonlocal count
        writing = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if event in CHANGES or writing:
            count += 1
            if count == at and kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif count == at:
                fired.append(event)
                raise OSError(errno.EIO, "struck")
    sys.addaudithook(hook)

def changes(repo):
    changes = [
        Change(f.path, f.content, f.executable, journal.look(repo / f.path).mark) for f in NEW
    ]
    gone = PurePosixPath("d/e/gone")
    return [*changes, Change(gone, None, before=journal.look(repo / gone).mark)]

def repository(case, strike):
    planned = changes(case / "repo")
    strike()
    journal.write(planned, case / "repo", case / "repo" / ".git" / "work")

def noted(case, strike):
    planned = changes(case / "repo")
    strike()
    aside = {PurePosixPath("b/c"): b"theirs"}
    journal.write(planned, case / "repo", case / "repo" / ".git" / "work", note={}, aside=aside)

def recovery(case, strike):
    strike()
    apply.recover(case / "repo", case / "repo" / ".git" / "work")

def project(case, strike):
    os.chdir(case / "repo" if (case / "here").exists() else case)
    strike()
    with apply.staging(case / "repo") as folder:
        apply.stage(NEW, folder)
        os.mkdir(folder / ".git")
        os.symlink("s/b.sh", folder / "link")
        apply.install(folder, case / "repo")

def finishing(case, strike):
    strike()
    apply.finish(case / "repo")

def strike_all(operation, kind, start, cases):
    for at in range(1, 1000):
        case = cases / f"{at:03}"
        shutil.copytree(start, case, symlinks=True)
        child = os.fork()
        if not child:
            code = 70
            try:
                operation(case, lambda: arm(at, kind))
                code = 0
            except GitopsError as error:
                code = error.code
            finally:
                os._exit(code + 100 * bool(fired))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        (case / "status").write_text(str(status))
        if status in (0, 70):
            return

strike_all(globals()[sys.argv[1]], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
"""

KILLED = -9
OLD = {
    "a": b"old a",
    "s/b.sh": b"old b",
    "s/same": b"same",
    "mine": b"mine",
    "d/e/gone": b"gone",
}
NEW = {
    "a": b"new a",
    "s/b.sh": b"new b",
    "s/same": b"same",
    "s/t/c": b"new c",
    "u/v/w": b"new w",
    "z": b"new z",
}


def strike(operation: str, kind: str, start: Path, cases: Path) -> Iterator[tuple[Path, int]]:
    """One folder for each step that was struck at, and the last, that got through."""
    cases.mkdir(parents=True)
    command = [sys.executable, "-c", STRIKER, operation, kind, str(start), str(cases)]
    subprocess.run(command, check=True)
    found = [(case, int((case / "status").read_text())) for case in sorted(cases.iterdir())]
    assert found[-1][1] == 0, "the operation fails by itself"
    assert len(found) > 5
    return iter(found)


def contents(top: Path) -> dict[str, bytes]:
    """Every file by path (links are read), and `name/` of every folder that is empty."""
    found = {}
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        if path.is_file():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[f"{name}/"] = b""
    return found


def repository(top: Path) -> Path:
    for name, content in OLD.items():
        at = top / "repo" / name
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(content)
    (top / "repo" / ".git").mkdir()
    return top


def state(case: Path) -> str:
    """`old` or `new`, if the repository is exactly one of them."""
    repo = case / "repo"
    found = contents(repo)
    found.pop(".git/work.lock", None)
    found.pop(".git/", None)
    if found == OLD:
        assert not os.access(repo / "s" / "b.sh", os.X_OK)
        return "old"
    for empty in ("d/", "d/e/"):  # that it couldn't be removed undoes nothing
        found.pop(empty, None)
    assert found == {**NEW, "mine": b"mine"}
    assert os.access(repo / "s" / "b.sh", os.X_OK)
    return "new"


def recover(case: Path) -> bool:
    return apply.recover(case / "repo", case / "repo" / ".git" / "work")


def test_a_killed_change_of_a_repository(tmp_path: Path) -> None:
    states = []
    undone = 0
    for case, status in strike("repository", "kill", repository(tmp_path / "0"), tmp_path / "1"):
        undone += recover(case)
        states.append(state(case))
        assert status in (KILLED, 0)
    assert states == sorted(states, reverse=True), "old up to the commit point, new after it"
    assert set(states) == {"old", "new"}
    assert undone >= 6, "kills between the renames are what this is about"


def test_a_killed_change_that_keeps_the_old_files(tmp_path: Path) -> None:
    """Whoever comes next has the old state, or the new one with all that takes it back."""
    for case, _ in strike("noted", "kill", repository(tmp_path / "0"), tmp_path / "1"):
        recover(case)
        kept = case / "repo" / ".git" / "sync"
        if (case / "repo" / "z").exists():
            done = journal.last(case / "repo" / ".git" / "work")
            assert done is not None
            for step in done.steps:
                old = kept / "old" / step.path
                assert (old.read_bytes() if step.old else None) == OLD.get(step.path)
            assert (kept / "theirs" / "b" / "c").read_bytes() == b"theirs"
            shutil.rmtree(kept)
            assert state(case) == "new"
        else:
            assert not kept.exists()
            assert state(case) == "old"


def test_a_refused_change_of_a_repository(tmp_path: Path) -> None:
    start = repository(tmp_path / "0")
    for case, status in strike("repository", "refuse", start, tmp_path / "1"):
        assert status in (104, 100, 0)
        recovered = recover(case)
        assert state(case) == ("old" if status == 104 else "new")
        assert not recovered, "what is refused is undone at once"


def test_a_killed_recovery(tmp_path: Path) -> None:
    killed = strike("repository", "kill", repository(tmp_path / "0"), tmp_path / "1")
    half_done = [case for case, _ in killed if (case / "repo/.git/work/journal").exists()]
    assert len(half_done) >= 6
    for start in half_done[1::3]:
        for case, _ in strike("recovery", "kill", start, tmp_path / f"2-{start.name}"):
            recover(case)
            assert state(case) == "old"


def test_an_edit_made_after_the_kill_is_kept(tmp_path: Path) -> None:
    edited = 0
    for case, _ in strike("repository", "kill", repository(tmp_path / "0"), tmp_path / "1"):
        if not (case / "repo/.git/work/journal").exists():
            continue
        (case / "repo" / "a").write_bytes(b"edited")
        assert recover(case)
        assert (case / "repo" / "a").read_bytes() == b"edited"
        (case / "repo" / "a").write_bytes(OLD["a"])
        assert state(case) == "old"
        edited += 1
    assert edited >= 6


def test_nothing_to_recover(tmp_path: Path) -> None:
    assert recover(repository(tmp_path)) is False
    assert contents(tmp_path / "repo") == {**OLD, ".git/": b""}


PROJECT = {**NEW, ".git/": b"", "link": b"new b"}


@pytest.mark.parametrize("there", ["missing", "empty"])
def test_a_killed_creation(tmp_path: Path, there: str) -> None:
    start = tmp_path / "0"
    (start / "repo" if there == "empty" else start).mkdir(parents=True)
    states = []
    for case, _ in strike("project", "kill", start, tmp_path / "1"):
        target = case / "repo"
        made = target.is_dir() and any(target.iterdir())
        states.append(made)
        if made:
            assert not apply.finish(target)
            assert contents(target) == PROJECT
        else:
            assert target.exists() == (there == "empty")
            again(target)
        assert sorted(p.name for p in case.iterdir()) == ["repo", "status"]
    assert states == sorted(states)
    assert set(states) == {False, True}


def test_a_killed_creation_in_the_folder_that_we_sit_in(tmp_path: Path) -> None:
    start = tmp_path / "0"
    (start / "repo").mkdir(parents=True)
    (start / "here").touch()
    completed = []
    for case, status in strike("project", "kill", start, tmp_path / "1"):
        target = case / "repo"
        inode = target.stat().st_ino
        completed.append(apply.finish(target))
        if contents(target) != PROJECT:
            assert contents(target) == {}
            assert not completed[-1]
            assert status == KILLED
            again(target)
        assert target.stat().st_ino == inode or not completed[-1]
    assert sum(completed) >= 7, "kills between the renames are what this is about"


def test_a_killed_completion(tmp_path: Path) -> None:
    start = tmp_path / "0"
    (start / "repo").mkdir(parents=True)
    (start / "here").touch()
    killed = strike("project", "kill", start, tmp_path / "1")
    half_done = [case for case, _ in killed if (case / "repo/.gitops-staging/journal").exists()]
    for half in half_done[2:4]:
        for case, _ in strike("finishing", "kill", half, tmp_path / f"2-{half.name}"):
            apply.finish(case / "repo")
            assert contents(case / "repo") == PROJECT


@pytest.mark.parametrize("here", [False, True])
def test_a_refused_creation(tmp_path: Path, *, here: bool) -> None:
    start = tmp_path / "0"
    (start / "repo").mkdir(parents=True)
    if here:
        (start / "here").touch()
    for case, status in strike("project", "refuse", start, tmp_path / "1"):
        apply.finish(case / "repo")
        if status == 0 or contents(case / "repo"):
            assert contents(case / "repo") == PROJECT
        else:
            again(case / "repo")


def test_a_name_taken_before_the_completion_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".gitops-staging" / "tree").mkdir(parents=True)
    (tmp_path / ".gitops-staging" / "journal").touch()
    (tmp_path / ".gitops-staging" / "tree" / "a").write_text("ours")
    (tmp_path / "a").write_text("mine")
    with pytest.raises(AnswerNo, match="a is in the way of a project"):
        apply.finish(tmp_path)
    assert (tmp_path / "a").read_text() == "mine"
    (tmp_path / "a").unlink()
    assert apply.finish(tmp_path)
    assert contents(tmp_path) == {"a": b"ours"}


def again(target: Path) -> None:
    """The same command once more, undisturbed."""
    files = [Rendered(PurePosixPath(n), c, False, "user", "x") for n, c in NEW.items()]
    with apply.staging(target) as folder:
        apply.stage(files, folder)
        apply.install(folder, target)
    assert contents(target) == NEW


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


BIG = [
    Rendered(PurePosixPath("a/small"), b"x", False, "user", "core"),
    Rendered(PurePosixPath("b/big"), bytes(400_000), False, "user", "core"),
]


def test_a_full_disk(small_disk: Path) -> None:
    with pytest.raises(
        ToolError, match=r"disk is full: .*small/new.* with 0\.\d MB free"
    ) as caught:
        apply.stage(BIG, small_disk / "new")
    assert "make room" in caught.value.fix
    assert list(small_disk.iterdir()) == []
    with pytest.raises(ToolError, match="disk is full"), apply.staging(small_disk / "p") as folder:
        apply.stage(BIG, folder)
    assert list(small_disk.iterdir()) == []


def test_a_file_that_may_not_be_so_large(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(ToolError, match=r"disk is full: .*new"):
            apply.stage(BIG, tmp_path / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
