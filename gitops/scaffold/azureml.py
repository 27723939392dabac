"""deploy/azureml/: what models of the target `azureml` come to as files of the Azure ML CLI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gitops import cloudnames

if TYPE_CHECKING:
    from gitops.config import Config, Environment


def contexts(declared: Config, environment: Environment) -> Iterator[dict[str, object]]:
    """What the templates see, for each model: plain data only."""
    infrastructure, name = declared.infrastructure, environment.name
    provisioned = infrastructure is not None and infrastructure.components.azureml is not None
    names = cloudnames.of(declared, name) if provisioned else {}
    for model, settings in declared.models.items():
        if settings.deploy.target == "azureml":
            yield {
                "model": model,
                "last": environment is declared.environments[-1],
                "endpoint": cloudnames.endpoint(declared, name, model),
                "batch": declared.targets.azureml.batch,
                "batch_endpoint": cloudnames.endpoint(declared, name, model, batch=True),
                "private": infrastructure is not None and infrastructure.private,
                "group": names.get("resource_group", ""),
                "identity": f"{names['identity']}-workload" if names else "",
            }
