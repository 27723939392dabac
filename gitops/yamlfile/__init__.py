"""YAML files: strict reading with positions, edits that change nothing else, writing our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops import whole
from gitops.errors import ConfigError, Where
from gitops.yamlfile import edits, nodes
from gitops.yamlfile.edits import REMOVE as REMOVE
from gitops.yamlfile.nodes import Place as Place


@dataclass(frozen=True)
class Document:
    """What a file says, and where it says it."""

    path: Path
    data: dict[str, Any]
    _top: nodes.Node

    def where(self, place: Place = (), *, key: bool = False) -> Where:
        """Where the value at `place` stands (with `key`: where its key does).

        For a place that the file doesn't have: the nearest value around it. Below an alias: where
        the value is written.
        """
        node = self._top
        for at, step in enumerate(place, 1):
            below = node.child(step)
            if below is None:
                break
            node = node.keys[step] if key and at == len(place) and step in node.keys else below
        return Where(self.path, node.line, node.column)


def read(path: Path) -> Document:
    """Read one mapping.

    Raises:
        ConfigError: the file is missing, unreadable, not UTF-8, or refused by `nodes.compose`.
    """
    return parse(_bytes(path), path)


def parse(raw: bytes, path: Path) -> Document:
    """One mapping from the bytes of a file; `path` names it. Raises as `read` does."""
    top = nodes.compose(_decoded(raw, path).removeprefix("\ufeff"), path)
    return Document(path, top.data, top)


def edit(path: Path, changes: Mapping[Place, object]) -> bool:
    """Set values (or `REMOVE` keys and items) in a user's file; return whether the file changed.

    Only the characters concerned change: comments, order, quotes, spacing, indentation and line
    ends stay. Missing mappings on the way are made; the index after a list's last item appends.
    The new file takes the old one's place in one step.

    Raises:
        ConfigError: the file cannot be read (as in `read`), has no such place, or is written in a
            way that the change cannot keep (below an alias, say).
    """
    text = _decoded(_bytes(path), path)
    changed = edits.apply(text, path, changes)
    if changed == text:
        return False
    whole.write(path.resolve(), changed)
    return True


def dump(data: Mapping[str, object], header: str = "") -> str:
    """A file of ours as text: keys in the order given, readable by YAML 1.1 and 1.2 alike.

    `header` becomes comment lines at the top.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    return "".join(f"{line}\n" for line in lines) + edits.block(data)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError("there's no such file", fix="write it", where=Where(path)) from error
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", fix="make it a readable file", where=Where(path)
        ) from error


def _decoded(raw: bytes, path: Path) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
        raise ConfigError(
            f"the byte 0x{raw[error.start]:02x} is not UTF-8",
            fix="save the file as UTF-8",
            where=Where(path, before.count(b"\n") + 1, column),
        ) from error
