"""The paths that pipelines name, for questions about thousands of them.

dvc.lock and dvc.yaml are mostly written in one plain way, which is read line by line, thirty times
as fast as YAML. Whatever isn't plain is read as YAML.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from gitops import dvclock, yamlfile
from gitops.errors import ConfigError, EvidenceError
from gitops.git import Snapshot

_ODD = re.compile(r"""['"\\{}\[\]&*!|>%@`?\t\r]|: | #|<<|^\s|\s$|^$""")  # of a plain path
_FACTS = tuple(f"      {one}: " for one in ("hash", "md5", "size", "nfiles", "isexec"))
_WORDS = frozenset(("stages", "deps", "outs", "metrics", "plots", "params", "artifacts"))
_OTHER = frozenset(("vars", "wdir", "foreach", "matrix", "do", "cmd"))
_KEYS = re.compile(r"params: \[[\w, .-]*\]|cache: (?:false|true)|type: \w+|path: [\w./-]+")


@dataclass(frozen=True)
class Named:
    """Paths as seen from the top of the repository: all that are named, and the outputs."""

    paths: frozenset[str]
    outs: frozenset[str]


def read(at: Snapshot, folder: str, pipeline: bytes, lock: bytes | None) -> Named | None:
    """What the pipeline in `folder` names; `pipeline` and `lock` are its files of that commit.

    None where that isn't certain: a file can't be read, or a working folder is templated.
    """
    declared = _plain_pipeline(pipeline.decode("utf-8", "replace"))
    locked = _plain_lock((lock or b"").decode("utf-8", "replace"))
    if declared is None or locked is None:
        return _exact(at, folder, pipeline)
    outs = frozenset(join(folder, one) for one in locked["outs"])
    deps = {*declared, *locked["deps"], *locked["params"]}
    return Named(outs | {join(folder, one) for one in deps}, outs)


def join(folder: str, path: str) -> str:
    """`path`, which is written in a file of `folder`, as seen from the top."""
    return posixpath.normpath(path if folder == "." else f"{folder}/{path}")


def _plain_lock(text: str) -> dict[str, list[str]] | None:
    """The paths by section (a file of parameters is in `params`); None: not as DVC writes it."""
    found: dict[str, list[str]] = {"deps": [], "outs": [], "params": []}
    section = ""
    for line in text.split("\n"):
        path = None
        if line.startswith("      "):
            if section == "params":
                if line[6:7] in " -":
                    continue  # a value
                path = line[6:-1] if line.endswith(":") else ""
            elif section != "cmd" and not (section and line.startswith(_FACTS)):
                return None
        elif line.startswith("    - "):
            if section in ("deps", "outs"):
                path = line[12:] if line.startswith("    - path: ") else ""
            elif section != "cmd":
                return None
        elif line.startswith("    "):
            section, colon, rest = line[4:].partition(":")
            if not (section in found and not rest and colon) and section != "cmd":
                return None
        elif line.startswith("  ") and line.endswith(":"):
            section = ""
        elif line not in ("", "stages:", "schema: '2.0'"):
            return None
        if path is not None:
            known = _plain(path)
            if known is None:
                return None
            found[section].append(known)
    return found


def _plain_pipeline(text: str) -> list[str] | None:
    """Whatever may be a path, the names of stages too; None: not plain."""
    found = []
    for line in text.split("\n"):
        path = _of_line(line.lstrip())
        if path is None:
            return None
        if path:
            found.append(path)
    return found


@lru_cache(maxsize=10_000)  # pipelines are much alike
def _of_line(line: str) -> str | None:
    """What may be a path in a line of dvc.yaml ("": nothing); None: not plain."""
    item = line.removeprefix("- ")
    if not item or item[0] == "#" or item.startswith("cmd: ") or _KEYS.fullmatch(item):
        return ""
    if item[-1] != ":":
        # Without a dash it's a value that may be a path, or a text that goes on.
        return _plain(item) if item != line else None
    key = item[:-1]
    return "" if key in _WORDS else None if key in _OTHER else _plain(key)


@lru_cache(maxsize=10_000)
def _plain(path: str) -> str | None:
    """A path without its quotes; None: not plain."""
    if path[:1] == path[-1:] == '"' and len(path) > 1:
        path = path[1:-1]
    return None if _ODD.search(path) else path


def _exact(at: Snapshot, folder: str, pipeline: bytes) -> Named | None:
    try:
        lock = dvclock.read(at, folder)
        declared = yamlfile.parse(pipeline, Path(join(folder, "dvc.yaml"))).data
    except (ConfigError, EvidenceError):
        return None
    stages = declared.get("stages")
    plans = list(stages.values()) if isinstance(stages, dict) else []
    bodies = [one.get("do", one) for one in plans if isinstance(one, dict)]
    places = {str(one.get("wdir", ".")) for one in bodies if isinstance(one, dict)} | {"."}
    if any("${" in place for place in places):
        return None
    texts = {text for text in _texts(declared) if "${" not in text}
    paths = {join(join(folder, place), text) for place in places for text in texts}
    if lock is None:
        return Named(frozenset(paths), frozenset())
    params = {file for stage in lock.stages for file in stage.params}
    return Named(frozenset({*paths, *lock.deps, *lock.outs, *params}), frozenset(lock.outs))


def _texts(value: object) -> Iterator[str]:
    """All texts in a document that may be paths; `vars: [file.yaml:key]` names a file."""
    if isinstance(value, str):
        yield value
        if ":" in value:
            yield value.partition(":")[0]
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key not in _WORDS:
                yield str(key)
            yield from _texts(one)
