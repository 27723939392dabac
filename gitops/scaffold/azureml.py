"""deploy/azureml/: what models of the target `azureml` come to as files of the Azure ML CLI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gitops import cloudnames

if TYPE_CHECKING:
    from gitops.config import Config


def contexts(declared: Config) -> Iterator[dict[str, object]]:
    """What the templates see, for each environment and model: plain data only."""
    infrastructure = declared.infrastructure
    provisioned = infrastructure is not None and infrastructure.components.azureml is not None
    for one in declared.environments:
        names = cloudnames.of(declared, one.name) if provisioned else {}
        for model, settings in declared.models.items():
            if settings.deploy.target == "azureml":
                yield {
                    "environment": one.name,
                    "last": one is declared.environments[-1],
                    "model": model,
                    "endpoint": cloudnames.endpoint(declared, one.name, model),
                    "batch": declared.targets.azureml.batch,
                    "batch_endpoint": cloudnames.endpoint(declared, one.name, model, batch=True),
                    "private": infrastructure is not None and infrastructure.private,
                    "group": names.get("resource_group", ""),
                    "identity": f"{names['identity']}-workload" if names else "",
                }
