"""The append-only branch `gitops/records`: full verdicts, build records, promotions, as JSON files.

Files stand by kind and tree id. A record is written once; the branch moves in the same atomic push
as what it is about.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gitops import git, jsontext
from gitops.config.values import RECORDS
from gitops.errors import AnswerNo
from gitops.git import graph, write
from gitops.git import remote as gitremote
from gitops.git.remote import Refs, Update

Json = dict[str, Any]
Documents = Mapping[str, Mapping[str, Any]]  # by path
TRIES = 20  # of pushing, as long as only the records moved


@dataclass(frozen=True)
class Records:
    """The branch as a remote has it; `tip` is None where there's none yet."""

    root: Path
    tip: str | None

    def read(self, path: str) -> dict[str, Any] | None:
        """A record; None if it isn't there, or isn't JSON."""
        return self.many([path]).get(path)

    def many(self, paths: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Those of several records that are there, and are JSON, in one go."""
        wanted = {f"{self.tip}:{path}": path for path in paths} if self.tip else {}
        found = {}
        for name, raw in graph.contents(self.root, wanted).items():
            try:
                document = jsontext.loads(raw)
            except ValueError:
                continue
            if isinstance(document, dict):
                found[wanted[name]] = document
        return found

    def names(self, kind: str) -> tuple[str, ...]:
        """The paths of all records of a kind."""
        return tuple(path for path in sorted(self._files) if path.startswith(f"{kind}/"))

    def appended(self, documents: Mapping[str, Mapping[str, Any]], subject: str) -> Update | None:
        """The branch with `documents` by path: those that it has already are left as they are."""
        new = {path: one for path, one in documents.items() if path not in self._files}
        if not new:
            return None
        files = {
            path: write.File("100644", write.blob(self.root, _text(one)))
            for path, one in new.items()
        }
        tree = write.tree(self.root, f"{self.tip}^{{tree}}" if self.tip else None, files)
        parents = [self.tip] if self.tip else []
        commit = write.commit(self.root, tree, parents, f"{subject}\n")
        return Update(f"refs/heads/{RECORDS}", self.tip, commit)

    @cached_property
    def _files(self) -> frozenset[str]:
        return frozenset(git.snapshot(self.root, self.tip).files if self.tip else ())


def of(root: Path, refs: Refs) -> Records:
    """The records of a remote that was read."""
    return Records(root, refs.heads.get(RECORDS))


def append(
    root: Path, remote: str, documents: Callable[[Records], Documents], subject: str
) -> None:
    """Push records that are about no ref. Raises as `push`."""
    push(root, gitremote.read(root, remote), documents, subject)


def push(
    root: Path,
    refs: Refs,
    documents: Documents | Callable[[Records], Documents],
    subject: str,
    updates: Sequence[Update] = (),
) -> None:
    """Push `updates` and records; where only these moved meanwhile, they are written again on top.

    `documents` names the records by path (a function: given what is there already).

    Raises:
        AnswerNo: a ref was taken by somebody else, or others write records all the while.
        ToolError: the remote refuses, or can't be reached.
    """
    for _ in range(TRIES):
        here = of(root, refs)
        record = here.appended(documents(here) if callable(documents) else documents, subject)
        moves = [*updates, *([record] if record else [])]
        if not moves:
            return
        try:
            gitremote.push(root, refs, moves)
            return
        except AnswerNo:
            refs = gitremote.read(root, refs.remote)
            if any(refs.id_of(one.ref) != one.old for one in updates):
                raise
    raise AnswerNo("others write records all the while; nothing was changed", fix="run it again")


def deployment_paths(here: Records, documents: Sequence[Json]) -> dict[str, Json]:
    """Where new deployment records go; those that are there already are left out.

    They count by model and environment: `deployments/<tree>/<environment>-<model>-<n>.json`.
    """
    found: dict[str, Json] = {}
    for one in documents:
        tree, model, environment = one["revision"]["tree"], one["model"], one["environment"]
        start = f"deployments/{tree}/{environment}-{model}-"
        known = [path for path in here.names("deployments") if path.startswith(start)]
        if one in here.many(known).values():
            continue
        taken = len(known) + sum(path.startswith(start) for path in found)
        found[f"{start}{taken + 1}.json"] = one
    return found


def build_path(tree: str, model: str) -> str:
    return f"builds/{tree}/{model}.json"


def verdict_path(tree: str, model: str, environment: str, digest: str) -> str:
    return f"verdicts/{tree}/{model}/{environment}-{digest[:16]}.json"


def move_path(kind: str, tree: str, environment: str, tip: str) -> str:
    """Of a move of an environment: hotfixes stand apart, since they have yet to be brought back."""
    folder = "hotfixes" if kind == "hotfix" else "promotions"
    return f"{folder}/{tree}/{environment}-{tip[:16]}.json"


def _text(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
