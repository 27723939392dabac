"""Deployments of an IoT hub, made of the files in deploy/iotedge/ and the plan.

A deployment's content never changes, so what it holds makes its name: another version, or another
file, is another deployment. https://learn.microsoft.com/azure/iot-edge/module-deployment-monitoring
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitops import jsontext
from gitops.config.serving import Serve
from gitops.config.target_checks import BASE
from gitops.deploy.model import Served, Variant
from gitops.errors import ConfigError, Where

Json = dict[str, Any]
IMAGE, VERSION = "{image}", "{version}"
_ENV = re.compile(r"\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_HASH = 12
_LONGEST = 128 - _HASH - 1  # of a deployment's name
_QUERY = "SELECT deviceId FROM devices.modules WHERE moduleId = '$edgeAgent' AND "
_FAILED = "['failed', 'backoff', 'unhealthy']"


@dataclass(frozen=True)
class Deployment:
    """A deployment as it is to be. `part` is BASE or a model; `floor` its lowest priority.

    `content` still has its placeholders; `image` is by tag until it is looked up.
    """

    id: str
    part: str
    condition: str
    floor: int
    labels: Mapping[str, str]
    content: Json
    image: str = ""
    version: str = ""
    metrics: Mapping[str, str] = field(default_factory=dict)

    def filled(self, image: str) -> Json:
        """The content that the hub takes.

        Raises:
            ConfigError: an environment variable that it names isn't set.
        """
        values = {IMAGE: image, VERSION: self.version}
        filled = _filled(self.content, values)
        assert isinstance(filled, dict)  # noqa: S101
        return filled


def base(text: str, where: Where, names: tuple[str, str]) -> Deployment:
    """IoT Edge's own modules on every device of the environment; `names`: project, environment.

    Raises:
        ConfigError: it is no base deployment.
    """
    document = _read(text, where)
    agent = _modules(document, where).get("$edgeAgent", {})
    if not isinstance(agent, dict) or "properties.desired" not in agent:
        raise ConfigError(
            "a base deployment has $edgeAgent with properties.desired",
            fix="gitops sync writes the file anew where it isn't there",
            where=where,
        )
    floor = document.get("priority", 0)
    if type(floor) is not int or floor < 0:
        raise ConfigError(f"priority is {floor!r}", fix="write a whole number", where=where)
    labels = {**_labels(names), "part": BASE}
    name = _name((*names, BASE), text)
    return Deployment(name, BASE, _condition(document, where), floor, labels, document["content"])


def layer(
    text: str, where: Where, names: tuple[str, str], model: str, served: Served, image: str
) -> Deployment:
    """A model on top of the base; `image` is its name by tag.

    Raises:
        ConfigError: it isn't the layer of this model.
    """
    document = _read(text, where)
    key = f"properties.desired.modules.{model}"
    module = _modules(document, where).get("$edgeAgent", {}).get(key)
    if not isinstance(module, dict) or module.get("settings", {}).get("image") != IMAGE:
        raise ConfigError(
            f'the layer of {model} has $edgeAgent with "{key}", whose settings.image is {IMAGE}',
            fix=f"keep {IMAGE}: the version that is assigned is put there",
            where=where,
        )
    champion = served.champion
    labels = {
        **_labels(names),
        "part": model,
        "release": champion.release,
        "assignment": champion.assignment,
        "package": champion.package,
        "serve": _changed(served.serve),
    }
    return Deployment(
        id=_name((*names, model), json.dumps([text, image, labels])),
        part=model,
        condition=_condition(document, where),
        floor=0,
        labels=labels,
        content=document["content"],
        image=image,
        version=champion.release.rpartition("@")[2],
        metrics=metrics(model, IMAGE),
    )


def metrics(model: str, image: str) -> dict[str, str]:
    """What the hub counts: the devices that report that this very image runs, or that it fails.

    https://learn.microsoft.com/azure/iot-edge/module-edgeagent-edgehub: reported properties
    """
    module = f"properties.reported.modules.[[{model}]]"
    this = f"{module}.settings.image = '{image}'"
    return {
        "running": f"{_QUERY}{this} AND {module}.runtimeStatus = 'running'",
        "failing": f"{_QUERY}{this} AND {module}.runtimeStatus IN {_FAILED}",
    }


def released(labels: Mapping[str, str], folder: Callable[[str], Path]) -> Served | None:
    """What a layer's labels say that it is; None: they aren't of this form.

    `folder`: where a package is kept, by its digest.
    """
    try:
        changed = jsontext.loads(labels["serve"])
        package = labels["package"]
        variant = Variant(labels["release"], labels["assignment"], str(folder(package)), package)
        return Served(variant, _defaults() | changed)
    except (KeyError, TypeError, ValueError):
        return None


def _changed(serve: Json) -> str:
    """How a model answers, as far as that isn't the default: a label has to be short."""
    usual = _defaults()
    changed = {key: one for key, one in serve.items() if key not in usual or usual[key] != one}
    return json.dumps(changed, separators=(",", ":"), sort_keys=True)


def _defaults() -> Json:
    """As `decide.serve_of` has it."""
    return Serve().model_dump(mode="json") | {"script": None, "workdir": None}


def _read(text: str, where: Where) -> Json:
    try:
        found = jsontext.loads(text)
    except ValueError as error:
        raise ConfigError(f"isn't JSON: {error}", fix="mend it", where=where) from error
    if not isinstance(found, dict):
        raise ConfigError("isn't a JSON object", fix="mend it", where=where)
    return found


def _modules(document: Json, where: Where) -> Json:
    content = document.get("content")
    modules = content.get("modulesContent") if isinstance(content, dict) else None
    if not isinstance(modules, dict):
        raise ConfigError(
            "has no content.modulesContent", fix="mend it, or let gitops sync write it", where=where
        )
    return modules


def _condition(document: Json, where: Where) -> str:
    found = document.get("targetCondition")
    if not isinstance(found, str) or not found.strip():
        raise ConfigError(
            "has no targetCondition: it would reach no device",
            fix="write one, as tags.environment='production'",
            where=where,
        )
    return found


def _labels(names: tuple[str, str]) -> dict[str, str]:
    return {"gitops": "/".join(names)}


def _name(words: tuple[str, ...], what: str) -> str:
    """Lower-case letters, digits and hyphens: a hub takes those, and a few more."""
    stem = re.sub(r"[^a-z0-9-]", "-", "-".join(words).lower())[:_LONGEST]
    return f"{stem}-{hashlib.sha256(what.encode()).hexdigest()[:_HASH]}"


def _filled(value: object, values: Mapping[str, str]) -> object:
    """With placeholders replaced, and the options of containers as the text that the hub takes."""
    if isinstance(value, dict):
        made = {key: _filled(one, values) for key, one in value.items()}
        options = made.get("createOptions")
        if isinstance(options, dict):
            made["createOptions"] = json.dumps(options, separators=(",", ":"))
        return made
    if isinstance(value, list):
        return [_filled(one, values) for one in value]
    if isinstance(value, str):
        return _ENV.sub(_variable, values.get(value, value))
    return value


def _variable(found: re.Match[str]) -> str:
    value = os.environ.get(found[1])
    if value is None:
        raise ConfigError(
            f"deploy/iotedge/ names the variable {found[1]}, which isn't set",
            fix=f"set {found[1]} where gitops deploy runs",
        )
    return value
