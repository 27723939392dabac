"""`gitops new --data` in a repository that is there: a new project's files beside what it holds.

Only where the project's own files have their places free; README.md and the like may be there, and
stay. Nothing is committed.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

from gitops import config, dvc, git, names, uv
from gitops.errors import AnswerNo
from gitops.git import program
from gitops.scaffold import adopt, apply, desired, disk, models
from gitops.scaffold import lock as locks
from gitops.scaffold.new import Made, Request, Say, provide_storage, write_files
from gitops.scaffold.plan import Entry, Plan
from gitops.scaffold.render import Rendered, tool_file

_FREE = (config.FILE, "dvc.yaml", "params.yaml", "pyproject.toml", "uv.lock", ".dvc/config")
_ATTRIBUTES, _IGNORE = ".gitattributes", ".gitignore"


def preflight(root: Path, project: str) -> None:
    """Refuse at the start what would fail at the end.

    Raises:
        AnswerNo: gitops is at work there already, or a file of the project's has its place taken.
        ToolError: no usable git or uv.
    """
    program.require()
    uv.binary()
    if adopt.adopted(root):
        raise AnswerNo(
            f"gitops is at work in {root} already",
            fix="one more model: gitops add model NAME --data FILE --target COLUMN",
        )
    wanted = [*_FREE, f"src/{names.package_name(project)}"]
    if taken := [path for path in wanted if os.path.lexists(root / path)]:
        raise AnswerNo(
            f"a new project has files that are there already: {', '.join(taken)}",
            fix="keep what is there: `gitops new .` without --data, then `gitops add packaging`;"
            " or make a project beside it: gitops new ../NAME --data FILE --target COLUMN",
        )


def create(request: Request, say: Say) -> tuple[Made, dict[str, str]]:
    """Write the project of `request` into the repository; and what is kept there, with reasons.

    Raises:
        GitopsError: of whatever kind stopped it; nothing has been written then.
    """
    root = request.target.resolve()
    private = git.private_to_tree(root)
    work, data = private / "new", models.data_path(request.table)
    _require_data(root, request, data)
    with disk.locked(private / "new.lock", root):
        shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
        try:
            storage = desired.storage_url(request.storage, root)
            say("rendering")
            made = write_files(request, storage, work)
            say("tracking the data")
            git.init(work, "main")
            dvc.add(work, data)
            plan, kept = _planned(root, work, made, data)
            provide_storage(storage, work, say)
            _move(work / ".dvc" / "cache", root / ".dvc" / "cache")
            apply.apply(plan, root, private / "apply")
            _move(work / data, root / data)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    written = tuple(str(entry.file.path) for entry in plan.entries)
    return Made("", written, storage), kept


def _planned(
    root: Path, work: Path, made: desired.Desired, data: str
) -> tuple[Plan, dict[str, str]]:
    files = list(made.files)
    create, kept = adopt.placed(files, root)
    if _ATTRIBUTES not in kept and git.has_crlf(root):
        kept[_ATTRIBUTES] = "not written: it would change the line ends of files that are there"
        create = [one for one in create if str(one.path) != _ATTRIBUTES]
    if _IGNORE in kept:
        wanted = next(one.content.decode() for one in files if str(one.path) == _IGNORE)
        lines = [line for line in wanted.splitlines() if line and not line.startswith("#")]
        there = (root / _IGNORE).read_text("utf-8", errors="replace").splitlines()
        lacks = [line for line in lines if line not in there]
        kept[_IGNORE] = f"yours; add to it {', '.join(lacks)}" if lacks else "yours"
    locked = {
        path: replace(one, kept=True) if str(path) in kept else one
        for path, one in made.lock.files.items()
    }
    create.append(tool_file(str(locks.PATH), locks.dump(replace(made.lock, files=locked))))
    folder = PurePosixPath(data).parent
    pointer = (work / f"{data}.dvc").read_bytes()
    create.append(_plain(PurePosixPath(f"{data}.dvc"), pointer))
    if not (root / folder / ".gitignore").exists():
        create.append(_plain(folder / ".gitignore", f"/{PurePosixPath(data).name}\n".encode()))
    entries = (Entry("create", f"by {one.generator}", one) for one in create)
    return Plan(tuple(sorted(entries, key=lambda entry: entry.file.path))), kept


def _plain(path: PurePosixPath, content: bytes) -> Rendered:
    return Rendered(path, content, False, "user", "gitops")


def _require_data(root: Path, request: Request, data: str) -> None:
    """Raise AnswerNo if the table's place is taken by another file, or the table is in git."""
    at = root / data
    if git.is_tracked(root, data):
        raise AnswerNo(
            f"git tracks {data}, which DVC is to keep",
            fix=f"git rm --cached {data} && git commit -m 'Leave the data to DVC'",
        )
    if os.path.lexists(at) and not (at.is_file() and at.samefile(request.table.path)):
        raise AnswerNo(f"{data} is there, and is another file", fix="move it away, or rename it")


def _move(source: Path, target: Path) -> None:
    """Put a file or folder into its place, unless something is there."""
    if source.exists() and not os.path.lexists(target):
        with disk.errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
