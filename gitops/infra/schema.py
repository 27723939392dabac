"""Is every argument known to the provider, every required one there, every reference to something?

The providers' schemas are azurerm.json and aws.json, cut out of published ones (which say how, and
their version): no provider can be downloaded where there is no network, and `terraform validate`
needs one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from gitops.errors import Where
from gitops.infra import hcl
from gitops.infra.finding import Finding
from gitops.infra.hcl import Block

PROVIDERS = ("azurerm", "aws")
# https://developer.hashicorp.com/terraform/language/meta-arguments
_META = {"for_each", "count", "provider", "depends_on"}
_META_BLOCKS = {"lifecycle", "timeouts", "provisioner", "connection"}
_REFERENCE = re.compile(
    r"(?<![\w.\"/-])(?:(data)\.)?((?:azurerm|aws)_\w+)\.([A-Za-z][\w-]*)"
    r"(?:\[(?:[^\[\]]|\[[^\]]*\])*\])?(?:\.([a-z]\w*))?"
)
_NAMED = re.compile(r"(?<![\w.])(var|local|module)\.([A-Za-z][\w-]*)(?:\.([a-z]\w*))?")
_EXPRESSION = re.compile(r"\$\{")


@dataclass(frozen=True)
class Folder:
    """A root or module of Terraform: all blocks of its files."""

    path: Path
    blocks: tuple[Block, ...]

    def of(self, kind: str) -> Iterator[Block]:
        """The blocks of a kind."""
        return (one for one in self.blocks if one.kind == kind)

    def names(self, kind: str) -> set[str]:
        """The names of variables, outputs, or modules."""
        return {one.labels[0] for one in self.of(kind) if one.labels}


@cache
def table() -> Mapping[str, Mapping[str, Any]]:
    """The providers' schemas: `version` by provider, and `resource` and `data` by type."""
    found: dict[str, dict[str, Any]] = {"version": {}, "resource": {}, "data": {}}
    for provider in PROVIDERS:
        text = Path(__file__).with_name(f"{provider}.json").read_text("utf-8")
        one = json.loads(text)
        found["version"][provider] = one["version"]
        found["resource"] |= one["resource"]
        found["data"] |= one["data"]
    return found


def providers(found: Sequence[Folder]) -> tuple[str, ...]:
    """The providers of the table that these folders use, each with its version there."""
    types = {one.labels[0] for each in found for one in each.blocks if _is_typed(one)}
    used = {name.partition("_")[0] for name in types}
    return tuple(f"{one} {table()['version'][one]}" for one in PROVIDERS if one in used)


def folders(top: Path) -> tuple[Folder, ...]:
    """Every folder with Terraform files below `top`.

    Raises:
        ConfigError: a file isn't HCL.
    """
    found: dict[Path, list[Block]] = {}
    for path in sorted(top.rglob("*.tf")):
        if ".terraform" not in path.parts:
            found.setdefault(path.parent, []).extend(hcl.read(path))
    return tuple(Folder(path, tuple(blocks)) for path, blocks in found.items())


def unknown(found: Sequence[Folder]) -> tuple[str, ...]:
    """Types of resources that the table doesn't have: nothing is said of them."""
    types = {(one.kind, one.labels[0]) for each in found for one in each.blocks if _is_typed(one)}
    return tuple(sorted(name for kind, name in types if name not in table()[kind]))


def problems(found: Sequence[Folder]) -> Iterator[Finding]:
    """Everything that is wrong in these folders."""
    by_path = {each.path.resolve(): each for each in found}
    for folder in found:
        for block in folder.blocks:
            if _is_typed(block) and block.labels[0] in table()[block.kind]:
                schema = table()[block.kind][block.labels[0]]
                yield from _fits(block, schema, f"{block.labels[0]}.{block.labels[1]}", top=True)
            if block.kind == "module":
                yield from _call(block, folder, by_path)
            yield from _references(block, folder, by_path)


def _is_typed(block: Block) -> bool:
    return block.kind in ("resource", "data") and len(block.labels) == 2


def _fits(block: Block, schema: Mapping[str, Any], name: str, *, top: bool) -> Iterator[Finding]:
    arguments = {*schema["required"], *schema["optional"]}
    inner: dict[str, list[Block]] = {}
    for one in block.blocks:
        kind = one.labels[0] if one.kind == "dynamic" and one.labels else one.kind
        inner.setdefault(kind, []).append(one)
    for key in block.arguments:
        if key not in arguments and not (top and key in _META):
            yield Finding(block.where, f"{name} has no argument {key!r}{_near(key, arguments)}")
    for key, blocks in inner.items():
        if top and key in _META_BLOCKS:
            continue
        if key not in schema["blocks"]:
            near = _near(key, schema["blocks"])
            yield Finding(blocks[0].where, f"{name} has no block {key!r}{near}")
            continue
        for one in blocks:
            bodies = [each for each in one.blocks if each.kind == "content"]
            for body in bodies if one.kind == "dynamic" else [one]:
                yield from _fits(body, schema["blocks"][key], f"{name}.{key}", top=False)
    for key in schema["required"]:
        if key not in block.arguments and key not in inner:
            yield Finding(block.where, f"{name} needs {key!r}")


def _near(key: str, known: Sequence[str] | set[str] | Mapping[str, Any]) -> str:
    near = get_close_matches(key, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _call(block: Block, folder: Folder, by_path: Mapping[Path, Folder]) -> Iterator[Finding]:
    """A module of this repository gets the variables that it declares."""
    source = hcl.unquoted(block.arguments.get("source", ""))
    if not source.startswith((".", "/")):
        return
    called = by_path.get((folder.path / source).resolve())
    name = f"module.{block.labels[0]}"
    if called is None:
        yield Finding(block.where, f"{name}: there's no module in {source}")
        return
    variables = {one.labels[0]: one for one in called.of("variable")}
    given = set(block.arguments) - {"source", "version", "providers", *_META}
    for key in sorted(given - variables.keys()):
        yield Finding(block.where, f"{name} has no variable {key!r}{_near(key, variables)}")
    for key, variable in variables.items():
        if key not in given and "default" not in variable.arguments:
            yield Finding(block.where, f"{name} needs the variable {key!r}")


def _references(block: Block, folder: Folder, by_path: Mapping[Path, Folder]) -> Iterator[Finding]:
    there = {(one.kind, *one.labels) for one in folder.blocks if _is_typed(one)}
    local = {key for one in folder.of("locals") for key in one.arguments}
    known = {"var": folder.names("variable"), "local": local, "module": folder.names("module")}
    for place, text in _texts(block):
        for data, kind, name, attribute in _REFERENCE.findall(text):
            which = "data" if data else "resource"
            if (which, kind, name) not in there:
                yield Finding(place, f"there is no {'data.' if data else ''}{kind}.{name}")
            elif attribute and kind in table()[which]:
                schema = table()[which][kind]
                has = {*schema["required"], *schema["optional"], *schema["computed"]}
                if attribute not in {*has, *schema["blocks"]}:
                    near = _near(attribute, has)
                    yield Finding(place, f"{kind}.{name} has no attribute {attribute!r}{near}")
        for kind, name, _ in _NAMED.findall(text):
            if name not in known[kind]:
                near = _near(name, known[kind])
                yield Finding(place, f"there is no {kind}.{name}{near}")


def _texts(block: Block) -> Iterator[tuple[Where, str]]:
    """Texts that may hold expressions; a quoted text without `${` is just a text."""
    for text in hcl.texts(block.arguments):
        if _EXPRESSION.search(text) or not text.startswith('"'):
            yield block.where, text
    for one in block.blocks:
        yield from _texts(one)
