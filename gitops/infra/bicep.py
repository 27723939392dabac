"""Bicep's files, read by tree-sitter's grammar of it (extra `infra`) into plain values.

The grammar knows neither the files of parameters nor the spread operator: `param X = ` is read as
`var X = `, which has the same form, and `...X` as a property of the name `...`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gitops.errors import ConfigError, ToolError, Where

if TYPE_CHECKING:
    from tree_sitter import Node

Kind = Literal["object", "array", "text", "number", "bool", "null", "expression"]
SUFFIXES = (".bicep", ".bicepparam")
SPREAD = "..."
_DECLARED = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
    "type_declaration": "type",
    "user_defined_function": "func",
}
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_LITERALS: Mapping[str, Kind] = {"number": "number", "boolean": "bool", "null": "null"}
_SPREAD = re.compile(r"^(\s*)\.\.\.", re.MULTILINE)
_ASSIGNED = re.compile(r"^param(?=[^\S\n]+\w+[^\S\n]*=)", re.MULTILINE)


@dataclass(frozen=True)
class Value:
    """A value as it is written.

    `text`: of a text without interpolation what it says, else its source. An array that a loop
    makes has one item for all of them.
    """

    kind: Kind
    text: str
    where: Where
    entries: tuple[tuple[str, Value], ...] = ()
    items: tuple[Value, ...] = ()

    def get(self, *names: str) -> Value | None:
        """What is at a path of properties, if it is there."""
        found: Value | None = self
        for name in names:
            found = dict(found.entries).get(name) if found is not None else None
        return found


@dataclass(frozen=True)
class Use:
    """A name that an expression uses, and the properties that it takes of it."""

    name: str
    path: tuple[str, ...]
    where: Where


@dataclass(frozen=True)
class Declaration:
    """A declaration. `type`: a parameter's, a resource's TYPE@VERSION, or a module's path."""

    kind: str
    name: str
    type: str
    where: Where
    value: Value | None = None
    existing: bool = False
    uses: tuple[Use, ...] = ()


@dataclass(frozen=True)
class File:
    """A file's declarations. `using`: the file that parameters are for."""

    path: Path
    declarations: tuple[Declaration, ...]
    scope: str = "resourceGroup"
    using: str | None = None

    def of(self, kind: str) -> Iterator[Declaration]:
        """The declarations of a kind."""
        return (one for one in self.declarations if one.kind == kind)

    def named(self, kind: str) -> dict[str, Declaration]:
        """The declarations of a kind by their names."""
        return {one.name: one for one in self.of(kind)}


def paths(top: Path) -> tuple[Path, ...]:
    """Every file of Bicep below `top`."""
    return tuple(sorted(one for one in top.rglob("*") if one.suffix in SUFFIXES))


def installed() -> bool:
    """Whether files can be read."""
    from importlib.util import find_spec

    return find_spec("tree_sitter_bicep") is not None and find_spec("tree_sitter") is not None


def read(path: Path) -> File:
    """A file's declarations.

    Raises:
        ConfigError: it isn't Bicep; the place is that of the first fault.
        ToolError: the grammar isn't installed.
    """
    try:
        import tree_sitter
        import tree_sitter_bicep
    except ImportError as error:
        fix = "uv pip install 'gitops-ml[infra]'"
        raise ToolError("tree-sitter-bicep isn't installed", fix=fix) from error
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError("this isn't UTF-8", fix="save it as UTF-8", where=Where(path)) from error
    if path.suffix == ".bicepparam":
        text = _ASSIGNED.sub("var  ", text)
    text = _SPREAD.sub(rf"\1'{SPREAD}': ", text)
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))
    root = parser.parse(text.encode()).root_node
    if root.has_error:
        fault = next(_faults(root), root)
        raise ConfigError(
            f"this isn't Bicep: {_first_line(_text(fault)) or 'something is missing'}",
            fix="correct it; `az bicep build` names the place too",
            where=Where(path, fault.start_point.row + 1),
        )
    return _file(path, root)


def _faults(node: Node) -> Iterator[Node]:
    if node.is_error or node.is_missing:
        yield node
    for one in node.children:
        if one.has_error or one.is_missing:
            yield from _faults(one)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:60]


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _file(path: Path, root: Node) -> File:
    scope, using = "resourceGroup", None
    found: list[Declaration] = []
    for node in root.named_children:
        if node.type == "target_scope_assignment":
            scope = _value(node.named_children[-1], path).text
        elif node.type == "using_statement":
            using = _value(node.named_children[-1], path).text
        elif node.type in _DECLARED:
            found.append(_declaration(node, path))
    return File(path, tuple(found), scope, using)


def _declaration(node: Node, path: Path) -> Declaration:
    kind = _DECLARED[node.type]
    name, *rest = [one for one in node.named_children if one.type != "comment"]
    given = any(one.type == "=" for one in node.children)
    body = rest[-1] if given and rest else None
    kept = rest[:-1] if given else rest
    typed = _value(kept[0], path).text if kept else ""
    return Declaration(
        kind,
        _text(name),
        typed,
        _where(node, path),
        _unwrapped(body, path) if body is not None else None,
        existing=any(one.type == "existing" for one in node.children),
        uses=tuple(_uses(body, path, frozenset())) if body is not None else (),
    )


def _where(node: Node, path: Path) -> Where:
    return Where(path, node.start_point.row + 1)


def _unwrapped(node: Node, path: Path) -> Value:
    """What a loop or a condition is about."""
    while node.type in ("for_statement", "if_statement"):
        node = node.named_children[-1]
    return _value(node, path)


def _value(node: Node, path: Path) -> Value:
    where, text = _where(node, path), _text(node)
    if node.type == "object":
        pairs = (one for one in node.named_children if one.type == "object_property")
        return Value("object", text, where, tuple(_pair(one, path) for one in pairs))
    if node.type == "array":
        items = [one for one in node.named_children if one.type != "comment"]
        return Value("array", text, where, items=tuple(_value(one, path) for one in items))
    if node.type == "for_statement":
        body = _unwrapped(node, path)
        return Value("array", text, where, items=(body,))
    if node.type == "string":
        if any(one.type == "interpolation" for one in node.named_children):
            return Value("expression", text, where)
        return Value("text", _said(node), where)
    return Value(_LITERALS.get(node.type, "expression"), text, where)


def _said(node: Node) -> str:
    """What a text without interpolation says; the grammar has no node for `\\$`."""
    text = _text(node)
    if text.startswith("'''"):
        return text[3:-3].removeprefix("\n")
    return re.sub(r"\\(.)", lambda one: _ESCAPED.get(one[1], one[1]), text[1:-1])


def _pair(node: Node, path: Path) -> tuple[str, Value]:
    key, *rest = [one for one in node.named_children if one.type != "comment"]
    name = _said(key) if key.type == "string" else _text(key)
    if key.type == "string" and _value(key, path).kind == "expression":
        name = "${}"  # known when it is deployed
    return name, _value(rest[-1], path)


def _uses(node: Node, path: Path, local: frozenset[str]) -> Iterator[Use]:
    """The names that an expression uses, but for those of its own loops and lambdas."""
    if node.type == "identifier":
        if _text(node) not in local:
            yield Use(_text(node), (), _where(node, path))
        return
    if node.type in ("member_expression", "subscript_expression"):
        base, taken = _chain(node)
        if base.type == "identifier" and _text(base) not in local:
            yield Use(_text(base), taken, _where(base, path))
        elif base.type != "identifier":
            yield from _uses(base, path, local)
        yield from _indexes(node, path, local)
        return
    children: Sequence[Node] = node.named_children
    if node.type in ("for_statement", "lambda_expression"):
        local = local | _bound(node)
    elif node.type == "object_property":
        key, *children = children
        if key.type == "string":
            children = [key, *children]
    elif node.type == "call_expression":
        _, *children = children  # the function's name
    for one in children:
        if not _called(one):
            yield from _uses(one, path, local)


def _called(node: Node) -> bool:
    """Whether it is a function's name where the grammar sees no call: the first of `[a().b]`."""
    after = node.next_sibling
    inside = node.parent is not None and node.parent.type == "array"
    return inside and after is not None and after.text != b"," and after.start_byte == node.end_byte


def _bound(node: Node) -> frozenset[str]:
    """The names that a loop or lambda makes."""
    first = node.named_children[0]
    inner = first.named_children if first.named_children else [first]
    return frozenset(_text(one) for one in inner)


def _chain(node: Node) -> tuple[Node, tuple[str, ...]]:
    """What properties are taken of, and their names as far as they are written down."""
    taken: list[str] = []
    while node.type in ("member_expression", "subscript_expression"):
        if node.type == "member_expression":
            taken.append(_text(node.named_children[-1]))
        node = node.named_children[0]
    return node, tuple(reversed(taken))


def _indexes(node: Node, path: Path, local: frozenset[str]) -> Iterator[Use]:
    """What indexes and arguments along a chain use."""
    while node.type in ("member_expression", "subscript_expression"):
        first, *others = node.named_children
        if node.type == "subscript_expression":
            for one in others:
                yield from _uses(one, path, local)
        node = first
