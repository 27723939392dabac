"""Names of cloud resources: within each service's limits, the same at every run, and nobody else's.

A name is what a person can read (prefix and environment, cut to what fits) and six characters that
tell it apart: a hash of the project's id and the environment. Limits and letters of Azure are those
of https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules, those of
AWS stand in each service's API reference, at the request that makes the resource.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops import names

if TYPE_CHECKING:
    from gitops.config import Config

# What counts as an environment of its own: what all have in common, and the state of Terraform.
SHARED, STATE = "shared", "state"
# Names that no environment may have: those above, and the identities of builds and pull requests.
TAKEN = (SHARED, STATE, "ci", "read")
HASH = 6
_ALPHABET = "bcdfghjkmnpqrstvwxz23456789"  # makes no word, and no letter looks like a digit


@dataclass(frozen=True)
class Rule:
    """The lengths that a service allows (ours may be stricter), and whether it takes hyphens.

    All take lower-case letters and digits, a letter first and a letter or digit last. `source`
    is the entity's row in the page above (AWS: the request), or what says more than it.
    """

    shortest: int
    longest: int
    hyphens: bool
    source: str
    provider: str = "azure"


RULES: Mapping[str, Rule] = {
    "resource_group": Rule(1, 90, True, "Microsoft.Resources/resourcegroups"),
    "storage": Rule(3, 24, False, "Microsoft.Storage/storageAccounts"),
    "registry": Rule(5, 50, False, "Microsoft.ContainerRegistry/registries"),
    "vault": Rule(3, 24, True, "Microsoft.KeyVault/vaults"),
    "logs": Rule(4, 63, True, "Microsoft.OperationalInsights/workspaces"),
    "insights": Rule(1, 260, True, "Microsoft.Insights/components"),
    # 128, less the ending that tells three of an environment apart: -workload, -cluster.
    "identity": Rule(3, 119, True, "Microsoft.ManagedIdentity/userAssignedIdentities"),
    "network": Rule(2, 64, True, "Microsoft.Network/virtualNetworks"),
    "machine_learning": Rule(3, 33, True, "Microsoft.MachineLearningServices/workspaces"),
    "kubernetes": Rule(1, 63, True, "Microsoft.ContainerService/managedClusters"),
    # Its dnsPrefix: https://learn.microsoft.com/rest/api/aks/managed-clusters/create-or-update
    "kubernetes_dns": Rule(1, 54, True, "managedClusters: dnsPrefix"),
    "iot_hub": Rule(3, 50, True, "Microsoft.Devices/IotHubs"),
    "provisioning": Rule(3, 64, True, "Microsoft.Devices/provisioningServices"),
    "sql_server": Rule(1, 63, True, "Microsoft.Sql/servers"),
    "data_factory": Rule(3, 63, True, "Microsoft.DataFactory/factories"),
    "databricks": Rule(3, 64, True, "Microsoft.Databricks/workspaces"),
    # https://learn.microsoft.com/rest/api/managed-grafana: 2 to 23 letters, digits and hyphens
    "grafana": Rule(2, 23, True, "Microsoft.Dashboard/grafana"),
    "budget": Rule(1, 63, True, "Microsoft.Consumption/budgets"),
    "alerts": Rule(1, 260, True, "Microsoft.Insights/actionGroups"),
    # Unique within a region, not within a workspace; batch endpoints likewise:
    # https://learn.microsoft.com/azure/machine-learning/how-to-manage-quotas (endpoint name)
    "online_endpoint": Rule(3, 32, True, "Azure Machine Learning: endpoint name"),
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    "bucket": Rule(3, 63, True, "S3 CreateBucket", "aws"),
    # 256, less what stands for a model's images behind it: /PROJECT/MODEL.
    "repository": Rule(2, 190, True, "ECR CreateRepository", "aws"),
    # 64, less the ending that tells those of an environment apart: -workload.
    "role": Rule(1, 55, True, "IAM CreateRole", "aws"),
    # 512, less what stands before it: /gitops/.
    "log_group": Rule(1, 504, True, "CloudWatch Logs CreateLogGroup", "aws"),
    # 255, less the ending that says what is wrong.
    "alarm": Rule(1, 223, True, "CloudWatch PutMetricAlarm", "aws"),
    "topic": Rule(1, 256, True, "SNS CreateTopic", "aws"),
    "cost_budget": Rule(1, 100, True, "Budgets CreateBudget", "aws"),
    "cluster": Rule(1, 100, True, "EKS CreateCluster", "aws"),
    # 63, less what stands for a model behind it: -MODEL.
    "endpoint": Rule(1, 30, True, "SageMaker CreateEndpoint", "aws"),
    "vpc": Rule(1, 256, True, "EC2 CreateTags: the tag Name", "aws"),
}
# Kinds of which an environment has several: `of` can't name them.
SEVERAL = ("online_endpoint",)
# https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-reserved-resource-name
# Whole names that are reserved can't arise: the hash is part of each.
_NOWHERE = {"azure": ("microsoft", "windows"), "aws": ()}
# AWS: see `bucket`; what else is reserved there has two hyphens or a dot.
_NOT_FIRST = {"azure": ("login",), "aws": ("sthree-", "amzn-s3-demo-")}
_CLOUD = {"azure": "Azure", "aws": "AWS"}


def derive(kind: str, prefix: str, environment: str, identity: str) -> str:
    """The name of a resource. `prefix` may be any text: letters that no cloud takes are folded.

    Raises:
        ValueError: the cloud refuses it; the message says why.
    """
    rule = RULES[kind]
    stem, label = names.plain(prefix), names.plain(environment)
    if not stem or not stem[0].isalpha():
        stem = f"ml-{stem}".rstrip("-")
    between = "-" if rule.hyphens else ""
    if not rule.hyphens:
        stem, label = stem.replace("-", ""), label.replace("-", "")
    room = rule.longest - HASH - 2 * len(between)
    # The environment tells more than the end of a long prefix; it gets up to half.
    label = label[: max(room // 2, room - len(stem))].strip("-")
    stem = stem[: room - len(label)].strip("-")
    parts = [part for part in (stem, label) if part]
    name = between.join([*parts, _told_apart(identity, environment)])
    # Joining must not have made what was cut into a word.
    cloud = _CLOUD[rule.provider]
    for word in _NOWHERE[rule.provider]:
        if word in name:
            raise ValueError(f"has {word!r} in it, which {cloud} refuses in names")
    for word in _NOT_FIRST[rule.provider]:
        if name.startswith(word):
            raise ValueError(f"starts with {word!r}, which {cloud} refuses in names")
    return name


def of(config: Config, environment: str) -> dict[str, str]:
    """All names for an environment (or `SHARED`, `STATE`), by kind, of declared infrastructure.

    Raises:
        ValueError: as `derive`.
    """
    declared = config.infrastructure
    if declared is None or declared.id is None:
        raise ValueError("no infrastructure is declared")
    prefix = declared.prefix or config.project
    return {
        kind: derive(kind, prefix, environment, declared.id)
        for kind, rule in RULES.items()
        if rule.provider == declared.provider and kind not in SEVERAL
    }


def storage(provider: str, project: str, identity: str) -> dict[str, str]:
    """`storage:` of gitops.yaml for what is provisioned as what all environments share.

    Raises:
        ValueError: as `derive`.
    """
    if provider == "aws":
        return {"remote": f"s3://{derive('bucket', project, SHARED, identity)}/{project}"}
    account = derive("storage", project, SHARED, identity)
    return {"remote": f"azure://dvc/{project}", "account": account}


def iot_hub(config: Config, environment: str) -> str | None:
    """The IoT hub of an environment: declared, or provisioned; None: neither."""
    if environment in config.targets.iotedge.hubs:
        return config.targets.iotedge.hubs[environment]
    declared = config.infrastructure
    if declared is None or declared.components.iot is None:
        return None
    return of(config, environment)["iot_hub"]


def builders(config: Config) -> list[str]:
    """The environments whose clusters `gitops build --on` submits to."""
    clusters = [one.azureml for one in config.compute.values() if one.azureml]
    first = config.environments[0].name
    return sorted({one.environment or first for one in clusters if one.workspace is None})


def problems(config: Config) -> Iterator[tuple[str, str]]:
    """Why names can't work: the environment (or `SHARED`, `STATE`), and what is wrong."""
    taken: dict[tuple[str, str], str] = {}
    for environment in (SHARED, STATE, *(one.name for one in config.environments)):
        try:
            found = of(config, environment)
        except ValueError as error:
            yield environment, str(error)
            continue
        for kind, name in found.items():
            if (other := taken.setdefault((kind, name), environment)) != environment:
                yield environment, f"has the same name for its {kind} as {other}: {name}"
                break


def workspace(config: Config, environment: str) -> tuple[str, str] | None:
    """Name and resource group of an environment's Azure ML workspace; None: nobody says.

    Raises:
        ValueError: as `derive`.
    """
    declared = config.infrastructure
    if declared and declared.provider == "azure" and declared.components.azureml is not None:
        found = of(config, environment)
        return found["machine_learning"], found["resource_group"]
    given = config.targets.azureml.workspaces.get(environment)
    return (given.name, given.resource_group) if given else None


def endpoint(config: Config, environment: str, model: str, *, batch: bool = False) -> str:
    """The name of a model's endpoint in an environment: nobody else's in the whole region.

    Without declared infrastructure it is the workspace that tells it apart.

    Raises:
        ValueError: no workspace is known, or as `derive`.
    """
    at = workspace(config, environment)
    if at is None:
        raise ValueError(f"no workspace is known for {environment}")
    declared = config.infrastructure
    owner = declared.id if declared and declared.id else "/".join(at)
    prefix = declared.prefix if declared and declared.prefix else config.project
    kind = "batch" if batch else "online"
    words = [prefix, model, "batch"] if batch else [prefix, model]
    return derive("online_endpoint", "-".join(words), environment, f"{owner}\0{model}\0{kind}")


def _told_apart(identity: str, environment: str) -> str:
    """Six characters of a hash, of which a letter is the first: names of all services take it."""
    digest = hashlib.blake2b(f"{identity}\0{environment}".encode(), digest_size=16).digest()
    number, found = int.from_bytes(digest, "big"), ""
    for at in range(HASH):
        number, rest = divmod(number, 19 if at == 0 else len(_ALPHABET))
        found += _ALPHABET[rest]
    return found
