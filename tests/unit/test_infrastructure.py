"""What `infrastructure:` comes to as code: every combination under every offline check."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gitops import config, pipelines
from gitops.config.infrastructure import Components
from gitops.errors import AnswerNo, ConfigError, ToolError, UsageError
from gitops.infra import check, schema
from gitops.scaffold import infrastructure, new, provision, sync
from gitops.setup import github as setup_github
from gitops.setup import wishes
from tests.unit.scaffolds import Scaffold, git, scaffold

PROJECT = Path(__file__).resolve().parents[2]
HEAD = """\
version: 1
project: flights
ci: [github, azure]
models: {late: {task: binary}}
infrastructure:
  provider: azure
  id: k7q2m9xd
"""
LANDING = (
    "{copies: https://example.blob.core.windows.net/exports/flights, every: Hour,"
    " starts: https://github.com/OWNER/flights, event: flights-landed}"
)
PARTS = {
    "azureml": "{cpu: {size: Standard_D4s_v5}, gpu: {size: Standard_NC4as_T4_v3, nodes: 1}}",
    "aks": "{gpu: {size: Standard_NC4as_T4_v3}}",
    "iot": "{units: 2}",
    "sql": "{}",
    "data_factory": "{}",
    "databricks": "{}",
    "grafana": "{}",
    "alerts": "{emails: [ml@example.org, ops@example.org]}",
    "budget": "{amount: 200, emails: [ml@example.org]}",
}
PRIVATE = [part for part in PARTS if part != "databricks"]
COMBINATIONS = {
    "core": HEAD,
    "private-core": HEAD + "  private: true\n",
    **{part: f"{HEAD}  components:\n    {part}: {text}\n" for part, text in PARTS.items()},
    "everything": HEAD
    + "".join(["  components:\n", *(f"    {part}: {text}\n" for part, text in PARTS.items())]),
    "private-everything": HEAD
    + "".join(
        ["  private: true\n  components:\n", *(f"    {part}: {PARTS[part]}\n" for part in PRIVATE)]
    ),
    "github-only": HEAD.replace("[github, azure]", "[github]"),
    "azure-only": HEAD.replace("[github, azure]", "[azure]"),
    "landing": HEAD + f"  components: {{data_factory: {LANDING}}}\n",
    "private-landing": HEAD + f"  private: true\n  components: {{data_factory: {LANDING}}}\n",
    "landing-devops": HEAD
    + "  components: {data_factory: {copies: https://example.blob.core.windows.net/exports,"
    " starts: https://dev.azure.com/contoso/flights/12}}\n",
    "one-environment": HEAD + "environments: [{name: qa, branch: main}]\n",
    "builds": HEAD + "  components: {azureml: {cpu: {}}}\ncompute: {far: {azureml: {}}}\n",
    "cpu-only": HEAD + "  components: {azureml: {cpu: {}}, aks: {}, sql: {sku: S0, gb: 250}}\n",
}


@pytest.fixture(autouse=True)
def _checkov(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of `make .checkov/ready`, where it's there."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{PROJECT / '.checkov' / 'bin'}")


def parse(text: str) -> config.Config:
    return config.parse(text.encode(), Path("gitops.yaml"))


@cache
def files(text: str) -> Mapping[str, bytes]:
    return {str(one.path): one.content for one in infrastructure.rendered(parse(text))}


def lay(text: str, folder: Path) -> Path:
    """The files in a folder; the top of the infrastructure."""
    for path, content in files(text).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder / "infrastructure"


def findings(top: Path, name: str) -> list[str]:
    """What a check finds; it must be installed."""
    (found,) = check.run(top, [name])
    if found.state == "not installed":
        pytest.skip(f"{found.by} isn't installed")
    assert (found.state == "failed") == bool(found.findings)
    return [f"{one.where}: {one.text}" for one in found.findings]


def test_every_component_is_among_the_combinations() -> None:
    assert PARTS.keys() == {*Components.of("azure")}


@pytest.mark.parametrize("check_", ["format", "syntax", "arguments", "reasons"])
@pytest.mark.parametrize("name", COMBINATIONS)
def test_no_finding(name: str, check_: str, tmp_path: Path) -> None:
    assert findings(lay(COMBINATIONS[name], tmp_path), check_) == []


def test_no_finding_of_security(tmp_path: Path) -> None:
    """In one run, since the program takes long to start."""
    for name in ("core", "everything", "private-everything"):
        lay(COMBINATIONS[name], tmp_path / name)
    assert findings(tmp_path, "security") == []


def test_the_table_has_every_type_that_templates_use(tmp_path: Path) -> None:
    for name in ("everything", "private-everything"):
        assert schema.unknown(schema.folders(lay(COMBINATIONS[name], tmp_path / name))) == ()


# ---------------------------------------------------------------- each check fires

SHARED, CORE = "shared/main.tf", "modules/environment/main.tf"
DEV = "environments/dev/main.tf"
MUTATIONS = [
    (
        "format",
        SHARED,
        "  is_hns_enabled                    = true",
        "  is_hns_enabled = true",
        "fmt",
    ),
    ("syntax", SHARED, 'resource "azurerm_storage_account" "dvc" {', "resource {{", "isn't HCL"),
    (
        "arguments",
        CORE,
        "  is_hns_enabled  ",
        "  is_hsn_enabled  ",
        "did you mean 'is_hns_enabled'",
    ),
    ("arguments", CORE, '  sku_name                      = "standard"\n', "", "needs 'sku_name'"),
    ("arguments", CORE, "  network_rules {", "  network_rule {", "no block 'network_rule'"),
    (
        "arguments",
        CORE,
        '    default_action = "Allow"\n    bypass         = ["',
        '    bypass = ["',
        "needs 'def",
    ),
    ("arguments", CORE, "    category_group =", "    category_groups =", "has no argument"),
    (
        "arguments",
        CORE,
        "log_analytics_workspace.this.id",
        "log_analytics_workspace.logs.id",
        "there is no",
    ),
    (
        "arguments",
        CORE,
        "analytics_workspace.this.id",
        "analytics_workspace.this.ident",
        "no attribute",
    ),
    (
        "arguments",
        CORE,
        "client_config.current.tenant_id",
        "client_config.this.tenant_id",
        "data.azurerm",
    ),
    ("arguments", CORE, "= var.region", "= var.regoin", "no var.regoin; did you mean 'region'"),
    ("arguments", SHARED, "= local.group", "= local.groups", "no local.groups; did you mean"),
    ("arguments", DEV, "  region      =", "  regions     =", "no variable 'regions'"),
    ("arguments", DEV, "  region      =", "  regions     =", "needs the variable 'region'"),
    ("arguments", DEV, "../modules/environment", "../modules/environmet", "there's no module in"),
    (
        "arguments",
        DEV,
        "module.environment.resources",
        "module.environments.resources",
        "no module.",
    ),
    ("reasons", SHARED, ": no queue is used", "", "CKV_AZURE_33 is skipped without a reason"),
]


@pytest.mark.parametrize(("name", "file", "old", "new", "finding"), MUTATIONS)
def test_each_check_fires(
    name: str, file: str, old: str, new: str, finding: str, tmp_path: Path
) -> None:
    top = lay(COMBINATIONS["core"], tmp_path)
    mutate(top / file, old, new)
    found = findings(top, name)
    assert any(finding in one for one in found), found
    assert any(file in one for one in found)


def mutate(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_rules_of_security_fire(tmp_path: Path) -> None:
    """In one run, since the program takes long to start: a setting, and a skip."""
    mutate(lay(COMBINATIONS["core"], tmp_path / "old") / SHARED, '"TLS1_2"', '"TLS1_0"')
    skip = "  # checkov:skip=CKV_AZURE_33: no queue is used\n"
    mutate(lay(COMBINATIONS["core"], tmp_path / "bare") / SHARED, skip, "")
    found = findings(tmp_path, "security")
    for name, rule in (("old", "CKV_AZURE_44"), ("bare", "CKV_AZURE_33")):
        assert any(rule in one and f"{name}/infrastructure/{SHARED}" in one for one in found), found
        assert not any(rule in one and f"{name}/" not in one for one in found), found


def test_what_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = lay(COMBINATIONS["core"], tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    states = {one.name: one.state for one in check.run(top)}
    assert states.pop("reasons") == "passed"
    assert set(states.values()) == {"not installed"}
    assert len(states) == 4


def test_a_checker_that_breaks_down_is_no_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = lay(COMBINATIONS["core"], tmp_path)
    fake = tmp_path / "bin" / "checkov"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho no report\nexit 0\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    with pytest.raises(ToolError, match="checkov"):
        check.run(top)


def test_without_infrastructure_there_is_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        check.run(tmp_path)
    assert refused.value.fix == "gitops add infrastructure"


# ---------------------------------------------------------------- only what is declared


def resources(text: str) -> set[str]:
    """Types of resources in all files."""
    joined = b"\n".join(files(text).values()).decode()
    return set(re.findall(r'^resource "(azurerm_\w+)"', joined, re.MULTILINE))


def test_nothing_declared_nothing_written() -> None:
    assert files(HEAD.partition("infrastructure:")[0]) == {}
    assert files(HEAD.partition("infrastructure:")[0] + "infrastructure: {provider: local}\n") == {}


@pytest.mark.parametrize(
    ("part", "types"),
    [
        ("azureml", {"machine_learning_workspace", "machine_learning_compute_cluster"}),
        ("aks", {"kubernetes_cluster", "kubernetes_cluster_node_pool"}),
        ("iot", {"iothub", "iothub_dps", "iothub_shared_access_policy"}),
        (
            "sql",
            {"mssql_server", "mssql_database", "mssql_database_extended_auditing_policy"},
        ),
        ("data_factory", {"data_factory"}),
        ("databricks", {"databricks_workspace"}),
        ("grafana", {"dashboard_grafana"}),
        (
            "alerts",
            {
                "monitor_action_group",
                "monitor_metric_alert",
                "monitor_scheduled_query_rules_alert_v2",
            },
        ),
        ("budget", {"consumption_budget_resource_group"}),
    ],
)
def test_a_component_brings_its_own_and_no_more(part: str, types: set[str]) -> None:
    added = resources(COMBINATIONS[part]) - resources(COMBINATIONS["core"])
    assert added == {f"azurerm_{one}" for one in types}


def test_machines_that_build_may_store_what_they_have_built() -> None:
    def given(text: str) -> bool:
        roles = files(text)["infrastructure/shared/roles.tf"].decode()
        return 'toset(["dev"])' in roles and "builds_dvc" in roles

    assert given(COMBINATIONS["builds"])
    assert not given(COMBINATIONS["cpu-only"])
    own = COMBINATIONS["builds"].replace("azureml: {}", "azureml: {workspace: w, group: g}")
    assert not given(own)


def test_clusters_scale_to_nothing() -> None:
    text = files(COMBINATIONS["everything"])["infrastructure/modules/environment/azureml.tf"]
    assert text.count(b"min_node_count                       = 0") == 2
    pool = files(COMBINATIONS["everything"])["infrastructure/modules/environment/aks.tf"]
    assert b"min_count             = 0" in pool


def test_private_is_private_everywhere() -> None:
    for path, content in files(COMBINATIONS["private-everything"]).items():
        assert not re.search(rb"public_network(_access)?_enabled\s+= true", content), path
        assert b'default_action = "Allow"' not in content, path


@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_right_has_its_reason(name: str) -> None:
    text = "".join(
        content.decode()
        for path, content in files(COMBINATIONS[name]).items()
        if "/shared/" in path
    )
    roles = re.findall(r'resource "azurerm_role_assignment" "\w+" \{(.*?)\n\}', text, re.DOTALL)
    assert roles
    assert not [one for one in roles if not re.search(r'description\s+= "[A-Z].{20,}"', one)]
    assert not re.search(r'role_definition_name = "(Owner|User Access Administrator)"', text)
    # Rights are given where a person applies, and by no pipeline.
    others = [c for p, c in files(COMBINATIONS[name]).items() if "/shared/" not in p]
    assert not any(b"azurerm_role_assignment" in one for one in others)


# ---------------------------------------------------------------- no secret, and whom to trust

DEVOPS = "499b84ac-1321-427f-aa17-267ca6975798"  # Azure DevOps itself, for everybody the same
GUID = r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
SECRETS = re.compile(
    rf"(?i){GUID}|AccountKey=|SharedAccessKey=[^;\"$]|\bsig=|-----BEGIN|client_secret|"
    r"(?:password|secret|access_key|token)\s*=\s*\"[^\"$]+\"|[A-Za-z0-9+/]{40,}={1,2}(?![\\w=])"
)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_no_secret_and_no_subscription_in_any_file(name: str) -> None:
    for path, content in files(COMBINATIONS[name]).items():
        assert not SECRETS.search(content.decode().replace(DEVOPS, "")), path


@pytest.mark.parametrize(
    "text",
    [
        'subscription_id = "11111111-2222-3333-4444-555555555555"',
        'connection_string = "HostName=x;SharedAccessKey=abc="',
        'administrator_login_password = "hunter2!"',
        "-----BEGIN PRIVATE KEY-----",
        'key = "' + "aB3" * 28 + '=="',
    ],
)
def test_the_scan_fires(text: str) -> None:
    assert SECRETS.search(text)


def subjects(text: str) -> set[str]:
    """Every subject that an identity trusts, with OWNER/NAME in it."""
    declared = parse(text)
    made = files(text)["infrastructure/shared/identities.tf"].decode()
    found = re.findall(r'subject\s+= "([^"]*)"', made)
    assert len(found) == 3
    return {
        one.replace("${var.github_subject}", "repo:OWNER/NAME")
        .replace("${each.key}", environment.name)
        .replace("${each.value}", environment.branch)
        for one in found
        for environment in declared.environments
    }


@pytest.mark.parametrize("name", ["core", "github-only", "one-environment"])
def test_what_is_trusted_is_what_setup_and_workflows_say(name: str) -> None:
    declared = parse(COMBINATIONS[name])
    facts: Any = SimpleNamespace(subject="repo:OWNER/NAME")
    said = {subject for _, subject in setup_github.subjects(declared, facts)}
    assert subjects(COMBINATIONS[name]) == said
    branches = {one.branch for one in declared.environments}
    for workflow in pipelines.names():
        pipeline = pipelines.load(workflow, declared, "github")
        assert {*pipeline.triggers.push} <= branches
        for job in pipeline.jobs:
            if job.environment and any(step.logins for step in job.steps):
                assert f"repo:OWNER/NAME:environment:{job.environment}" in said


# A name that git takes, and that each language would read as something else.
ODD_BRANCH = """it's-"${var.x}"-%{if}-$(id)-ü"""
ODD = HEAD + f"environments: [{{name: dev, branch: {json.dumps(ODD_BRANCH)}}}]\n"


def test_any_branch_is_trusted_by_its_very_name(tmp_path: Path) -> None:
    if shutil.which("terraform") is None:
        pytest.skip("terraform isn't installed, which evaluates it")
    made = files(ODD)["infrastructure/shared/identities.tf"].decode()
    (block,) = re.findall(r"^locals \{\n.*?^\}\n", made, re.DOTALL | re.MULTILINE)
    output = 'output "branches" {\n  value = local.branches\n}\n'
    (tmp_path / "main.tf").write_text(block + output)
    for words in (["init"], ["apply", "-auto-approve"], ["output", "-json", "branches"]):
        done = subprocess.run(["terraform", *words], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(done.stdout) == {"dev": ODD_BRANCH}


def test_setup_takes_an_identity_for_each_environment() -> None:
    declared = parse(COMBINATIONS["core"])
    said = ["AZURE_CLIENT_ID=a", "dev:AZURE_CLIENT_ID=b", "production:AZURE_CLIENT_ID=c"]
    assert wishes.given(declared, said) == {
        "AZURE_CLIENT_ID": "a",
        "dev/AZURE_CLIENT_ID": "b",
        "production/AZURE_CLIENT_ID": "c",
    }
    bare = parse(HEAD.partition("infrastructure:")[0])
    assert wishes.variables(bare) == ()
    with pytest.raises(UsageError):
        wishes.given(bare, said)


def test_an_environment_trusts_exactly_one_subject() -> None:
    text = files(COMBINATIONS["github-only"])["infrastructure/shared/identities.tf"].decode()
    blocks = re.findall(
        r'"azurerm_federated_identity_credential" "\w+" \{(.*?)\n\}', text, re.DOTALL
    )
    (one,) = (block for block in blocks if "user_assigned_identity.deploy" in block)
    assert 'subject             = "${var.github_subject}:environment:${each.key}"' in one


def test_the_workflow_is_there_where_infrastructure_is_declared() -> None:
    def named(text: str) -> list[str]:
        return [path for path, _ in pipelines.render(parse(text)) if "infrastructure" in path]

    assert named(HEAD) == [
        ".github/workflows/infrastructure.yml",
        ".azure-pipelines/infrastructure.yml",
    ]
    assert named(HEAD.partition("infrastructure:")[0]) == []
    assert named(HEAD.partition("infrastructure:")[0] + "infrastructure: {provider: local}\n") == []


def test_an_environment_is_applied_as_itself_and_planned_as_whoever_reads() -> None:
    declared = parse(HEAD)
    pipeline = pipelines.load("infrastructure", declared, "azure")
    for one in declared.environments:
        apply, plan = pipeline.job(f"apply-{one.name}"), pipeline.job(f"plan-{one.name}")
        assert apply.environment == apply.identity == one.name
        assert plan.environment is None
        assert plan.steps[-1].run.endswith("--read-only")
    text = dict(pipelines.render(declared))[".azure-pipelines/infrastructure.yml"].decode()
    connections = re.findall(r"azureSubscription: (\S+)", text)
    own = [f"gitops-{one.name}" for one in declared.environments]
    assert connections == ["gitops-read"] * 3 + own
    assert text.count("addSpnToEnvironment: true") == 6


# ---------------------------------------------------------------- the bootstrap


@pytest.mark.parametrize("name", ["core", "one-environment"])
def test_the_bootstrap_makes_a_container_for_each_state(name: str, tmp_path: Path) -> None:
    """With an `az` that writes down how it was called."""
    top = lay(COMBINATIONS[name], tmp_path)
    log = tmp_path / "log"
    fake = tmp_path / "bin" / "az"
    fake.parent.mkdir()
    fake.write_text(
        f'#!/bin/sh\necho "$*" >> "{log}"\ncase "$*" in *"--query id"*) echo an-id ;; esac\n'
    )
    fake.chmod(0o755)
    env = {"PATH": f"{fake.parent}:/usr/bin:/bin"}
    subprocess.run(["sh", top / "bootstrap.sh"], env=env, check=True)
    calls = log.read_text().splitlines()
    account = re.search(r"^account=(\w+)$", (top / "bootstrap.sh").read_text(), re.MULTILINE)
    assert account is not None
    environments = [f"environments/{one.name}" for one in parse(COMBINATIONS[name]).environments]
    for folder in ("shared", *environments):
        root = (top / folder / ("versions.tf" if folder == "shared" else "main.tf")).read_text()
        (container,) = re.findall(r'container_name\s+= "([a-z][a-z0-9-]{2,62})"', root)
        assert f'storage_account_name = "{account[1]}"' in root
        assert any(
            f"container-rm create --name {container} --storage-account {account[1]}" in c
            for c in calls
        )
    (made,) = (one for one in calls if one.startswith("storage account create"))
    assert "--allow-shared-key-access false" in made
    assert any("--assignee-object-id an-id" in one and "--scope an-id" in one for one in calls)


def test_the_bootstrap_has_no_fault(tmp_path: Path) -> None:
    script = lay(COMBINATIONS["core"], tmp_path) / "bootstrap.sh"
    tool = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([tool, script], capture_output=True, text=True)
    assert done.stdout == ""


# ---------------------------------------------------------------- add, sync


@pytest.fixture
def made(tmp_path: Path) -> Scaffold:
    return scaffold(tmp_path, {"a.txt": b"a\n"})


def changed(root: Path) -> set[str]:
    return set(git(root, "status", "--porcelain", "--untracked-files=all", "-z").split("\0")) - {""}


def commit(made: Scaffold) -> None:
    git(made.root, "add", "--all")
    git(made.root, "commit", "--quiet", "--message", "more")


def test_add_declares_and_writes_and_then_changes_nothing(made: Scaffold) -> None:
    done = provision.add(made.root, {"region": "northeurope"})
    assert done.files[0] == "gitops.yaml"
    declared = config.load(made.root).infrastructure
    assert declared is not None
    assert (declared.provider, declared.region) == ("azure", "northeurope")
    commit(made)
    assert provision.add(made.root, {"region": "northeurope"}).files == ()
    assert not sync.survey(made.root).changes
    assert changed(made.root) == set()


def test_a_component_changes_only_what_it_needs(made: Scaffold) -> None:
    provision.add(made.root, {})
    commit(made)
    provision.add(made.root, {"budget.amount": "200", "budget.emails": "[ml@example.org]"})
    top = "infrastructure/"
    assert changed(made.root) == {
        " M .gitops/lock.yaml",
        " M gitops.yaml",
        f" M {top}README.md",
        f" M {top}environments/dev/main.tf",
        f" M {top}environments/production/main.tf",
        f" M {top}environments/staging/main.tf",
        f" M {top}shared/versions.tf",
        f"?? {top}modules/environment/budget.tf",
    }
    commit(made)
    text = (made.root / "gitops.yaml").read_text()
    (made.root / "gitops.yaml").write_text(text[: text.index("  components:")] + "\n")
    commit(made)
    sync.sync(made.root)
    assert f" D {top}modules/environment/budget.tf" in changed(made.root)


def test_what_a_person_changes_stays(made: Scaffold) -> None:
    provision.add(made.root, {})
    commit(made)
    path = made.root / "infrastructure" / "shared" / "main.tf"
    path.write_text(path.read_text().replace("days = 30", "days = 90", 1))
    commit(made)
    provision.add(made.root, {"private": "true"})
    text = path.read_text()
    assert "days = 90" in text
    assert 'sku                           = "Premium"' in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regoin": "x"}, 'unknown key "regoin"'),
        ({"azureml.cpu.nodes": "0"}, "nodes is 0"),
        ({"provider": "gcp"}, "provider is"),
        ({"provider": "aws", "aks": ""}, "components.aks isn't on aws"),
        ({"eks": ""}, "components.eks isn't on azure"),
    ],
)
def test_what_cannot_be_declared_leaves_everything_as_it_was(
    made: Scaffold, settings: Mapping[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        provision.add(made.root, settings)
    assert changed(made.root) == set()


def test_the_id_never_changes(made: Scaffold) -> None:
    provision.add(made.root, {})
    commit(made)
    with pytest.raises(ConfigError, match="another id"):
        provision.add(made.root, {"id": "bbbbbbbb"})


@pytest.mark.parametrize(
    ("project", "answers", "wanted"),
    [
        ("flights", {}, None),
        ("flights", {"infrastructure": "local"}, {"provider": "local"}),
        ("flights", {"infrastructure": "azure"}, {"provider": "azure", "region": "westeurope"}),
        (
            "flights",
            {"infrastructure": "azure", "region": "eastus2"},
            {"provider": "azure", "region": "eastus2"},
        ),
        ("flights", {"infrastructure": "aws"}, {"provider": "aws", "region": "eu-west-1"}),
    ],
)
def test_what_new_declares(
    project: str, answers: Mapping[str, object], wanted: Mapping[str, object] | None
) -> None:
    found = new.infrastructure(project, answers)
    if found is not None and found["provider"] != "local":
        assert re.fullmatch("[a-z0-9]{8}", str(found.pop("id")))
    assert found == wanted


@pytest.mark.parametrize(
    ("project", "answers", "message"),
    [
        ("flights", {"infrastructure": "gcp"}, "infrastructure.provider"),
        ("flights", {"infrastructure": "aws", "region": "westeurope"}, "none of aws"),
        ("sthree", {"infrastructure": "aws"}, "which AWS refuses"),
        ("flights", {"infrastructure": "azure", "region": "West Europe"}, "its short name"),
        ("flights", {"region": "westeurope"}, "no infrastructure"),
        ("windows-sales", {"infrastructure": "azure"}, "which Azure refuses"),
    ],
)
def test_what_new_refuses_before_it_writes_anything(
    project: str, answers: Mapping[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        new.infrastructure(project, answers)


def test_add_waits_for_a_repository_in_sync(made: Scaffold) -> None:
    (made.root / ".gitops" / "gitops.schema.json").write_text("{}")
    with pytest.raises(AnswerNo, match="isn't in sync"):
        provision.add(made.root, {})


def test_a_task_that_needs_two_clouds_is_refused_where_it_can_log_in_to_one() -> None:
    text = HEAD.replace("{task: binary}", "{task: binary, deploy: {target: azureml}}")
    text += "  components: {azureml: {}}\nstorage: {remote: s3://bucket/flights}\n"
    with pytest.raises(ConfigError, match="needs aws and azure") as refused:
        dict(pipelines.render(parse(text)))
    assert "ci: [github]" in str(refused.value.fix)
    made = dict(pipelines.render(parse(text.replace("[github, azure]", "[github]"))))
    deploy = made[".github/workflows/deploy.yml"].decode()
    assert "aws-actions/configure-aws-credentials" in deploy
    assert "azure/login" in deploy
