"""What gitops.yaml asks of any forge, before a forge's own words for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gitops.errors import UsageError

if TYPE_CHECKING:
    from gitops.config import Config

RECORDS = "gitops/records"
REQUIRED = "required"  # the job of the workflow pull-request that waits for all others
# Which cloud identity the workflows log in as; an identifier is no secret.
AZURE = ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID")
AUDIENCE = "api://AzureADTokenExchange"


def needs_azure(config: Config) -> bool:
    """Whether a workflow has to log in to Azure: for the storage, or for a model's target."""
    targets = {model.deploy.target for model in config.models.values()}
    return config.storage.kind == "azure" or bool(targets & {"azureml", "iotedge"})


def needs_cloud(config: Config) -> bool:
    """Whether a workflow has to log in to any cloud."""
    return config.storage.kind == "s3" or needs_azure(config)


def variables(config: Config, given: Sequence[str]) -> dict[str, str]:
    """The values of `NAME=VALUE` texts.

    Raises:
        UsageError: it's no such text, or a variable that no workflow reads.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not value or name not in AZURE:
            raise UsageError(
                f"--set {name}: no workflow reads such a variable",
                fix=f"give NAME=VALUE with one of {', '.join(AZURE)}; never a secret",
            )
        if not needs_azure(config):
            raise UsageError(
                f"--set {name}: neither the storage nor a model's target is on Azure",
                fix="leave it out",
            )
        found[name] = value
    return found


def missing(config: Config, there: Mapping[str, object]) -> tuple[str, ...]:
    """Variables that a workflow reads and nobody has set."""
    return tuple(name for name in AZURE if name not in there) if needs_azure(config) else ()
