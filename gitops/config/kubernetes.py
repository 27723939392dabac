"""The part of `gitops.yaml` that says how models are deployed to Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gitops.config import values
from gitops.config.base import Frozen

LONGEST = 63  # of a namespace: a label of RFC 1123
Namespace = Annotated[
    str,
    values.Text(
        "^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$",
        "a namespace has lower-case letters, digits and hyphens between them",
        ("flights",),
        longest=40,
    ),
]

# Empty it would be whichever context kubectl is at.
Context = Annotated[
    str,
    values.Text(
        r"^\S(?:.*\S)?$", "a context of kubeconfig has a name", ("flights-production",), longest=300
    ),
]

Repository = Annotated[
    str,
    values.Text(
        r"^(?:https://|ssh://|file:///|[A-Za-z0-9._-]+@)[^\s:][^\s]*$",
        "an address of a git repository without credentials",
        ("https://github.com/acme/flights.git",),
        longest=300,
    ),
]


Address = Annotated[
    str,
    values.Text(
        r"^https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._/-]*)?$",
        "an address starts with http:// or https:// and has no credentials",
        ("http://prometheus-server.monitoring.svc.cluster.local",),
        longest=300,
    ),
]


class Kubernetes(Frozen):
    """How a cluster gets what it is to run; sizes and the like stand in deploy/kubernetes."""

    namespace: Namespace | None = Field(
        default=None,
        description="What namespaces start with; -ENVIRONMENT follows. By default the project.",
    )
    contexts: Mapping[values.EnvironmentName, Context] = Field(
        default_factory=dict,
        description="The context of kubeconfig for each environment; by default that of the cluster"
        " that is provisioned.",
        examples=[{"production": "flights-production"}],
    )
    delivery: Literal["push", "pull"] = Field(
        default="push",
        description="push: it is applied to the cluster; pull: it is written to a branch of the"
        " repository, gitops/deploy/ENVIRONMENT, which Argo CD keeps the cluster like.",
    )
    repository: Repository | None = Field(
        default=None, description="With pull: the address at which Argo CD reads the repository."
    )
    gpu: bool = Field(default=False, description="Whether pods need a machine with a GPU.")
    canary: Literal["gitops", "argo-rollouts"] = Field(
        default="gitops",
        description="Who brings a new version to traffic: gitops, by its metric and guardrails; or"
        " Argo Rollouts in the cluster, by shares of pods and the guardrails alone.",
    )
    prometheus: Address = Field(
        default="http://prometheus-server.monitoring.svc.cluster.local",
        description="With argo-rollouts: where the cluster's Prometheus answers.",
    )
    kserve: bool = Field(
        default=False,
        description="Whether servers are an InferenceService of KServe's (v1beta1).",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.delivery == "pull" and self.repository is None:
            raise values.wrong(
                "is missing: Argo CD needs the repository's address",
                "write repository: https://github.com/acme/flights.git",
                at="repository",
            )
        if self.kserve and self.canary == "argo-rollouts":
            raise values.wrong(
                "is argo-rollouts, but KServe makes the servers' Deployment itself",
                "remove canary, or kserve",
                at="canary",
            )
        return self


def namespace(declared: Kubernetes | None, project: str, environment: str) -> str:
    """The namespace of an environment."""
    prefix = declared.namespace if declared and declared.namespace else project
    return f"{prefix}-{environment}"


def workload(declared: Kubernetes | None) -> tuple[str, tuple[str, ...]]:
    """The kind of object that servers are, and what kubectl calls it beside Deployments."""
    if declared is not None and declared.kserve:
        return "InferenceService", ("inferenceservices.serving.kserve.io",)
    if declared is not None and declared.canary == "argo-rollouts":
        return "Rollout", ("rollouts.argoproj.io",)
    return "Deployment", ()
