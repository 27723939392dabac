"""The part of `gitops.yaml` that says where models of the target `iotedge` run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from gitops.config import values
from gitops.config.base import Frozen

# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
HubName = Annotated[
    str,
    values.Text(
        "^[A-Za-z0-9](?:[A-Za-z0-9-]{1,48}[A-Za-z0-9])$",
        "a hub's name has 3-50 letters, digits and hyphens",
        ("flights-production",),
        longest=50,
    ),
]


class IotEdgeTarget(Frozen):
    """Devices that run Azure IoT Edge. Which ones: the target condition in deploy/iotedge/."""

    hubs: Mapping[values.EnvironmentName, HubName] = Field(
        default_factory=dict,
        description="The IoT hub of each environment; by default the one that is provisioned.",
        examples=[{"production": "flights-production"}],
    )
