"""The part of `gitops.yaml` that says where models are deployed to."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from gitops.config import values
from gitops.config.azureml import AzureMLTarget
from gitops.config.base import Frozen
from gitops.config.iotedge import IotEdgeTarget
from gitops.config.kubernetes import Kubernetes

Kind = Literal["local", "kubernetes", "azureml", "iotedge"]  # cli/places.py makes a target of each
KINDS: tuple[Kind, ...] = get_args(Kind)
ON_AZURE: frozenset[Kind] = frozenset(("azureml", "iotedge"))  # to deploy there is to log in to it
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
Registry = Annotated[
    str,
    values.Text(
        r"^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$",
        "a registry is a host, and maybe a path, without a scheme",
        ("flights.azurecr.io", "ghcr.io/acme/flights"),
        longest=200,
    ),
]


class Deploy(Frozen):
    """Where a model is served."""

    target: Kind = Field(
        default="local", description="The kind of place that `gitops deploy` deploys to."
    )


class Targets(Frozen):
    """The places that models are deployed to, by kind; what isn't said follows from the rest."""

    registry: Registry | None = Field(
        default=None,
        description="Where images of models are kept; by default the registry that is provisioned.",
    )
    iotedge: IotEdgeTarget = IotEdgeTarget()
    kubernetes: Kubernetes | None = None
    azureml: AzureMLTarget = AzureMLTarget()
