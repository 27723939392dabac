"""Where each file that is rendered today comes from: what it was, and where it is now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from gitops.scaffold import journal, merge, moves
from gitops.scaffold.lock import FileLock, Lock
from gitops.scaffold.render import Rendered

if TYPE_CHECKING:
    from gitops.scaffold.desired import Desired


@dataclass(frozen=True)
class Origin:
    """A generated file's lock, where the file is now, and whether the user put it there."""

    lock: FileLock
    at: PurePosixPath
    by_user: bool


@dataclass(frozen=True)
class Origins:
    """`before`: what was generated; `wanted`: what is; `look` tells what is there now."""

    before: Lock
    wanted: Desired
    bases: merge.Bases
    look: Callable[[PurePosixPath], journal.There]

    def find(self) -> tuple[dict[PurePosixPath, Origin], dict[PurePosixPath, Origin]]:
        """By today's path: what each rendered file was; and the files that are rendered no more."""
        rendered = {file.path: file for file in self.wanted.files}
        moved = dict(self.wanted.moved) | self._template_moves(rendered)
        origins: dict[PurePosixPath, Origin] = {}
        gone: dict[PurePosixPath, Origin] = {}
        for path, file in self.before.files.items():
            by_user = file.at is not None
            at = file.at or path
            if by_user and self.look(at).mark is None and self.look(path).mark is not None:
                at, by_user = path, False  # the user moved it back
            key = moved.get(path, path) if file.owner == "user" else path
            if at == path and self._went_ahead(path, key):
                at = key or path
            if key is not None and key in rendered and key not in origins:
                origins[key] = Origin(file, at, by_user)
            else:
                gone[path] = Origin(file, at, by_user)
        return origins, gone

    def _went_ahead(self, path: PurePosixPath, key: PurePosixPath | None) -> bool:
        """Whether the user has already put a file where it is declared to move."""
        declared = key is not None and key == self.wanted.moved.get(path) != path
        return declared and self.look(path).mark is None and self.look(key or path).mark is not None

    def _template_moves(
        self, rendered: Mapping[PurePosixPath, Rendered]
    ) -> dict[PurePosixPath, PurePosixPath]:
        """Files that moved in the template without a migration that says so."""
        declared = set(self.wanted.moved.values())
        gone = {
            path: file
            for path, file in self.before.files.items()
            if path not in rendered and path not in self.wanted.moved
            if file.owner == "user" and not file.kept
        }
        fresh = {
            path: (f"{file.generator} {file.model}", file.content)
            for path, file in rendered.items()
            if path not in self.before.files and file.owner == "user" and path not in declared
        }
        if not (gone and fresh):
            return {}
        self.bases.load(file.blob for file in gone.values())
        known = {
            path: (f"{file.generator} {file.model}", self.bases.get(file.blob) or b"")
            for path, file in gone.items()
        }
        return moves.of_templates(known, fresh)
