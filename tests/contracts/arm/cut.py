"""Cut gitops/infra/arm.json out of the published types of Bicep, for what the templates use.

The types are those that the Bicep compiler itself checks by, generated from the specifications of
Azure's REST interfaces:

    git clone https://github.com/Azure/bicep-types-az
    python tests/contracts/arm/cut.py bicep-types-az

Which versions of which resources: those named in the templates, which must exist there.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]
TEMPLATES = PROJECT / "generators" / "bicep-azure" / "template"
TARGET = PROJECT / "gitops" / "infra" / "arm.json"
REQUIRED, READ_ONLY = 1, 2  # flags of a property; see docs/ of that repository
SIMPLE = {"StringType": "text", "IntegerType": "int", "BooleanType": "bool", "AnyType": "any"}
# Kinds of things that a type is one of; of the others that Azure knows only the name is kept.
KINDS = re.compile(r"(?<![\w.])(?:type|kind|computeType|odata\.type): '([\w.]+)'")


def used() -> tuple[set[str], set[str]]:
    """Every TYPE@VERSION in the templates, and every kind."""
    text = "\n".join(path.read_text("utf-8") for path in sorted(TEMPLATES.rglob("*.bicep.j2")))
    return set(re.findall(r"'(Microsoft\.[\w./]+@[\w-]+)'", text)), set(KINDS.findall(text))


def git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=repository, check=True, capture_output=True, text=True
    )
    return done.stdout


class Cut:
    """What is kept of one file of types: objects by a short name, so that they may be recursive."""

    def __init__(self, types: list[dict[str, Any]], kinds: set[str], prefix: str) -> None:
        self.types, self.kinds, self.prefix = types, kinds, prefix
        self.objects: dict[str, dict[str, Any]] = {}

    def of(self, reference: dict[str, str]) -> Any:
        number = int(reference["$ref"].removeprefix("#/"))
        return self.shape(self.types[number], f"{self.prefix}{number}")

    def shape(self, one: dict[str, Any], name: str) -> Any:
        kind = one["$type"]
        if kind in SIMPLE:
            return SIMPLE[kind]
        if kind == "StringLiteralType":
            return [one["value"]]
        if kind == "UnionType":
            shapes = [self.of(each) for each in one["elements"]]
            values = [value for each in shapes if isinstance(each, list) for value in each]
            if len(values) == len(shapes):
                return values
            # Azure may take more than these, as most of its texts with known values.
            return {"open": values} if values and "text" in shapes else "any"
        if kind == "ArrayType":
            return {"array": self.of(one["itemType"])}
        if kind not in ("ObjectType", "DiscriminatedObjectType"):
            return "any"
        if name not in self.objects:
            self.objects[name] = {}  # it may have itself in it
            self.objects[name] = self.object(one)
        return {"object": name}

    def object(self, one: dict[str, Any]) -> dict[str, Any]:
        properties = one.get("properties") or one.get("baseProperties") or {}
        writable = {k: v for k, v in properties.items() if not v["flags"] & READ_ONLY}
        found: dict[str, Any] = {
            "required": sorted(k for k, v in writable.items() if v["flags"] & REQUIRED),
            "properties": {k: self.of(v["type"]) for k, v in sorted(writable.items())},
            "read": sorted(properties.keys() - writable.keys()),
        }
        if "additionalProperties" in one:
            found["others"] = self.of(one["additionalProperties"])
        if "discriminator" in one:
            found["by"] = one["discriminator"]
            found["kinds"] = {
                value: self.of(each) if value in self.kinds else "any"
                for value, each in sorted(one["elements"].items())
            }
        return found


def main(repository: Path) -> None:
    wanted, kinds = used()
    resources: dict[str, Any] = {}
    objects: dict[str, Any] = {}
    for path in git(repository, "ls-tree", "-r", "--name-only", "HEAD", "generated/").splitlines():
        provider, version = [*path.split("/"), "", ""][2:4]
        if not path.endswith("/types.json") or not any(
            one.lower().startswith(f"{provider.lower()}/") and one.endswith(f"@{version}")
            for one in wanted
        ):
            continue
        types = json.loads(git(repository, "show", f"HEAD:{path}"))
        cut = Cut(types, kinds, f"{len(resources)}.")
        for one in types:
            if one["$type"] == "ResourceType" and one["name"] in wanted:
                resources[one["name"]] = cut.of(one["body"])
        objects |= cut.objects
    if missing := wanted - resources.keys():
        raise LookupError(f"not published: {', '.join(sorted(missing))}")
    commit = git(repository, "rev-parse", "HEAD").strip()
    head = {"source": "Azure/bicep-types-az", "commit": commit}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    for name, rows in (("resources", resources), ("objects", objects)):
        body = ",\n".join(
            f"  {json.dumps(key)}: {json.dumps(one, separators=(',', ':'))}"
            for key, one in sorted(rows.items())
        )
        lines.append(f' "{name}": {{\n{body}\n }}{"," if name == "resources" else ""}')
    TARGET.write_text("{\n" + "\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
