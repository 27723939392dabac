"""`gitops sync` killed or refused at every change of the disk: old or new, and no byte is lost.

A child process strikes just before its n-th change of the file system, for n = 1, 2, ... until it
gets through. Every n leaves a repository to look at here.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops.errors import AnswerNo, ToolError
from gitops.scaffold import disk, sync, upgrade
from tests.unit.scaffolds import Scaffold, git, scaffold

STRIKER = r"""
import errno, os, shutil, signal, sys
from pathlib import Path
from gitops.errors import GitopsError
from gitops.scaffold import disk, sync
import gitops.scaffold.vendor, gitops.pipelines, gitops.config

CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.symlink"}
fired = []

def arm(root, at, kind):
    count = 0
    def hook(event, args):
        nonlocal count
        writing = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        where = args[1] if event in ("os.rename", "os.symlink") else args[0] if args else ""
        if (event in CHANGES or writing) and str(root) in str(where):
            count += 1
            if count == at and kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif count == at:
                fired.append(event)
                raise OSError(errno.ENOSPC, "struck")
    sys.addaudithook(hook)

disk.sync = lambda places: None  # what the kernel has, SIGKILL doesn't take
name, kind, start, cases = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
for at in range(1, 1000):
    case = cases / f"{at:03}"
    shutil.copytree(start, case, symlinks=True)
    child = os.fork()
    if not child:
        code = 70
        try:
            arm(case, at, kind)
            getattr(sync, name)(case)
            code = 0
        except GitopsError as error:
            code = error.code
        finally:
            os._exit(code + 100 * bool(fired))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    (cases / f"{at:03}.status").write_text(str(status))
    if status in (0, 70):
        break
"""
KILLED = -9


def strike(operation: str, kind: str, start: Path, cases: Path) -> Iterator[tuple[Path, int]]:
    """One repository for each step that was struck at, and the last, that got through."""
    cases.mkdir()
    command = [sys.executable, "-c", STRIKER, operation, kind, str(start), str(cases)]
    subprocess.run(command, check=True)
    found = [
        (case, int(case.with_suffix(".status").read_text()))
        for case in sorted(cases.iterdir())
        if case.is_dir()
    ]
    assert found[-1][1] == 0, "the operation fails by itself"
    assert len(found) > 20
    return iter(found)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel has, SIGKILL doesn't take: waiting for the disk proves nothing here."""
    monkeypatch.setattr(disk, "sync", lambda places: None)


@pytest.fixture
def due(tmp_path: Path) -> Scaffold:
    """A repository with something of every kind to do, conflicts and an uncommitted edit too."""
    lines = b"".join(b"line %d\n" % number for number in range(9))
    other = b"".join(b"other %d\n" % number for number in range(9))
    made = scaffold(
        tmp_path,
        {"merged": lines, "rival": b"old\n", "gone": b"g\n", "far/away": other, "t/tool": b"t\n"},
    )
    made.put("merged", lines.replace(b"line 8", b"mine"))
    made.put("rival", b"mine\n")
    made.put("far/away", other + b"mine\n")
    made.put("yours", b"yours\n")
    made.commit()
    made.put("t/tool", b"never committed\n")
    made.template("merged", lines.replace(b"line 0", b"first"))
    made.template("rival", b"new\n")
    made.template("gone", None)
    made.template("far/away", None)
    made.template("near/by", other)
    made.template("deep/new/file", b"new\n", executable=True)
    return made


def at(root: Path) -> Scaffold:
    return Scaffold(root, root)


def states(due: Scaffold, tmp_path: Path) -> tuple[dict[str, object], dict[str, object]]:
    """All files before and after a sync that nothing disturbs."""
    copy = tmp_path / "undisturbed"
    shutil.copytree(due.root, copy, symlinks=True)
    done = sync.sync(copy)
    assert [str(entry.file.path) for entry in done.plan.conflicts] == ["rival"]
    return due.files(), at(copy).files()


def holds_every_byte(root: Path) -> bool:
    """Whether the one edit that no commit has is somewhere."""
    places = [root / "t" / "tool", *(root / ".git" / "gitops").rglob("tool")]
    return b"never committed\n" in [place.read_bytes() for place in places if place.is_file()]


def test_a_killed_sync_is_undone_or_done(due: Scaffold, tmp_path: Path) -> None:
    old, new = states(due, tmp_path)
    half = 0
    for number, (case, status) in enumerate(strike("sync", "kill", due.root, tmp_path / "cases")):
        assert status in (KILLED, 0)
        assert holds_every_byte(case)
        found = at(case).files()
        half += found not in (old, new)
        mine = {"yours": (b"edited\n", False), "near/mine": (b"mine\n", False)}
        if number % 3 == 0:  # what is edited before the next run stays
            for name, (content, _) in mine.items():
                at(case).put(name, content)
        else:
            mine = {}
        if number % 3 == 1:
            take_back(case)
            assert at(case).files() == old
            continue
        try:
            sync.sync(case)
        except AnswerNo as error:  # it got through
            assert "rival: <<<<<<< yours" in error.message
        assert at(case).files() == {**new, **mine}
        assert holds_every_byte(case)
        take_back(case)
        assert at(case).files() == {**old, **mine}
    assert half > 10, "kills between the renames are what this is about"


def test_an_upgrade_undoes_a_killed_sync_before_it_asks_for_a_clean_tree(
    due: Scaffold, tmp_path: Path
) -> None:
    due.put("t/tool", b"t\n")
    assert not git(due.root, "status", "--porcelain")
    old, new = states(due, tmp_path)
    struck = [case for case, _ in strike("sync", "kill", due.root, tmp_path / "cases")]
    half = next(case for case in struck if at(case).files() not in (old, new))

    def tried(root: Path) -> upgrade.Upgraded:
        return upgrade.upgrade(
            root, accept_moved=False, commit=True, dry_run=True, say=lambda _: None
        )

    assert tried(half).plan.changes
    assert at(half).files() == old
    sync.sync(half)
    with pytest.raises(AnswerNo, match="the work tree has changes") as caught:
        tried(half)
    assert "`gitops sync --abort`" in caught.value.fix


def take_back(root: Path) -> None:
    try:
        sync.abort(root)
    except AnswerNo as error:
        assert "no sync to take back" in error.message


def test_a_killed_abort_can_be_said_again(due: Scaffold, tmp_path: Path) -> None:
    old, new = states(due, tmp_path)
    sync.sync(due.root)
    due.put("merged", b"edited since\n")
    for case, _ in strike("abort", "kill", due.root, tmp_path / "cases"):
        saved = [file.read_bytes() for file in (case / ".git" / "gitops").rglob("merged")]
        assert b"edited since\n" in [*saved, at(case).read("merged")]
        take_back(case)
        assert at(case).files() == old
        assert b"edited since\n" in [
            file.read_bytes() for file in (case / ".git" / "gitops" / "saved").rglob("merged")
        ]
    assert new != old


def test_a_full_disk_anywhere_gives_the_old_state_back(due: Scaffold, tmp_path: Path) -> None:
    old, new = states(due, tmp_path)
    refused = 0
    for case, status in strike("sync", "refuse", due.root, tmp_path / "cases"):
        assert status in (104, 100, 0), "a tool error with its fix, or nothing that matters"
        found = at(case).files()
        assert found == (old if status == 104 else new), (case, status)
        assert holds_every_byte(case)
        refused += status == 104
    assert refused > 20


def test_a_template_that_no_disk_holds(due: Scaffold) -> None:
    due.template("deep/new/file", bytes(200_000))
    old = due.files()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(ToolError, match="the disk is full") as caught:
            sync.sync(due.root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "make room" in caught.value.fix
    assert due.files() == old
    assert sync.sync(due.root).plan.changes


def test_two_at_once(due: Scaffold) -> None:
    import fcntl

    lock = due.root / ".git" / "gitops" / "apply.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    before = due.files()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(AnswerNo, match="another gitops is at work"):
            sync.sync(due.root)
    assert due.files() == before
