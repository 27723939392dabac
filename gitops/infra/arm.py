"""Is every property of a resource known to Azure, every required one there, every name something?

Azure's types are in arm.json, cut out of those that the Bicep compiler checks by (which says how,
and their commit): no compiler can be had where there is no network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from gitops.errors import Where
from gitops.infra.bicep import SPREAD, Declaration, File, Use, Value
from gitops.infra.finding import Finding

_FILE = Path(__file__).with_name("arm.json")
# Of every resource in Bicep: https://learn.microsoft.com/azure/azure-resource-manager/bicep/resource-declaration
_RESOURCE = {"parent", "scope", "dependsOn"}
_MODULE = {"name", "scope", "params", "dependsOn"}
_NAMESPACES = {"az", "sys"}
_LITERALS = {"text": "text", "number": "int", "bool": "bool"}


@cache
def table() -> Mapping[str, Any]:
    """Azure's types: `commit`, `resources` by TYPE@VERSION, and the `objects` in them."""
    found: dict[str, Any] = json.loads(_FILE.read_text("utf-8"))
    return found


def unknown(files: Sequence[File]) -> tuple[str, ...]:
    """Types of resources that the table doesn't have: nothing is said of them."""
    types = {one.type for each in files for one in each.of("resource")}
    return tuple(sorted(types - table()["resources"].keys()))


def problems(files: Sequence[File]) -> Iterator[Finding]:
    """Everything that is wrong in these files."""
    by_path = {each.path.resolve(): each for each in files}
    for file in files:
        if file.path.suffix == ".bicepparam":
            yield from _parameters(file, by_path)
            continue
        for one in file.of("resource"):
            if one.type in table()["resources"] and one.value is not None and not one.existing:
                yield from _resource(one)
        for one in file.of("module"):
            yield from _module(one, file, by_path)
        yield from _names(file, by_path)


# ---------------------------------------------------------------- a resource against its type


def _resource(one: Declaration) -> Iterator[Finding]:
    assert one.value is not None  # noqa: S101
    body = table()["objects"][table()["resources"][one.type]["object"]]
    yield from _object(one.value, body, one.name, _RESOURCE)
    # A child's name is its own part alone; the parent says the rest.
    nested = one.type.partition("@")[0].count("/") > 1
    if nested and one.value.get("parent") is None:
        yield Finding(one.where, f"{one.name} needs 'parent'")


def _fits(value: Value, shape: Any, name: str) -> Iterator[Finding]:  # noqa: ANN401
    if value.kind in ("expression", "null") or shape == "any":
        return
    if isinstance(shape, list):
        if value.kind == "text" and value.text not in shape:
            near = _near(value.text, shape)
            yield Finding(value.where, f"{name} can't be {value.text!r}{near}")
        elif value.kind != "text":
            yield Finding(value.where, f"{name} is one of {', '.join(map(str, shape[:9]))}")
    elif "open" in shape:
        if value.kind != "text":
            yield Finding(value.where, f"{name} is text, not {value.kind}")
        elif mistaken := _mistaken(value.text, shape["open"]):
            said = f"{name} is {value.text!r}; did you mean {mistaken!r}?"
            yield Finding(value.where, said)
    elif isinstance(shape, str):
        if _LITERALS.get(value.kind) != shape:
            yield Finding(value.where, f"{name} is {shape}, not {value.kind}")
    elif "array" in shape:
        if value.kind != "array":
            yield Finding(value.where, f"{name} is an array, not {value.kind}")
        for item in value.items:
            yield from _fits(item, shape["array"], name)
    elif value.kind != "object":
        yield Finding(value.where, f"{name} is an object, not {value.kind}")
    else:
        yield from _object(value, table()["objects"][shape["object"]], name)


def _object(
    value: Value, shape: Mapping[str, Any], name: str, more: set[str] | None = None
) -> Iterator[Finding]:
    properties, required = dict(shape["properties"]), list(shape["required"])
    if "kinds" in shape:
        kind = value.get(shape["by"])
        if kind is None or kind.kind != "text":
            if kind is None:
                yield Finding(value.where, f"{name} needs {shape['by']!r}")
            return
        if kind.text not in shape["kinds"]:
            near = _near(kind.text, shape["kinds"])
            yield Finding(kind.where, f"{name}.{shape['by']} can't be {kind.text!r}{near}")
            return
        own = shape["kinds"][kind.text]
        if own == "any":
            return
        inner = table()["objects"][own["object"]]
        properties |= inner["properties"]
        required += inner["required"]
    given = dict(value.entries)
    for key, one in value.entries:
        if key in properties:
            yield from _fits(one, properties[key], f"{name}.{key}")
        elif "others" in shape:
            yield from _fits(one, shape["others"], f"{name}.{key}")
        elif key not in (more or ()) and key not in ("${}", SPREAD):
            why = "Azure alone writes it" if key in shape["read"] else _near(key, properties)
            yield Finding(one.where, f"{name} has no property {key!r}{_because(why)}")
    for key in required:
        if key not in given and SPREAD not in given:
            yield Finding(value.where, f"{name} needs {key!r}")


def _mistaken(text: str, known: Sequence[str]) -> str | None:
    """The known value that a text is nearly: Azure may know newer ones, with other numbers."""
    if text.lower() in (one.lower() for one in known):
        return None
    near = get_close_matches(text, known, 1, cutoff=0.7)
    bare = [re.sub(r"\d", "", one) for one in (text, *near)]
    return near[0] if near and bare[0] != bare[1] else None


def _because(why: str) -> str:
    return f": {why}" if why and not why.startswith(";") else why


def _near(key: str, known: Sequence[str] | Mapping[str, Any] | set[str]) -> str:
    near = get_close_matches(key, [str(one) for one in known], 1)
    return f"; did you mean {near[0]!r}?" if near else ""


# ---------------------------------------------------------------- modules and parameters


def _module(one: Declaration, file: File, by_path: Mapping[Path, File]) -> Iterator[Finding]:
    name = f"module {one.name}"
    for key, each in one.value.entries if one.value is not None else ():
        if key not in _MODULE:
            yield Finding(each.where, f"{name} has no property {key!r}{_near(key, _MODULE)}")
    called = _called(one, file, by_path)
    if called is None:
        if not one.type.startswith(("br:", "br/", "ts:", "ts/")):
            yield Finding(one.where, f"{name}: there's no {one.type}")
        return
    params = one.value.get("params") if one.value is not None else None
    if params is None or params.kind == "object":
        given = {key: each.where for key, each in params.entries} if params else {}
        where = params.where if params else one.where
        yield from _given(given, called, name, where)


def _called(one: Declaration, file: File, by_path: Mapping[Path, File]) -> File | None:
    return by_path.get((file.path.parent / one.type).resolve())


def _given(given: Mapping[str, Where], called: File, name: str, where: Where) -> Iterator[Finding]:
    params = called.named("param")
    for key, place in given.items():
        if key not in params and key != SPREAD:
            yield Finding(place, f"{name} has no parameter {key!r}{_near(key, params)}")
    for key, one in params.items():
        needed = one.value is None and not one.type.endswith("?")
        if needed and key not in given and SPREAD not in given:
            yield Finding(where, f"{name} needs the parameter {key!r}")


def _parameters(file: File, by_path: Mapping[Path, File]) -> Iterator[Finding]:
    called = by_path.get((file.path.parent / (file.using or "")).resolve())
    if called is None:
        said = f"there's no {file.using}" if file.using else "it doesn't say `using`"
        yield Finding(Where(file.path, 1), said)
        return
    given = {one.name: one.where for one in file.of("var")}
    yield from _given(given, called, called.path.name, Where(file.path, 1))


# ---------------------------------------------------------------- names that expressions use


def _names(file: File, by_path: Mapping[Path, File]) -> Iterator[Finding]:
    known = {one.name: one for one in file.declarations if one.kind != "output"}
    for declaration in file.declarations:
        for use in declaration.uses:
            one = known.get(use.name)
            if one is None:
                if use.name not in _NAMESPACES:
                    yield Finding(use.where, f"there is no {use.name}{_near(use.name, known)}")
            elif one.kind == "module":
                yield from _output(use, one, file, by_path)
            elif one.kind == "resource" and one.type in table()["resources"]:
                yield from _property(use, one)


def _output(
    use: Use, module: Declaration, file: File, by_path: Mapping[Path, File]
) -> Iterator[Finding]:
    called = _called(module, file, by_path)
    if called is None or len(use.path) < 2 or use.path[0] != "outputs":
        return
    outputs = called.named("output")
    if use.path[1] not in outputs:
        near = _near(use.path[1], outputs)
        yield Finding(use.where, f"module {module.name} has no output {use.path[1]!r}{near}")


def _property(use: Use, one: Declaration) -> Iterator[Finding]:
    """As far as the type tells: what Azure writes has no type of its own in the table."""
    shape: Any = table()["resources"][one.type]
    for key in use.path:
        if not isinstance(shape, dict) or "object" not in shape:
            return
        body = table()["objects"][shape["object"]]
        has = {*body["properties"], *body["read"]}
        if "kinds" in body or "others" in body or key.startswith("list"):
            return
        if key not in has:
            yield Finding(use.where, f"{one.name} has no property {key!r}{_near(key, has)}")
            return
        shape = body["properties"].get(key)
