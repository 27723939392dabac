"""`gitops new` in a repository that is there: gitops.yaml and .gitops/ beside what is its user's.

Only new files are written, all of them or none. What lies where one of ours would is kept, and
the lock says so.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gitops import config, git, names, pipelines
from gitops.errors import AnswerNo, ConfigError, ToolError, UsageError, Where
from gitops.scaffold import apply, generator, paths, usable
from gitops.scaffold import lock as locks
from gitops.scaffold.adopt_answers import answered, answers_of
from gitops.scaffold.desired import build, storage_url
from gitops.scaffold.discover import Proposal, discover
from gitops.scaffold.plan import Entry, Plan
from gitops.scaffold.render import Rendered, render, tool_file

if TYPE_CHECKING:
    from gitops.config import Config

GENERATORS = ("adopt",)
_FRESH = ("sklearn",)  # the generators of a new project: whose files count as collisions
_ESSENTIAL = (config.FILE, str(locks.PATH))


@dataclass(frozen=True)
class Adoption:
    """What adopting `root` does: files to write, files that stay the user's, and what is left out.

    `kept` and `left_out` are pairs of path and reason; `ignored`: what git has to be forced to add.
    """

    root: Path
    found: Proposal
    declared: Config
    plan: Plan
    kept: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    uncommitted: int

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(str(entry.file.path) for entry in self.plan.entries)


def top(directory: Path) -> Path | None:
    """The repository to adopt, if `directory` is one; None where a new project is to be made.

    Raises:
        UsageError: it lies inside a repository, or is one without a work tree.
    """
    if not directory.is_dir() or directory.is_symlink():
        return None
    folder = directory.resolve()
    if (folder / ".git").exists():
        return folder
    there = {path.name for path in folder.iterdir()}
    if {"HEAD", "objects", "refs"} <= there:
        raise UsageError(
            f"{directory} is a bare repository, without files to look at",
            fix=f"git clone {directory} WORK && gitops new WORK",
        )
    around = next((one for one in folder.parents if (one / ".git").exists()), None)
    if there and around is not None and not (folder / "journal").exists():
        raise UsageError(
            f"{directory} is a folder of the repository {around}",
            fix=f"gitops new {around} adopts that repository, with a model for each such folder",
        )
    return None


def adopted(root: Path) -> bool:
    """Whether gitops is at work in `root` already; what a killed run left is undone first.

    Raises:
        ConfigError, EvidenceError: its lock can't be read.
    """
    apply.recover(root, git.private_to_tree(root) / "apply")
    if not os.path.lexists(root / locks.PATH):
        return False
    locks.read(root / locks.PATH)
    return True


def propose(root: Path, given: Mapping[str, object]) -> Adoption:
    """Look at the repository, and plan; `given` are answers that override what is found.

    Raises:
        ConfigError: the gitops.yaml that is there is wrong, or an answer is.
        AnswerNo: a file lies where a folder of ours has to be, or the reverse.
        ToolError: git refuses to work here, or nothing can be written.
    """
    if not os.access(root, os.W_OK):
        raise ToolError(f"{root} can't be written to", fix="check who may write there")
    found = discover(root)
    generators = generator.compose(GENERATORS)
    if (root / config.FILE).is_file():
        if given:
            raise UsageError(
                f"{config.FILE} is there and is kept, so {', '.join(given)} would change nothing",
                fix=f"edit {config.FILE}",
            )
        declared = config.load(root)
        answers = _shared(root, declared) | answers_of(found)
    else:
        found = answered(found, given)
        answers = answers_of(found)
        declared = _declared(generators, answers)
        answers = _shared(root, declared) | answers
    made = build(root, declared, generators, answers)
    create, kept = placed(made.files, root)
    locked = {
        path: replace(entry, kept=True) if str(path) in kept else entry
        for path, entry in made.lock.files.items()
    }
    lock = tool_file(str(locks.PATH), locks.dump(replace(made.lock, files=locked)))
    entries = [Entry("create", f"by {one.generator}", one) for one in (*create, lock)]
    changes = git.changes(root)
    return Adoption(
        root=root,
        found=found,
        declared=declared,
        plan=Plan(tuple(sorted(entries, key=lambda entry: entry.file.path))),
        kept=tuple(sorted((kept | dict(_like_fresh(root, kept))).items())),
        left_out=tuple(_left_out(root, declared, made.lock)),
        ignored=_ignored(root, create),
        uncommitted=len(changes),
    )


def write(adoption: Adoption) -> None:
    """Write the new files, all or none.

    Raises:
        AnswerNo: something has come to lie there since.
        ToolError: the file system refused; nothing has changed then.
    """
    work = git.private_to_tree(adoption.root) / "apply"
    apply.apply(adoption.plan, adoption.root, work)


def _shared(root: Path, declared: Config) -> dict[str, object]:
    """The answers that gitops.yaml decides, in the form that templates know."""
    storage = declared.storage
    return {
        "project": declared.project,
        "package": names.package_name(declared.project),
        "ci": list(declared.ci),
        "storage": storage.remote,
        "storage_url": storage_url(storage, root),
        "storage_endpoint": storage.endpoint,
        "storage_account": storage.account,
    }


def _declared(generators: Sequence[generator.Generator], answers: Mapping[str, object]) -> Config:
    """The gitops.yaml that would be written, checked as every other."""
    # Only the file of `adopt` itself is needed, and needs no answer that isn't there yet.
    files = render([one for one in generators if one.name in GENERATORS], answers)
    text = next(one.content for one in files if str(one.path) == config.FILE)
    with tempfile.TemporaryDirectory(prefix="gitops-adopt-") as folder:
        (Path(folder) / config.FILE).write_bytes(text)
        try:
            return config.load(Path(folder))
        except ConfigError as error:
            line = error.where.line if error.where else None
            error.where = Where(f"{config.FILE} (not written)", line)
            raise


# ---------------------------------------------------------------- what is there


def placed(files: Iterable[Rendered], root: Path) -> tuple[list[Rendered], dict[str, str]]:
    """The files to write, and those that are the user's: path and reason.

    Raises:
        AnswerNo: one can be neither.
        ConfigError: a symlink leads out of the repository.
    """
    create, kept, blocked = [], {}, []
    for file in [*files, tool_file(str(locks.PATH), b"")]:
        path, at = str(file.path), root / file.path
        if other := _same_name(root, file.path):
            reason = f"{other} is there, one file where case is ignored"
            if path in _ESSENTIAL or path.startswith(".gitops/"):
                blocked.append(f"{path}: {reason}")
            kept[path] = reason
            continue
        wrong = next((one for one in _above(file.path) if _is_no_folder(root / one)), None)
        if wrong is not None:
            blocked.append(f"{path}: {wrong} is no folder")
            continue
        paths.check_target([file.path], root)
        if at.is_dir():
            blocked.append(f"{path}: it is a folder")
        elif path == config.FILE and at.is_symlink() and not at.exists():
            blocked.append(f"{path}: it is a symlink that leads nowhere")
        elif not os.path.lexists(at):
            create.append(file)
        elif at.is_symlink() or not at.is_file() or at.read_bytes() != file.content:
            kept[path] = "yours; gitops has one of that name"
    if blocked:
        raise AnswerNo(
            "\n  ".join(["these are in the way, so nothing was written:", *blocked]),
            fix="move or rename them, and try again",
        )
    return [file for file in create if file.path != locks.PATH], kept


def _same_name(root: Path, path: PurePosixPath) -> str | None:
    """A name that is there and differs from the path's, or a folder's above, by its case only."""
    for part in (*_above(path), path):
        folder = root / part.parent
        if not folder.is_dir():
            return None
        there = {entry.name for entry in folder.iterdir()}
        if part.name not in there:
            folded = paths.folded(part.name)
            other = next((name for name in sorted(there) if paths.folded(name) == folded), None)
            return str(part.with_name(other)) if other else None
    return None


def _above(path: PurePosixPath) -> list[PurePosixPath]:
    return list(reversed(path.parents))[1:]


def _is_no_folder(at: Path) -> bool:
    return os.path.lexists(at) and not at.is_dir()


def _like_fresh(root: Path, kept: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What a new project has too, and adopting leaves alone: README.md, dvc.yaml and the like."""
    for one in generator.compose(_FRESH):
        for file in one.files:
            path = PurePosixPath(file.path.removesuffix(".j2"))
            if "@" in file.path or str(path) in kept or path.parts[0] in (".gitops", ".dvc"):
                continue
            at = _same_name(root, path) or str(path)
            if os.path.lexists(root / at) and at != config.FILE:
                yield at, "yours; not generated here"


def _left_out(root: Path, declared: Config, lock: locks.Lock) -> Iterator[tuple[str, str]]:
    for path, _ in pipelines.render(declared, root):
        if PurePosixPath(path) not in lock.files:
            lacks = ", ".join(usable.lacks(root, declared))
            yield path, f"would fail without {lacks}: once these are there, gitops sync writes them"


def _ignored(root: Path, create: Iterable[Rendered]) -> tuple[str, ...]:
    # Inside .gitops its own .gitignore counts, unless the whole folder is ignored.
    outside = [str(one.path) for one in create if one.path.parts[0] != ".gitops"]
    return tuple(path for path, _ in git.ignoring(root, [".gitops/", *outside]))
