"""dvc.lock and dvc.yaml of a commit, read without DVC and distrusted: a pull request wrote them."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from gitops import dvc, yamlfile
from gitops.errors import ConfigError, EvidenceError, Where
from gitops.git import Snapshot

_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Entry:
    """A dependency or an output: its path in the repository, and DVC's hash ("": another kind).

    `size` is in bytes (a folder's: all of its files), None if it isn't recorded. `kept` says where
    DVC keeps the bytes for others: in the remote; in git (`cache: false`); or nowhere
    (`push: false`, and imports from other repositories, which are fetched from there).
    """

    path: str
    md5: str
    size: int | None
    legacy: bool
    kept: Literal["remote", "git", "nowhere"] = "remote"

    @property
    def outside(self) -> bool:
        """Whether the path lies outside of the repository."""
        return self.path.startswith(("../", "/")) or "://" in self.path


@dataclass(frozen=True)
class Stage:
    """A stage as it ran. `params`: by file (its path in the repository) and key."""

    name: str
    command: object
    deps: tuple[Entry, ...]
    outs: tuple[Entry, ...]
    params: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Lock:
    """What a model's pipeline wrote by a commit, and the pipeline (`declared`) that is there."""

    path: str
    stages: tuple[Stage, ...]
    declared: Mapping[str, Any]

    @property
    def outs(self) -> dict[str, Entry]:
        return {one.path: one for stage in self.stages for one in stage.outs}

    @property
    def deps(self) -> dict[str, Entry]:
        return {one.path: one for stage in self.stages for one in stage.deps}

    @property
    def params(self) -> dict[str, Any]:
        """Values by `file: key`."""
        return {
            f"{file}: {key}": value
            for stage in self.stages
            for file, values in stage.params.items()
            for key, value in values.items()
        }

    def writer(self, path: str) -> Stage | None:
        """The stage that writes `path`."""
        return next((s for s in self.stages if path in [out.path for out in s.outs]), None)


def read(at: Snapshot, folder: str) -> Lock | None:
    """The lock of the model in `folder`; None if it was never built.

    Raises:
        ConfigError, EvidenceError: it can't be read, or isn't what DVC writes.
    """
    pipeline, path = _join(folder, "dvc.yaml"), _join(folder, "dvc.lock")
    if path not in at.files:
        return None
    key = (path, at.files[path], at.files.get(pipeline))
    if key not in _known:
        if len(_known) > _MANY:
            _known.clear()
        _known[key] = _read(at, folder, pipeline, path)
    return _known[key]


# Locks that were read before, by path and the ids of both files: most commits have the same.
_known: dict[tuple[str, str, str | None], Lock] = {}
_MANY = 2000


def _read(at: Snapshot, folder: str, pipeline: str, path: str) -> Lock:
    raw = at.read([pipeline, path])
    document = yamlfile.parse(raw[path], _named(at, path))
    declared: Any = {}
    if pipeline in raw:
        declared = yamlfile.parse(raw[pipeline], _named(at, pipeline)).data.get("stages")
    stages = document.data.get("stages")
    where = Where(_named(at, path))
    if not isinstance(stages, dict):
        raise EvidenceError("there are no stages", fix="gitops build", where=where)
    known = declared if isinstance(declared, dict) else {}
    try:
        found = tuple(_stage(name, one, _plan(known, name), folder) for name, one in stages.items())
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        message = f"not a lock as DVC writes it: {type(error).__name__}: {error}"
        raise EvidenceError(message, fix="gitops build", where=where) from error
    return Lock(path, found, known)


def sources(at: Snapshot, lock: Lock) -> dict[str, Entry]:
    """What `.dvc` files track (data), by path: that which the model's stages depend on."""
    wanted = {
        f"{top}.dvc"
        for path in lock.deps
        for top in (path, *(one.as_posix() for one in Path(path).parents))
    }
    return {one.path: one for one in _data(at, wanted)}


def everything(at: Snapshot) -> tuple[Entry, ...]:
    """All outputs of all dvc.lock and .dvc files of a commit, declared models' or not.

    Raises:
        ConfigError, EvidenceError: one of them can't be read.
    """
    folders = [posixpath.dirname(p) for p in at.files if posixpath.basename(p) == "dvc.lock"]
    locks = [lock for folder in folders if (lock := read(at, folder or "."))]
    outs = [out for lock in locks for stage in lock.stages for out in stage.outs]
    return (*outs, *_data(at, (path for path in at.files if path.endswith(".dvc"))))


def _data(at: Snapshot, files: Iterable[str]) -> Iterator[Entry]:
    """What these `.dvc` files track."""
    for file, raw in at.read(files).items():
        try:
            document = yamlfile.parse(raw, _named(at, file)).data
            imported = any("repo" in dep for dep in document.get("deps") or [])
            for out in document["outs"]:
                yield _entry(out, posixpath.dirname(file), "nowhere" if imported else _kept(out))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            message = f"not a .dvc file as DVC writes it: {error}"
            where = Where(_named(at, file))
            raise EvidenceError(message, fix="dvc add the data again", where=where) from error


def in_git(at: Snapshot, entry: Entry) -> bool:
    """Whether git has these very bytes at the entry's path."""
    return bool(entry.md5) and not entry.outside and not _changed(at, entry, {})


def stale(at: Snapshot, lock: Lock) -> tuple[str, ...]:
    """Why the lock isn't of this commit, in words: empty if its stages ran on what is committed.

    What only DVC can judge (templates, imports, folders with outputs in them) isn't looked at:
    `gitops build --check` does.
    """
    data, outs = sources(at, lock), lock.outs
    reasons = list(_undone(lock))
    for stage in lock.stages:
        plan = lock.declared.get(stage.name, {})
        if isinstance(plan, dict) and plan.get("frozen"):
            continue
        for dep in stage.deps:
            if text := _changed(at, dep, {**data, **outs}):
                reasons.append(f"{stage.name}: {dep.path} {text}")
        for out in stage.outs:
            if out.path in at.files and (text := _changed(at, out, {})):
                reasons.append(f"{stage.name}: {out.path} {text}")
        for file, values in stage.params.items():
            reasons += [f"{stage.name}: {text}" for text in _other_params(at, file, values)]
    return tuple(reasons)


def _undone(lock: Lock) -> Iterator[str]:
    """Stages that the pipeline has and the lock lacks, or that ran another command."""
    ran = {stage.name: stage for stage in lock.stages}
    for name, plan in lock.declared.items():
        if not isinstance(plan, dict) or {"foreach", "matrix"} & set(plan):
            continue
        if name not in ran:
            yield f"{name}: never ran"
            continue
        command = plan.get("cmd")
        if "${" not in str(command) and _words(command) != _words(ran[name].command):
            yield f"{name}: its command changed"
        known = {posixpath.basename(one.path) for one in ran[name].deps}
        deps = plan.get("deps")
        for dep in deps if isinstance(deps, list) else []:
            text = dep if isinstance(dep, str) else ""
            if (
                text
                and "${" not in text
                and posixpath.basename(posixpath.normpath(text)) not in known
            ):
                yield f"{name}: {text} is a new dependency"
    if lock.declared:
        for name in ran.keys() - lock.declared.keys():
            if "@" not in name:
                yield f"{name}: is no longer in dvc.yaml"


def _changed(at: Snapshot, dep: Entry, made: Mapping[str, Entry]) -> str:
    """How a dependency at this commit differs from what the stage read; empty if it doesn't."""
    if not dep.md5 or dep.outside:
        return ""
    if dep.path in made:
        return "" if made[dep.path].md5 == dep.md5 else "is another than was read"
    around = {one.as_posix() for one in Path(dep.path).parents}
    if around & made.keys() or any(path.startswith(f"{dep.path}/") for path in made):
        return ""
    if dep.path in at.files:
        raw = at.read([dep.path])[dep.path]
        same = _md5(raw) == dep.md5 or (dep.legacy and _md5(raw.replace(b"\r\n", b"\n")) == dep.md5)
        return "" if same else "changed"
    inside = [path for path in at.files if path.startswith(f"{dep.path}/")]
    if not inside:
        return "is not in the commit"
    patterns = at.read([".dvcignore"]).get(".dvcignore", b"").decode(errors="replace")
    inside = sorted(set(inside) - dvc.ignored(patterns, inside))
    files = {path.removeprefix(f"{dep.path}/"): _md5(raw) for path, raw in at.read(inside).items()}
    return "" if dvc.listing_md5(files) == dep.md5 else "changed"


def _other_params(at: Snapshot, file: str, values: Mapping[str, Any]) -> Iterator[str]:
    raw = at.read([file]).get(file)
    if raw is None:
        yield f"{file} is not in the commit"
        return
    now = _parameters(raw, file)
    if now is None:
        return
    for key, value in values.items():
        for name, found, old in _unequal(_at(now, key), value, key):
            yield f"{name} in {file} is {_short(found)}, not {_short(old)}"


def _unequal(now: object, old: object, key: str) -> Iterator[tuple[str, object, object]]:
    """Where two values differ, by dotted key."""
    if isinstance(now, dict) and isinstance(old, dict):
        for name in dict.fromkeys((*old, *now)):
            yield from _unequal(now.get(name), old.get(name), f"{key}.{name}")
    elif not _same(now, old):
        yield key, now, old


def _parameters(raw: bytes, file: str) -> dict[str, Any] | None:
    """The parameters of a file; None where we don't read it as DVC does."""
    try:
        if file.endswith((".yaml", ".yml")):
            return yamlfile.parse(raw, Path(file)).data
        if file.endswith(".toml"):
            return tomllib.loads(raw.decode())
        found = json.loads(raw) if file.endswith(".json") else None
    except (ConfigError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _at(data: object, key: str) -> object:
    """The value at a dotted key; None if there's none."""
    if isinstance(data, dict) and key in data:
        return data[key]
    for step in key.split("."):
        if isinstance(data, list) and step.isdigit() and int(step) < len(data):
            data = data[int(step)]
        else:
            data = data.get(step) if isinstance(data, dict) else None
    return data


def _same(one: object, other: object) -> bool:
    if one == other:
        return True
    try:  # DVC writes a time in its own way
        return datetime.fromisoformat(str(one)) == datetime.fromisoformat(str(other))
    except (ValueError, TypeError):
        return False


def _stage(name: str, found: Mapping[str, Any], plan: object, folder: str) -> Stage:
    where = plan.get("wdir") if isinstance(plan, dict) else None
    base = _join(folder, where) if isinstance(where, str) and "${" not in where else folder
    params = {
        _join(base, file): dict(values) for file, values in (found.get("params") or {}).items()
    }
    options = _options(plan)
    deps = tuple(_entry(one, base) for one in found.get("deps") or [])
    outs = tuple(
        _entry(one, base, _kept(options.get(one["path"], {}))) for one in found.get("outs") or []
    )
    return Stage(name, found.get("cmd"), deps, outs, params)


def _plan(declared: Mapping[str, Any], name: str) -> object:
    """A stage's declaration; of one among many (`foreach`, `matrix`), the one for all of them."""
    plan = declared.get(name)
    if plan is None and "@" in name:
        plan = declared.get(name.split("@")[0])
    return plan["do"] if isinstance(plan, dict) and "do" in plan else plan


def _options(plan: object) -> dict[str, Mapping[str, Any]]:
    """What a stage of dvc.yaml says about its outputs, by their path as it is written there."""
    found: dict[str, Mapping[str, Any]] = {}
    for kind in ("outs", "metrics", "plots"):
        listed = plan.get(kind) if isinstance(plan, dict) else None
        for out in listed if isinstance(listed, list) else []:
            if isinstance(out, dict):
                found.update({path: one for path, one in out.items() if isinstance(one, dict)})
    return found


def _kept(options: Mapping[str, Any]) -> Literal["remote", "git", "nowhere"]:
    if options.get("cache") is False:
        return "git"
    return "nowhere" if options.get("push") is False else "remote"


def _entry(
    found: Mapping[str, Any], base: str, kept: Literal["remote", "git", "nowhere"] = "remote"
) -> Entry:
    path, md5, size = found["path"], found.get("md5", ""), found.get("size")
    if not isinstance(path, str) or not isinstance(md5, str) or not isinstance(size, int | None):
        raise ValueError(f"{path!r} has the hash {md5!r} and the size {size!r}")
    if md5 and not _MD5.fullmatch(md5):
        raise ValueError(f"{path!r} has the hash {md5!r}")
    path = path if "://" in path else _join(base, path)
    return Entry(path, md5, size, "hash" not in found, kept)


def _join(folder: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder, path))


def _named(at: Snapshot, path: str) -> Path:
    return Path(f"{at.commit[:12]}:{path}")


def _md5(raw: bytes) -> str:
    return hashlib.md5(raw, usedforsecurity=False).hexdigest()


def _words(command: object) -> str:
    lines = command if isinstance(command, list) else [command]
    return " ".join(" ".join(str(line).split()) for line in lines)


def _short(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def names_output(lock: bytes, path: str) -> bool:
    """Whether a dvc.lock may record the output `path`, told from its text by the last name alone.

    A stage that works elsewhere (`wdir`) writes the rest of the path in its own way.
    """
    last = re.escape(path.rpartition("/")[2].encode())
    return bool(re.search(rb"path: ['\"]?(?:.*/)?" + last + rb"['\"]?\s*$", lock, re.MULTILINE))
