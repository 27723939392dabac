"""infrastructure/: what `infrastructure:` of gitops.yaml comes to as code.

The generator is chosen there, so it is in no lock: the files are the tool's own, as pipelines are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from gitops import cloudnames, trust
from gitops.scaffold import diagram, generator
from gitops.scaffold.render import Rendered, render

if TYPE_CHECKING:
    from gitops.config import Config

# Kinds of names (of cloudnames) that an environment's module needs for each component.
_CORE = {
    "azure": ("storage", "vault", "logs", "insights"),
    "aws": ("bucket", "role", "log_group"),
}
_KINDS = {
    "azureml": ("machine_learning",),
    "aks": ("kubernetes", "kubernetes_dns"),
    "iot": ("iot_hub", "provisioning"),
    "sql": ("sql_server",),
}
# Kinds of resources that a subscription must be let have, beside the core's.
PROVIDERS = {
    "azureml": "Microsoft.MachineLearningServices",
    "aks": "Microsoft.ContainerService",
    "iot": "Microsoft.Devices",
    "sql": "Microsoft.Sql",
    "data_factory": "Microsoft.DataFactory",
    "databricks": "Microsoft.Databricks",
    "grafana": "Microsoft.Dashboard",
    "budget": "Microsoft.Consumption",
}
_KINDS_OF_AWS = {
    "eks": ("cluster", "vpc"),
    "sagemaker": ("endpoint",),
    "alerts": ("alarm", "topic"),
    "budget": ("cost_budget",),
}
# https://learn.microsoft.com/azure/private-link/private-endpoint-dns
_CORE_ZONES = (
    "privatelink.blob.core.windows.net",
    "privatelink.dfs.core.windows.net",
    "privatelink.azurecr.io",
    "privatelink.vaultcore.azure.net",
)
_ZONES = {
    "azureml": ("privatelink.api.azureml.ms", "privatelink.notebooks.azure.net"),
    "iot": ("privatelink.azure-devices.net", "privatelink.azure-devices-provisioning.net"),
    "sql": ("privatelink.database.windows.net",),
    "data_factory": ("privatelink.datafactory.azure.net",),
    "grafana": ("privatelink.grafana.azure.com",),
}


def rendered(declared: Config) -> Iterable[Rendered]:
    """The files of what is declared; none where nothing is, or this machine is all there is.

    Raises:
        ConfigError: as `render`.
    """
    wanted = declared.infrastructure
    if wanted is None or not wanted.in_cloud:
        return ()
    made = [generator.load(wanted.generator)]
    shared = _context(declared)
    files: dict[PurePosixPath, Rendered] = {}
    for one in declared.environments:
        for file in render(made, {**shared, "environment": one.name}):
            files[file.path] = replace(file, generator="gitops")
    return files.values()


def _context(declared: Config) -> dict[str, object]:
    """What templates see: plain data only."""
    wanted = declared.infrastructure
    assert wanted is not None  # noqa: S101
    environments = [one.name for one in declared.environments]
    components = wanted.components.model_dump()
    parts = wanted.components.declared
    by_part = _KINDS_OF_AWS if wanted.provider == "aws" else _KINDS
    kinds = [*_CORE[wanted.provider], *(kind for one in parts for kind in by_part.get(one, (one,)))]
    has_network = wanted.private or "eks" in parts
    if has_network and wanted.provider == "aws" and "vpc" not in kinds:
        kinds.append("vpc")
    state = cloudnames.of(declared, cloudnames.STATE)
    return {
        "project": declared.project,
        "ci": list(declared.ci),
        "branches": {one.name: one.branch for one in declared.environments},
        "environments": environments,
        "infrastructure": wanted.model_dump(exclude={"components"}),
        "components": components,
        "declared": list(parts),
        "diagram": diagram.mermaid(declared),
        "providers": PROVIDERS,
        "kinds": kinds,
        "has_network": has_network,
        "models": list(declared.models),
        "subjects": trust.github(declared),
        "connections": trust.azure_devops(declared),
        "zones": [*_CORE_ZONES, *(zone for one in parts for zone in _ZONES.get(one, ()))],
        "names": {one: cloudnames.of(declared, one) for one in (cloudnames.SHARED, *environments)},
        "builders": cloudnames.builders(declared),
        "state": state["bucket" if wanted.provider == "aws" else "storage"],
    }
