"""`.gitops/lock.yaml`: what was generated here, by what, out of which answers.

Each file's git blob id is the base of a later three-way merge: git itself keeps the content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gitops import __version__
from gitops.errors import EvidenceError, Where
from gitops.scaffold import paths
from gitops.scaffold.literals import as_yaml

if TYPE_CHECKING:
    from gitops.scaffold.generator import Generator, Owner
    from gitops.scaffold.render import Rendered

PATH = PurePosixPath(".gitops/lock.yaml")

_HEADER = """\
# What gitops generated here, out of which answers. Commit it; don't edit it: it is how a later
# change of a template is told from a change of yours.
"""


@dataclass(frozen=True)
class GeneratorLock:
    """A generator that was used: `digest` of all its files, `source` where it came from."""

    name: str
    digest: str
    source: str


@dataclass(frozen=True)
class FileLock:
    """A generated file: `blob` is the git blob id (40 hex digits) of what was generated."""

    owner: Owner
    generator: str
    blob: str


@dataclass(frozen=True)
class Lock:
    """All of `.gitops/lock.yaml`; `files` by path, `answers` the context of the templates."""

    tool: str
    generators: tuple[GeneratorLock, ...]
    answers: Mapping[str, object]
    files: Mapping[PurePosixPath, FileLock]


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
        generators=tuple(GeneratorLock(g.name, g.digest, g.source) for g in generators),
        answers=answers,
        files={r.path: FileLock(r.owner, r.generator, blob(r.content)) for r in rendered},
    )


def write(
    generators: Iterable[Generator], answers: Mapping[str, object], rendered: Iterable[Rendered]
) -> bytes:
    """The lock file of what was just rendered; see `dump`."""
    return dump(of(generators, answers, rendered))


def dump(lock: Lock) -> bytes:
    """The lock file: the same lock always gives the same bytes, files in the order of their paths.

    Raises:
        TypeError, ValueError: an answer isn't plain data.
    """
    lines = ["version: 1", f"tool: {as_yaml(lock.tool)}"]
    lines.append("generators:" if lock.generators else "generators: []")
    for used in lock.generators:
        item = {"name": used.name, "source": used.source, "digest": used.digest}
        lines.append(f"  - {as_yaml(item)}")
    lines.append("answers:" if lock.answers else "answers: {}")
    lines += _block(lock.answers)
    lines.append("files:" if lock.files else "files: {}")
    for path, file in sorted(lock.files.items()):
        entry = f'owner: {file.owner}, generator: {as_yaml(file.generator)}, blob: "{file.blob}"'
        lines.append(f"  {as_yaml(str(path))}: {{{entry}}}")
    return (_HEADER + "\n".join(lines) + "\n").encode()


def read(path: Path) -> Lock:
    """The lock in the file `path`.

    Raises:
        ConfigError: the file is missing, isn't YAML, or names an unusable path (file and line).
        EvidenceError: it isn't a scaffold lock (file and line).
    """
    from gitops import contracts, yamlfile

    document = yamlfile.read(path)
    data = document.data
    try:
        contracts.validate("scaffold-lock", data, Where(path))
    except EvidenceError as error:
        error.where = document.where(_place(error.message))
        raise
    return Lock(
        tool=data["tool"],
        generators=tuple(GeneratorLock(**item) for item in data["generators"]),
        answers=data["answers"],
        files={
            paths.check(name, document.where(("files", name))): FileLock(**entry)
            for name, entry in data["files"].items()
        },
    )


def _place(message: str) -> tuple[str | int, ...]:
    """The place in the document that a contract's error starts with, as `$.files['a.txt'].blob`."""
    steps = re.match(r"\$((?:\.\w+|\[\d+\]|\['(?:[^'\\]|\\.)*'\])*)", message)
    found = re.findall(r"\.(\w+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]", steps[1] if steps else "")
    return tuple(int(index) if index else key or quoted for key, index, quoted in found)


def _block(answers: Mapping[str, object]) -> list[str]:
    """One line for each answer, and one for each item of a list of mappings."""
    lines = []
    for name, value in answers.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            lines.append(f"  {as_yaml(name)}:")
            lines += [f"    - {as_yaml(item)}" for item in value]
        else:
            lines.append(f"  {as_yaml(name)}: {as_yaml(value)}")
    return lines
