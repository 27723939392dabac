"""The fast path: prove in milliseconds that a build has nothing to do.

It may only confirm. After a build, and a clean `dvc status`, the state of everything that the model
depends on is written down; the next build compares. Whatever isn't certain goes to DVC.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops import __version__, dvc

# A file system may stamp two writes alike within its clock's grain: a file modified this shortly
# before it was looked at is compared by content, not by its stamp.
_RACY_NS = 2_000_000_000
_STAGE_KEYS = {"cmd", "deps", "outs", "params", "metrics", "plots", "desc", "meta"}


@dataclass(frozen=True)
class State:
    """What a model's build stands on: bytes of the small files, stamps of the large ones."""

    files: dict[str, str]
    stamps: dict[str, list[int | str]]


def observe(root: Path, folder: str, extra: tuple[str, ...]) -> State | None:
    """The present state, or None if the pipeline has something that only DVC can judge.

    `extra` are files (relative to `root`) whose bytes count beside the model's own.
    """
    base = root / folder
    pipeline, lock = base / "dvc.yaml", base / "dvc.lock"
    if not pipeline.is_file() or not lock.is_file():
        return None
    if any(set(stage) - _STAGE_KEYS for stage in _stages(pipeline)) or "vars" in dvc.read_yaml(
        pipeline
    ):
        return None
    small = {*extra, ".dvc/config", ".dvc/config.local", ".dvcignore"}
    small |= {
        (base / name).relative_to(root).as_posix()
        for name in ("dvc.yaml", "dvc.lock", "params.yaml")
    }
    large = set()
    for stage in _stages(lock):
        small |= {_relative(root, base, name) for name in stage.get("params") or {}}
        large |= {
            _relative(root, base, item["path"])
            for kind in ("deps", "outs")
            for item in stage.get(kind) or []
        }
    for path in list(large):
        source = Path(f"{path}.dvc")
        if (root / source).is_file():
            if dvc.read_yaml(root / source).get("deps"):
                return None
            small.add(source.as_posix())
    if any(not (root / path).exists() for path in large):
        return None
    now = time.time_ns()
    return State(
        {path: _digest(root / path) for path in sorted(small)},
        {path: stamp for top in sorted(large) for path, stamp in _stamps(root, top, now)},
    )


def remember(place: Path, state: State, pushed: str) -> None:
    """Write `state` down; `pushed` names the remote that has everything, or is empty."""
    place.parent.mkdir(parents=True, exist_ok=True)
    document = {"tool": __version__, "pushed": pushed, "files": state.files, "stamps": state.stamps}
    temporary = place.with_suffix(".tmp")
    temporary.write_text(json.dumps(document), "utf-8")
    temporary.replace(place)


def confirms(place: Path, root: Path, state: State, pushed: str) -> bool:
    """Whether what was written down says that nothing changed, and that `pushed` has it all."""
    try:
        known = json.loads(place.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    if known["tool"] != __version__ or (pushed and known["pushed"] != pushed):
        return False
    if known["files"] != state.files or known["stamps"].keys() != state.stamps.keys():
        return False
    return all(
        _same(root, path, stamp, state.stamps[path]) for path, stamp in known["stamps"].items()
    )


def _same(root: Path, path: str, known: list[int | str], now: list[int | str]) -> bool:
    if known[-1]:  # it was racy when written down: only its content tells
        return known[0] == now[0] and known[-1] == _digest(root / path)
    return known[:-1] == now[:-1]


def _stamps(root: Path, top: str, now: int) -> Iterator[tuple[str, list[int | str]]]:
    start = root / top
    if start.is_file():
        yield top, _stamp(start, now)
        return
    for folder, folders, files in os.walk(start):
        folders.sort()
        for name in sorted(files):
            path = Path(folder, name)
            yield path.relative_to(root).as_posix(), _stamp(path, now)


def _stamp(path: Path, now: int) -> list[int | str]:
    """Size, modification time, inode, and the content's digest where the time may deceive."""
    stat = path.stat()
    racy = now - stat.st_mtime_ns < _RACY_NS
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino, _digest(path) if racy else ""]


def _stages(file: Path) -> list[dict[str, Any]]:
    return list((dvc.read_yaml(file).get("stages") or {}).values())


def _relative(root: Path, base: Path, path: str) -> str:
    return Path(os.path.relpath(base / path, root)).as_posix()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
