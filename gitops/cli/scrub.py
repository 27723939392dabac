"""`gitops verify --objects`: is every stored object of a revision what its hash says?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from gitops import git
from gitops.cli import screen
from gitops.cli.common import open_repository
from gitops.errors import EvidenceError

if TYPE_CHECKING:
    from pathlib import Path

    from gitops.storage import Examined, Need


def scrub(revisions: Sequence[str], names: Sequence[str], as_json: bool) -> None:
    """Hash every byte in the remote of what `revisions` need; exit code 1 if one is wrong.

    Raises:
        EvidenceError: these revisions track nothing, or what they track can't be read.
        ToolError: the remote can't be reached, or refuses.
    """
    from gitops import storage

    root, _ = open_repository()
    commits = tuple(dict.fromkeys(git.resolve(root, revision) for revision in revisions))
    needs = _needs(root, commits, names)
    if not needs:
        names = ", ".join(revisions)
        raise EvidenceError(f"no model was ever built at {names}", fix="gitops build")
    found = storage.examine(root, needs, screen.say, fresh=True)
    if as_json:
        screen.document(_json(commits, found))
    else:
        _show(found)
    if any(one.problems for one in found):
        raise typer.Exit(1)


def _needs(root: Path, commits: Sequence[str], names: Sequence[str]) -> tuple[Need, ...]:
    """All that the commits need, each object of a path once, to be hashed byte by byte."""
    from dataclasses import replace

    from gitops import config, storage

    found: dict[Need, None] = {}
    for commit in commits:
        declared = config.load_at(root, commit)
        models = [declared.model(name)[0] for name in names] or list(declared.models)
        for one in storage.needs(git.snapshot(root, commit), declared, models):
            found[replace(one, deep=True)] = None
    return tuple(found)


def _json(commits: Sequence[str], found: Sequence[Examined]) -> dict[str, object]:
    paths = [
        {
            "path": one.need.path,
            "object": one.need.md5,
            "objects": one.objects,
            "bytes": one.size,
            "problems": [
                {"path": wrong.path, "object": wrong.md5, "kind": wrong.kind}
                for wrong in one.problems
            ],
        }
        for one in found
    ]
    return {
        "commits": list(commits),
        "whole": not any(one.problems for one in found),
        "paths": paths,
    }


def _show(found: Sequence[Examined]) -> None:
    head = ["PATH", "OBJECT", "OBJECTS", "BYTES", "STATE"]
    rows = [
        [
            one.need.path,
            one.need.md5[:12],
            str(one.objects),
            f"{one.size:,}",
            f"{len(one.problems)} wrong" if one.problems else "whole",
        ]
        for one in found
    ]
    screen.table(head, rows)
    for wrong in (wrong for one in found for wrong in one.problems):
        screen.out(f"{screen.style(wrong.kind, 'red')}  {wrong.path}  (object {wrong.md5})")
    if any(one.problems for one in found):
        screen.out(
            "  fix: delete what is corrupt or truncated in the remote, then `dvc push` from a clone"
            " that has the good bytes"
        )
