"""Cut gitops/infra/PROVIDER.json out of the provider's schema, for the types that templates use.

The schema is in the jsii assembly of `cdktf-cdktf-provider-PROVIDER` (PyPI), which was generated
from the provider's own `terraform providers schema`:

    pip download --no-deps cdktf-cdktf-provider-azurerm==14.23.1 cdktf-cdktf-provider-aws==21.22.1
    python tests/contracts/terraform/cut.py azurerm WHEEL
    python tests/contracts/terraform/cut.py aws WHEEL
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]
GENERATORS = {"azurerm": "terraform-azure", "aws": "terraform-aws"}
_DOCS = re.compile(r"\w+/([\d.]+)/docs/(?:resources|data-sources)/\w+#(\w+)")
_BESIDE = {"timeouts"}  # of every resource


def used(provider: str) -> set[tuple[str, str]]:
    """(resource or data, type) of every block in the provider's templates."""
    templates = PROJECT / "generators" / GENERATORS[provider] / "template"
    text = "\n".join(path.read_text("utf-8") for path in sorted(templates.rglob("*.tf.j2")))
    return set(re.findall(rf'^(resource|data) "({provider}_\w+)"', text, re.MULTILINE))


def assembly(wheel: Path) -> dict[str, Any]:
    with zipfile.ZipFile(wheel) as outer:
        (name,) = (one for one in outer.namelist() if one.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as inner:
            member = inner.extractfile("package/.jsii")
            assert member is not None
            found: dict[str, Any] = json.load(member)
            return found


def block(types: dict[str, Any], fqn: str, own: str) -> dict[str, Any]:
    """The arguments of a block: required and optional, and the blocks within it."""
    found: dict[str, Any] = {"required": [], "optional": [], "blocks": {}}
    for one in types[fqn].get("properties", []):
        said = _DOCS.search(json.dumps(one.get("docs", {})))
        if said is None or said[2] in _BESIDE:
            continue
        found["optional" if one.get("optional") else "required"].append(said[2])
        inner = re.findall(rf'"({re.escape(own)}\.[A-Za-z0-9]+)"', json.dumps(one["type"]))
        if inner:
            found["blocks"][said[2]] = block(types, inner[0], own)
    return {
        key: sorted(value) if isinstance(value, list) else value for key, value in found.items()
    }


def snake(name: str) -> str:
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def config_of(types: dict[str, Any], kind: str, name: str) -> str:
    """The type that describes a resource's arguments: the generator's names don't tell."""
    place = {"resource": "resources", "data": "data-sources"}[kind]
    link = f"/docs/{place}/{name.partition('_')[2]}#"
    for fqn, one in types.items():
        top = "cdktf.TerraformMetaArguments" in one.get("interfaces", [])
        if top and link in json.dumps(one.get("properties", [])[:1]):
            return fqn
    raise LookupError(name)


def cut(types: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    config = config_of(types, kind, name)
    found = block(types, config, config.rpartition(".")[0])
    ours = {*found["required"], *found["optional"]}
    made = {snake(one["name"]) for one in types[config.removesuffix("Config")]["properties"]}
    inputs = {one for one in made if one.endswith("_input")}
    found["computed"] = sorted(
        made - ours - inputs - _BESIDE - {"tf_resource_type"} | {"id"} - ours
    )
    return found


def main(provider: str, wheel: Path) -> None:
    whole = assembly(wheel)
    version = _DOCS.search(json.dumps(whole["types"]))
    assert version is not None
    kinds: dict[str, dict[str, Any]] = {"data": {}, "resource": {}}
    for kind, name in sorted(used(provider)):
        kinds[kind][name] = cut(whole["types"], kind, name)
    source = f"cdktf-cdktf-provider-{provider} {whole['version']}"
    head = {"provider": provider, "version": version[1], "source": source}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    for kind, types in kinds.items():
        rows = [f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in types.items()]
        end = "," if kind == "data" else ""
        lines.append(f' "{kind}": {{\n' + ",\n".join(rows) + f"\n }}{end}")
    target = PROJECT / "gitops" / "infra" / f"{provider}.json"
    target.write_text("{\n" + "\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
