"""`gitops doctor` on clouds: missing tools, and what Azure has against what is needed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from gitops import az as edge
from gitops import cloudnames, config, pipelines, trust
from gitops.cli.app import make
from gitops.config import Config
from gitops.errors import ToolError
from gitops.finding import Finding
from gitops.scaffold import infrastructure
from gitops.setup import azure as setup_azure
from gitops.setup import cloud, run, tools, wishes
from gitops.setup.cloud import Token
from gitops.setup.rights import Right, identities, rights
from tests import az_world as az
from tests.az_world import SUBSCRIPTION, Az, World
from tests.unit.setup.conftest import OnAzure, OnGitHub, configured
from tests.unit.test_infra_parity import bicep_roles

HEAD = """\
version: 1
project: flights
ci: [github, azure]
environments: [{name: dev, branch: main}, {name: production, branch: release/production}]
models: {late: {task: binary}}
storage: {remote: azure://dvc/flights, account: flightsdvc}
"""
INFRASTRUCTURE = "infrastructure: {provider: azure, id: k7q2m9xd}\n"
ISSUER, REPOSITORY = "https://token.actions.githubusercontent.com", "repo:acme/flights"


def parse(text: str) -> Config:
    return config.parse(text.encode(), Path("gitops.yaml"))


DECLARED = parse(HEAD + INFRASTRUCTURE)
TOKENS = tuple(cloud.presented(DECLARED, ISSUER, REPOSITORY))


def whole(declared: Config = DECLARED, tokens: tuple[Token, ...] = TOKENS) -> World:
    """Azure as `gitops infra apply shared` leaves it."""
    world = World()
    for one in (cloudnames.SHARED, *(each.name for each in declared.environments)):
        world.groups[cloudnames.of(declared, one)["resource_group"]] = "westeurope"
    principals = {}
    for identity in identities(declared):
        world.identities.setdefault(identity.group, []).append(identity.name)
        principals[identity.name] = az.principal(identity.group, identity.name)
        world.credentials[identity.name] = [
            {"name": one.name, "issuer": one.issuer, "subject": one.subject}
            for one in tokens
            if one.whose == identity.whose
        ]
    for right in rights(declared):
        world.roles.append(
            {
                "principal": principals[right.identity],
                "role": right.role,
                # Azure writes the same scope in another case now and then.
                "scope": f"/subscriptions/{SUBSCRIPTION}{right.scope}".replace(
                    "resourceGroups", "resourcegroups"
                ),
            }
        )
    return world


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Az]:
    found = az.install(tmp_path, whole())
    for name in ("ARM_SUBSCRIPTION_ID", *wishes.AZURE, wishes.AZURE_READER):
        monkeypatch.delenv(name, raising=False)
    for name, value in found.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{found.folder}:/usr/bin:/bin")
    yield found


def bad(declared: Config = DECLARED, tokens: tuple[Token, ...] = TOKENS) -> list[Finding]:
    return [one for one in cloud.examine(declared, tokens) if one.state != "ok"]


def test_a_cloud_as_it_should_be_has_nothing_to_mend(cli: Az) -> None:
    assert bad() == []
    shown = {one.check for one in cloud.examine(DECLARED, TOKENS)}
    assert shown == {"Azure", "resource group", "federated credential", "role"}


def test_a_cloud_that_bicep_made_has_nothing_to_mend(cli: Az) -> None:
    declared = parse(HEAD + INFRASTRUCTURE.replace("}", ", generator: bicep-azure}"))
    cli.put(whole(declared))
    assert bad(declared) == []
    assert {one["role"] for one in cli.world.roles} >= {
        f"{cloudnames.of(declared, cloudnames.SHARED)['resource_group']}-what-if"
    }
    # Of a state that isn't there nobody has a right.
    assert "containers/env-" not in str(cli.world.roles)


def logged_out(world: World) -> None:
    world.logged_in = False


def disabled(world: World) -> None:
    world.state = "Disabled"


def no_shared_group(world: World) -> None:
    world.groups.pop(cloudnames.of(DECLARED, "shared")["resource_group"])


def no_group(world: World) -> None:
    world.groups.pop(cloudnames.of(DECLARED, "production")["resource_group"])


def no_identity(world: World) -> None:
    world.identities[cloudnames.of(DECLARED, "dev")["resource_group"]].pop()


def no_role(world: World) -> None:
    world.roles = [one for one in world.roles if one["role"] != "AcrPush"]


def role_elsewhere(world: World) -> None:
    for one in world.roles:
        if one["role"] == "AcrPush":
            one["scope"] += "2"


def more_rights(world: World) -> None:
    first = world.roles[0]["principal"]
    world.roles.append(
        {"principal": first, "role": "Owner", "scope": f"/subscriptions/{SUBSCRIPTION}"}
    )


def other_subject(world: World) -> None:
    name = cloudnames.of(DECLARED, "production")["identity"]
    (one,) = world.credentials[name]
    one["subject"] = f"{REPOSITORY}:environment:Production"


def other_audience(world: World) -> None:
    name = cloudnames.of(DECLARED, "production")["identity"]
    world.credentials[name][0]["audiences"] = ["https://github.com/acme"]


def other_issuer(world: World) -> None:
    name = cloudnames.of(DECLARED, "dev")["identity"]
    world.credentials[name][0]["issuer"] += "/acme"


SHARED, CREDENTIAL = "gitops infra apply shared", "federated credential"
FAULTS: list[tuple[Callable[[World], None], str, str, str]] = [
    (logged_out, "Azure", "isn't logged in", "az login, then az account set --subscription NAME"),
    (disabled, "subscription", "ml is Disabled", "enable it"),
    (no_shared_group, "resource group", "flights-shared-", "sh infrastructure/bootstrap.sh"),
    (no_group, "resource group", "production has no resource group", SHARED),
    (no_identity, "identity", "what runs in dev", SHARED),
    (no_role, "role", "(ci) isn't AcrPush of flightsshared", SHARED),
    (role_elsewhere, "role", "(ci) isn't AcrPush of flightsshared", SHARED),
    (more_rights, "role", "is Owner of /subscriptions/", "az role assignment delete --ids"),
    (
        other_subject,
        "federated credential",
        "doesn't trust repo:acme/flights:environment:p",
        SHARED,
    ),
    (other_subject, "federated credential", "trusts repo:acme/flights:environment:P", "remove it"),
    (other_audience, "federated credential", "doesn't trust repo:acme/flights:envi", SHARED),
    (other_issuer, "federated credential", "of https://token.actions.githubuserc", SHARED),
]


@pytest.mark.parametrize(("fault", "check", "says", "fix"), FAULTS)
def test_each_fault_is_named_with_what_mends_it(
    fault: Callable[[World], None], check: str, says: str, fix: str, cli: Az
) -> None:
    world = cli.world
    fault(world)
    cli.put(world)
    found = [one for one in bad() if one.check == check and says in one.detail]
    assert found, bad()
    assert fix in found[0].fix


def test_a_right_further_up_counts(cli: Az) -> None:
    world = cli.world
    for one in world.roles:
        if one["role"] == "AcrPush":
            one["scope"] = f"/subscriptions/{SUBSCRIPTION}"
    cli.put(world)
    (only,) = bad()  # it has the right, and more than that
    assert (only.state, "is AcrPush of /subscriptions/" in only.detail) == ("warn", True)


def test_another_subscription_than_the_environment_says(
    cli: Az, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARM_SUBSCRIPTION_ID", SUBSCRIPTION.upper())
    assert bad() == []
    monkeypatch.setenv("ARM_SUBSCRIPTION_ID", "another")
    (only,) = bad()
    assert only.fix == "az account set --subscription another"


def test_no_azure_cli_at_all(cli: Az, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cli.folder.parent))
    (only,) = bad()
    assert "az was not found" in only.detail
    assert only.fix


def test_a_registration_of_ones_own_is_known_by_its_client_id(
    cli: Az, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = parse(HEAD)
    tokens = tuple(cloud.presented(declared, ISSUER, REPOSITORY))
    assert {one.detail.split()[1] for one in bad(declared, tokens)} == {
        wishes.AZURE[0],
        wishes.AZURE_READER,
    }
    monkeypatch.setenv(wishes.AZURE[0], "own")
    monkeypatch.setenv(wishes.AZURE_READER, "reader")
    world = cli.world
    world.credentials["own"] = []
    cli.put(world)
    found = bad(declared, tokens)
    missing = [one for one in found if "own (AZURE_CLIENT_ID) doesn't trust" in one.detail]
    assert len(missing) == len([one for one in tokens if one.whose != trust.READ])
    assert missing[0].fix.startswith(
        'az ad app federated-credential create --id "$AZURE_CLIENT_ID"'
    )
    assert "'reader' does not exist" in found[-1].detail


# ---------------------------------------------------------------- forges

CLIENTS = {
    "AZURE_CLIENT_ID": "own",
    "AZURE_READ_CLIENT_ID": "reader",
    "AZURE_TENANT_ID": "tenant",
    "AZURE_SUBSCRIPTION_ID": "subscription",
}


def test_service_connections_that_are_missing_and_what_the_others_present(azure: OnAzure) -> None:
    declared = configured()
    tokens: list[Token] = []
    wanted = cloud.connections(declared)
    assert wanted == {"gitops": "ci", "gitops-read": "read"}
    found = list(cloud.connected(azure.place, wanted, tokens))
    assert [one.state for one in found] == ["fail", "fail"]
    assert "--set AZURE_READ_CLIENT_ID=..." in found[1].fix
    assert "AZURE_READ" not in found[0].fix
    assert tokens == []

    plan = setup_azure.plan(azure.place, declared, setup_azure.files(Path()), CLIENTS)
    run.apply(azure.place, plan.steps, lambda _: None)
    (only,) = cloud.connected(azure.place, wanted, tokens)
    assert (only.state, only.detail) == ("ok", "gitops, gitops-read")
    assert [(one.whose, one.issuer, one.subject) for one in tokens] == [
        (whose, *(azure.place.trust(name) or ())) for name, whose in wanted.items()
    ]


def test_each_environment_of_declared_infrastructure_has_a_connection(azure: OnAzure) -> None:
    wanted = cloud.connections(DECLARED)
    assert list(wanted) == ["gitops", "gitops-read", "gitops-dev", "gitops-production"]
    emitted = "".join(
        content.decode() for path, content in pipelines.render(DECLARED) if "azure" in path
    )
    assert set(re.findall(r"azureSubscription: (\S+)", emitted)) == set(wanted)
    found = list(cloud.connected(azure.place, wanted, []))
    assert "client id that `gitops infra apply shared` shows" in found[-1].fix


def findings(*options: str) -> list[dict[str, str]]:
    done = CliRunner().invoke(make(), ["doctor", *options, "--json"])
    found: list[dict[str, str]] = json.loads(done.stdout)["findings"]
    return found


def test_the_command_asks_forge_and_cloud_only_where_it_is_told_to(
    github: OnGitHub, cli: Az, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "work"
    root.mkdir()
    (root / "gitops.yaml").write_text(HEAD + INFRASTRUCTURE)
    for words in (["init", "-q"], ["remote", "add", "origin", github.server.github_url]):
        subprocess.run(["git", "-C", root, *words], check=True)
    for name, value in github.server.github_env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(root)
    plain = findings()
    assert "Azure" not in {one["check"] for one in plain}
    assert cli.calls == []

    issuer = f"{github.server.root}/_services/token"
    tokens = tuple(cloud.presented(DECLARED, issuer, REPOSITORY))
    cli.put(whole(tokens=tokens))
    asked = findings("--cloud")
    about = {"Azure", "resource group", "identity", "federated credential", "role", "cloud"}
    clouds = [one for one in asked if one["check"] in about]
    assert {one["state"] for one in clouds} == {"ok"}
    trusted = [one["detail"] for one in clouds if one["check"] == "federated credential"]
    assert any("trusts repo:acme/flights:environment:production" in one for one in trusted)

    github.settings.subject = {"use_default": False, "include_claim_keys": ["repo", "context"]}
    asked = findings("--cloud")
    assert any("made of repo, context" in one["detail"] for one in asked)
    assert "fail" not in {one["state"] for one in asked if one["check"] == CREDENTIAL}


# ---------------------------------------------------------------- one word for all


def presented_by_workflows(declared: Config) -> set[str]:
    """The ends of the subjects of all jobs that log in to Azure, read from the workflows."""
    found = set()
    for workflow in pipelines.names():
        pipeline = pipelines.load(workflow, declared, "github")
        for job in pipeline.jobs:
            if not any("azure" in step.logins for step in job.steps):
                continue
            branches = [one.value for one in job.when if one.kind == "branch"]
            branches = branches or [*pipeline.triggers.push] or [declared.environments[0].branch]
            if job.environment:
                found.add(f"environment:{job.environment}")
            elif job.reads:
                found.add("pull_request")
            else:
                found |= {f"ref:refs/heads/{one}" for one in branches}
    return found


@pytest.mark.parametrize("text", [HEAD, HEAD + INFRASTRUCTURE])
def test_what_is_to_be_trusted_is_exactly_what_the_workflows_present(text: str) -> None:
    declared = parse(text)
    said = {one.subject for one in wishes.trusts(declared)}
    presented = presented_by_workflows(declared)
    if not wishes.provisioned(declared):  # no job deploys there until a runner is declared for it
        said = {one for one in said if not one.startswith("environment:")}
        presented = {one for one in presented if not one.startswith("environment:")}
    assert presented == said


LANDS = "data_factory: {copies: https://example.blob.core.windows.net/exports}"
PARTS = f"components: {{aks: {{}}, grafana: {{}}, azureml: {{cpu: {{}}}}, iot: {{}}, {LANDS}}}"


@pytest.mark.parametrize("private", ["false", "true"])
def test_rights_are_those_that_the_generator_gives(private: str) -> None:
    text = f"infrastructure: {{provider: azure, id: k7q2m9xd, private: {private}, {PARTS}}}\n"
    text += "compute: {far: {azureml: {}}}\n"
    declared = parse(HEAD + text)
    made = "".join(
        one.content.decode()
        for one in infrastructure.rendered(declared)
        if str(one.path).startswith("infrastructure/shared/")
    )
    blocks = re.findall(r'resource "azurerm_role_assignment" "\w+" \{(.*?)\n\}', made, re.DOTALL)
    given = []
    for block in blocks:
        if "data.azurerm_client_config" in block:  # the person who sets it up
            continue
        role = re.search(r'role_definition_name = "([^"]+)"', block)
        assert role is not None
        scope = re.search(r"scope += (.*)", block)
        assert scope is not None
        each = re.search(r"for_each += (.*)", block)
        over = each[1] if each else ""
        # `read` has its environments in for_each, and itself as the principal.
        principal = re.search(r"principal_id += azurerm_user_assigned_identity\.(\w+)", block)
        who = principal[1] if principal else over.rpartition(".")[2]
        where = over if scope[1].startswith("each.value") else scope[1]
        given += [(who, role[1], kind(where))] * (
            1 if "toset" in over or not each else len(declared.environments)
        )
    said = [(owner(one, declared), one.role, kind_of(one)) for one in rights(declared)]
    assert sorted(given) == sorted(said)


@pytest.mark.parametrize("private", ["false", "true"])
def test_rights_are_those_that_bicep_gives(private: str, tmp_path: Path) -> None:
    text = f"infrastructure: {{provider: azure, id: k7q2m9xd, private: {private}, {PARTS}}}\n"
    text = text.replace("azure,", "azure, generator: bicep-azure,")
    declared = parse(HEAD + text + "compute: {far: {azureml: {}}}\n")
    for one in infrastructure.rendered(declared):
        path = tmp_path / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.content)
    group = cloudnames.of(declared, cloudnames.SHARED)["resource_group"]
    scopes = {"workload": "identity"}
    given = {
        (who, f"{group}-what-if" if role == "predict" else role, scopes.get(scope, scope))
        for role, scope, who in bicep_roles(tmp_path / "infrastructure")
        if who != "owner"  # the person who sets it up
    }
    said = {(owner(one, declared), one.role, kind_of(one)) for one in rights(declared)}
    assert given == said


def kind(expression: str) -> str:
    """What sort of scope an expression of Terraform is."""
    for word, name in (
        ("storage_container.dvc", "dvc"),
        ("storage_container.landing", "landing"),
        ("container_registry", "registry"),
        ("local.state", "state"),
        ("resource_group.environment", "group"),
        ("user_assigned_identity", "identity"),
        ("virtual_network", "network"),
    ):
        if word in expression:
            return name
    raise AssertionError(expression)


def kind_of(right: Right) -> str:
    for word, name in (
        ("/containers/dvc", "dvc"),
        ("/containers/landing", "landing"),
        ("/registries/", "registry"),
        ("/containers/env-", "state"),
        ("/userAssignedIdentities/", "identity"),
        ("/virtualNetworks/", "network"),
    ):
        if word in right.scope:
            return name
    return "group"


def owner(right: Right, declared: Config) -> str:
    (found,) = (one for one in identities(declared) if one.name == right.identity)
    if found.whose in ("ci", "read"):
        return found.whose
    return found.name.rpartition("-")[2] if not found.logs_in else "deploy"


# ---------------------------------------------------------------- tools


def warned(declared: Config) -> dict[str, str]:
    return {one.detail: one.fix for one in tools.findings(declared) if one.state == "warn"}


def test_a_project_of_this_machine_needs_no_tool() -> None:
    local = parse(HEAD.replace("azure://dvc/flights, account: flightsdvc", "../storage"))
    assert list(tools.findings(local)) == []


def test_missing_programs_are_named_with_what_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    text = (HEAD + INFRASTRUCTURE).replace(
        "{task: binary}", "{task: binary, deploy: {target: kubernetes}}"
    )
    text = text.replace("id: k7q2m9xd", "id: k7q2m9xd, components: {aks: {}}")
    found = warned(parse(text))
    assert [one.partition(" on PATH")[0] for one in found] == [
        "no az",
        "no terraform or tofu",
        "no kubectl",
        "no buildah or podman or docker",
    ]
    assert all(fix.startswith("install ") for fix in found.values())
    (tmp_path / "tofu").write_text("#!/bin/sh\n")
    (tmp_path / "tofu").chmod(0o755)
    assert "no terraform or tofu" not in " ".join(warned(parse(text)))


def test_machines_that_builds_go_to_need_their_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    local = parse(HEAD.replace("azure://dvc/flights, account: flightsdvc", "../storage"))
    kinds = ("azureml", "databricks", "kubernetes")
    compute = {kind: SimpleNamespace(model_fields_set={kind}) for kind in kinds}
    declared = local.model_copy(update={"compute": compute})
    found = warned(declared)
    assert [one.partition(" on PATH")[0] for one in found] == [
        "no az",
        "no kubectl",
        "no databricks",
    ]
    assert [
        one.name for one in tools.extensions(local.model_copy(update={"compute": compute}))
    ] == ["ml"]


@pytest.mark.parametrize(("target", "extension"), [("azureml", "ml"), ("iotedge", "azure-iot")])
def test_extensions_of_az_are_asked_for(target: str, extension: str, cli: Az) -> None:
    text = HEAD.replace("{task: binary}", f"{{task: binary, deploy: {{target: {target}}}}}")
    parts = "components: {azureml: {}, iot: {}}"
    text += INFRASTRUCTURE.replace("id: k7q2m9xd", f"id: k7q2m9xd, {parts}")
    fixes = [*warned(parse(text)).values()]
    assert f"az extension add --name {extension}" in fixes
    cli.put(replace(cli.world, extensions=[extension]))
    fixes = [*warned(parse(text)).values()]
    assert f"az extension add --name {extension}" not in fixes
    assert cli.calls[-1] == ["version", "--output", "json", "--only-show-errors"]


def test_the_stand_in_is_strict(cli: Az) -> None:
    with pytest.raises(ToolError, match="exit code 2"):
        edge.ask("group", "show")
    with pytest.raises(ToolError, match="unrecognized arguments: --nam"):
        edge.ask("group", "show", "--nam", "x")
    with pytest.raises(ToolError, match="not recognized"):
        edge.ask("groups", "show")
    with pytest.raises(edge.Missing, match="could not be found"):
        edge.ask("group", "show", "--name", "x")
