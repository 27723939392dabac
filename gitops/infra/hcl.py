"""Terraform's files, read by python-hcl2 (extra `infra`) into plain values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gitops.errors import ConfigError, ToolError, Where

_META = ("__is_block__", "__comments__", "__inline_comments__")
_HEADER = re.compile(r'^([a-z]\w*)((?:\s+"[^"]*")*)\s*\{', re.MULTILINE)
_QUOTED = re.compile(r'"(.*)"', re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block: its kind (`resource`, `data`, `network_rules`...), labels, and what is in it.

    `arguments` are values as python-hcl2 gives them; expressions are texts with `${}` around them.
    `where` is the line of the outermost block.
    """

    kind: str
    labels: tuple[str, ...]
    arguments: Mapping[str, Any]
    blocks: tuple[Block, ...]
    where: Where


def installed() -> bool:
    """Whether files can be read."""
    from importlib.util import find_spec

    return find_spec("hcl2") is not None


def read(path: Path) -> tuple[Block, ...]:
    """The blocks of a file.

    Raises:
        ConfigError: it isn't HCL; the message names the line.
        ToolError: python-hcl2 isn't installed.
    """
    try:
        import hcl2
    except ImportError as error:
        raise ToolError(
            "python-hcl2 isn't installed", fix="uv pip install 'gitops-ml[infra]'"
        ) from error
    from lark.exceptions import LarkError

    try:
        text = path.read_text("utf-8")
        data = hcl2.loads(
            text, serialization_options=hcl2.SerializationOptions(with_comments=False)
        )
    except (LarkError, UnicodeDecodeError, ValueError) as error:
        line = getattr(error, "line", None)
        said = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"this isn't HCL: {said}",
            fix="correct it; terraform fmt names the place too",
            where=Where(path, line if isinstance(line, int) and line > 0 else None),
        ) from error
    places = {
        (one[1], *re.findall(r'"([^"]*)"', one[2])): Where(
            path, text.count("\n", 0, one.start()) + 1
        )
        for one in _HEADER.finditer(text)
    }
    return tuple(
        replace(one, where=where, blocks=tuple(_placed(inner, where) for inner in one.blocks))
        for one in _blocks(data, path)
        for where in [places.get((one.kind, *one.labels), one.where)]
    )


def _placed(block: Block, where: Where) -> Block:
    inner = tuple(_placed(one, where) for one in block.blocks)
    return replace(block, where=where, blocks=inner)


def _blocks(data: Mapping[str, Any], path: Path) -> Iterator[Block]:
    for kind, found in data.items():
        for item in found if isinstance(found, list) else ():
            if isinstance(item, dict):
                yield from _block(kind, (), item, path)


def _block(
    kind: str, labels: tuple[str, ...], item: Mapping[str, Any], path: Path
) -> Iterator[Block]:
    """Labels are levels of mappings; what is marked is the block."""
    if not item.get("__is_block__"):
        for label, inner in item.items():
            if isinstance(inner, dict):
                yield from _block(kind, (*labels, unquoted(label)), inner, path)
        return
    inside = {key: value for key, value in item.items() if key not in _META}
    nested = {key: value for key, value in inside.items() if _is_blocks(value)}
    yield Block(
        kind,
        labels,
        {key: value for key, value in inside.items() if key not in nested},
        tuple(_blocks(nested, path)),
        Where(path),
    )


def _is_blocks(value: object) -> bool:
    return isinstance(value, list) and any(_holds_block(one) for one in value)


def _holds_block(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    return bool(value.get("__is_block__")) or any(_holds_block(one) for one in value.values())


def unquoted(text: object) -> str:
    """A text without HCL's quotes."""
    found = _QUOTED.fullmatch(str(text))
    return found[1] if found else str(text)


def texts(value: object) -> Iterator[str]:
    """Every text in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(key)
            yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)
