"""Terraform and Bicep come to the same: resources and their names, rights, and whom to trust."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from gitops import cloudnames
from gitops.infra import bicep, hcl
from gitops.infra.bicep import Declaration, File, Value
from gitops.infra.hcl import Block
from tests.unit.test_cloudnames import GRAMMARS
from tests.unit.test_infrastructure import COMBINATIONS, lay, parse

# A type of Terraform's provider, and of Azure itself.
TYPES = {
    "resource_group": "Microsoft.Resources/resourceGroups",
    "storage_account": "Microsoft.Storage/storageAccounts",
    "storage_container": "Microsoft.Storage/storageAccounts/blobServices/containers",
    "container_registry": "Microsoft.ContainerRegistry/registries",
    "user_assigned_identity": "Microsoft.ManagedIdentity/userAssignedIdentities",
    "federated_identity_credential": (
        "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials"
    ),
    "key_vault": "Microsoft.KeyVault/vaults",
    "log_analytics_workspace": "Microsoft.OperationalInsights/workspaces",
    "application_insights": "Microsoft.Insights/components",
    "monitor_diagnostic_setting": "Microsoft.Insights/diagnosticSettings",
    "machine_learning_workspace": "Microsoft.MachineLearningServices/workspaces",
    "machine_learning_compute_cluster": "Microsoft.MachineLearningServices/workspaces/computes",
    "kubernetes_cluster": "Microsoft.ContainerService/managedClusters",
    "kubernetes_cluster_node_pool": "Microsoft.ContainerService/managedClusters/agentPools",
    "iothub": "Microsoft.Devices/IotHubs",
    "iothub_dps": "Microsoft.Devices/provisioningServices",
    "mssql_server": "Microsoft.Sql/servers",
    "mssql_database": "Microsoft.Sql/servers/databases",
    "data_factory": "Microsoft.DataFactory/factories",
    "data_factory_integration_runtime_azure": (
        "Microsoft.DataFactory/factories/integrationRuntimes"
    ),
    "data_factory_credential_user_managed_identity": "Microsoft.DataFactory/factories/credentials",
    "data_factory_linked_custom_service": "Microsoft.DataFactory/factories/linkedservices",
    "data_factory_custom_dataset": "Microsoft.DataFactory/factories/datasets",
    "data_factory_pipeline": "Microsoft.DataFactory/factories/pipelines",
    "data_factory_trigger_schedule": "Microsoft.DataFactory/factories/triggers",
    "data_factory_managed_private_endpoint": (
        "Microsoft.DataFactory/factories/managedVirtualNetworks/managedPrivateEndpoints"
    ),
    "databricks_workspace": "Microsoft.Databricks/workspaces",
    "dashboard_grafana": "Microsoft.Dashboard/grafana",
    "monitor_action_group": "Microsoft.Insights/actionGroups",
    "monitor_metric_alert": "Microsoft.Insights/metricAlerts",
    "monitor_scheduled_query_rules_alert_v2": "Microsoft.Insights/scheduledQueryRules",
    "consumption_budget_resource_group": "Microsoft.Consumption/budgets",
    "virtual_network": "Microsoft.Network/virtualNetworks",
    "network_security_group": "Microsoft.Network/networkSecurityGroups",
    "private_dns_zone": "Microsoft.Network/privateDnsZones",
    "private_dns_zone_virtual_network_link": (
        "Microsoft.Network/privateDnsZones/virtualNetworkLinks"
    ),
    "private_endpoint": "Microsoft.Network/privateEndpoints",
}
# What is a resource of its own in one of them alone: a part of another one there.
PARTS = {
    "subnet",  # of the network
    "subnet_network_security_group_association",
    "iothub_shared_access_policy",  # of the hub
    "mssql_database_extended_auditing_policy",  # without a name
    "role_assignment",  # below
}
ARM_PARTS = {
    "Microsoft.Storage/storageAccounts/blobServices",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
    "Microsoft.DataFactory/factories/managedVirtualNetworks",
    "Microsoft.Sql/servers/databases/auditingSettings",
    "Microsoft.Authorization/roleAssignments",
    "Microsoft.Authorization/roleDefinitions",  # predicts: Terraform plans by reading
}
Names = set[tuple[str, str]]


@dataclass(frozen=True)
class Both:
    """infrastructure/ as each of them, and the name of the shared group."""

    terraform: Path
    bicep: Path
    group: str


NAMES = ["core", "everything", "private-everything", "private-landing", "landing-devops", "builds"]


def as_bicep(text: str) -> str:
    return text.replace("provider: azure\n", "provider: azure\n  generator: bicep-azure\n")


# ---------------------------------------------------------------- Terraform, read back


@cache
def blocks(folder: Path) -> list[Block]:
    found = [one for path in sorted(folder.glob("*.tf")) for one in hcl.read(path)]
    return [one for one in found if one.kind in ("resource", "locals")]


def terraform_names(top: Path) -> Names:
    found = set()
    for folder in (top / "shared", top / "modules" / "environment"):
        every = blocks(folder)
        endpoints = [
            hcl.unquoted(key)
            for one in every
            if one.kind == "locals"
            for key in one.arguments.get("endpoints", {})
        ]
        zones = re.findall(
            r'^    "(privatelink\.[a-z.-]+)",$',
            "".join(path.read_text() for path in folder.glob("network.tf")),
            re.MULTILINE,
        )
        for one in every:
            kind = one.labels[0].removeprefix("azurerm_") if one.kind == "resource" else ""
            if not kind or kind in PARTS:
                continue
            for name in terraform_name(one, kind, endpoints, zones):
                found.add((TYPES[kind], name))
    return found


def terraform_name(one: Block, kind: str, endpoints: list[str], zones: list[str]) -> list[str]:
    if kind == "private_endpoint":
        return endpoints
    if kind == "private_dns_zone":
        return zones
    name = str(one.arguments["name"]).removeprefix("${").removesuffix("}")
    name = hcl.unquoted(name)
    each = {
        "each.value.group": "<resource_group>",
        "each.value.deploy": "<identity>",
        "each.value.workload": "<identity>-workload",
        "${each.value.deploy}-cluster": "<identity>-cluster",
        "each.value": "<network>",
        "github-${each.key}": "github-<env>",
    }
    named = re.fullmatch(r'var\.names\["(\w+)"\]', name)
    return [f"<{named[1]}>" if named else each.get(name, name)]


def terraform_roles(top: Path) -> set[tuple[str, str, str]]:
    found = set()
    for one in blocks(top / "shared"):
        if one.labels[:1] != ("azurerm_role_assignment",):
            continue
        scope, principal = str(one.arguments["scope"]), str(one.arguments["principal_id"])
        each = str(one.arguments.get("for_each", ""))
        whose = re.search(r"user_assigned_identity\.(\w+)", principal + each)
        who = "owner" if "client_config" in principal or whose is None else whose[1]
        role = hcl.unquoted(one.arguments["role_definition_name"])
        found.add((role, terraform_scope(scope), who))
    return found


def terraform_scope(scope: str) -> str:
    for text, kind in (
        ("storage_container.dvc", "dvc"),
        ("storage_container.landing", "landing"),
        ("container_registry", "registry"),
        ("local.state", "state"),
        ("user_assigned_identity.workload", "workload"),
        ("virtual_network", "network"),
    ):
        if text in scope:
            return kind
    return "group"


# ---------------------------------------------------------------- Bicep, read back


def walk(
    file: File, bound: Mapping[str, str]
) -> Iterator[tuple[File, Declaration, dict[str, str]]]:
    """Every resource that is deployed from a file, with what names are in there."""
    for one in file.of("resource"):
        if not one.existing:
            yield file, one, dict(bound) | looped(file, one)
    for one in file.of("module"):
        inner: dict[str, str] = {}
        params = one.value.get("params") if one.value else None
        here = dict(bound) | looped(file, one)
        for key, value in params.entries if params else ():
            inner[key] = resolve(value, here)
            prefix = f"{value.text}."
            inner |= {
                f"{key}.{name.removeprefix(prefix)}": each
                for name, each in here.items()
                if name.startswith(prefix)
            }
        yield from walk(bicep.read((file.path.parent / one.type).resolve()), inner)


def looped(file: File, one: Declaration) -> dict[str, str]:
    over = {use.name for use in one.uses}
    if "environments" in over:
        kinds = {"group": "resource_group", "name": "env"}
        fields = ("name", "branch", "group", "identity", "network")
        return {f"one.{field}": f"<{kinds.get(field, field)}>" for field in fields}
    return {"one": "<zone>"} if "zones" in over else {}


def resolve(value: Value, bound: Mapping[str, str]) -> str:
    if value.kind == "text":
        return value.text
    if value.text.startswith("'"):
        return re.sub(
            r"\$\{([^}]+)\}", lambda one: bound.get(one[1], one[0]), value.text.strip("'")
        )
    return bound.get(value.text, value.text)


def every(top: Path) -> list[tuple[File, Declaration, dict[str, str]]]:
    parameters = {
        one.name: one.value for one in bicep.read(top / "shared/main.bicepparam").of("var")
    }
    names = parameters["names"]
    assert names is not None
    shared = {f"names.{key}": value.text for key, value in names.entries}
    kinds = {f"names.{kind}": f"<{kind}>" for kind in cloudnames.RULES}
    return [
        *walk(bicep.read(top / "shared" / "main.bicep"), shared),
        *walk(bicep.read(top / "modules" / "environment" / "main.bicep"), kinds),
    ]


def bicep_names(top: Path) -> Names:
    found: Names = set()
    for file, one, bound in every(top):
        kind = one.type.partition("@")[0]
        name = one.value.get("name") if one.value else None
        assert name is not None
        if kind in ARM_PARTS:
            continue
        endpoints = file.named("var").get("endpoints")
        if kind == "Microsoft.Network/privateEndpoints" and endpoints and endpoints.value:
            texts = [each.get("name") for each in endpoints.value.items]
            found |= {(kind, each.text) for each in texts if each}
        elif name.text == "one" and bound.get("one") == "<zone>":
            (zones,) = (
                each.value
                for each in bicep.read(top / "shared" / "main.bicepparam").of("var")
                if each.name == "zones"
            )
            assert zones is not None
            found |= {(kind, each.text) for each in zones.items}
        else:
            found.add((kind, resolve(name, bound)))
    return found


def bicep_roles(top: Path) -> set[tuple[str, str, str]]:
    found = set()
    for _, one, _ in every(top):
        if not one.type.startswith("Microsoft.Authorization/roleAssignments@") or not one.value:
            continue
        scope, role = one.value.get("scope"), one.value.get("properties", "roleDefinitionId")
        principal = one.value.get("properties", "principalId")
        assert role is not None
        assert principal is not None
        named = re.search(r"roles\['([^']+)'\]", role.text)
        where = scope.text.removeprefix("environment").lower() if scope else "group"
        found.add((named[1] if named else role.text, where, principal.text.partition(".")[0]))
    return found


def subjects(top: Path, pattern: str, names: str) -> set[str]:
    text = "\n".join(path.read_text() for path in sorted((top / "shared").glob(names)))
    said = set(re.findall(pattern, text))
    for old, new in (
        ("${var.github_subject}", "<repo>"),
        ("${githubSubject}", "<repo>"),
        ("${each.key}", "<env>"),
        ("${environment}", "<env>"),
        ("${each.value}", "<branch>"),
        ("${one.branch}", "<branch>"),
    ):
        said = {one.replace(old, new) for one in said}
    return said


# ---------------------------------------------------------------- the same


@pytest.fixture(scope="module", params=NAMES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    text, folder = COMBINATIONS[request.param], tmp_path_factory.mktemp("both")
    shared = cloudnames.of(parse(text), cloudnames.SHARED)["resource_group"]
    return Both(lay(text, folder / "terraform"), lay(as_bicep(text), folder / "bicep"), shared)


def test_the_same_resources_by_the_same_names(both: Both) -> None:
    first, second = terraform_names(both.terraform), bicep_names(both.bicep)
    # The group that Terraform's state needs before anything else is made by its bootstrap.
    assert second - first == {("Microsoft.Resources/resourceGroups", both.group)}
    assert first - second == set()
    assert len(first) >= 18


def test_the_same_rights(both: Both) -> None:
    first, second = terraform_roles(both.terraform), bicep_roles(both.bicep)
    # Bicep keeps no state to read and lock; to predict takes a right that reading isn't.
    assert first - second == {
        ("Storage Blob Data Reader", "state", "read"),
        ("Storage Blob Data Contributor", "state", "deploy"),
    }
    assert second - first == {("predict", "group", "read")}
    assert len(second) >= 12


def test_the_same_subjects_are_trusted(both: Both) -> None:
    first = subjects(both.terraform, r'subject\s+= "([^"]*)"', "*.tf")
    assert subjects(both.bicep, r"subject: '([^']*)'", "*.bicep") == first
    assert len(first) == 3
    connections = subjects(both.terraform, r"subject\s+= var\.azure_devops\[(.*)\]", "*.tf")
    assert connections == {'"ci"', '"read"', "each.key"}
    connections = subjects(both.bicep, r"subject: azureDevops(.*)\.subject", "*.bicep")
    assert connections == {".ci", ".read", "[environment]"}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("modules/environment/main.bicep", "name: names.vault", "name: names.storage"),
        ("shared/identities.bicep", "name: '${name}-workload'", "name: '${name}-work'"),
        ("shared/main.bicep", "    name: names.identity", "    name: names.storage"),
    ],
)
def test_another_name_is_seen(file: str, old: str, new: str, tmp_path: Path) -> None:
    top = lay(as_bicep(COMBINATIONS["core"]), tmp_path)
    before, text = bicep_names(top), (top / file).read_text()
    assert old in text
    (top / file).write_text(text.replace(old, new, 1))
    assert before - bicep_names(top)


@pytest.mark.parametrize(
    ("old", "new"),
    [("principalId: deploy.", "principalId: read."), ("scope: dvc", "scope: blobs")],
)
def test_another_right_is_seen(old: str, new: str, tmp_path: Path) -> None:
    top = lay(as_bicep(COMBINATIONS["core"]), tmp_path)
    before, file = bicep_roles(top), top / "shared" / "environment_store_roles.bicep"
    file.write_text(file.read_text().replace(old, new, 1))
    assert bicep_roles(top) != before


# ---------------------------------------------------------------- names at the limits

LONGEST = "a" + "-bc" * 10 + "d"  # as long as names of ours may be
DEPLOYMENT = r"[-\w.()]{1,64}"  # https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules


@pytest.mark.parametrize("project", [LONGEST, "a", "x" * 32])
def test_every_name_that_is_deployed_fits_and_is_nobody_elses(project: str, tmp_path: Path) -> None:
    environments = (LONGEST, LONGEST[:-1] + "e", "b")
    text = COMBINATIONS["private-everything"].replace("flights", project)
    text += "environments:\n" + "".join(
        f"  - {{name: {one}, branch: b{number}}}\n" for number, one in enumerate(environments)
    )
    top = lay(as_bicep(text), tmp_path)
    taken: set[tuple[str, str]] = set()
    for one in environments:
        parameters = bicep.read(top / "environments" / one / "main.bicepparam").named("var")
        names = parameters["names"].value
        assert names is not None
        for kind, name in names.entries:
            assert re.fullmatch(GRAMMARS[kind], name.text), (kind, name.text)
            assert (kind, name.text) not in taken
            taken.add((kind, name.text))
    assert len(taken) > 3 * 12
    for path in bicep.paths(top):
        for each in bicep.read(path).of("module"):
            written = each.value.get("name") if each.value else None
            assert written is not None
            longest = resolve(written, {"one.name": LONGEST})
            assert re.fullmatch(DEPLOYMENT, longest), longest
    group = cloudnames.of(parse(text), cloudnames.SHARED)["resource_group"]
    assert re.fullmatch(GRAMMARS["resource_group"], group)
    assert len(f"{group}-what-if") <= 128
