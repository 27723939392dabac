"""A model's version: which number, by what changed, and the provenance that its tag carries."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gitops import dvc, git, objects, sha256, signature, version
from gitops.errors import EvidenceError, UsageError
from gitops.git import write
from gitops.git.remote import Update
from gitops.promote import records, statement, tags
from gitops.promote.closure import Closure, require_built
from gitops.promote.world import World, closure_at, revision
from gitops.version import Bump, Version

# The build record of a model by the SHA-256 of its dvc.lock; None if it wasn't built here.
Builds = Callable[[str, str], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Release:
    """A version that isn't registered yet: its tag, and the build record to keep."""

    model: str
    version: Version
    bump: str
    package: str
    builder: str
    tag: Update
    record: tuple[str, Mapping[str, Any]]


def prepare(
    world: World,
    at: git.Snapshot,
    closure: Closure,
    builds: Builds,
    wanted: Version | Bump | None = None,
) -> Release:
    """The next version of a model at a commit of the remote; nothing is pushed yet.

    `wanted` overrides the number, or which part of it goes up.

    Raises:
        EvidenceError: it wasn't built, or this clone has no build record; the package isn't the one
            that was built.
        UsageError: the version exists.
    """
    require_built(closure, at)
    build = builds(closure.model, closure.lock)
    if build is None:
        raise EvidenceError(
            f"{closure.model} at {at.commit[:12]} has no version, and this clone has no record of"
            " its build",
            fix=f"gitops build {closure.model} here (it restores what was built elsewhere), or"
            " `gitops build --register` where it was built",
        )
    files, schema = _package(world.root, closure)
    recorded = _recorded(build, closure)
    if recorded != files:
        raise EvidenceError(
            f"the package of {closure.model} isn't the one that its build record has",
            fix=f"gitops build {closure.model}",
        )
    version, why = next_version(world, at, closure, schema, wanted)
    digest = signature.package_digest(files)
    path = records.build_path(at.tree, closure.model)
    document = statement.provenance(
        model=closure.model,
        version=version,
        at=revision(at),
        repository=statement.repository_uri(world.url),
        build=build,
        package=digest,
        closure=closure.digest,
        schema=schema,
        bump=why,
        record=path,
    )
    name = tags.version_tag(closure.model, version)
    text = statement.message(f"{closure.model} {version}: {why}", document)
    made = write.tag(world.root, name, at.commit, text, sign=write.signs(world.root))
    return Release(
        closure.model,
        version,
        why,
        digest,
        build["builder"]["kind"],
        Update(f"refs/tags/{name}", None, made),
        (path, build),
    )


def next_version(
    world: World,
    at: git.Snapshot,
    closure: Closure,
    schema: str,
    wanted: Version | Bump | None,
) -> tuple[Version, str]:
    """The number, and why: other inputs or classes are major, other data or code minor, the same
    recipe trained again is a patch. What is compared is the highest version.

    Raises:
        UsageError: `wanted` exists already.
    """
    known = world.registry.versions(closure.model)
    if isinstance(wanted, Version):
        if tags.version_tag(closure.model, wanted) in world.registry.taken:
            raise UsageError(
                f"{tags.version_tag(closure.model, wanted)} exists already",
                fix="name a higher one: git ls-remote --tags lists them",
            )
        return wanted, "as asked"
    name = closure.model
    if not known:
        free = tags.version_tag(name, version.FIRST) not in world.registry.taken
        first = version.FIRST if free else world.registry.next_version(name, version.FIRST, "minor")
        return first, "the first version"
    last = max(known)
    if wanted is not None:
        return world.registry.next_version(name, last, wanted), f"{wanted}, as asked"
    bump, why = _compared(world, known[last].commit, known[last].object, closure, schema)
    return world.registry.next_version(name, last, bump), f"{bump}: {why}"


def _compared(
    world: World, commit: str, object: str, closure: Closure, schema: str
) -> tuple[Bump, str]:
    """What changed since a version."""
    text = write.tag_texts(world.root, [object]).get(object, "")
    told = statement.of_version(text, "")
    if told is None:
        return "minor", "what the last version took isn't known"
    if told["predicate"]["gitops"]["schema"] != schema:
        return "major", "other inputs or classes"
    before = closure_at(world, commit, closure.model)
    if before is None:
        return "minor", "the model has moved"
    old = before.recipe
    new = closure.recipe
    changed = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    if not changed:
        return "patch", "the same recipe, built again"
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return "minor", f"{', '.join(changed[:3])}{more} changed"


def package_path(closure: Closure) -> str:
    """Where the package lies in the repository."""
    return (PurePosixPath(closure.declared.path) / closure.declared.package).as_posix()


def _package(root: Path, closure: Closure) -> tuple[dict[str, str], str]:
    """SHA-256 of the package's files by path, and the digest of what it takes and gives.

    Raises:
        EvidenceError: it's nowhere, altered, or its signature breaks the contract.
    """
    path = package_path(closure)
    with tempfile.TemporaryDirectory(prefix="gitops-package-") as temporary:
        folder = Path(temporary)
        objects.lay_out(root, [dvc.Tracked(path, closure.package, None, None)], folder)
        top = folder / path
        files = sha256.of_files(top)
        return files, schema_digest(signature.read(top / "signature.json"))


def schema_digest(found: signature.Signature) -> str:
    """SHA-256 over task, inputs (name, type, whether values may be missing) and classes."""
    inputs = [[one.name, one.type, one.nullable] for one in found.inputs]
    text = json.dumps([found.task, inputs, found.classes], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _recorded(build: Mapping[str, Any], closure: Closure) -> Mapping[str, str]:
    path = package_path(closure)
    for one in build["outputs"]:
        if one["path"] == path and one["md5"] == closure.package:
            return dict(one.get("files", {}))
    return {}
