"""What a repository should hold: its generators, answers and gitops.yaml -> files and lock.

Nothing here writes. `gitops new` writes all of it, `gitops sync` what differs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gitops import __version__, config, git, pipelines
from gitops.content import TOOL
from gitops.errors import ConfigError, GitopsError, Where
from gitops.scaffold import generator, infrastructure, migrate, paths, targets, usable, vendor
from gitops.scaffold import lock as locks
from gitops.scaffold import models as added
from gitops.scaffold import overlay as overlays
from gitops.scaffold.render import Rendered, render, tool_file

if TYPE_CHECKING:
    from gitops.config import Config, Storage
    from gitops.scaffold.generator import Generator
    from gitops.scaffold.lock import GeneratorLock, Lock

_SCHEMA = ".gitops/gitops.schema.json"


@dataclass(frozen=True)
class Desired:
    """Every generated file but the lock, and the lock as it is if all lie there as rendered.

    `moved`: where a file that was locked at a path belongs now; None: it's gone.
    """

    files: tuple[Rendered, ...]
    lock: Lock
    moved: Mapping[PurePosixPath, PurePosixPath | None]


def desired(
    root: Path,
    before: Lock,
    declared: Config,
    fresh: Mapping[str, Path] | None = None,
    *,
    repack: bool = False,
    ejected: bool = False,
) -> Desired:
    """What `before`, the repository's lock, and its gitops.yaml come to today.

    `fresh`: folders of overlays that aren't vendored yet as the lock has them, by name; `repack`:
    pack the tool anew; `ejected`: as if gitops had never been used.

    Raises:
        ConfigError: a generator is missing, wrong, altered or older than the lock; a template
            fails; a model's path has changed and its files are where they were.
        ToolError: the tool can't be packed.
    """
    generators = _generators(root, before, fresh or {})
    answers, models, moved = migrate.migrate(generators, before)
    folders = {name: model.path for name, model in declared.models.items()}
    moved |= added.moved(root, before.files, folders, moved)
    for one in generators:
        answers = {**one.answers, **answers}
    try:
        found = build(
            root,
            declared,
            generators,
            answers,
            models,
            applied=before.applied,
            tool_of=None if repack else before,
            ejected=ejected,
        )
    except ConfigError as error:
        if "is undefined" in error.message:
            error.fix = (
                f"if it is an answer that {locks.PATH} lost: git log -p {locks.PATH}; else mend"
                " the template"
            )
        raise
    pins = {used.name: used for used in before.generators if overlays.is_overlay(used)}
    used = tuple(pins.get(one.name, one) for one in found.lock.generators)
    return replace(found, moved=moved, lock=replace(found.lock, generators=used))


def build(
    root: Path,
    declared: Config,
    generators: Sequence[Generator],
    answers: Mapping[str, object],
    models: Mapping[str, Mapping[str, object]] | None = None,
    *,
    applied: Mapping[str, object] | None = None,
    tool_of: Lock | None = None,
    ejected: bool = False,
) -> Desired:
    """What generators make of answers and of gitops.yaml (`declared`) in the repository `root`.

    `models`: answers of added models; `applied`: what gitops.yaml said the last time (as it is in
    the lock); `tool_of`: a lock whose vendored tool can stay if it is of this version; `ejected`:
    as if gitops had never been used.

    Raises:
        ConfigError: a template fails, or two generators write one path.
        ToolError: the tool can't be packed.
    """
    overlay = _overlay(root, declared, {**answers, **(applied or {})})
    context = {**answers, **overlay} | ({"ejected": True} if ejected else {})
    # gitops.yaml comes from the answers alone: what the user changed in it is no template's change.
    files = list(render(generators, context, {config.FILE: answers}))
    folders = {name: model.path for name, model in declared.models.items()}
    # A model that was taken out of gitops.yaml goes, and its name is free again.
    models = {name: own for name, own in (models or {}).items() if name in folders}
    files += added.rendered(context, models, folders)
    files += infrastructure.rendered(declared)
    files += targets.rendered(declared)
    files += _vendored(root, tool_of)
    for one in generators:
        if one.source.startswith(overlays.FOLDER):
            files += overlays.vendored(one)
    files.append(tool_file(_SCHEMA, _schema_text()))
    files += [
        tool_file(path, text)
        for path, text in pipelines.render(declared, root, ejected=ejected)
        if _is_due(path, root, declared, answers, tool_of)
    ]
    lock = replace(locks.of(generators, answers, files), applied=overlay, models=models)
    if len(lock.files) < len(files):
        raise _twice(files)
    paths.check_distinct(lock.files)
    return Desired(tuple(sorted(files, key=lambda file: file.path)), lock, {})


def _is_due(
    path: str, root: Path, declared: Config, answers: Mapping[str, object], before: Lock | None
) -> bool:
    """Whether a pipeline is to be there: in an adopted repository once it would work, then always.

    One that lies there by hand counts as there, so that the lock knows whose it is.
    """
    known = before is not None and PurePosixPath(path) in before.files
    there = known or os.path.lexists(root / path)
    return "adopted" not in answers or there or not usable.lacks(root, declared)


def storage_url(storage: Storage, root: Path) -> str:
    """The absolute folder, or the URL as it is."""
    return str((root / storage.remote).resolve()) if storage.kind == "folder" else storage.remote


def _generators(root: Path, before: Lock, fresh: Mapping[str, Path]) -> tuple[Generator, ...]:
    """Those of the lock, as they are today, with what they require."""
    known = {used.name: used for used in before.generators}
    found = []
    for one in generator.compose(
        [fresh.get(used.name) or _source(root, used) for used in before.generators]
    ):
        used = known.get(one.name)
        if used is not None and used.revision > one.revision:
            raise ConfigError(
                f"generator {one.name} is at revision {one.revision}, but this repository was"
                f" generated by revision {used.revision}",
                fix="install the newer gitops, or bring the newer generator",
                where=Where(root / locks.PATH),
            )
        if used is not None and overlays.is_overlay(used):
            overlays.require_intact(one, used, root)
        found.append(replace(one, source=used.source) if used else one)
    return tuple(found)


def _source(root: Path, used: GeneratorLock) -> str | Path:
    """Where to load a generator of the lock from: its shipped name, or a folder."""
    return used.name if used.source == "shipped" else root / used.source


def _overlay(root: Path, declared: Config, last: Mapping[str, object]) -> dict[str, object]:
    storage = declared.storage
    # A folder's absolute place was right where it was set: another clone must not change it.
    same = storage.remote == last.get("storage") and "storage_url" in last
    return {
        "project": declared.project,
        "ci": list(declared.ci),
        "storage": storage.remote,
        "storage_url": last["storage_url"] if same else storage_url(storage, root),
        "storage_endpoint": storage.endpoint,
        "storage_account": storage.account,
    }


def _vendored(root: Path, before: Lock | None) -> list[Rendered]:
    """`.gitops/tool/`: as the lock knows it where it's this version's, since packing takes long."""
    known = {
        path: file.blob
        for path, file in (before.files.items() if before else ())
        if str(path.parent) == TOOL
    }
    if before is None or before.tool != __version__ or not known:
        return vendor.vendored()
    contents = {}
    for path, blob in known.items():
        at = root / path
        content = at.read_bytes() if at.is_file() else b""
        if locks.blob(content) == blob:
            contents[blob] = content
    lost = set(known.values()) - contents.keys()
    if lost:
        contents |= _from_history(root, lost)
    if set(known.values()) - contents.keys():
        return vendor.vendored()
    return [tool_file(str(path), contents[blob]) for path, blob in known.items()]


def _from_history(root: Path, blobs: Iterable[str]) -> dict[str, bytes]:
    try:
        return git.blobs(root, blobs)
    except GitopsError:
        return {}


def _schema_text() -> bytes:
    return (json.dumps(config.json_schema(), indent=2, ensure_ascii=False) + "\n").encode()


def _twice(files: Sequence[Rendered]) -> ConfigError:
    seen: dict[PurePosixPath, Rendered] = {}
    for file in files:
        other = seen.setdefault(file.path, file)
        if other is not file:
            break
    return ConfigError(
        f"{other.generator!r} and {file.generator!r} both write {file.path}",
        fix="take one of the two templates away, or move the model's folder",
    )
