"""A registered package by name, each byte held against what its version tag says."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops import config as configuration
from gitops import dvc, git, objects, signature
from gitops.config import Config
from gitops.errors import AnswerNo, EvidenceError, UsageError, Where
from gitops.git import graph, write
from gitops.promote import release, signatures, statement
from gitops.promote.closure import of as closure_of
from gitops.promote.closure import require_built
from gitops.promote.registry import Entry
from gitops.promote.world import SIGNERS, World
from gitops.version import Version


@dataclass(frozen=True)
class Chosen:
    """A version: its tag, its assignment (None: asked for by number), what its provenance says.

    `package` is the digest of the package (SHA-256 over its `sha256sum` lines), `files` the SHA-256
    of each file by the build record; empty where the remote has no such record.
    """

    model: str
    version: Version
    entry: Entry
    assignment: Entry | None
    package: str
    files: Mapping[str, str]


def choose(
    world: World, local: Config, model: str, environment: str | None, version: str | None
) -> Chosen:
    """What an environment runs, or a version; nothing is fetched yet.

    Raises:
        UsageError: there's no such model, environment or version.
        AnswerNo: nothing runs there; a signature that is required doesn't count.
        EvidenceError: the version's tag says nothing about its package.
    """
    known = world.registry.versions(model)
    if not known:
        names = ", ".join(sorted(one for one in world.registry.entries)) or "none"
        raise UsageError(f"no version of {model!r} is registered", fix=f"there are: {names}")
    assignment = None
    if version is not None:
        number = Version.parse(version)
        entry = known.get(number)
        if entry is None:
            raise UsageError(
                f"{model} has no version {number}", fix=f"it has {', '.join(map(str, known))}"
            )
        where = environment or local.environments[0].name
    else:
        where = local.environment(environment).name if environment else local.environments[-1].name
        assignment = world.registry.assigned(model, where)
        found = world.registry.version_of(assignment) if assignment else None
        if found is None:
            raise AnswerNo(
                f"no version of {model} runs in {where}",
                fix="gitops status shows what runs where; or name one with --version",
            )
        number, entry = found, known[found]
    told = _told(world, local, where, entry, assignment)
    files = _recorded(world, told)
    package = _package(told)
    if files and signature.package_digest(files) != package:
        raise EvidenceError(
            f"the build record of {entry.tag.name} has another package than the tag",
            fix="gitops log --verify names what was altered",
        )
    return Chosen(model, number, entry, assignment, package, files)


def _told(
    world: World, local: Config, environment: str, entry: Entry, assignment: Entry | None
) -> dict[str, Any]:
    """The provenance in the version's tag; where the environment has signers, from one of them."""
    needed = [(entry, local.environments[0].name)]
    needed += [(assignment, environment)] if assignment else []
    texts = write.tag_texts(world.root, [one.object for one, _ in needed])
    for one, where in needed:
        tip = world.refs.heads.get(local.environment(where).branch, "")
        allowed = graph.contents(world.root, [f"{tip}:{SIGNERS}"]).get(f"{tip}:{SIGNERS}")
        if allowed is None:
            continue
        signed = signatures.of(world.root, one, allowed)
        if signed.state != "good":
            raise AnswerNo(
                f"the tag {one.tag.name} doesn't count: {signed.why}",
                fix="gitops log --verify shows which tags do",
            )
    told = statement.of_version(texts.get(entry.object, ""), entry.tag.name)
    given = assignment and statement.of_stage(texts.get(assignment.object, ""), assignment.tag.name)
    if told and given and given["predicate"]["gitops"]["package"] != _package(told):
        raise EvidenceError(
            f"{assignment.tag.name if assignment else ''} was judged on another package than"
            f" {entry.tag.name} has",
            fix="gitops log --verify names what was altered",
        )
    if told is None or told["subject"][0]["name"] != entry.tag.name:
        raise EvidenceError(
            f"the tag {entry.tag.name} doesn't say what its package is",
            fix="fetch a version that `gitops promote` or `gitops build --register` has registered",
        )
    return told


def _package(told: Mapping[str, Any]) -> str:
    return str(told["subject"][0]["digest"]["sha256"])


def _recorded(world: World, told: Mapping[str, Any]) -> dict[str, str]:
    """The files of the package by the build record: they name the one that is wrong."""
    record = world.records.read(told["predicate"]["gitops"]["record"]) or {}
    outputs = record.get("outputs")
    for one in outputs if isinstance(outputs, list) else ():
        files = one.get("files") if isinstance(one, dict) else None
        if isinstance(files, dict) and files:
            return {str(path): str(digest) for path, digest in files.items()}
    return {}


def into(world: World, chosen: Chosen, target: Path) -> dict[str, str]:
    """Put the package at `target`, all of it or nothing; SHA-256 by path.

    Raises:
        EvidenceError: the stored bytes aren't those that were registered, or are nowhere.
        ToolError: the storage can't be reached.
    """
    commit = chosen.entry.commit
    at = git.snapshot(world.root, commit)
    closure = closure_of(at, configuration.load_at(world.root, commit), chosen.model)
    require_built(closure, at)
    path = release.package_path(closure)
    with tempfile.TemporaryDirectory(prefix="gitops-package-") as temporary:
        objects.lay_out(
            world.root, [dvc.Tracked(path, closure.package, None, None)], Path(temporary)
        )
        half = target.parent / f".{target.name}.{secrets.token_hex(4)}"
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            half.mkdir()
            _copy(Path(temporary) / path, half)
            files = digests(half)
            _require(chosen, files)
            half.replace(target)  # an empty folder gives way
        finally:
            shutil.rmtree(half, ignore_errors=True)
    return files


def _copy(source: Path, target: Path) -> None:
    for file in sorted(source.rglob("*")):
        if file.is_file():
            copy = target / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def _require(chosen: Chosen, files: Mapping[str, str]) -> None:
    """Raise EvidenceError unless these are the files that were registered."""
    if signature.package_digest(files) == chosen.package:
        return
    paths = sorted(chosen.files.keys() | files.keys())
    wrong = [one for one in paths if chosen.files.get(one) != files.get(one)]
    named = f": {', '.join(wrong[:5])}" if chosen.files and wrong else ""
    raise EvidenceError(
        f"the stored package isn't the one that {chosen.entry.tag.name} names{named}",
        fix="gitops log --verify names what was altered",
    )


def there(chosen: Chosen, target: Path) -> bool:
    """Whether `target` is this very package already.

    Raises:
        AnswerNo: it is something else, which stays as it is.
    """
    if not target.exists() and not target.is_symlink():
        return False
    if target.is_dir() and not target.is_symlink():
        if not any(target.iterdir()):
            return False
        if signature.package_digest(digests(target)) == chosen.package:
            return True
    raise AnswerNo(
        f"{target} is there, and isn't {chosen.model} {chosen.version}",
        fix="remove it, or name another folder with --out",
        where=Where(target),
    )


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of everything in a folder by its path; of what is no plain file, nothing."""
    return {
        one.relative_to(folder).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest()
        if one.is_file() and not one.is_symlink()
        else ""
        for one in sorted(folder.rglob("*"))
        if one.is_symlink() or not one.is_dir()
    }
