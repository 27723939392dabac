"""Changing values in a YAML text, and nothing else in it.

The text is patched at the places that differ. A round trip through ruamel.yaml was tried first: it
puts a new key behind the next section's comment, drops comments behind a removed one, and aligns
and indents the whole file anew. Each patch is read back: a text that doesn't say what was asked
for is never returned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import yaml

from gitops.errors import ConfigError, Where
from gitops.yamlfile.nodes import Node, Place, compose


class Removal(Enum):
    """The type of REMOVE."""

    REMOVE = "remove"


REMOVE = Removal.REMOVE
_LINE = 80
Value = Any  # text, number, boolean, None, or lists and mappings of them


@dataclass(frozen=True)
class _Difference:
    place: Place
    kind: Literal["set", "add", "remove"]
    value: Value = None


def apply(text: str, path: Path, changes: Mapping[Place, object]) -> str:
    """The text with the changes made; the same text if it says all that already.

    Raises:
        ConfigError: as in `yamlfile.edit`.
    """
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    windows = text.count("\r\n") == text.count("\n")
    text = text.removeprefix(mark).replace("\r\n", "\n") if windows else text.removeprefix(mark)
    top = compose(text, path)
    wanted = top.data
    for place, value in changes.items():
        try:
            wanted = _changed(wanted, place, value)
        except LookupError as error:
            raise ConfigError(
                f"{dotted(place)} has no place here: {error}",
                fix="correct what it would be part of",
                where=Where(path, top.line),
            ) from error
    left = _differences(top.data, wanted)
    while left:
        patched = _patch(text, top, left[0])
        try:
            top = compose(patched, path)
            still = _differences(top.data, wanted)
        except ConfigError:
            still = left
        if len(still) >= len(left):
            raise ConfigError(
                f"{dotted(left[0].place)} cannot be changed without rewriting what is around it",
                fix=f"change it by hand to {inline(left[0].value)}",
                where=Where(path, top.line),
            )
        text, left = patched, still
    return mark + (text.replace("\n", "\r\n") if windows else text)


def dotted(place: Place) -> str:
    """`models.late.deps[0]`: a place as people write it."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


def inline(value: object) -> str:
    """A value in one line, in flow style."""
    return _dump([value], flow=True)[1:-2]


def block(value: object, indent: int = 2) -> str:
    """A value in block style, short lists of scalars in one line; ends with a newline."""
    return _dump(value, flow=False, indent=indent)


def _dump(value: object, *, flow: bool, indent: int = 2) -> str:
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=flow,
        indent=indent,
        sort_keys=False,
        allow_unicode=True,
        width=10**9,
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or 1.2 would not read as text, indents lists, writes no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent_list(dumper: _Dumper, data: Sequence[object]) -> yaml.Node:
    short = not any(isinstance(item, list | tuple | dict) for item in data)
    flow = short and sum(len(str(item)) + 2 for item in data) <= _LINE
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow or None)


def _represent_text(dumper: _Dumper, data: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, "|" if "\n" in data else None)


_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(tuple, _represent_list)
_Dumper.add_representer(str, _represent_text)
# Numbers of YAML 1.2 that PyYAML, which writes 1.1, would leave without quotes in a text.
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", re.compile("^0o[0-7]+$"), ["0"])


def _changed(data: Value, place: Place, value: object) -> Value:
    """A copy of `data` with the value at `place`; what is not on the way is shared."""
    if not place:
        return _plain(value)
    step, rest = place[0], place[1:]
    if data is None and value is not REMOVE and isinstance(step, str):
        data = {}
    if isinstance(data, dict) and isinstance(step, str):
        if value is REMOVE and step not in data:
            return data
        if value is REMOVE and not rest:
            return {key: item for key, item in data.items() if key != step}
        return {**data, step: _changed(data.get(step), rest, value)}
    if isinstance(data, list) and isinstance(step, int) and 0 <= step <= len(data):
        if value is REMOVE and (step == len(data) or not rest):
            return data[:step] + data[step + 1 :]
        below = data[step] if step < len(data) else None
        return [*data[:step], _changed(below, rest, value), *data[step + 1 :]]
    if data is None:
        return None
    raise LookupError(f"{inline(data)[:60]} has no {dotted((step,))}")


def _plain(value: Value) -> Value:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _differences(old: Value, new: Value, place: Place = ()) -> list[_Difference]:
    """What turns `old` into `new`, key by key; a collection that is emptied or filled is one."""
    if isinstance(old, dict) and isinstance(new, dict) and old and new:
        return [
            *(
                difference
                for key in old
                if key in new
                for difference in _differences(old[key], new[key], (*place, key))
            ),
            # Before the removals, so that there's always an entry to write beside.
            *(_Difference((*place, key), "add", new[key]) for key in new if key not in old),
            *(_Difference((*place, key), "remove") for key in old if key not in new),
        ]
    if isinstance(old, list) and isinstance(new, list) and old and new:
        return _list_differences(old, new, place)
    same = type(old) is type(new) and old == new
    return [] if same else [_Difference(place, "set", new)]


def _list_differences(old: list[Value], new: list[Value], place: Place) -> list[_Difference]:
    gone = max(len(old) - len(new), 0)
    # What is removed is what the ends don't share, so that comments stay with their items.
    start = 0
    while gone and start < len(new) and not _differences(old[start], new[start]):
        start += 1
    kept = [*range(start), *range(start + gone, len(old))]
    return [
        *(_Difference((*place, start + at), "remove") for at in range(gone)),
        *(
            difference
            for to, at in enumerate(kept)
            for difference in _differences(old[at], new[to], (*place, at))
        ),
        *(_Difference((*place, at), "add", new[at]) for at in range(len(old), len(new))),
    ]


def _patch(text: str, top: Node, difference: _Difference) -> str:
    """The text with one difference less."""
    if not difference.place:
        return text[: top.start] + block(difference.value) + text[top.end :].lstrip("\n")
    parent, step = top, difference.place[-1]
    for below in difference.place[:-1]:
        found = parent.child(below)
        assert found is not None  # noqa: S101
        parent = found
    if difference.kind == "add":
        return _add(text, top, parent, step, difference.value)
    at = step if isinstance(step, int) else list(parent.keys).index(step)
    if difference.kind == "remove":
        return _remove(text, parent, at)
    return _set(text, top, parent, at, difference.value)


def _add(text: str, top: Node, parent: Node, step: str | int, value: Value) -> str:
    if parent.flow:
        entry = inline(value) if isinstance(step, int) else inline({step: value})[1:-1]
        end = parent.items[-1].end
        return f"{text[:end]}, {entry}{text[end:]}"
    if isinstance(step, int):
        item = block(value, _indent(top)) if _needs_block(value) else inline(value)
        entry = "- " + _shifted(item, 2).lstrip()
    else:
        entry = block({step: value}, _indent(top))
    end = _line_end(text, parent.end)
    return f"{text[:end]}\n{_shifted(entry, parent.column - 1)}{text[end:]}"


def _set(text: str, top: Node, parent: Node, at: int, value: Value) -> str:
    node = parent.items[at]
    in_block = not parent.flow and _needs_block(value)
    if parent.kind == "list":
        gap = "" if text[node.start - 1] in " \n[" else " "
        new = inline(value)
        if in_block:
            new = _shifted(block(value, _indent(top)), node.column - 1 + len(gap)).lstrip()
        return text[: node.start] + gap + new + text[node.end :]
    key = list(parent.keys.values())[at]
    colon = text.index(":", key.end) + 1
    below = node.line > key.line
    # A comment behind the colon or the old value stays on the key's line.
    if in_block:
        end = _line_end(text, node.end)
        comment = (text[colon : node.start] if below else text[node.end : end]).rstrip()
        lines = _shifted(block(value, _indent(top)), parent.column - 1 + _indent(top))
        return f"{text[:colon]}{comment}\n{lines}{text[end:]}"
    if below:
        comment = text[colon : node.start].rstrip()
        return f"{text[:colon]} {inline(value)}{comment}{text[node.end :]}"
    return text[:colon] + (text[colon : node.start] or " ") + inline(value) + text[node.end :]


def _remove(text: str, parent: Node, at: int) -> str:
    starts = list(parent.keys.values()) or parent.items
    last = at == len(starts) - 1
    if parent.flow:
        if last:
            return text[: parent.items[at - 1].end] + text[parent.items[at].end :]
        return text[: starts[at].start] + text[starts[at + 1].start :]
    begin = _entry_start(text, parent, at)
    line = text.rfind("\n", 0, begin) + 1
    if text[line:begin].isspace() or line == begin:
        return text[:line] + text[_line_end(text, parent.items[at].end) + 1 :]
    return text[:begin] + text[_entry_start(text, parent, at + 1) :]


def _entry_start(text: str, parent: Node, at: int) -> int:
    """Where a key, or the dash of an item in block style, stands."""
    if parent.kind == "map":
        return list(parent.keys.values())[at].start
    before = parent.items[at - 1].end if at else parent.start
    return text.rindex("-", before, parent.items[at].start)


def _line_end(text: str, offset: int) -> int:
    end = text.find("\n", offset)
    return len(text) if end < 0 else end


def _shifted(lines: str, columns: int) -> str:
    return "\n".join(
        " " * columns + line if line else "" for line in lines.rstrip("\n").split("\n")
    )


def _needs_block(value: Value) -> bool:
    if isinstance(value, dict):
        return bool(value)
    return isinstance(value, list) and block(value).count("\n") > 1


def _indent(node: Node) -> int:
    """By how many columns the file indents a mapping in a mapping; 2 if it has none."""
    for item in node.items if node.kind == "map" and not node.flow else ():
        if item.kind == "map" and not item.flow:
            return item.column - node.column
    return 2
