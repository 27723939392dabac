"""The append-only branch `gitops/records`: full verdicts, build records, promotions, as JSON files.

Files stand by kind and tree id. A record is written once; the branch moves in the same atomic push
as what it is about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops import git
from gitops.git import write
from gitops.git.remote import Refs, Update

BRANCH = "gitops/records"


@dataclass(frozen=True)
class Records:
    """The branch as a remote has it; `tip` is None where there's none yet."""

    root: Path
    tip: str | None

    def read(self, path: str) -> dict[str, Any] | None:
        """A record; None if it isn't there, or isn't JSON."""
        text = git.show(self.root, self.tip, path) if self.tip else None
        try:
            found = json.loads(text) if text else None
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def names(self, kind: str) -> tuple[str, ...]:
        """The paths of all records of a kind."""
        if self.tip is None:
            return ()
        return tuple(
            path for path in git.snapshot(self.root, self.tip).files if path.startswith(f"{kind}/")
        )

    def appended(self, documents: Mapping[str, Mapping[str, Any]], subject: str) -> Update | None:
        """The branch with `documents` by path: those that it has already are left as they are."""
        have = set(git.snapshot(self.root, self.tip).files) if self.tip else set()
        new = {path: one for path, one in documents.items() if path not in have}
        if not new:
            return None
        files = {
            path: write.File("100644", write.blob(self.root, _text(one)))
            for path, one in new.items()
        }
        tree = write.tree(self.root, f"{self.tip}^{{tree}}" if self.tip else None, files)
        parents = [self.tip] if self.tip else []
        commit = write.commit(self.root, tree, parents, f"{subject}\n")
        return Update(f"refs/heads/{BRANCH}", self.tip, commit)


def of(root: Path, refs: Refs) -> Records:
    """The records of a remote that was read."""
    return Records(root, refs.heads.get(BRANCH))


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
