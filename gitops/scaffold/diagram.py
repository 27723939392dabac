"""A picture of what `infrastructure:` of gitops.yaml declares, as Mermaid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gitops import cloudnames

if TYPE_CHECKING:
    from gitops.config import Config

TITLES = {
    "azureml": "Azure Machine Learning",
    "aks": "Kubernetes (AKS)",
    "iot": "IoT Hub and provisioning",
    "sql": "Azure SQL",
    "data_factory": "Data Factory",
    "databricks": "Databricks",
    "grafana": "Grafana",
    "alerts": "alerts",
    "budget": "budget",
}
# Kept by the tool itself; where it isn't there the cloud knows what has been deployed.
_STATES = {"terraform-azure": "state of Terraform"}


def mermaid(declared: Config, environments: Sequence[str] = ()) -> str:
    """What all share and these environments (none said: all), and who may do what with it.

    Raises:
        ValueError: no infrastructure is declared.
    """
    shown = environments or [one.name for one in declared.environments]
    return "\n".join(["flowchart LR", *_shared(declared), *_environments(declared, shown)])


def _shared(declared: Config) -> Iterator[str]:
    wanted = declared.infrastructure
    group = cloudnames.of(declared, cloudnames.SHARED)["resource_group"]
    yield f'  subgraph shared["shared: {group}"]'
    if wanted is not None and wanted.generator in _STATES:
        yield f'    state[("{_STATES[wanted.generator]}")]'
    yield '    dvc[("storage: DVC")]'
    if _lands(declared):
        yield '    landing[("storage: landing")]'
    yield '    registry["container registry"]'
    yield '    ci(["identity: builds"])'
    yield '    read(["identity: pull requests"])'
    yield "  end"
    yield "  ci -->|writes| dvc"
    yield "  ci -->|pushes| registry"
    yield "  read -->|reads| dvc"


def _environments(declared: Config, shown: Sequence[str]) -> Iterator[str]:
    wanted = declared.infrastructure
    parts = wanted.components.declared if wanted is not None else ()
    for name in shown:
        group = cloudnames.of(declared, name)["resource_group"]
        yield f'  subgraph {name}["{name}: {group}"]'
        yield f'    {name}-deploy(["identity: deploys"])'
        yield f'    {name}-workload(["identity: what runs"])'
        yield f'    {name}-core["storage, Key Vault, Log Analytics, Application Insights"]'
        yield from (f'    {name}-{part}["{TITLES[part]}"]' for part in parts)
        yield "  end"
        yield f"  {name}-workload -->|reads| dvc"
        yield f"  {name}-workload -->|pulls| registry"
        yield f"  {name}-workload --> {name}-core"
        yield f"  {name}-deploy -->|changes| {name}-core"
        yield f"  {name}-deploy -->|reads| dvc"
        if _lands(declared) and name == declared.environments[0].name:
            yield f"  {name}-data_factory -->|lands| landing"
            yield "  landing -->|read by| ci"


def _lands(declared: Config) -> bool:
    wanted = declared.infrastructure
    factory = wanted.components.data_factory if wanted is not None else None
    return factory is not None and factory.copies is not None
