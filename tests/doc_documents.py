"""The YAML and JSON of the documentation, each read by the loader of what it shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from gitops import config, contracts, dvc
from gitops.errors import GitopsError, Where
from gitops.pipelines import definition
from gitops.pipelines.lint import lint
from gitops.scaffold import generator
from gitops.validate import policy
from gitops.yamlfile import parse
from tests.doc_blocks import Block

SECTIONS = set(config.Config.model_fields)


def yaml_problem(block: Block, folder: Path) -> str | None:
    """What the loader of what the block shows says of it; `folder` is empty and may be written."""
    try:
        data = yaml.safe_load(block.text)
    except yaml.YAMLError as error:
        return f"{block.where}: {error}"
    kind = yaml_kind(data)
    if kind is None:
        return f"{block.where}: nobody here knows what this YAML is"
    try:
        READERS[kind](block.text, data, folder)
    except (GitopsError, AssertionError) as error:
        return f"{block.where}: {error}"
    return None


def yaml_kind(data: Any) -> str | None:
    """What a block shows, by its keys."""
    if isinstance(data, list):
        return "steps" if all(isinstance(one, dict) and "uses" in one for one in data) else None
    keys = set(data) if isinstance(data, dict) else set()
    if "jobs" in keys:
        return "workflow"
    if "revision" in keys:
        return "generator"
    if keys == {"meta"}:
        return "note"
    if keys & {"checks", "waivers", "on_inconclusive"}:
        return "policy"
    return "gitops.yaml" if keys and keys <= SECTIONS else None


def _settings(text: str, data: Any, folder: Path) -> None:
    """A whole gitops.yaml, or sections that are set into the smallest one."""
    rest = {
        "version": "version: 1\n",
        "project": "project: flights\n",
        "models": "models: {late: {task: binary}}\n",
    }
    whole = text + "".join(line for key, line in rest.items() if key not in data)
    own = re.findall(r"policy: ([a-z]+)", text)
    (folder / ".gitops" / "policies").mkdir(parents=True)
    for name in set(own) - {"baseline", "strict", "regulated"}:
        (folder / ".gitops" / "policies" / f"{name}.yaml").write_text("version: 1\n")
    (folder / "gitops.yaml").write_text(whole)
    config.load(folder)


def policy_text(text: str) -> str:
    """A pack that is whole, or the rest of one that extends the shipped one."""
    if re.search(r"^version:", text, re.MULTILINE):
        return text
    head = "version: 1\nname: project\ndescription: Ours.\n"
    extends = "" if re.search(r"^extends:", text, re.MULTILINE) else "extends: baseline\n"
    return head + extends + text


def _policy(text: str, data: Any, folder: Path) -> None:
    policy.read_pack(parse(policy_text(text).encode(), Path("project.yaml")))


def _workflow(text: str, data: Any, folder: Path) -> None:
    own = folder / definition.OWN
    own.mkdir(parents=True)
    (own / "pull-request.yaml").write_text(text)
    definition.read("pull-request", folder)


def _generator(text: str, data: Any, folder: Path) -> None:
    (folder / data["name"] / "template").mkdir(parents=True)
    (folder / data["name"] / "generator.yaml").write_text(text)
    generator.load(folder / data["name"])


def _note(text: str, data: Any, folder: Path) -> None:
    """What `gitops data ingest` notes in a .dvc file."""
    told = data["meta"]["gitops"]
    note = dvc.origin({**data, "outs": [{"md5": told.get("snapshot")}]})
    assert note and {"kind", "place", "snapshot", "at"} <= set(note), f"{note} lacks a key"


def _steps(text: str, data: Any, folder: Path) -> None:
    """Steps with an ignored finding: the linter finds what is ignored, and no more of its kind."""
    head = "name: one\non: push\npermissions: {}\njobs:\n  one:\n    runs-on: x\n    steps:\n"
    (folder / ".github" / "workflows").mkdir(parents=True)
    (folder / ".github" / "workflows" / "one.yml").write_text(head + text)
    linted = lint(folder)
    assert linted.ignored == text.count("gitops: ignore[")
    assert not [one.rule for one in linted.findings if one.rule in ("ignore", "pin", "syntax")]


READERS: dict[str, Callable[[str, Any, Path], None]] = {
    "gitops.yaml": _settings,
    "policy": _policy,
    "workflow": _workflow,
    "generator": _generator,
    "note": _note,
    "steps": _steps,
}


def json_problem(block: Block, contract: str | None = None) -> str | None:
    """What is wrong with a JSON block; `contract` is that of the document that it shows."""
    try:
        found = contracts.parse_json(block.text, block.page)
        if contract:
            contracts.validate(contract, found, Where(block.page, block.line))
    except GitopsError as error:
        return f"{block.where}: {error}"
    return None
