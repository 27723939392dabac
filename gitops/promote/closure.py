"""What makes a model at a commit: code, data, parameters, dvc.lock, its section of gitops.yaml."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from gitops import dvclock
from gitops.config import FILE as SECTION
from gitops.config import Config, Model
from gitops.dvclock import Entry, Lock
from gitops.errors import EvidenceError, Where
from gitops.git import Snapshot


@dataclass(frozen=True)
class Closure:
    """A model at a commit.

    `parts` maps each path in git to its blob's id, tracked data to DVC's hash, and `gitops.yaml` to
    the SHA-256 of the model's section. `files` are the paths in git. `package` and `evaluation` are
    DVC's hashes of what was built ("": nothing). `lock` is the SHA-256 of dvc.lock.
    """

    model: str
    declared: Model
    parts: Mapping[str, str]
    files: tuple[str, ...]
    package: str
    evaluation: str
    lock: str

    @property
    def digest(self) -> str:
        """SHA-256 over all parts, as sorted lines `path<TAB>hash`."""
        lines = "".join(f"{path}\t{one}\n" for path, one in sorted(self.parts.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def recipe(self) -> dict[str, str]:
        """The parts that building reads: without what it writes into git."""
        folder = PurePosixPath(self.declared.path)
        written = {(folder / "dvc.lock").as_posix(), (folder / self.declared.metrics).as_posix()}
        return {path: one for path, one in self.parts.items() if path not in written}


def of(at: Snapshot, config: Config, model: str) -> Closure:
    """The closure of `model` at a commit.

    Raises:
        UsageError: there's no such model.
        ConfigError, EvidenceError: its dvc.yaml or dvc.lock can't be read.
    """
    _, declared = config.model(model)
    lock = dvclock.read(at, declared.path)
    paths = _paths(at, declared, lock)
    parts = {path: at.files[path] for path in paths}
    if lock is not None:
        data = dvclock.sources(at, lock)
        parts |= {f"{path} (data)": one.md5 for path, one in data.items()}
    section = json.dumps(declared.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    parts[SECTION] = hashlib.sha256(section.encode()).hexdigest()
    outs = lock.outs if lock is not None else {}
    return Closure(
        model,
        declared,
        parts,
        files=tuple(sorted(paths)),
        package=_md5(outs, declared, declared.package),
        evaluation=_md5(outs, declared, declared.evaluation),
        lock=_lock_digest(at, declared),
    )


def _paths(at: Snapshot, declared: Model, lock: Lock | None) -> set[str]:
    folder = PurePosixPath(declared.path)
    wanted = {
        (folder / name).as_posix()
        for name in ("dvc.yaml", "dvc.lock", "params.yaml", declared.metrics)
    }
    if lock is not None:
        wanted |= {file for stage in lock.stages for file in stage.params}
        wanted |= {dep for dep in lock.deps if dep in at.files}
        folders = tuple(f"{dep}/" for dep in lock.deps if dep not in at.files)
        wanted |= {path for path in at.files if path.startswith(folders)} if folders else set()
        wanted |= {f"{path}.dvc" for path in dvclock.sources(at, lock)}
    if declared.path != ".":
        wanted |= {path for path in at.files if path.startswith(f"{declared.path}/")}
    return wanted & at.files.keys()


def _md5(outs: Mapping[str, Entry], declared: Model, path: str) -> str:
    found = outs.get((PurePosixPath(declared.path) / path).as_posix())
    return found.md5 if found else ""


def _lock_digest(at: Snapshot, declared: Model) -> str:
    path = (PurePosixPath(declared.path) / "dvc.lock").as_posix()
    raw = at.read([path]).get(path)
    return hashlib.sha256(raw).hexdigest() if raw is not None else ""


def require_built(one: Closure, at: Snapshot) -> None:
    """Raise EvidenceError if the commit has no package of the model."""
    if not one.package or not one.evaluation:
        raise EvidenceError(
            f"model {one.model} was never built at {at.commit[:12]}",
            fix=f"gitops build {one.model}, then commit dvc.lock and push",
            where=Where(f"{at.commit[:12]}:{(PurePosixPath(one.declared.path) / 'dvc.lock')}"),
        )
