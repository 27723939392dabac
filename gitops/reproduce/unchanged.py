"""The fast path: prove in milliseconds that a build has nothing to do.

It may only confirm. After a build, and a clean `dvc status`, the state of everything that the model
depends on is written down; the next build compares. Whatever isn't certain goes to DVC.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gitops import __version__, dvc, sha256, whole

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


@dataclass(frozen=True)
class Note:
    """What a build wrote down: the model's folder, all models of gitops.yaml then, and the state.

    `pushed` is the remote that had everything, or empty.
    """

    folder: str
    models: tuple[str, ...]
    state: State
    pushed: str

    @property
    def lock(self) -> str:
        """SHA-256 of the model's dvc.lock: the key of its build record."""
        return self.state.files[(Path(self.folder) / "dvc.lock").as_posix()]


def remember(place: Path, note: Note) -> None:
    """Write `note` down."""
    whole.write(place, json.dumps({"tool": __version__, **asdict(note)}))


def recall(place: Path) -> Note | None:
    """What was written down; None if nothing (usable) was, or by another version of the tool."""
    try:
        known = json.loads(place.read_text("utf-8"))
        if known["tool"] != __version__:
            return None
        state = State(**known["state"])
        return Note(known["folder"], tuple(known["models"]), state, known["pushed"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def confirms(note: Note, root: Path, extra: tuple[str, ...], pushed: str) -> bool:
    """Whether nothing changed since `note`, and `pushed` (if it isn't empty) has it all.

    `extra` as of `observe`.
    """
    if pushed and note.pushed != pushed:
        return False
    now, then = observe(root, note.folder, extra), note.state
    if now is None or then.files != now.files or then.stamps.keys() != now.stamps.keys():
        return False
    return all(_same(root, path, then.stamps[path], stamp) for path, stamp in now.stamps.items())


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
        return sha256.of_file(path)
    except FileNotFoundError:
        return ""
