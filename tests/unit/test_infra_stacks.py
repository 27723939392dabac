"""Planning, applying and destroying Bicep, with a program in place of the Azure CLI.

It takes what the Azure CLI says that it takes (tests/contracts/az), refuses all else as that does,
and writes down how it was called.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gitops import cloudnames, config
from gitops.cli.app import make
from gitops.errors import ConfigError, GitopsError, ToolError
from gitops.infra import stacks
from gitops.scaffold import infrastructure
from gitops.scaffold.diagram import mermaid
from tests.programs import head

CONFIG = """\
version: 1
project: flights
environments: [{name: dev, branch: main}, {name: production, branch: release/production}]
models: {late: {task: binary}}
infrastructure: {provider: azure, generator: bicep-azure, id: k7q2m9xd}
"""
PROJECT = Path(__file__).resolve().parents[2]
COMMANDS = PROJECT / "tests" / "contracts" / "az" / "commands.json"
FAKE = """\
{head}import json, os, sys
words = []
for one in sys.argv[1:]:
    if one.startswith("-"):
        break
    words.append(one)
kind, rest = " ".join(words), sys.argv[1 + len(words):]
known = json.load(open(os.environ["COMMANDS"]))["commands"]
if kind not in known:
    sys.exit(f"'{{kind}}' is misspelled or not recognized by the system.")
names = {{name: main for main, one in known[kind].items() for name in one["names"]}}
given, at = {{}}, 0
while at < len(rest):
    main = names.get(rest[at]) or sys.exit(f"unrecognized arguments: {{rest[at]}}")
    flag = main in ("--yes", "--only-show-errors", "--no-pretty-print", "--stdout")
    given[main] = True if flag else rest[at + 1]
    values = known[kind][main].get("values")
    if values and given[main] not in values:
        sys.exit(f"'{{given[main]}}' is not a valid value for '{{main}}'.")
    at += 1 if flag else 2
for main, one in known[kind].items():
    if one["required"] and main not in given:
        sys.exit(f"the following arguments are required: {{main}}")
files = {{}}
for name in ("--template-file", "--parameters"):
    if name in given:
        files[name] = open(given[name].removeprefix("@")).read()
env = {{k: v for k, v in os.environ.items() if k.startswith("GITOPS_")}}
with open(os.environ["RECORD"], "a") as file:
    file.write(json.dumps({{"kind": kind, "given": given, "files": files, "env": env}}) + "\\n")
answers = json.loads(os.environ["ANSWERS"])
if kind.startswith("bicep build"):
    with open(given["--outfile"], "w") as out:
        built = answers["template"] if kind == "bicep build" else {{"parameters": {{}}}}
        out.write(json.dumps(built))
elif kind in answers.get("fail", {{}}):
    sys.exit(answers["fail"][kind])
elif kind == "account show":
    print("{subscription}")
elif kind == "ad signed-in-user show":
    print("an-object-id")
elif kind.endswith("what-if"):
    print(json.dumps({{"status": "Succeeded", "changes": answers["changes"]}}))
elif kind.endswith("show"):
    stack = answers["stacks"].get(given["--name"])
    if stack is None:
        print("(DeploymentStackNotFound) it was not found", file=sys.stderr)
        sys.exit(3)
    print(json.dumps({{"properties": {{"resources": [{{"id": one}} for one in stack]}}}}))
elif kind.endswith("create"):
    print(json.dumps({{"outputs": {{"registry": {{"type": "String", "value": "r.azurecr.io"}}}}}}))
"""
SUBSCRIPTION = "0a0a0a0a-0000-0000-0000-0123456789ab"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g"
VAULT, OLD = (
    f"{GROUP}/providers/Microsoft.KeyVault/vaults/v",
    f"{GROUP}/providers/Microsoft.Sql/servers/s/databases/d",
)
# As in https://learn.microsoft.com/azure/azure-resource-manager/templates/deploy-what-if
CREATE = {"changeType": "Create", "resourceId": VAULT, "after": {"name": "v"}}
MODIFY = {
    "changeType": "Modify",
    "resourceId": f"{GROUP}/providers/Microsoft.Storage/storageAccounts/a",
    "delta": [
        {
            "path": "properties.networkAcls",
            "propertyChangeType": "Modify",
            "children": [
                {
                    "path": "defaultAction",
                    "propertyChangeType": "Modify",
                    "before": "Allow",
                    "after": "Deny",
                }
            ],
        },
        {"path": "properties.noise", "propertyChangeType": "NoEffect", "after": 1},
    ],
}
SAME = {"changeType": "NoChange", "resourceId": f"{GROUP}/providers/Microsoft.Web/sites/w"}
THERE = {"changeType": "Ignore", "resourceId": OLD}
UNSURE = {
    "changeType": "Unsupported",
    "resourceId": f"{GROUP}/providers/Microsoft.Sql/servers/[reference('x')]",
    "unsupportedReason": "its id is known when it is deployed",
}


@dataclass
class Fake:
    """A repository with infrastructure, and what was recorded of `az` there."""

    root: Path
    record: Path
    answers: dict[str, Any]

    def run(self, *arguments: str) -> Result:
        env = {"ANSWERS": json.dumps(self.answers)}
        return CliRunner(env=env).invoke(make(), ["infra", *arguments])

    @property
    def calls(self) -> list[dict[str, Any]]:
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def kinds(self) -> list[str]:
        return [one["kind"] for one in self.calls]

    def call(self, kind: str) -> dict[str, Any]:
        (found,) = (one for one in self.calls if one["kind"] == kind)
        return found

    def name(self, environment: str) -> str:
        return cloudnames.of(config.load(self.root), environment)["resource_group"]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    root, programs = tmp_path / "repository", tmp_path / "bin"
    root.mkdir()
    programs.mkdir()
    write(root, CONFIG)
    subprocess.run(["git", "init", "--quiet", root], check=True)
    url = "git@github.com:OWNER/flights.git"
    subprocess.run(["git", "-C", root, "remote", "add", "origin", url], check=True)
    az = programs / "az"
    az.write_text(FAKE.format(head=head(), subscription=SUBSCRIPTION))
    az.chmod(0o755)
    for name in list(os.environ):
        if name.startswith(("ARM_", "AZURE_", "ACTIONS_", "GITOPS_", "GITHUB_", "GH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    monkeypatch.setenv("COMMANDS", str(COMMANDS))
    monkeypatch.chdir(root)
    template = {"resources": [{"type": "Microsoft.KeyVault/vaults"}]}
    return Fake(
        root,
        tmp_path / "record",
        {"changes": [CREATE, MODIFY, SAME, THERE], "stacks": {}, "template": template},
    )


def write(root: Path, text: str) -> None:
    (root / "gitops.yaml").write_text(text)
    for file in infrastructure.rendered(config.load(root)):
        (root / file.path).parent.mkdir(parents=True, exist_ok=True)
        (root / file.path).write_bytes(file.content)


def test_a_plan_predicts_and_changes_nothing(fake: Fake) -> None:
    done = fake.run("plan", "dev")
    assert done.exit_code == 0, done.output
    assert "+ resourceGroups/g/providers/Microsoft.KeyVault/vaults/v" in done.output
    assert 'properties.networkAcls.defaultAction: "Allow" -> "Deny"' in done.output
    assert "noise" not in done.output
    assert SUBSCRIPTION not in done.output
    assert "dev: 1 to make, 1 to change, 0 to take away" in done.output
    assert fake.kinds == [
        "account show",
        "bicep build",
        "bicep build-params",
        "deployment group what-if",
        "stack group show",
    ]
    given = fake.call("deployment group what-if")["given"]
    assert given["--resource-group"] == fake.name("dev")
    assert given["--subscription"] == SUBSCRIPTION
    assert given["--validation-level"] == "Provider"
    top = fake.root / "infrastructure"
    assert fake.call("bicep build")["given"]["--file"] == str(
        top / "modules" / "environment" / "main.bicep"
    )
    assert fake.call("bicep build-params")["given"]["--file"] == str(
        top / "environments" / "dev" / "main.bicepparam"
    )


def test_who_may_only_read_asks_for_no_right_to_deploy(fake: Fake) -> None:
    assert fake.run("plan", "dev", "--read-only").exit_code == 0
    given = fake.call("deployment group what-if")["given"]
    assert given["--validation-level"] == "ProviderNoRbac"


def test_apply_takes_the_very_files_that_were_predicted_and_leaves_none(fake: Fake) -> None:
    fake.answers["stacks"][fake.name("production")] = [VAULT, OLD]
    done = fake.run("apply", "production", "--yes")
    assert done.exit_code == 0, done.output
    assert "- resourceGroups/g/providers/Microsoft.Sql/servers/s/databases/d" in done.output
    assert "production: done: 1 to make, 1 to change, 1 to take away" in done.output
    assert 'registry = "r.azurecr.io"' in done.output
    asked, made = fake.call("deployment group what-if"), fake.call("stack group create")
    assert made["files"] == asked["files"]
    assert set(made["files"]) == {"--template-file", "--parameters"}
    assert not Path(made["given"]["--template-file"]).parent.exists()
    given = made["given"]
    assert given["--name"] == given["--resource-group"] == fake.name("production")
    assert given["--action-on-unmanage"] == "deleteResources"
    assert given["--deny-settings-mode"] == "none"


def test_nothing_to_do_is_not_done(fake: Fake) -> None:
    fake.answers["changes"] = [SAME, THERE]
    done = fake.run("apply", "dev", "--yes", "--json")
    assert json.loads(done.stdout)["done"] is False
    assert "stack group create" not in fake.kinds


def test_what_azure_cannot_predict_is_said_and_is_no_reason_to_do_nothing(fake: Fake) -> None:
    fake.answers["changes"] = [UNSURE]
    done = fake.run("apply", "dev", "--yes")
    assert "? resourceGroups/g/providers/Microsoft.Sql" in done.output
    assert "known when it is deployed" in done.output
    assert fake.kinds[-1] == "stack group create"


@pytest.mark.parametrize(
    ("changes", "managed", "deleted", "unsure"),
    [
        ([SAME], [OLD], 1, 0),
        ([SAME, {"changeType": "NoChange", "resourceId": OLD.upper()}], [OLD], 0, 0),
        ([SAME, THERE], [OLD], 1, 0),
        ([UNSURE], [OLD], 0, 2),  # it may be the one that can't be predicted
        ([UNSURE], [VAULT], 1, 1),  # of its type there's nothing in the template
    ],
)
def test_what_the_stack_lets_go_of(
    changes: Sequence[dict[str, Any]], managed: Sequence[str], deleted: int, unsure: int
) -> None:
    declared = frozenset({"microsoft.sql/servers/databases"})
    found = stacks.prediction(changes, managed, declared)
    assert (found.changes.delete, found.unsure) == (deleted, unsure)


def test_types_of_nested_templates_count() -> None:
    inner = {"resources": {"a": {"type": "A/b"}, "old": {"type": "C/d", "existing": True}}}
    deployment = {"type": "Microsoft.Resources/deployments", "properties": {"template": inner}}
    assert stacks.types({"resources": [deployment]}) == {"microsoft.resources/deployments", "a/b"}
    assert stacks.type_of(OLD) == "microsoft.sql/servers/databases"
    assert stacks.type_of(GROUP) == "microsoft.resources/resourcegroups"
    nested = f"{VAULT}/providers/Microsoft.Insights/diagnosticSettings/audit"
    assert stacks.type_of(nested) == "microsoft.insights/diagnosticsettings"


def test_shared_is_of_the_subscription_and_learns_the_repository(fake: Fake) -> None:
    done = fake.run("apply", "shared", "--yes")
    assert done.exit_code == 0, done.output
    given = fake.call("stack sub create")["given"]
    assert given["--location"] == "westeurope"
    assert given["--name"] == fake.name("shared")
    env = fake.call("bicep build-params")["env"]
    assert env["GITOPS_GITHUB_SUBJECT"] == "repo:OWNER/flights"
    assert "ad signed-in-user show" not in fake.kinds


def test_shared_learns_who_invites_to_grafana(fake: Fake) -> None:
    write(fake.root, CONFIG.replace("k7q2m9xd}", "k7q2m9xd, components: {grafana: {}}}"))
    assert fake.run("plan", "shared").exit_code == 0
    assert fake.call("bicep build-params")["env"]["GITOPS_OWNER"] == "an-object-id"
    fake.answers["fail"] = {"ad signed-in-user show": "not a person"}
    done = fake.run("plan", "shared")
    assert isinstance(done.exception, ToolError)
    assert "GITOPS_OWNER" in (done.exception.fix or "")


def test_every_parameter_from_outside_is_given(fake: Fake) -> None:
    """What main.bicepparam reads from the environment is what `gitops infra` sets."""
    write(fake.root, CONFIG.replace("k7q2m9xd}", "k7q2m9xd, components: {grafana: {}}}"))
    fake.run("plan", "shared")
    text = (fake.root / "infrastructure" / "shared" / "main.bicepparam").read_text()
    needed = {one.split("'")[1] for one in text.split("readEnvironmentVariable(")[1:]}
    optional = {"GITOPS_GITHUB_ISSUER", "GITOPS_AZURE_DEVOPS"}
    assert needed - optional <= fake.call("bicep build-params")["env"].keys()
    assert needed >= {"GITOPS_GITHUB_SUBJECT", "GITOPS_OWNER"}


def test_destroy_takes_the_stack_away(fake: Fake) -> None:
    fake.answers["stacks"][fake.name("dev")] = [VAULT, OLD]
    done = fake.run("destroy", "dev", "--yes", "--json")
    assert json.loads(done.stdout)["changes"] == {"create": 0, "update": 0, "delete": 2}
    given = fake.call("stack group delete")["given"]
    assert given["--action-on-unmanage"] == "deleteResources"
    assert "bicep build" not in fake.kinds


def test_destroying_what_is_not_there_does_nothing(fake: Fake) -> None:
    done = fake.run("destroy", "dev", "--yes", "--json")
    assert json.loads(done.stdout)["done"] is False
    assert "stack group delete" not in fake.kinds


def test_what_all_share_goes_last_and_whole(fake: Fake) -> None:
    fake.answers["stacks"] = {fake.name("shared"): [GROUP, VAULT], fake.name("production"): [OLD]}
    done = fake.run("destroy", "shared", "--yes")
    assert isinstance(done.exception, GitopsError)
    assert done.exception.fix == "gitops infra destroy production"
    del fake.answers["stacks"][fake.name("production")]
    assert fake.run("destroy", "shared", "--yes").exit_code == 0
    assert fake.call("stack sub delete")["given"]["--action-on-unmanage"] == "deleteAll"


@pytest.mark.parametrize("action", ["apply", "destroy"])
def test_without_a_terminal_nothing_is_done_silently(fake: Fake, action: str) -> None:
    done = fake.run(action, "dev")
    assert isinstance(done.exception, GitopsError)
    assert done.exception.code == 2
    assert fake.calls == []


def test_what_is_not_confirmed_is_not_done(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSWERS", json.dumps(fake.answers))
    root = stacks.open_root(fake.root, config.load(fake.root), "dev", {})
    with pytest.raises(GitopsError, match="nothing was changed in dev"):
        stacks.run(root, "apply", lambda _: False, lambda _: None, read_only=False)
    assert "stack group create" not in fake.kinds


@pytest.mark.parametrize(
    ("kind", "said", "fix"),
    [
        ("deployment group what-if", "(ResourceGroupNotFound)", "gitops infra apply shared"),
        ("deployment group what-if", "(AuthorizationFailed)", "roles.bicep"),
        ("stack group create", "MissingSubscriptionRegistration", "bootstrap.sh"),
    ],
)
def test_a_failure_has_its_fix(fake: Fake, kind: str, said: str, fix: str) -> None:
    fake.answers["fail"] = {kind: said}
    done = fake.run("apply", "dev", "--yes")
    assert isinstance(done.exception, ToolError)
    assert said in done.exception.message
    assert fix in (done.exception.fix or "")


def test_the_stand_in_refuses_what_the_azure_cli_does(fake: Fake) -> None:
    env = {**os.environ, "ANSWERS": "{}"}
    for words, said in (
        (["stack", "group", "create", "--name", "x"], "are required"),
        (["stack", "sub", "show", "--nmae", "x"], "unrecognized arguments"),
        (["stack", "sub", "delete", "--action-on-unmanage", "delete"], "not a valid value"),
        (["stack", "create"], "misspelled"),
    ):
        done = subprocess.run(["az", *words], env=env, capture_output=True, text=True)
        assert done.returncode != 0
        assert said in done.stderr


@pytest.mark.parametrize("missing", ["file", "using", "declared"])
def test_what_is_not_there(fake: Fake, missing: str) -> None:
    path = fake.root / "infrastructure" / "environments" / "dev" / "main.bicepparam"
    if missing == "file":
        path.unlink()
    elif missing == "using":
        path.write_text("param region = 'westeurope'\n")
    else:
        (fake.root / "gitops.yaml").write_text(CONFIG.partition("infrastructure")[0])
    with pytest.raises(ConfigError) as refused:
        stacks.open_root(fake.root, config.load(fake.root), "dev", {})
    assert refused.value.fix


def test_a_tool_is_for_terraform(fake: Fake) -> None:
    done = fake.run("plan", "dev", "--tool", "tofu")
    assert isinstance(done.exception, GitopsError)
    assert "gitops.yaml has Bicep" in done.exception.message


# ---------------------------------------------------------------- the picture


def test_the_picture_is_the_one_in_the_readme(fake: Fake) -> None:
    said = fake.run("diagram").stdout
    assert said in (fake.root / "infrastructure" / "README.md").read_text()
    assert said == mermaid(config.load(fake.root)) + "\n"


def test_the_picture_of_one_environment(fake: Fake) -> None:
    said = fake.run("diagram", "production").stdout
    assert "production-core" in said
    assert "dev-core" not in said
    done = fake.run("diagram", "prodution")
    assert isinstance(done.exception, GitopsError)
    assert "production" in (done.exception.fix or "")


def test_the_picture_has_what_is_declared_and_no_more(fake: Fake) -> None:
    bare = fake.run("diagram").stdout
    text = (
        "components: {sql: {}, data_factory: {copies: https://abc.blob.core.windows.net/exports}}}"
    )
    write(fake.root, CONFIG.replace("k7q2m9xd}", f"k7q2m9xd, {text}"))
    said = fake.run("diagram").stdout
    assert "Azure SQL" in said
    assert "dev-data_factory -->|lands| landing" in said
    assert "production-data_factory -->|lands|" not in said
    assert "Azure SQL" not in bare
    assert "state of Terraform" not in said


def test_no_environment_is_a_word_of_mermaid_or_a_part_of_what_all_share(fake: Fake) -> None:
    names = ("end", "graph", "registry", "landing")
    given = ", ".join(f"{{name: {one}, branch: b-{one}}}" for one in names)
    write(fake.root, re.sub(r"environments:.*", f"environments: [{given}]", CONFIG))
    said = fake.run("diagram").stdout
    taken = re.findall(r"^ +(?:subgraph )?([\w-]+)[\[(]", said, re.MULTILINE)
    assert len(taken) == len({*taken})
    assert not {*taken} & {"end", "graph"}
    assert {f"env-{one}" for one in names} <= {*taken}


def test_the_picture_of_the_guide_is_the_commands() -> None:
    text = (PROJECT / "docs" / "guides" / "azure.md").read_text()
    declared = re.search(r"```yaml\n(infrastructure:\n  provider:.*?)```", text, re.DOTALL)
    shown = re.search(r"```mermaid\n(.*?)\n```", text, re.DOTALL)
    assert declared is not None
    assert shown is not None
    head = CONFIG.partition("environments")[0] + "models: {late: {task: binary}}\n"
    parsed = config.parse((head + declared[1]).encode(), Path("gitops.yaml"))
    assert shown[1] == mermaid(parsed, ["production"])
