"""A YAML text as a tree of nodes that know their place in it.

Built from the parser's events, not by PyYAML's composer: that one crashes Python on a deeply nested
file, takes the last of two equal keys, and reads YAML 1.1. Plain scalars are read by the core
schema of YAML 1.2.2 (section 10.3.2), as editors do: `no` and `on` are text, 1e-6 is a number.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from gitops.errors import ConfigError, Where

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Event = Any  # PyYAML's events; their attributes have no types
_DEPTH = 64
_DIGITS = 4300
# Nodes after aliases are expanded; nine levels of nine aliases are 400 million.
_EXPANDED = 1_000_000

_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


Place = tuple[str | int, ...]
"""Keys and list indexes from the top: `("environments", 0, "name")`."""


@dataclass(slots=True)
class Node:
    """A scalar, mapping or list, from `start` to `end` (offsets; `line` and `column` from 1).

    A collection in block style ends where its last scalar ends: what follows is not part of it.
    """

    kind: Literal["scalar", "map", "list"]
    flow: bool
    start: int
    line: int
    column: int
    end: int
    data: Any = None
    keys: dict[str, Node] = field(default_factory=dict)  # of a mapping, as they stand there
    items: list[Node] = field(default_factory=list)  # the values, in the order of the keys
    size: int = 1  # nodes below and with this one, aliases expanded

    def child(self, step: str | int) -> Node | None:
        """The value at a key or an index, if there's one."""
        if isinstance(step, str):
            return self.items[list(self.keys).index(step)] if step in self.keys else None
        return self.items[step] if self.kind == "list" and 0 <= step < len(self.items) else None


def compose(text: str, path: Path) -> Node:
    """The top mapping of a text; `path` is for errors.

    Raises:
        ConfigError: a syntax error or a tab, no or several documents, a top that isn't a mapping, a
            key twice or one that isn't text, a tag, a number that isn't finite, an alias that is
            unknown, recursive or expands without bound, or too deep a nesting.
    """
    composer = _Composer(text, path)
    try:
        return composer.document()
    except yaml.YAMLError as error:
        raise composer.syntax(error) from error


class _Composer:
    def __init__(self, text: str, path: Path) -> None:
        self.text = text
        self.path = path
        self.events = yaml.parse(text, Loader=_LOADER)
        self.anchors: dict[str, Node] = {}
        self.depth = 0

    def document(self) -> Node:
        next(self.events)  # the start of the stream
        if isinstance(next(self.events), yaml.StreamEndEvent):
            raise self.error(None, "the file is empty", "write `key: value` lines")
        first = next(self.events)
        node = self.node(first)
        next(self.events)  # the end of the document
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self.error(after, "a second document starts here", "keep one, without ---")
        if node.kind != "map":
            raise self.error(first, "the file is not a mapping", "write `key: value` lines")
        return node

    def node(self, event: Event) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        if event.tag is not None:
            raise self.error(event, f"the tag {event.tag} is not read", "remove it; quote a text")
        if isinstance(event, yaml.ScalarEvent):
            node = self.scalar(event)
        elif self.depth == _DEPTH:
            raise self.error(event, f"nested deeper than {_DEPTH} levels", "flatten it")
        else:
            self.depth += 1
            node = self.collection(event)
            self.depth -= 1
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def scalar(self, event: Event) -> Node:
        mark, end = event.start_mark, event.end_mark.index
        if event.style in ("|", ">"):  # its mark is at the next token
            end = mark.index + len(self.text[mark.index : end].rstrip())
        data = event.value if event.style else self.plain(event)
        return Node("scalar", True, mark.index, mark.line + 1, mark.column + 1, end, data)

    def plain(self, event: Event) -> object:
        word = event.value
        if word in _WORDS:
            return _WORDS[word]
        if _INTEGER.fullmatch(word):
            # Python refuses to read thousands of digits; nor would a float hold them.
            if len(word) <= _DIGITS:
                return int(word, 0) if word[:2] in ("0o", "0x") else int(word)
        elif not (_FLOAT.fullmatch(word) or _NOT_FINITE.fullmatch(word)):
            return word
        elif math.isfinite(number := float(_NOT_FINITE.sub("inf", word))):
            return number
        raise self.error(event, f"{word[:20]} is not a finite number", "write one, or quote a text")

    def collection(self, event: Event) -> Node:
        mark, flow = event.start_mark, bool(event.flow_style)
        is_map = isinstance(event, yaml.MappingStartEvent)
        node = Node(
            "map" if is_map else "list",
            flow,
            mark.index,
            mark.line + 1,
            mark.column + 1,
            mark.index,
        )
        end: Event = next(self.events)
        while type(end) not in (yaml.MappingEndEvent, yaml.SequenceEndEvent):
            if is_map:
                self.take_key(node, end)
            item = self.node(next(self.events) if is_map else end)
            node.items.append(item)
            node.size += item.size
            if node.size > _EXPANDED:
                raise self.error(end, "its aliases expand without bound", "write the values out")
            node.end = item.end
            end = next(self.events)
        if flow:
            node.end = end.end_mark.index
        values = (item.data for item in node.items)
        node.data = dict(zip(node.keys, values, strict=True)) if is_map else list(values)
        return node

    def take_key(self, node: Node, event: Event) -> None:
        key = self.node(event)
        if not isinstance(key.data, str):
            shown = f"the key {event.value}" if isinstance(event, yaml.ScalarEvent) else "this key"
            raise self.error(event, f"{shown} is not text", "quote it, or choose another")
        if key.data in node.keys:
            line = node.keys[key.data].line
            raise self.error(
                event, f"the key {key.data!r} is already on line {line}", "keep one of the two"
            )
        node.keys[key.data] = key

    def alias(self, event: Event) -> Node:
        node = self.anchors.get(event.anchor)
        if node is None:
            raise self.error(
                event,
                f"the alias *{event.anchor} has no finished anchor before it",
                "write the value out",
            )
        mark = event.start_mark
        return replace(
            node,
            start=mark.index,
            line=mark.line + 1,
            column=mark.column + 1,
            end=event.end_mark.index,
        )

    def error(self, event: Event | None, message: str, fix: str) -> ConfigError:
        where = Where(self.path)
        if event:
            where = Where(self.path, event.start_mark.line + 1, event.start_mark.column + 1)
        return ConfigError(message, fix=fix, where=where)

    def syntax(self, error: yaml.YAMLError) -> ConfigError:
        if isinstance(error, yaml.reader.ReaderError):  # counts bytes
            before = self.text.encode()[: error.position].decode(errors="ignore")
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            problem, fix = "a control character", "delete it"
        elif isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            line, column = error.problem_mark.line + 1, error.problem_mark.column + 1
            problem = ", ".join(filter(None, (error.context, error.problem)))
            fix = "correct the line, or put quotes around a text with special characters"
        else:
            return ConfigError(f"not YAML: {error}", where=Where(self.path))
        shown = (self.text.splitlines() or [""])[min(line, self.text.count("\n") + 1) - 1 :][:1]
        source = shown[0] if shown else ""
        if source[column - 1 : column] == "\t" or source[
            : len(source) - len(source.lstrip())
        ].count("\t"):
            problem, fix = "a tab", "indent with spaces"
        text = f"not YAML: {problem}: {source.strip()[:80]!r}"
        return ConfigError(text, fix=fix, where=Where(self.path, line, column))
