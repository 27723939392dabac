"""The part of `gitops.yaml` that says where models of the target `azureml` are served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from gitops.config import values
from gitops.config.base import Frozen

# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
WorkspaceName = Annotated[
    str,
    values.Text(
        "^[A-Za-z0-9][A-Za-z0-9_-]{2,32}$",
        "a workspace's name has 3-33 letters, digits, hyphens and underscores",
        ("flights-staging",),
        longest=33,
    ),
]
GroupName = Annotated[
    str,
    values.Text(
        r"^[A-Za-z0-9_.()-]*[A-Za-z0-9_()-]$",
        "a resource group's name has letters, digits, and _.()- but no dot at its end",
        ("flights-staging",),
        longest=90,
    ),
]


class Workspace(Frozen):
    """A workspace of Azure Machine Learning that is there already."""

    name: WorkspaceName = Field(description="Its name.")
    resource_group: GroupName = Field(description="The resource group that it is in.")


class AzureMLTarget(Frozen):
    """Managed online endpoints of Azure Machine Learning, one for each model and environment."""

    workspaces: Mapping[values.EnvironmentName, Workspace] = Field(
        default_factory=dict,
        description="The workspace of each environment; by default the one that is provisioned.",
        examples=[{"staging": {"name": "flights-staging", "resource_group": "flights-staging"}}],
    )
    batch: bool = Field(
        default=False, description="Whether each model has a batch endpoint, too, for whole tables."
    )
