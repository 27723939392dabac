"""Which class speaks to which kind of place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gitops.config.compute import Kind
from gitops.reproduce.compute.azureml import AzureML
from gitops.reproduce.compute.databricks import Databricks
from gitops.reproduce.compute.kubernetes import Kubernetes
from gitops.reproduce.compute.platform import Order, Platform
from gitops.reproduce.compute.process import Process

_KINDS: Mapping[Kind, Callable[[Order], Platform]] = {
    "azureml": AzureML,
    "databricks": Databricks,
    "kubernetes": Kubernetes,
    "process": Process,
}


def platform_of(order: Order) -> Platform:
    """The platform of a job."""
    return _KINDS[order.compute.kind](order)
