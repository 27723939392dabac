"""What differs between base and candidate, in short lines for a reviewer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from gitops import dvclock as locks
from gitops.package import Package
from gitops.signature import Signature
from gitops.validate.evidence.revisions import Side

_MOST = 15  # lines of one kind


def lines(
    base: Side | None,
    head: Side,
    paths: Mapping[str, tuple[int, int]],
    champion: Package | None,
    candidate: Package,
) -> tuple[str, ...]:
    """Data, parameters, code and package, in this order; values as `old -> new`.

    `paths` are the files that changed, with lines added and removed.
    """
    found: list[str] = []
    for several in (
        _data(base, head),
        _params(base, head),
        _code(head, paths),
        _package(champion, candidate),
    ):
        some = list(several)
        found += some[:_MOST]
        if len(some) > _MOST:
            found.append(f"... and {len(some) - _MOST} more of this kind")
    return tuple(found)


def _data(base: Side | None, head: Side) -> Iterator[str]:
    old = locks.sources(base.at, base.lock) if base and base.lock else {}
    new = locks.sources(head.at, head.lock) if head.lock else {}
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before is None and after:
            yield f"data {path}: added ({after.size:,} bytes)"
        elif after is None:
            yield f"data {path}: removed"
        elif before and before.md5 != after.md5:
            sizes = f"{before.size:,} -> {after.size:,} bytes"
            yield f"data {path}: {before.md5[:8]} -> {after.md5[:8]} ({sizes})"


def _params(base: Side | None, head: Side) -> Iterator[str]:
    if base is None or base.lock is None or head.lock is None:
        return
    old, new = (dict(_flat(side.lock.params)) for side in (base, head) if side.lock)
    for key in sorted(old.keys() | new.keys()):
        if old.get(key, ...) != new.get(key, ...):
            yield f"{key}: {_shown(old.get(key, ...))} -> {_shown(new.get(key, ...))}"


def _code(head: Side, paths: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    deps = set(head.lock.deps) if head.lock else set()
    params = {file for stage in head.lock.stages for file in stage.params} if head.lock else set()
    pipeline = (PurePosixPath(head.declared.path) / "dvc.yaml").as_posix()
    for path, (added, removed) in sorted(paths.items()):
        around = {one.as_posix() for one in PurePosixPath(path).parents}
        if path in params or path.endswith(".dvc"):
            continue
        if path == pipeline or path in deps or around & deps:
            yield f"code {path}: +{added} -{removed} lines"


def _package(champion: Package | None, candidate: Package) -> Iterator[str]:
    if champion is None:
        return
    if champion.digest == candidate.digest:
        yield "package: the same bytes as the champion's"
        return
    old, new = champion.signature, candidate.signature
    before, after = ({item.name: item for item in one.inputs} for one in (old, new))
    if added := [name for name in after if name not in before]:
        yield f"features added: {', '.join(added)}"
    if removed := [name for name in before if name not in after]:
        yield f"features removed: {', '.join(removed)}"
    for what in ("threshold", "classes"):
        one, other = getattr(old, what), getattr(new, what)
        if one != other:
            yield f"{what}: {_shown(one)} -> {_shown(other)}"
    if _framework(old) != _framework(new):
        yield f"framework: {_framework(old)} -> {_framework(new)}"
    if (rows := champion.reference["rows"]) != candidate.reference["rows"]:
        yield f"training rows: {rows:,} -> {candidate.reference['rows']:,}"


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested parameters by dotted key."""
    for key, value in data.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _framework(signature: Signature) -> str:
    one = signature.framework
    return f"{one.name} {one.version} on Python {one.python}"


def _shown(value: object) -> str:
    if value is ...:
        return "(none)"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
