"""workflows/<name>.yaml, and a repository's own in .gitops/workflows/: read, extended, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from gitops import content, yamlfile
from gitops.errors import ConfigError, Where
from gitops.pipelines.model import Pin, Pins
from gitops.yamlfile import Document, Place

if TYPE_CHECKING:
    from gitops.config import Config, Environment

SHIPPED = ("pull-request", "build", "promote", "rollback", "deploy", "infrastructure", "ingest")
OWN = Path(".gitops", "workflows")
_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*\.yaml", re.ASCII)
OWN_PINS = Path(".gitops", "pins.yaml")


@dataclass(frozen=True)
class Definition:
    """A workflow's definition, `data` as it is after extending, and where each part was written."""

    name: str
    data: Mapping[str, Any]
    documents: tuple[Document, ...]  # what says it last comes first

    def where(self, place: Place = (), *, key: bool = False) -> Where:
        """Where what is at `place` was written."""
        depth = 2 if place[:1] == ("jobs",) else 1
        for document in self.documents:
            if _has(document.data, place[:depth]):
                return document.where(place, key=key)
        return self.documents[0].where()


def names(root: Path | None) -> tuple[str, ...]:
    """The shipped workflows, then those of the repository's own that extend none of their name.

    Raises:
        ConfigError: a file there has a name that no workflow can have.
    """
    if root is None or not (root / OWN).is_dir():
        return SHIPPED
    files = sorted(one for one in (root / OWN).iterdir() if one.suffix in (".yaml", ".yml"))
    for path in files:
        if not _NAME.fullmatch(path.name):
            raise ConfigError(
                "no workflow has such a name",
                fix="call it as <name>.yaml, with lower-case letters, digits and single hyphens",
                where=Where(path),
            )
    own = [path.stem for path in files]
    return (*SHIPPED, *(name for name in own if name not in SHIPPED))


def read(name: str, root: Path | None = None, folder: Path | None = None) -> Definition:
    """The definition of a workflow: the repository's own, or that of `folder` (None: shipped).

    Raises:
        ConfigError: it breaks the schema, or extends what isn't shipped.
    """
    shipped = folder or content.folder("workflows")
    path = root / OWN / f"{name}.yaml" if root is not None else None
    if path is None or not path.is_file():
        document = _read(shipped / f"{name}.yaml", "pipeline")
        return Definition(name, document.data, (document,))
    own = _read(path, "pipeline")
    base = own.data.get("extends")
    if base is None:
        return Definition(name, own.data, (own,))
    if base not in SHIPPED:
        raise ConfigError(
            f"there is no shipped workflow {base!r}",
            fix=f"extend one of {', '.join(SHIPPED)}",
            where=own.where(("extends",)),
        )
    document = _read(shipped / f"{base}.yaml", "pipeline")
    jobs = {**document.data["jobs"], **own.data.get("jobs", {})}
    for job, what in own.data.get("jobs", {}).items():
        if what is None and job not in document.data["jobs"]:
            raise ConfigError(
                f"{base} has no job {job!r} to take out",
                fix=f"its jobs are: {', '.join(document.data['jobs'])}",
                where=own.where(("jobs", job), key=True),
            )
    left = {job: what for job, what in jobs.items() if what is not None}
    data = {**document.data, **own.data, "jobs": left}
    if "required" not in own.data and "required" in data:
        data["required"] = [job for job in data["required"] if job in left]
    return Definition(name, data, (own, document))


def pins(folder: Path | None = None, root: Path | None = None) -> Pins:
    """What pins.yaml says, and before it the repository's own `.gitops/pins.yaml`.

    Raises:
        ConfigError: one breaks its schema: a commit that is no full SHA-1, say.
    """
    data = dict(_read((folder or content.folder("workflows")) / "pins.yaml", "pins").data)
    if root is not None and (root / OWN_PINS).is_file():
        own = _read(root / OWN_PINS, "own-pins").data
        data = {**data, **own, "actions": {**data["actions"], **own.get("actions", {})}}
    actions = tuple(Pin(action, **pin) for action, pin in data["actions"].items())
    return Pins(
        data["runner"],
        data["uv"],
        tuple(data["uv_hashes"]),
        actions,
        data["terraform"],
        data["terraform_hash"],
        data["az_ml"],
    )


def _read(path: Path, schema: str) -> Document:
    document = yamlfile.read(path)
    error = best_match(_validator(schema).iter_errors(document.data))
    if error is not None:
        raise ConfigError(
            f"{error.json_path}: {error.message}",
            fix=f"see the rules: gitops schema {schema}"
            if schema == "pipeline"
            else "see the rules in workflows/pins.schema.json",
            where=document.where(tuple(error.absolute_path)),
        )
    return document


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(rules(schema))


def rules(schema: str) -> dict[str, Any]:
    """The JSON Schema of `pipeline`, `pins`, or `own-pins`: of these nothing must be there."""
    name = "pins" if schema == "own-pins" else schema
    text = (content.folder("workflows") / f"{name}.schema.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    pairs = (("uv", "uv_hashes"), ("terraform", "terraform_hash"))
    together = {one: [other] for pair in pairs for one, other in (pair, pair[::-1])}
    return found if name == schema else {**found, "required": [], "dependentRequired": together}


def environments(job: Mapping[str, Any], config: Config) -> tuple[Environment, ...]:
    """Those that a job with `each` is there for."""
    which = {"environment": slice(None), "release": slice(1, None), "integration": slice(1)}
    return config.environments[which[job["each"]]]


def _has(data: object, place: Place) -> bool:
    for step in place:
        if not isinstance(data, dict) or step not in data:
            return False
        data = data[step]
    return True
