"""`gitops eject`: a repository as if gitops had never been used, and that still works.

The files stay, with the user's edits; what only gitops reads goes, and so do the steps of
pipelines that call it. The packaging module stays as code of the project.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from gitops import config, git
from gitops.errors import AnswerNo
from gitops.scaffold import apply, desired, journal
from gitops.scaffold import lock as locks
from gitops.scaffold.plan import Entry
from gitops.scaffold.reconcile import reconcile

_OURS = PurePosixPath(".gitops")


@dataclass(frozen=True)
class Ejected:
    """What went, what was rewritten, and lines that still name gitops: `file:line`."""

    removed: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    mentions: tuple[str, ...]


def eject(root: Path, *, dry_run: bool) -> Ejected:
    """Take the tool's marks away; nothing is committed.

    Raises:
        AnswerNo: the work tree isn't clean.
        GitopsError: the lock or gitops.yaml can't be used.
    """
    if dirty := git.changes(root):
        raise AnswerNo(
            "\n  ".join(["the work tree has changes, and only git takes this back:", *dirty[:10]]),
            fix="commit or stash them, then say it again",
        )
    work = git.private_to_tree(root) / "apply"
    apply.recover(root, work)
    before, declared = locks.read(root / locks.PATH), config.load(root)
    wanted = desired.desired(root, before, declared, ejected=True)
    needed = _reads_config(root)
    mine = [file for file in wanted.files if not _goes(file.path, needed=needed)]
    found = reconcile(root, replace(wanted, files=tuple(mine)), before)
    entries = [entry for entry in found.plan.entries if not _goes(entry.file.path, needed=needed)]
    # A file that the user has edited in the same lines stays as it is: its mentions are told.
    writes = [entry for entry in entries if entry.state in ("create", "update", "delete")]
    gone = [path for path in map(PurePosixPath, git.files(root)) if _goes(path, needed=needed)]
    changes = [entry.change for entry in writes]
    changes += [journal.Change(path, None, False, journal.look(root / path).mark) for path in gone]
    if not dry_run:
        journal.write(changes, root, work)
    removed = {*gone, *(entry.file.path for entry in writes if entry.state == "delete")}
    rewritten = [entry for entry in writes if entry.state != "delete"]
    return Ejected(
        tuple(sorted(map(str, removed))),
        tuple(str(entry.file.path) for entry in rewritten),
        (config.FILE,) if needed else (),
        tuple(_mentions(root, removed, rewritten)),
    )


def _goes(path: PurePosixPath, *, needed: bool) -> bool:
    """Whether only gitops reads the file; `needed`: gitops.yaml has another reader."""
    return path.parts[0] == _OURS.name or (str(path) == config.FILE and not needed)


def _reads_config(root: Path) -> bool:
    """Whether a stage depends on gitops.yaml, as those that wrap code do."""
    stages = [root / path for path in git.files(root) if PurePosixPath(path).name == "dvc.yaml"]
    return any(config.FILE.encode() in file.read_bytes() for file in stages if file.is_file())


def _mentions(
    root: Path, removed: Iterable[PurePosixPath], rewritten: Iterable[Entry]
) -> Iterable[str]:
    """Lines of text that name gitops, the packaging module's own name aside."""
    new = {entry.file.path: entry.file.content for entry in rewritten}
    gone = set(removed)
    for name in git.files(root):
        path = PurePosixPath(name)
        content = new.get(path, journal.look(root / path).content)
        if path in gone or content is None or b"\0" in content[:8000]:
            continue
        for number, line in enumerate(content.splitlines(), start=1):
            if b"gitops" in line.lower().replace(b"gitops_package", b""):
                yield f"{path}:{number}"
