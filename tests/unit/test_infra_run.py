"""`gitops infra plan|apply|destroy`, with a `terraform` that writes down how it was called."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gitops import config
from gitops.cli.app import make
from gitops.errors import AnswerNo, ConfigError, GitopsError, ToolError
from gitops.infra import terraform
from gitops.infra.terraform import Changes
from gitops.scaffold import infrastructure

CONFIG = """\
version: 1
project: flights
environments: [{name: dev, branch: main}, {name: production, branch: release/production}]
models: {late: {task: binary}}
infrastructure: {provider: azure, id: k7q2m9xd}
"""
FAKE = """\
#!/usr/bin/env python3
import json, os, sys
record = {"arguments": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}
with open(os.environ["RECORD"], "a") as file:
    file.write(json.dumps(record) + "\\n")
kind = sys.argv[1]
if os.environ.get("FAIL") == kind:
    print("Error: Error acquiring the state lock")
    sys.exit(1)
for one in sys.argv[1:]:
    if one.startswith("-out="):
        with open(one[5:], "w") as plan:
            plan.write("the plan")
if kind == "plan":
    print("Plan: as shown")
if kind == "apply":
    with open(sys.argv[-1]) as plan:
        assert plan.read() == "the plan"
    print("Apply complete!")
if kind == "show":
    actions = json.loads(os.environ.get("ACTIONS", '[["create"], ["update"], ["no-op"]]'))
    print(json.dumps({"resource_changes": [{"change": {"actions": one}} for one in actions]}))
"""
SUBSCRIPTION = "0a0a0a0a-0000-0000-0000-0123456789ab"


@dataclass(frozen=True)
class Fake:
    """A repository with infrastructure, and what was recorded of `terraform` there."""

    root: Path
    record: Path

    @property
    def calls(self) -> list[dict[str, object]]:
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def kinds(self) -> list[str]:
        return [one["arguments"][0] for one in self.calls]  # type: ignore[index]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    root, programs = tmp_path / "repository", tmp_path / "bin"
    root.mkdir()
    programs.mkdir()
    (root / "gitops.yaml").write_text(CONFIG)
    for file in infrastructure.rendered(config.load(root)):
        (root / file.path).parent.mkdir(parents=True, exist_ok=True)
        (root / file.path).write_bytes(file.content)
    subprocess.run(["git", "init", "--quiet", root], check=True)
    url = "git@github.com:OWNER/flights.git"
    subprocess.run(["git", "-C", root, "remote", "add", "origin", url], check=True)
    program(programs / "terraform", FAKE)
    for name in list(os.environ):
        if name.startswith(("ARM_", "AZURE_", "ACTIONS_", "TF_", "GITHUB_", "GH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    monkeypatch.setenv("ARM_SUBSCRIPTION_ID", SUBSCRIPTION)
    monkeypatch.chdir(root)
    return Fake(root, tmp_path / "record")


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(make(), ["infra", *arguments])


def arguments(call: Mapping[str, object]) -> Sequence[str]:
    found = call["arguments"]
    assert isinstance(found, list)
    return found


def test_a_plan_changes_nothing(fake: Fake) -> None:
    done = run("plan", "dev", "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["changes"] == {"create": 1, "update": 1, "delete": 0}
    assert answer["done"] is False
    assert answer["cost"]["at_least"] == 0.0  # the core is paid per use
    assert fake.kinds == ["init", "plan", "show"]
    for call in fake.calls:
        assert call["cwd"] == str(fake.root / "infrastructure" / "environments" / "dev")
        env = call["env"]
        assert isinstance(env, dict)
        assert env["ARM_SUBSCRIPTION_ID"] == SUBSCRIPTION
        assert env["TF_INPUT"] == "0"
        assert "TF_VAR_github_subject" not in env
    assert "-lock=false" not in arguments(fake.calls[1])


def test_who_may_only_read_takes_no_lock(fake: Fake) -> None:
    assert run("plan", "dev", "--read-only").exit_code == 0
    assert {"-lock=false", "-refresh=false"} <= set(arguments(fake.calls[1]))


def test_apply_does_the_very_plan_and_leaves_none_of_it(fake: Fake) -> None:
    done = run("apply", "production", "--yes")
    assert done.exit_code == 0, done.output
    assert "production: done: 1 to make, 1 to change, 0 to take away" in done.output
    assert fake.kinds == ["init", "plan", "show", "apply"]
    (out,) = (one[5:] for one in arguments(fake.calls[1]) if one.startswith("-out="))
    assert arguments(fake.calls[3]) == ["apply", "-input=false", out]
    assert not Path(out).parent.exists()
    assert not any("-auto-approve" in arguments(call) for call in fake.calls)


def test_the_plan_lies_where_only_we_can_read_it(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def confirm(changes: Changes) -> bool:
        (out,) = (one[5:] for one in arguments(fake.calls[1]) if one.startswith("-out="))
        seen.append(stat.S_IMODE(Path(out).parent.stat().st_mode))
        return False

    place = terraform.open_root(fake.root, config.load(fake.root), "dev", None, {})
    with pytest.raises(AnswerNo, match="nothing was changed"):
        terraform.run(place, "apply", confirm, lambda _: None, read_only=False)
    assert seen == [0o700]
    assert fake.kinds == ["init", "plan", "show"]


@pytest.mark.parametrize("action", ["apply", "destroy"])
def test_without_a_terminal_nothing_is_done_silently(fake: Fake, action: str) -> None:
    done = run(action, "dev")
    assert isinstance(done.exception, GitopsError)
    assert done.exception.code == 2
    assert "say --yes" in done.exception.fix
    assert fake.calls == []


def test_destroy_plans_it_first(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIONS", '[["delete"], ["delete", "create"]]')
    done = run("destroy", "dev", "--yes", "--json")
    assert json.loads(done.stdout)["changes"] == {"create": 1, "update": 0, "delete": 2}
    assert "-destroy" in arguments(fake.calls[1])
    assert fake.kinds[-1] == "apply"


def test_nothing_to_do_is_not_done(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIONS", '[["no-op"], ["read"]]')
    done = run("apply", "dev", "--yes", "--json")
    assert json.loads(done.stdout)["done"] is False
    assert "apply" not in fake.kinds


def test_shared_learns_the_repository_from_the_remote(fake: Fake) -> None:
    assert run("plan", "shared").exit_code == 0
    env = fake.calls[0]["env"]
    assert isinstance(env, dict)
    assert env["TF_VAR_github_subject"] == "repo:OWNER/flights"
    assert fake.calls[0]["cwd"] == str(fake.root / "infrastructure" / "shared")


def test_shared_without_a_remote_says_what_is_missing(fake: Fake) -> None:
    subprocess.run(["git", "remote", "remove", "origin"], cwd=fake.root, check=True)
    done = run("plan", "shared")
    assert isinstance(done.exception, GitopsError)
    assert "TF_VAR_github_subject" in done.exception.fix


def test_a_failure_has_its_fix(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "plan")
    done = run("apply", "dev", "--yes")
    assert isinstance(done.exception, ToolError)
    assert "force-unlock" in done.exception.fix
    assert fake.kinds == ["init", "plan"]


@pytest.mark.parametrize(
    ("arguments_", "fix"), [(["dve"], "did you mean dev"), (["dev", "--tool", "tofu"], "tofu, 1.9")]
)
def test_what_is_not_there(fake: Fake, arguments_: list[str], fix: str) -> None:
    done = run("plan", *arguments_)
    assert isinstance(done.exception, GitopsError)
    assert fix in done.exception.fix


@pytest.mark.parametrize("text", ["", "infrastructure: {provider: local}\n"])
def test_nothing_declared(fake: Fake, text: str) -> None:
    (fake.root / "gitops.yaml").write_text(CONFIG.partition("infrastructure")[0] + text)
    with pytest.raises(ConfigError, match="nothing to provision"):
        terraform.open_root(fake.root, config.load(fake.root), "dev", None, {})


# ---------------------------------------------------------------- who logs in, and how

GITHUB = {
    "ACTIONS_ID_TOKEN_REQUEST_URL": "https://token",
    "AZURE_CLIENT_ID": "a-client",
    "AZURE_TENANT_ID": "a-tenant",
    "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
}
DEVOPS = {
    "idToken": "a-token",
    "servicePrincipalId": "a-client",
    "tenantId": "a-tenant",
    "ARM_SUBSCRIPTION_ID": SUBSCRIPTION,
}


@pytest.mark.parametrize("env", [GITHUB, DEVOPS], ids=["github", "azure"])
def test_a_job_logs_in_by_its_token(env: Mapping[str, str]) -> None:
    found = terraform.login(env)
    assert found["ARM_USE_OIDC"] == "true"
    assert (found["ARM_CLIENT_ID"], found["ARM_TENANT_ID"]) == ("a-client", "a-tenant")
    assert found["ARM_SUBSCRIPTION_ID"] == SUBSCRIPTION
    assert found.get("ARM_OIDC_TOKEN") == env.get("idToken")
    assert "ARM_CLIENT_SECRET" not in found


def test_a_person_logs_in_by_the_azure_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "az", f"#!/bin/sh\necho {SUBSCRIPTION}\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = terraform.login({})
    assert found["ARM_SUBSCRIPTION_ID"] == SUBSCRIPTION
    assert "ARM_USE_OIDC" not in found


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"])
def test_on_aws_a_job_has_its_login(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "aws", "#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert terraform.login_aws({name: "x"}) == {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}
    with pytest.raises(ToolError) as refused:
        terraform.login_aws({})
    assert "aws sso login" in (refused.value.fix or "")


@pytest.mark.parametrize("script", [None, "#!/bin/sh\nexit 0\n"], ids=["missing", "logged in"])
def test_on_aws_terraform_finds_the_login_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    if script:
        program(tmp_path / "aws", script)
    monkeypatch.setenv("PATH", str(tmp_path) if script is None else f"{tmp_path}:/usr/bin:/bin")
    assert "ARM_SUBSCRIPTION_ID" not in terraform.login_aws({})


def test_an_environment_on_aws_is_planned_and_applied(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = CONFIG.replace("azure", "aws")
    (fake.root / "gitops.yaml").write_text(text)
    for file in infrastructure.rendered(config.load(fake.root)):
        (fake.root / file.path).parent.mkdir(parents=True, exist_ok=True)
        (fake.root / file.path).write_bytes(file.content)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    assert run("apply", "dev", "--yes").exit_code == 0
    assert fake.kinds == ["init", "plan", "show", "apply"]
    assert run("plan", "shared").exit_code == 0
    env = fake.calls[-1]["env"]
    assert isinstance(env, dict)
    assert env["TF_VAR_github_subject"] == "repo:OWNER/flights"
    assert "ARM_USE_OIDC" not in env
    done = run("plan", "dev", "--tool", "tofu")
    assert isinstance(done.exception, GitopsError)
    assert "tofu, 1.10" in done.exception.fix


@pytest.mark.parametrize("script", [None, "#!/bin/sh\nexit 1\n"], ids=["missing", "logged out"])
def test_nobody_is_logged_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    if script:
        program(tmp_path / "az", script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ToolError) as refused:
        terraform.login({})
    assert "az login" in (refused.value.fix or "")
