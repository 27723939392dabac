"""`gitops add infrastructure`, `gitops add target`: declared in gitops.yaml, and what that needs
written."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gitops import config, yamlfile
from gitops.config.infrastructure import REGIONS, Components, new_id
from gitops.errors import AnswerNo, ConfigError
from gitops.scaffold import disk, sync
from gitops.yamlfile import edits


@dataclass(frozen=True)
class Declared:
    """What it did to declare something: files as they are now (none: it was so already)."""

    files: tuple[str, ...]
    conflicts: tuple[str, ...]


def add(root: Path, settings: Mapping[str, str]) -> Declared:
    """Declare infrastructure in gitops.yaml, or change what is declared, and write what it needs.

    `settings`: keys of `infrastructure:` (or of its components, with dots) to values as YAML has
    them; an empty one is a component as it is by default.

    Raises:
        AnswerNo: the repository isn't in sync.
        ConfigError: what would be declared can't be; gitops.yaml is as it was.
    """
    path = root / config.FILE
    data = yamlfile.read(path).data.get("infrastructure")
    return declare(root, {("infrastructure",): _wanted(data, settings, path)})


def target(root: Path, kind: str, model: str | None) -> Declared:
    """Let a model (None: the only one) be deployed to a kind of target, and write what it needs.

    Raises:
        UsageError: there's no such model, or several to choose from.
        AnswerNo, ConfigError: as `add`.
    """
    name, declared = config.load(root).model(model)
    if declared.deploy.target == kind:
        return declare(root, {})
    return declare(root, {("models", name, "deploy", "target"): kind})


def declare(root: Path, change: Mapping[yamlfile.Place, object]) -> Declared:
    """Change gitops.yaml, and write what that needs; or change nothing.

    Raises:
        AnswerNo, ConfigError: as `add`.
    """
    if sync.survey(root).changes:
        raise AnswerNo(
            "the repository isn't in sync, so what this adds can't be told apart",
            fix="gitops sync, commit, then say it again",
        )
    path = root / config.FILE
    before = path.read_bytes()
    config.parse(edits.apply(before.decode(), path, change).encode(), path)
    if not yamlfile.edit(path, change):
        return Declared((), ())
    try:
        plan = sync.sync(root).plan
    except BaseException:
        disk.write_whole(path, before)
        raise
    files = tuple(str(entry.file.path) for entry in plan.changes)
    conflicts = tuple(str(entry.file.path) for entry in plan.conflicts)
    return Declared((config.FILE, *files), conflicts)


def _wanted(data: object, settings: Mapping[str, str], path: Path) -> dict[str, object]:
    """The section with the settings in it."""
    there = copy.deepcopy(data) if isinstance(data, dict) else {}
    provider = settings.get("provider", "azure")
    region = REGIONS.get(provider, REGIONS["azure"])
    wanted = there or {"provider": provider, "id": new_id(), "region": region}
    if there.get("id") and settings.get("id", there["id"]) != there["id"]:
        raise ConfigError(
            "with another id every resource would be made anew, under another name",
            fix="leave it as it is",
            where=yamlfile.read(path).where(("infrastructure", "id")),
        )
    for key, value in settings.items():
        steps = key.split(".")
        if steps[0] in Components.model_fields:
            steps = ["components", *steps]
        here: dict[str, object] = wanted
        for step in steps[:-1]:
            inner = here.get(step)
            here[step] = inner if isinstance(inner, dict) else {}
            here = here[step]  # type: ignore[assignment]
        parsed = yamlfile.parse(f"value: {value or '{}'}".encode(), Path(f"--set {key}"))
        here[steps[-1]] = parsed.data["value"]
    return wanted
