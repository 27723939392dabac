"""What `infrastructure:` comes to as Bicep: every combination under every offline check."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

import pytest

from gitops import config, pipelines
from gitops.infra import arm, bicep, check
from gitops.scaffold import infrastructure, provision, sync
from tests.unit.scaffolds import Scaffold, git, scaffold
from tests.unit.test_infra_parity import as_bicep
from tests.unit.test_infrastructure import (
    COMBINATIONS,
    DEVOPS,
    GUID,
    ODD,
    ODD_BRANCH,
    SECRETS,
    _checkov,
    files,
    findings,
    lay,
    parse,
)

__all__ = ["_checkov"]  # the fixture
# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "AcrPush": "8311e382-0749-4cb8-b61a-304f252e45ec",
    "Azure Kubernetes Service RBAC Writer": "a7ffa36f-339b-4b5c-8bdf-e2c188b2c0eb",
    "Contributor": "b24988ac-6180-42a0-ab88-20f7382dd24c",
    "Grafana Admin": "22926164-76b3-42b3-bc55-97df8dab3e41",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Managed Identity Operator": "f1a07417-d97a-45cb-824c-7a7467783830",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Monitoring Reader": "43d0d8ad-25c7-4714-9337-8ba259a9fe05",
    "Network Contributor": "4d97b98b-1d4f-4787-a291-c67834d212e7",
    "Reader": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
}
ALL = {name: as_bicep(text) for name, text in COMBINATIONS.items()}


@pytest.mark.parametrize("name", ALL)
def test_no_finding(name: str, tmp_path: Path) -> None:
    done = check.run(lay(ALL[name], tmp_path), ["syntax", "arguments", "reasons"])
    assert [(one.name, one.state, one.findings) for one in done] == [
        (one, "passed", ()) for one in ("syntax", "arguments", "reasons")
    ]


def test_no_finding_of_security(tmp_path: Path) -> None:
    for name in ("everything", "private-everything"):
        lay(ALL[name], tmp_path / name)
    assert findings(tmp_path, "security") == []


@pytest.mark.parametrize("name", ["everything", "private-landing", "landing-devops"])
def test_the_table_has_every_type_that_templates_use(name: str, tmp_path: Path) -> None:
    read = [bicep.read(path) for path in bicep.paths(lay(ALL[name], tmp_path))]
    assert arm.unknown(read) == ()
    assert sum(1 for each in read for _ in each.of("resource")) > 20


# ---------------------------------------------------------------- each check fires

STORE, CORE, SHARED = "shared/store.bicep", "modules/environment/main.bicep", "shared/main.bicep"
DEV = "environments/dev/main.bicepparam"
ROLE = "shared/environment_roles.bicep"
MUTATIONS = [
    ("syntax", STORE, "    isHnsEnabled: true", "    isHnsEnabled true", "isn't Bicep"),
    ("syntax", DEV, "param region = 'westeurope'", "param region = westeurope'", "isn't Bicep"),
    ("arguments", STORE, "isHnsEnabled", "isHsnEnabled", "did you mean 'isHnsEnabled'"),
    ("arguments", STORE, "'Standard_ZRS'", "3", "storage.sku.name is text, not number"),
    ("arguments", STORE, "isHnsEnabled: true", "isHnsEnabled: 'true'", "is bool, not text"),
    ("arguments", STORE, "bypass: 'AzureServices'", "bypass: []", "is text, not array"),
    ("arguments", STORE, "'Log'", "'Logs'", "is 'Logs'; did you mean 'Log'"),
    ("arguments", STORE, "  kind: 'StorageV2'\n", "", "storage needs 'kind'"),
    ("arguments", STORE, "  parent: blobs\n", "", "dvc needs 'parent'"),
    ("arguments", STORE, "parent: storage", "parent: storages", "there is no storages; did you"),
    ("arguments", STORE, "properties.loginServer", "properties.loginSever", "no property 'login"),
    ("arguments", CORE, "enableSoftDelete: true", "hsmPoolResourceId: 'x'", "Azure alone writes"),
    ("arguments", CORE, "workspace.id", "workspace.ident", "workspace has no property 'ident'"),
    ("arguments", CORE, "  scope: vault", "  scoped: vault", "audit has no property 'scoped'"),
    ("arguments", SHARED, "'store.bicep'", "'stores.bicep'", "there's no stores.bicep"),
    ("arguments", SHARED, "    names: names\n", "", "module store needs the parameter 'names'"),
    ("arguments", SHARED, "    names: names\n", "    names: names\n    x: 1\n", "no parameter 'x'"),
    ("arguments", SHARED, "outputs.ciClient", "outputs.ciClint", "has no output 'ciClint'; did"),
    ("arguments", DEV, "param region", "param regions", "no parameter 'regions'; did you mean"),
    ("arguments", DEV, "param region", "param regions", "main.bicep needs the parameter 'region'"),
    ("arguments", DEV, "/main.bicep'", "/mian.bicep'", "there's no ../../modules/environment/mi"),
    ("arguments", ROLE, "principalId: read.", "principalId: reads.", "there is no reads"),
    (
        "reasons",
        STORE,
        ": three zones of one region; a second region is a choice that costs",
        "",
        "CKV",
    ),
]


@pytest.mark.parametrize(("name", "file", "old", "new", "finding"), MUTATIONS)
def test_each_check_fires(
    name: str, file: str, old: str, new: str, finding: str, tmp_path: Path
) -> None:
    top = lay(ALL["core"], tmp_path)
    text = (top / file).read_text()
    assert old in text
    (top / file).write_text(text.replace(old, new, 1))
    found = findings(top, name)
    assert any(finding in one for one in found), found
    assert any(file in one for one in found)


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("method: 'GET'", "methd: 'GET'", "did you mean 'method'"),
        ("type: 'WebActivity'", "type: 'WebActivty'", "did you mean 'WebActivity'"),
        ("secureOutput: true", "secureOutput: 'yes'", "is bool, not text"),
        ("dependencyConditions: [", "dependencyCondition: [", "needs 'dependencyConditions'"),
        ("serviceEndpoint:", "serviceEndpont:", "did you mean 'serviceEndpoint'"),
        ("folderPath: 'flights'", "folder: 'flights'", "no property 'folder'"),
        ("frequency: 'Hour'", "frequency: 'Huor'", "did you mean 'Hour'"),
    ],
)
def test_what_one_of_several_kinds_has_is_checked(
    old: str, new: str, finding: str, tmp_path: Path
) -> None:
    top = lay(ALL["landing"], tmp_path)
    path = top / "modules" / "environment" / "data_factory.bicep"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    found = findings(top, "arguments")
    assert any(finding in one for one in found), found


def test_the_line_is_that_of_the_fault(tmp_path: Path) -> None:
    top = lay(ALL["core"], tmp_path)
    lines = (top / STORE).read_text().splitlines()
    at = next(number for number, line in enumerate(lines, 1) if "isHnsEnabled" in line)
    (top / STORE).write_text("\n".join(lines).replace("isHnsEnabled", "isHns") + "\n")
    (one,) = findings(top, "arguments")
    assert f"{STORE}:{at}:" in one


def test_security_fires_and_what_is_skipped_stays_so(tmp_path: Path) -> None:
    """Rules about resources together too, of which checkov forgets the comments."""
    text = files(ALL["sql"])["infrastructure/modules/environment/sql.bicep"].decode()
    left = "  // checkov:skip=CKV_AZURE_24: as above\n"
    assert text.count(left) == 1
    (tmp_path / "sql.bicep").write_text(text.replace(left, ""))
    (tmp_path / "unread.bicep").write_text("var person = deployer().objectId\n")
    found = findings(tmp_path, "security")
    assert [re.findall("CKV_AZURE_[0-9]+|can't read: 1", one) for one in found] == [
        ["CKV_AZURE_24"],
        ["can't read: 1"],
    ]


def test_what_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = lay(ALL["core"], tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    states = {one.name: one.state for one in check.run(top)}
    assert states == {
        "syntax": "not installed",
        "arguments": "not installed",
        "reasons": "passed",
        "security": "not installed",
    }


def test_what_people_write_is_read(tmp_path: Path) -> None:
    """Spreads, conditions, loops in loops, and names that are known when it is deployed."""
    (tmp_path / "main.bicep").write_text(
        "param more object\nparam tags object?\n"
        "resource s 'Microsoft.Storage/storageAccounts@2025-01-01' ="
        " [for (n, i) in more.all: if (i > 0) {\n"
        "  ...more\n  name: n\n  tags: tags\n  identity: {\n    type: 'UserAssigned'\n"
        "    userAssignedIdentities: {\n      '${more.id}': {}\n    }\n  }\n}]\n"
        "output ids array = [for (n, i) in more.all: s[i].id]\n"
    )
    read = bicep.read(tmp_path / "main.bicep")
    assert list(arm.problems([read])) == []
    made = read.named("resource")["s"].value
    assert made is not None
    assert made.get("name") is not None


def test_both_languages_are_looked_at_where_both_are_there(tmp_path: Path) -> None:
    """As where one of Terraform's files was changed by hand, and kept, before Bicep took over."""
    top = lay(ALL["core"], tmp_path)
    (top / "shared" / "mine.tf").write_text('resource "azurerm_storage_queue" "this" {}\n')
    store = top / "shared" / "store.bicep"
    store.write_text(store.read_text().replace("'TLS1_2'", "'TLS1_0'"))
    assert any("CKV_AZURE_44" in one for one in findings(top, "security"))
    names = [one.name for one in check.run(top, ["format", "syntax", "arguments"])]
    assert names == ["format", "syntax", "arguments", "syntax", "arguments"]


# ---------------------------------------------------------------- what is in the files


@pytest.mark.parametrize("name", ALL)
def test_no_secret_and_no_subscription_in_any_file(name: str) -> None:
    known = re.compile("|".join([*ROLES.values(), DEVOPS]))
    for path, content in files(ALL[name]).items():
        assert not SECRETS.search(known.sub("", content.decode())), path


def test_any_branch_is_trusted_by_its_very_name(tmp_path: Path) -> None:
    top = lay(as_bicep(ODD), tmp_path)
    read = bicep.read(top / "shared" / "main.bicepparam").named("var")["environments"]
    assert read.value is not None
    (branch,) = (one.get("branch") for one in read.value.items)
    assert branch is not None
    assert (branch.kind, branch.text) == ("text", ODD_BRANCH)


def test_roles_are_what_azure_calls_them() -> None:
    made = json.loads(files(ALL["everything"])["infrastructure/shared/roles.json"])
    assert made == ROLES
    assert all(re.fullmatch(GUID, one) for one in made.values())


@pytest.mark.parametrize("name", ["core", "private-everything", "landing"])
def test_every_right_has_its_reason(name: str) -> None:
    made = files(ALL[name])
    text = "".join(one.decode() for path, one in made.items() if "/shared/" in path)
    roles = re.findall(r"'Microsoft.Authorization/roleAssignments@.*?\n}", text, re.DOTALL)
    assert roles
    assert not [one for one in roles if not re.search(r"description: '[A-Z].{20,}'", one)]
    used = set(re.findall(r"roles\['([^']+)'\]", text))
    assert used <= ROLES.keys()
    assert not used & {"Owner", "User Access Administrator"}
    others = [one for path, one in made.items() if "/shared/" not in path]
    assert not any(b"Microsoft.Authorization" in one for one in others)


def test_who_predicts_may_not_deploy(tmp_path: Path) -> None:
    predict = bicep.read(lay(ALL["core"], tmp_path) / SHARED).named("resource")["predict"].value
    permissions = predict.get("properties", "permissions") if predict else None
    assert permissions is not None
    (one,) = permissions.items
    actions = one.get("actions")
    assert [key for key, _ in one.entries] == ["actions"]
    assert actions is not None
    assert [each.text for each in actions.items] == [
        "Microsoft.Resources/deployments/whatIf/action",
        "Microsoft.Resources/deployments/validate/action",
    ]


def test_add_takes_the_generator(made: Scaffold) -> None:
    provision.add(made.root, {"generator": "bicep-azure", "data_factory.every": "Week"})
    declared = config.load(made.root).infrastructure
    assert declared is not None
    assert declared.generator == "bicep-azure"
    assert (made.root / "infrastructure" / "shared" / "main.bicep").is_file()


def test_machines_that_build_may_store_what_they_have_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = infrastructure._context
    monkeypatch.setattr(infrastructure, "_context", lambda one: plain(one) | {"builders": ["dev"]})
    for file in infrastructure.rendered(parse(ALL["azureml"])):
        (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.path).write_bytes(file.content)
    top = tmp_path / "infrastructure"
    assert findings(top, "arguments") == []
    assert "builds: contains(['dev'], one.name)" in (top / SHARED).read_text()
    given = bicep.read(top / "shared" / "environment_store_roles.bicep").named("resource")
    assert "buildsDvc" in given


def test_private_is_private_everywhere() -> None:
    for path, content in files(ALL["private-everything"]).items():
        assert not re.search(rb"publicNetworkAccess: '[Ee]nabled'", content), path
        assert b"defaultAction: 'Allow'" not in content, path


def test_clusters_scale_to_nothing() -> None:
    made = files(ALL["everything"])
    assert made["infrastructure/modules/environment/azureml.bicep"].count(b"minNodeCount: 0") == 2
    assert b"minCount: 0 " in made["infrastructure/modules/environment/aks.bicep"]


def test_what_setup_needs_is_told_and_is_an_output(tmp_path: Path) -> None:
    top = lay(ALL["core"], tmp_path)
    said = set(
        re.findall(
            r"^\| `(\w+)` \| (?:`storage|where|`gitops)", (top / "README.md").read_text(), re.M
        )
    )
    outputs = set(bicep.read(top / SHARED).named("output"))
    assert said == outputs
    assert len(outputs) == 5


@pytest.mark.parametrize("name", ["core", "everything", "private-everything", "landing"])
def test_no_parameter_is_idle(name: str, tmp_path: Path) -> None:
    for path in bicep.paths(lay(ALL[name], tmp_path)):
        read = bicep.read(path)
        if path.suffix == ".bicep":
            uses = {use.name for one in read.declarations for use in one.uses}
            assert read.named("param").keys() - uses == set(), path


@pytest.mark.parametrize("platform", ["github", "azure"])
def test_the_workflow_is_the_same_but_for_the_program(platform: Literal["github", "azure"]) -> None:
    def steps(text: str) -> dict[str, list[tuple[str, str]]]:
        found = pipelines.load("infrastructure", parse(text), platform)
        return {job.id: [(one.name, one.run) for one in job.steps] for job in found.jobs}

    first, second = steps(COMBINATIONS["core"]), steps(ALL["core"])
    assert first.keys() == second.keys()
    for job, found in first.items():
        assert set(found) - set(second[job]) == {("Install Terraform", "")}
        assert set(second[job]) <= set(found)


# ---------------------------------------------------------------- another generator


@pytest.fixture
def made(tmp_path: Path) -> Scaffold:
    return scaffold(tmp_path, {"a.txt": b"a\n"})


def test_another_generator_replaces_the_files(made: Scaffold) -> None:
    def commit() -> None:
        git(made.root, "add", "--all")
        git(made.root, "commit", "--quiet", "--message", "more")

    def suffixes() -> set[str]:
        top = made.root / "infrastructure"
        return {one.suffix for one in top.rglob("*") if one.is_file()}

    provision.add(made.root, {})
    commit()
    terraform = sorted((made.root / "infrastructure").rglob("*"))
    for generator, there in (
        ("bicep-azure", {".sh", ".md", ".json", ".bicep", ".bicepparam"}),
        ("terraform-azure", {".sh", ".md", ".tf", ""}),
    ):
        text = (made.root / "gitops.yaml").read_text()
        text = re.sub(r"\n  generator: .*", "", text)
        text = text.replace("  provider: azure\n", f"  provider: azure\n  generator: {generator}\n")
        (made.root / "gitops.yaml").write_text(text)
        commit()
        sync.sync(made.root)
        assert suffixes() == there
        commit()
        assert not sync.survey(made.root).changes
    assert sorted((made.root / "infrastructure").rglob("*")) == terraform
    assert config.load(made.root).infrastructure is not None
