"""YAML as a careful person writes it: what both emitters build their files from."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark
from ruamel.yaml.scalarstring import (
    DoubleQuotedScalarString,
    FoldedScalarString,
    LiteralScalarString,
)
from ruamel.yaml.tokens import CommentToken

Map = CommentedMap
List = CommentedSeq
_LONGEST = 100


def block(items: Iterable[tuple[str, object]] | Mapping[str, object]) -> Map:
    """A mapping with a line for each key, in this order; keys whose value is None are left out."""
    pairs = items.items() if isinstance(items, Mapping) else items
    return Map((key, value) for key, value in pairs if value is not None)


def flow(items: Mapping[str, object] | Iterable[object] = ()) -> Map | List:
    """A mapping or list on one line."""
    result = Map(items) if isinstance(items, Mapping) else List(items)
    result.fa.set_flow_style()
    return result


def nothing() -> Map:
    """`{}`."""
    result = Map()
    result.fa.set_flow_style()
    return result


def quoted(text: str) -> str:
    """A text that would else be read as a number."""
    found: str = DoubleQuotedScalarString(text)
    return found


def plain(value: str) -> str:
    """A text, quoted where it would else be read as a number."""
    return quoted(value) if re.fullmatch(r"[\d._]+", value) else value


def literal(text: str) -> str:
    """A text within an expression of either platform."""
    return "'" + text.replace("'", "''") + "'"


def script(text: str) -> str:
    """A command: several lines as a literal block."""
    found: str = LiteralScalarString(text) if "\n" in text else text
    return found


def joined(parts: Sequence[str]) -> str:
    """One text of `parts`; a long one has a line for each, which readers join by spaces again."""
    text = " ".join(parts)
    if len(text) <= _LONGEST:
        return text
    ends = accumulate((len(part) + 1 for part in parts[:-1]), initial=-1)
    folded = FoldedScalarString(text)
    folded.fold_pos = list(ends)[1:]
    found: str = folded
    return found


def beside(mapping: Map, key: str, text: str) -> None:
    """A comment at the end of the line, two spaces after the value (ruamel puts the first)."""
    mapping.ca.items[key] = [None, None, CommentToken(f" # {text}\n", CommentMark(0)), None]


def apart(collection: Map | List, keys: Iterable[str | int]) -> None:
    """An empty line before each of `keys`."""
    for key in keys:
        collection.yaml_set_comment_before_after_key(key, before="\n")


def dump(document: Map, header: str) -> str:
    """The file; `header` becomes comment lines at the top."""
    if header:
        document.yaml_set_start_comment(header)
    yaml = YAML()
    yaml.width = 4096  # never fold a command
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue()
