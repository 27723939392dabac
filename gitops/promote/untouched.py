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

_FLOW = (b"deps: ", b"outs: ", b"params: ", b"stages: ")  # as DVC writes them, a line ends there
_PATHS = (b"path:", b"path :", b"path'", b'path"')
_WRAPPED = re.compile(rb"path:[^\n]*\n[^:\n]*(?:\n|\Z)")  # a text over several lines
_NOT_PLAIN = re.compile(rb"['\"\\{}\[\]&*!|>%@`?#]")


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
    if any(odd in lock for odd in (b"<<", b"\t", b"\r", b": \n")) or _WRAPPED.search(lock):
        return True
    lines = [line.lstrip(b" -") for line in lock.splitlines()]
    paths = [line[5:].strip().rstrip(b"/") for line in lines if line.startswith(b"path:")]
    if len(paths) != sum(map(lock.count, _PATHS)) or not all(paths):
        return True
    # Among the keys with something below them: the files of parameters.
    texts = {*paths, *(line[:-1] for line in lines if line.endswith(b":"))}
    if _NOT_PLAIN.search(b"\n".join(texts)) or any(line.startswith(_FLOW) for line in lines):
        return True
    found = {one.rpartition(b"/")[2] for one in texts}
    return bool(found & parts) or bool(found & {b".", b".."})
