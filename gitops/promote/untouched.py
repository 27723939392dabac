"""Models that surely are the same at two commits, told without reading their pipelines.

It may only confirm: whatever isn't certain is left to `closure.of`. Hundreds of models differ in a
few; to read all of their dvc.lock files would take longer than all the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from gitops import git
from gitops.config import Config
from gitops.git import Snapshot, graph

# dvc.lock as DVC writes it: in block style. Quotes, escapes, anchors and flow style aren't read.
_PLAIN = re.compile(rb"\Aschema: '2\.0'\nstages:\n[^'\"{}\[\]&*!|>%@`\\?#\t\r]*\Z")
# The last part of what a stage depends on or writes, and of the files that it has parameters of.
_NAMES = re.compile(rb"^ *(?:- )?(?:path: (?:.*/)?([^/\n]+)|(?:.*/)?([^/:\n]+):) *$", re.MULTILINE)


def models(at: Snapshot, proposed: Config, base: Snapshot, settings: Config) -> frozenset[str]:
    """Those whose code, data, parameters, lock and section are equal at both commits."""
    if at.tree == base.tree:
        return frozenset(proposed.models)
    changed = git.changed_paths(at.root, base.commit, at.commit)
    names = {part.encode() for path in changed for part in _parts(path)}
    alike = {
        name: model.path
        for name, model in proposed.models.items()
        if settings.models.get(name) == model
        and model.path != "."
        and not any(path.startswith(f"{model.path}/") for path in changed)
    }
    locks = {name: f"{at.commit}:{folder}/dvc.lock" for name, folder in alike.items()}
    texts = graph.contents(at.root, locks.values())
    return frozenset(
        name for name, lock in locks.items() if lock in texts and not _names(texts[lock], names)
    )


def _parts(path: str) -> Iterable[str]:
    """What a dependency on the path, on a folder around it or on its data could end with."""
    for part in PurePosixPath(path).parts:
        yield part
        yield part.removesuffix(".dvc")


def _names(lock: bytes, parts: set[bytes]) -> bool:
    """Whether a lock may depend on one of these; True where it isn't certain."""
    if not _PLAIN.match(lock):
        return True
    found = {one or other for one, other in _NAMES.findall(lock)}
    return bool(found & parts) or bool(found & {b".", b".."})
