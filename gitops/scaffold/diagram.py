"""A picture of what `infrastructure:` of gitops.yaml declares, as Mermaid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops import cloudnames

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.config.infrastructure import Infrastructure

TITLES = {
    "azureml": "Azure Machine Learning",
    "aks": "Kubernetes (AKS)",
    "iot": "IoT Hub and provisioning",
    "sql": "Azure SQL",
    "data_factory": "Data Factory",
    "databricks": "Databricks",
    "grafana": "Grafana",
    "eks": "Kubernetes (EKS)",
    "sagemaker": "SageMaker",
    "alerts": "alerts",
    "budget": "budget",
}
# Kept by the tool itself; where it isn't there the cloud knows what has been deployed.
_STATES = {"terraform-azure": "state of Terraform", "terraform-aws": "state of Terraform"}
# On AWS each of these has a role of its own for what runs there; on Azure one identity does.
_RUNS = {"eks": "what runs in pods", "sagemaker": "jobs, endpoints"}


@dataclass(frozen=True)
class _Words:
    """How a cloud calls things; `named` is the kind of name (of cloudnames) that an outline has."""

    named: str
    storage: str
    registry: str
    who: str
    core: str


_WORDS = {
    "azure": _Words(
        "resource_group",
        "storage",
        "container registry",
        "identity",
        "storage, Key Vault, Log Analytics, Application Insights",
    ),
    "aws": _Words("bucket", "bucket", "image repositories", "role", "bucket, log group"),
}


def mermaid(declared: Config, environments: Sequence[str] = ()) -> str:
    """What all share and these environments (none said: all), and who may do what with it.

    Raises:
        ValueError: no infrastructure is declared.
    """
    wanted = declared.infrastructure
    if wanted is None or wanted.provider not in _WORDS:
        raise ValueError("no infrastructure is declared")
    shown = environments or [one.name for one in declared.environments]
    words = _WORDS[wanted.provider]
    lines = [*_shared(declared, wanted, words)]
    for name in shown:
        lines += _environment(declared, wanted, words, name)
    return "\n".join(["flowchart LR", *lines])


def _shared(declared: Config, wanted: Infrastructure, words: _Words) -> Iterator[str]:
    name = cloudnames.of(declared, cloudnames.SHARED)[words.named]
    yield f'  subgraph shared["shared: {name}"]'
    if wanted.generator in _STATES:
        yield f'    state[("{_STATES[wanted.generator]}")]'
    yield f'    dvc[("{words.storage}: DVC")]'
    if _lands(wanted):
        yield f'    landing[("{words.storage}: landing")]'
    yield f'    registry["{words.registry}"]'
    yield f'    ci(["{words.who}: builds"])'
    yield f'    read(["{words.who}: pull requests"])'
    yield "  end"
    yield "  ci -->|writes| dvc"
    yield "  ci -->|pushes| registry"
    yield "  read -->|reads| dvc"


def _environment(
    declared: Config, wanted: Infrastructure, words: _Words, name: str
) -> Iterator[str]:
    parts = wanted.components.declared
    here = f"env-{name}"  # an environment may be called `end`, or `registry`
    yield f'  subgraph {here}["{name}: {cloudnames.of(declared, name)[words.named]}"]'
    yield f'    {here}-deploy(["{words.who}: deploys"])'
    runs = {f"{here}-workload": "what runs"}
    if wanted.provider == "aws":
        runs = {f"{here}-{part}-role": _RUNS[part] for part in _RUNS if part in parts}
    yield from (f'    {one}(["{words.who}: {what}"])' for one, what in runs.items())
    yield f'    {here}-core["{words.core}"]'
    yield from (f'    {here}-{part}["{TITLES[part]}"]' for part in parts)
    yield "  end"
    for one in runs:
        yield f"  {one} -->|reads| dvc"
        yield f"  {one} -->|pulls| registry"
        yield f"  {one} --> {here}-core"
    yield f"  {here}-deploy -->|changes| {here}-core"
    yield f"  {here}-deploy -->|reads| dvc"
    if _lands(wanted) and name == declared.environments[0].name:
        yield f"  {here}-data_factory -->|lands| landing"
        yield "  landing -->|read by| ci"


def _lands(wanted: Infrastructure) -> bool:
    factory = wanted.components.data_factory
    return factory is not None and factory.copies is not None
