"""The pages of the reference: from the command line, the JSON Schemas and the policies."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typer.main import get_command

from gitops import config, content, contracts
from gitops.cli.app import make
from gitops.validate import policy

Json = Mapping[str, Any]


def write(folder: Path) -> None:
    """Write all pages into `folder`, whose former contents go."""
    about = "The one file that you write."
    pack = "What may stand in .gitops/policies/NAME.yaml ([explained](../guides/policies.md))."
    pages = {
        "commands": commands(),
        "gitops-yaml": schema("gitops.yaml", config.json_schema(), about),
        "policies": policies(),
        "policy": schema("A policy", policy.json_schema(), pack),
        "contracts": documents(),
    }
    for name in contracts.names():
        document = contracts.schema(name)
        text = schema(name, document, _prose(document.get("description", "")))
        pages[f"contracts/{name}"] = text
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "contracts").mkdir(parents=True)
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, "utf-8")


# ---------------------------------------------------------------- the command line


def commands() -> str:
    """Every command with its help and its options."""
    parts = ["# Commands\n\nAs `gitops COMMAND --help` says it.\n"]
    for name, command in _commands():
        parts += [f"## gitops {name}\n", _help(command.help or ""), _parameters(command)]
    return "\n".join(parts)


def _commands() -> Iterator[tuple[str, Any]]:
    top: Any = get_command(make())
    for name, command in sorted(top.commands.items()):
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            yield from ((f"{name} {each}", found) for each, found in sorted(inner.items()))


def _help(text: str) -> str:
    about, _, examples = text.partition("Examples:")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    block = ["```console", *(f"$ {re.sub(' {2,}', '    # ', line)}" for line in lines), "```", ""]
    return "\n".join([_prose(about.strip()), "", *(block if lines else [])])


def _parameters(command: Any) -> str:  # noqa: ANN401
    rows = []
    for one in command.params:
        if one.name == "help" or getattr(one, "hidden", False):
            continue
        words = [*one.opts, *one.secondary_opts]
        name = " ".join(f"`{word}`" for word in words) if words[0].startswith("-") else ""
        rows.append(
            f"| {name or f'`{one.metavar or one.name.upper()}`'} | {_cell(one.help or '')} |"
        )
    return "\n".join(["| | |", "| --- | --- |", *rows, ""]) if rows else ""


# ---------------------------------------------------------------- schemas


def schema(title: str, document: Json, about: str) -> str:
    """A page for a JSON Schema: a table for each object in it, the outermost first."""
    parts = [f"# {title}\n\n{about}\n"]
    parts.append(_object(document, document))
    for name, one in sorted(document.get("$defs", {}).items()):
        if "properties" in one:
            parts += [
                f"## {name}\n",
                _prose(one.get("description", "")),
                "",
                _object(one, document),
            ]
    return "\n".join(parts)


def _object(one: Json, whole: Json) -> str:
    required = set(one.get("required", ()))
    rows = []
    for key, value in one.get("properties", {}).items():
        default = "required" if key in required else _default(value)
        about = _cell(value.get("description") or _referred(value, whole).get("description", ""))
        rows.append(f"| `{key}` | {_kind(value, whole)} | {default} | {about} |")
    head = ["| key | what it is | by default | |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows, ""])


def _referred(value: Json, whole: Json) -> Json:
    name = str(value.get("$ref", "")).rpartition("/")[2]
    found: Json = whole.get("$defs", {}).get(name, {})
    return found


def _kind(value: Json, whole: Json) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        known = _referred(value, whole)
        return f"[{name}](#{name.lower()})" if "properties" in known else _kind(known, whole)
    if several := value.get("anyOf") or value.get("oneOf"):
        kinds = [_kind(one, whole) for one in several if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    if value.get("type") == "array":
        return f"list of {_kind(value.get('items', {}), whole)}"
    if value.get("type") == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"{_kind(value['additionalProperties'], whole)} by name"
    kinds = value.get("type", "any")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


def _default(value: Json) -> str:
    found = value.get("default")
    if found is None or isinstance(found, dict | list):
        return ""
    return f"`{json.dumps(found)}`"


# ---------------------------------------------------------------- policies, contracts


def policies() -> str:
    """The shipped packs as they are."""
    parts = ["# Policies\n\nThe packs that are shipped, with the reason of each check.\n"]
    for path in sorted(content.folder("policies").glob("*.yaml")):
        parts += [f"## {path.stem}\n", "```yaml", path.read_text("utf-8").rstrip(), "```", ""]
    return "\n".join(parts)


def documents() -> str:
    """The documents that stages hand to each other."""
    parts = [
        "# Contracts\n\nWhat stages hand to each other, and to other tools: `gitops schema NAME`"
        " prints the JSON Schema.\n",
        "| name | what it is |",
        "| --- | --- |",
    ]
    for name in contracts.names():
        about = contracts.schema(name).get("description", "")
        parts.append(f"| [`{name}`](contracts/{name}.md) | {_cell(about)} |")
    pages = [f"contracts/{name}" for name in contracts.names()]
    return "\n".join([*parts, "", "```{toctree}", ":hidden:", "", *pages, "```", ""])


def _prose(text: str) -> str:
    """Help text as Markdown: `<` would be markup."""
    paragraphs = re.split(r"\n\s*\n", text)
    return "\n\n".join(" ".join(one.split()) for one in paragraphs).replace("<", "&lt;")


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|").replace("\n", " ")
