"""The programs that gitops.yaml needs on this machine, and which of them are missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops import az
from gitops.errors import ToolError
from gitops.finding import Finding
from gitops.setup import wishes

if TYPE_CHECKING:
    from gitops.config import Config


@dataclass(frozen=True)
class Tool:
    """Any one of `names` does; `why` it is needed, and where it comes from."""

    names: tuple[str, ...]
    why: str
    install: str


@dataclass(frozen=True)
class Extension:
    """An extension of the Azure CLI."""

    name: str
    why: str


_AZ = Tool(("az",), "", "https://learn.microsoft.com/cli/azure/install-azure-cli")
_TERRAFORM = Tool(
    ("terraform", "tofu"),
    "gitops infra plans and applies with it",
    "https://developer.hashicorp.com/terraform/install, 1.9 or newer",
)
_BICEP = Tool(
    ("bicep",), "gitops infra builds with it", "az bicep install, and ~/.azure/bin on PATH"
)
_AWS = Tool(
    ("aws",),
    "logs in to Amazon",
    "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
)
_KUBECTL = Tool(
    ("kubectl",), "it is how Kubernetes is spoken to", "https://kubernetes.io/docs/tasks/tools"
)
_IMAGES = Tool(
    ("buildah", "podman", "docker"),
    "models are deployed as images",
    "https://podman.io/docs/installation",
)


_DATABRICKS = Tool(
    ("databricks",),
    "builds are submitted with it",
    "https://docs.databricks.com/dev-tools/cli/install.html",
)


def _targets(config: Config) -> set[str]:
    return {model.deploy.target for model in config.models.values()}


def _computes(config: Config) -> set[str]:
    """The kinds of machines that builds can be submitted to: each has a key of its kind."""
    return {kind for one in config.compute.values() for kind in one.model_fields_set}


def needed(config: Config) -> tuple[Tool, ...]:
    """The programs that are needed, and why."""
    targets, computes = _targets(config), _computes(config)
    declared = config.infrastructure if wishes.provisioned(config) else None
    found = []
    if wishes.needs_azure(config) or "azureml" in computes:
        found.append(Tool(_AZ.names, "logs in to Azure", _AZ.install))
    if declared:
        by = {"terraform-azure": _TERRAFORM, "terraform-aws": _TERRAFORM, "bicep-azure": _BICEP}
        found.append(by[declared.generator])
        if declared.provider == "aws":
            found.append(_AWS)
    if "kubernetes" in targets | computes:
        found.append(_KUBECTL)
    if targets - {"local"}:
        found.append(_IMAGES)
    if "databricks" in computes:
        found.append(_DATABRICKS)
    return tuple(found)


def extensions(config: Config) -> tuple[Extension, ...]:
    """The extensions of the Azure CLI that are needed, and why."""
    used = _targets(config) | _computes(config)
    known = {
        "azureml": Extension("ml", "it is how Azure Machine Learning is spoken to"),
        "iotedge": Extension("azure-iot", "models are deployed to IoT Edge devices"),
    }
    return tuple(one for kind, one in known.items() if kind in used)


def findings(config: Config) -> Iterator[Finding]:
    """What is there and what is missing, without a network. Nothing is needed: nothing is said."""
    there = []
    for tool in needed(config):
        name = next((name for name in tool.names if shutil.which(name)), None)
        if name:
            there.append(name)
            continue
        names = " or ".join(tool.names)
        yield Finding("tools", "warn", f"no {names} on PATH: {tool.why}", f"install {tool.install}")
    if "az" in there:
        yield from _extensions(extensions(config))
    if there:
        yield Finding("tools", "ok", ", ".join(there))


def _extensions(wanted: tuple[Extension, ...]) -> Iterator[Finding]:
    if not wanted:
        return
    try:
        known = az.extensions()
    except ToolError as error:
        yield Finding("tools", "warn", error.message, error.fix or _AZ.install)
        return
    for one in wanted:
        if one.name not in known:
            text = f"az has no extension {one.name}: {one.why}"
            yield Finding("tools", "warn", text, f"az extension add --name {one.name}")
