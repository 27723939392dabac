"""The identities of declared infrastructure on Azure, and every right of theirs.

What the generators give in infrastructure/shared; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops import cloudnames
from gitops.trust import CI, READ

if TYPE_CHECKING:
    from gitops.config import Config

_CONTAINER = "blobServices/default/containers"


@dataclass(frozen=True)
class Identity:
    """A managed identity. `whose` login it is; of a workload or cluster: none's (`logs_in`)."""

    whose: str
    name: str
    group: str
    logs_in: bool = True


@dataclass(frozen=True)
class Right:
    """A role of an identity (by name) in a scope below the subscription."""

    identity: str
    role: str
    scope: str


def identities(config: Config) -> tuple[Identity, ...]:
    """All of them, in the order in which people meet them."""
    shared = cloudnames.of(config, cloudnames.SHARED)
    group, name = shared["resource_group"], shared["identity"]
    found = [Identity(CI, name, group), Identity(READ, f"{name}-read", group)]
    declared = config.infrastructure
    for one in config.environments:
        names = cloudnames.of(config, one.name)
        group, name = names["resource_group"], names["identity"]
        found.append(Identity(one.name, name, group))
        found.append(Identity(f"what runs in {one.name}", f"{name}-workload", group, logs_in=False))
        if declared and declared.components.aks:
            whose = f"the cluster of {one.name}"
            found.append(Identity(whose, f"{name}-cluster", group, logs_in=False))
    return tuple(found)


def rights(config: Config) -> tuple[Right, ...]:
    """Every right that infrastructure/shared gives to an identity."""
    return tuple(_rights(config))


def _rights(config: Config) -> Iterator[Right]:
    declared = config.infrastructure
    assert declared is not None  # noqa: S101
    parts, shared = declared.components, cloudnames.of(config, cloudnames.SHARED)
    top = _provider(shared["resource_group"])
    dvc = f"{top}/Microsoft.Storage/storageAccounts/{shared['storage']}/{_CONTAINER}/dvc"
    landing = f"{dvc.removesuffix('dvc')}landing"
    registry = f"{top}/Microsoft.ContainerRegistry/registries/{shared['registry']}"
    account = cloudnames.of(config, cloudnames.STATE)["storage"]
    state = f"{top}/Microsoft.Storage/storageAccounts/{account}/{_CONTAINER}"
    ci, read = shared["identity"], f"{shared['identity']}-read"
    yield Right(ci, "Storage Blob Data Contributor", dvc)
    yield Right(ci, "AcrPush", registry)
    yield Right(read, "Storage Blob Data Reader", dvc)
    if lands := parts.data_factory is not None and parts.data_factory.copies is not None:
        yield Right(ci, "Storage Blob Data Reader", landing)
    builders = cloudnames.builders(config)
    for at, one in enumerate(config.environments):
        names = cloudnames.of(config, one.name)
        group = f"/resourceGroups/{names['resource_group']}"
        deploy, workload = names["identity"], f"{names['identity']}-workload"
        yield Right(read, "Reader", group)
        yield Right(deploy, "Contributor", group)
        if declared.generator == "bicep-azure":  # no state of its own; Azure predicts when asked
            yield Right(read, f"{shared['resource_group']}-what-if", group)
        else:
            yield Right(read, "Storage Blob Data Reader", f"{state}/env-{one.name}")
            yield Right(deploy, "Storage Blob Data Contributor", f"{state}/env-{one.name}")
        yield Right(deploy, "Storage Blob Data Reader", dvc)
        yield Right(workload, "Storage Blob Data Reader", dvc)
        if one.name in builders:
            yield Right(workload, "Storage Blob Data Contributor", dvc)
        if lands and not at:
            yield Right(workload, "Storage Blob Data Contributor", landing)
        yield Right(workload, "AcrPull", registry)
        yield Right(workload, "Storage Blob Data Contributor", group)
        yield Right(workload, "Key Vault Secrets User", group)
        yield Right(workload, "Monitoring Metrics Publisher", group)
        if parts.grafana:
            yield Right(workload, "Monitoring Reader", group)
        if parts.azureml:
            yield Right(deploy, "Storage Blob Data Contributor", group)
        if parts.aks:
            yield Right(deploy, "Azure Kubernetes Service RBAC Writer", group)
            yield Right(deploy, "AcrPull", registry)
            cluster, here = f"{names['identity']}-cluster", _provider(names["resource_group"])
            runs = f"{here}/Microsoft.ManagedIdentity/userAssignedIdentities/{workload}"
            yield Right(cluster, "Managed Identity Operator", runs)
            if declared.private:
                network = f"{here}/Microsoft.Network/virtualNetworks/{names['network']}"
                yield Right(cluster, "Network Contributor", network)


def _provider(group: str) -> str:
    return f"/resourceGroups/{group}/providers"
