"""The part of `gitops.yaml` that says how models are deployed to Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from gitops import config_values as values
from gitops.config_base import Frozen

# A label of RFC 1123; 20 characters are left for the environment.
Namespace = Annotated[
    str,
    values.Text(
        "^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$",
        "a namespace has lower-case letters, digits and hyphens between them",
        ("flights",),
        longest=40,
    ),
]


class Kubernetes(Frozen):
    """How a cluster gets what it is to run; sizes and the like stand in deploy/kubernetes."""

    namespace: Namespace | None = Field(
        default=None,
        description="What namespaces start with; -ENVIRONMENT follows. By default the project.",
    )
    contexts: Mapping[values.EnvironmentName, str] = Field(
        default_factory=dict,
        description="The context of kubeconfig for each environment; by default that of the cluster"
        " that is provisioned.",
        examples=[{"production": "flights-production"}],
    )
    gpu: bool = Field(default=False, description="Whether pods need a machine with a GPU.")


def namespace(declared: Kubernetes | None, project: str, environment: str) -> str:
    """The namespace of an environment."""
    prefix = declared.namespace if declared and declared.namespace else project
    return f"{prefix}-{environment}"
