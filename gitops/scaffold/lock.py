"""`.gitops/lock.yaml`: what was generated here, by what, out of which answers.

Each file's git blob id is the base of a later three-way merge: git itself keeps the content.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gitops import __version__, names
from gitops.errors import ConfigError, EvidenceError, GitopsError, Where
from gitops.scaffold import literals, paths

if TYPE_CHECKING:
    from gitops import yamlfile
    from gitops.scaffold.generator import Generator, Owner
    from gitops.scaffold.render import Rendered

PATH = PurePosixPath(".gitops/lock.yaml")

_HEADER = """\
# What gitops generated here, out of which answers. Commit it; don't edit it: it is how a later
# change of a template is told from a change of yours.
"""
_SECTION = re.compile(r"([a-z]+):(?: (.+))?")

# What JSON leaves as it is and YAML refuses or takes for a line end; and YAML 1.1 takes `1e-05`
# for text: its floats need a point.
_NOT_YAML = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
_NUMBERS = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?=e)')


@dataclass(frozen=True)
class GeneratorLock:
    """A generator that was used: `digest` of all its files, `source` where it came from.

    `source` is `shipped` or a folder, relative to the repository if it's inside. An overlay is
    vendored: `origin` is where it came from, `wanted` the branch, tag or commit that was asked for,
    `commit` what that was.
    """

    name: str
    digest: str
    source: str
    revision: int = 1
    origin: str | None = None
    wanted: str | None = None
    commit: str | None = None


@dataclass(frozen=True)
class FileLock:
    """A generated file: `blob` is the git blob id (40 hex digits) of what was generated.

    `model` is the added model that it belongs to; `kept`: what is there is the user's own, and
    never changed; `at`: where the user moved it.
    """

    owner: Owner
    generator: str
    blob: str
    executable: bool = False
    model: str | None = None
    kept: bool = False
    at: PurePosixPath | None = None


@dataclass(frozen=True)
class Lock:
    """All of `.gitops/lock.yaml`.

    `answers`: the context of the templates; `applied`: what gitops.yaml said at the last sync, as
    an overlay over the answers; `models`: the answers of added models; `files` by path.
    """

    tool: str
    generators: tuple[GeneratorLock, ...]
    answers: Mapping[str, object]
    files: Mapping[PurePosixPath, FileLock]
    applied: Mapping[str, object] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def blob(content: bytes) -> str:
    """The id that git gives a file: SHA-1 of `blob <size>\\0` and the content (gitformat-loose)."""
    head = b"blob %d\0" % len(content)
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()


def of(
    generators: Iterable[Generator], answers: Mapping[str, object], rendered: Iterable[Rendered]
) -> Lock:
    """The lock of what this version of the tool has just rendered."""
    return Lock(
        tool=__version__,
        generators=used(generators),
        answers=answers,
        files={r.path: entry(r) for r in rendered},
    )


def used(generators: Iterable[Generator]) -> tuple[GeneratorLock, ...]:
    """The lock of the generators themselves."""
    return tuple(GeneratorLock(g.name, g.digest, g.source, g.revision) for g in generators)


def entry(file: Rendered) -> FileLock:
    """The lock of a file that is there as it was rendered."""
    return FileLock(file.owner, file.generator, blob(file.content), file.executable, file.model)


def dump(lock: Lock) -> bytes:
    """The lock file: the same lock always gives the same bytes, files in the order of their paths.

    One line for each generator, answer, model and file, whose value is JSON: `read` is fast then.

    Raises:
        TypeError, ValueError: an answer isn't plain data.
    """
    lines = ["version: 1", f"tool: {_json(lock.tool)}"]
    lines.append("generators:" if lock.generators else "generators: []")
    lines += [f"  - {_json(_generator(one))}" for one in lock.generators]
    lines += _block("answers", lock.answers)
    if lock.applied:
        lines += _block("applied", lock.applied)
    if lock.models:
        lines += _block("models", dict(sorted(lock.models.items())))
    files = sorted((str(path), file) for path, file in lock.files.items())
    lines += _block("files", {path: _file(one) for path, one in files})
    return (_HEADER + "\n".join(lines) + "\n").encode()


def read(path: Path) -> Lock:
    """The lock in the file `path`.

    Raises:
        ConfigError: the file is missing, isn't YAML, names an unusable path (file and line), or was
            written by a newer gitops.
        EvidenceError: it isn't a scaffold lock (file and line).
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}",
            fix="git restore .gitops/lock.yaml; in a repository that never had one: gitops new .",
            where=Where(path),
        ) from error
    return parse(raw, path)


def parse(raw: bytes, path: Path) -> Lock:
    """As `read`, out of the bytes of the file; `path` is for errors."""
    return _quickly(raw) or _slowly(raw, path)


# ---------------------------------------------------------------- as `dump` writes it


def _quickly(raw: bytes) -> Lock | None:
    """The lock, if it's as `dump` writes it and right; None for anything else."""
    values: dict[str, str] = {}
    blocks: dict[str, list[str]] = {}
    block: list[str] = []
    try:
        for line in raw.decode().split("\n"):
            if line.startswith("  "):
                block.append(line)
            elif line and not line.startswith("#"):
                found = _SECTION.fullmatch(line)
                if found is None or found[1] in blocks:
                    return None
                block = blocks[found[1]] = []
                values[found[1]] = found[2] or ""
        if any(bool(values[name]) == bool(blocks[name]) for name in blocks):
            return None
        data = {name: _loaded(values[name] or _joined(blocks[name])) for name in blocks}
        _Content.model_validate(data)
        return None if _is_newer(data["tool"]) else _lock(data, lambda _: None)
    except (ValueError, RecursionError, GitopsError):
        return None  # not UTF-8 or JSON, a key twice, wrong, an unusable path


def _joined(lines: list[str]) -> str:
    if lines[0].startswith("  - "):
        return f"[{','.join(line.removeprefix('  - ') for line in lines)}]"
    return f"{{{','.join(lines)}}}"


def _loaded(text: str) -> Any:  # noqa: ANN401
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refused)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _refused(text: str) -> object:
    raise ValueError(f"{text} is no number")


class _Strict(BaseModel):
    """What the contract `scaffold-lock` says, once more: JSON Schema takes long for 5,000 files.

    Only the contract's errors are shown.
    """

    model_config = ConfigDict(strict=True, extra="forbid")


class _GeneratorEntry(_Strict):
    name: Annotated[str, Field(pattern=names.PATTERN)]
    source: Annotated[str, Field(min_length=1)]
    digest: Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]
    revision: Annotated[int, Field(ge=1)] = 1
    origin: Annotated[str, Field(min_length=1)] = "."
    wanted: Annotated[str, Field(min_length=1)] = "."
    commit: Annotated[str, Field(pattern="^[0-9a-f]{40}([0-9a-f]{24})?$")] = "0" * 40


class _FileEntry(_Strict):
    owner: Literal["tool", "user"]
    generator: Annotated[str, Field(min_length=1)]
    blob: Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
    executable: bool = False
    model: str = ""
    kept: bool = False
    at: Annotated[str, Field(min_length=1)] = "."


class _Content(_Strict):
    version: Annotated[int, Field(ge=1, le=1)]
    tool: Annotated[str, Field(min_length=1)]
    generators: list[_GeneratorEntry]
    answers: dict[str, Any]
    applied: dict[str, Any] = {}
    models: dict[Annotated[str, Field(pattern=names.PATTERN)], dict[str, Any]] = {}
    files: dict[str, _FileEntry]


# ---------------------------------------------------------------- as anybody may have left it


def _slowly(raw: bytes, path: Path) -> Lock:
    from gitops import contracts, yamlfile

    try:
        document = yamlfile.parse(raw, path)
    except ConfigError as error:
        error.fix = _mend(raw)
        raise
    data = document.data
    _refuse_newer(data, document)
    try:
        contracts.validate("scaffold-lock", data, Where(path))
    except EvidenceError as error:
        error.where = document.where(_place(error.message))
        raise
    return _lock(data, document.where)


def _mend(raw: bytes) -> str:
    if b"\n<<<<<<< " not in raw:
        return "git log -p .gitops/lock.yaml shows what it was: git restore it"
    return "take one side (git checkout --ours .gitops/lock.yaml), then gitops sync"


def _refuse_newer(data: Mapping[str, Any], document: yamlfile.Document) -> None:
    format_, tool = data.get("version"), data.get("tool")
    if isinstance(format_, int) and format_ > 1:
        place = "version"
    elif isinstance(tool, str) and _is_newer(tool):
        place = "tool"
    else:
        return
    raise ConfigError(
        f"written by gitops {tool}, which is newer than this one, {__version__}",
        fix=f"install gitops {tool}: .gitops/tool/requirements.txt names it",
        where=document.where((place,)),
    )


def _is_newer(tool: str) -> bool:
    """Whether `tool` is a version after ours; what is none counts as newer."""
    from packaging.version import Version

    try:
        return tool != __version__ and Version(tool) > Version(__version__)
    except ValueError:  # none, or of more digits than Python reads
        return True


def _lock(data: Mapping[str, Any], where: Callable[[tuple[str | int, ...]], Where | None]) -> Lock:
    """The lock of checked data; raises ConfigError for unusable paths, with `where` they stand."""
    files = {}
    for name, item in data["files"].items():
        file = dict(item)
        if "at" in file:
            file["at"] = paths.check(file["at"], where(("files", name, "at")))
        files[paths.check(name, where(("files", name)))] = FileLock(**file)
    return Lock(
        tool=data["tool"],
        generators=tuple(GeneratorLock(**item) for item in data["generators"]),
        answers=data["answers"],
        files=files,
        applied=data.get("applied", {}),
        models=data.get("models", {}),
    )


def _place(message: str) -> tuple[str | int, ...]:
    """The place in the document that a contract's error starts with, as `$.files['a.txt'].blob`."""
    steps = re.match(r"\$((?:\.\w+|\[\d+\]|\['(?:[^'\\]|\\.)*'\])*)", message)
    found = re.findall(r"\.(\w+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]", steps[1] if steps else "")
    return tuple(
        int(index) if index else key or quoted.replace("\\'", "'") for key, index, quoted in found
    )


# ---------------------------------------------------------------- writing


def _block(name: str, values: Mapping[str, object]) -> list[str]:
    if not values:
        return [f"{name}: {{}}"]
    return [f"{name}:", *(f"  {_json(key)}: {_json(value)}" for key, value in values.items())]


def _generator(one: GeneratorLock) -> dict[str, object]:
    found: dict[str, object] = {
        "name": one.name,
        "source": one.source,
        "digest": one.digest,
        "revision": one.revision,
    }
    pin = {"origin": one.origin, "wanted": one.wanted, "commit": one.commit}
    return found | {name: value for name, value in pin.items() if value is not None}


def _file(one: FileLock) -> dict[str, object]:
    found: dict[str, object] = {
        "owner": one.owner,
        "generator": one.generator,
        "blob": one.blob,
    }
    if one.executable:
        found["executable"] = True
    if one.model is not None:
        found["model"] = one.model
    if one.kept:
        found["kept"] = True
    if one.at is not None:
        found["at"] = str(one.at)
    return found


def _json(value: object) -> str:
    """JSON that is YAML too."""
    text = literals.as_json(value)
    text = _NOT_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return _NUMBERS.sub(
        lambda found: found[0] if found[0].startswith('"') else f"{found[0]}.0", text
    )
