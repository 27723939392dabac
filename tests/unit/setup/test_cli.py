"""`gitops setup` and `gitops doctor --forge` as they are called."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gitops.cli import main
from gitops.setup import github as setup
from gitops.setup.model import Plan
from tests.forge_contract import Contract
from tests.forge_github_settings import ruleset
from tests.forge_server import Server
from tests.unit.setup.conftest import DOCUMENT, OnAzure, OnGitHub


@dataclass
class Shell:
    """A repository with a remote on a forge; `run` gives exit code, stdout and stderr."""

    root: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        self.patch.setattr(sys, "argv", ["gitops", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        told = self.capture.readouterr()
        assert "_secret" not in told.out + told.err  # as both tokens end
        return int(exit_.value.code or 0), told.out, told.err

    def json(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        code, out, _ = self.run(*arguments, "--json")
        return code, json.loads(out)


def shell(
    server: Server,
    url: str,
    env: dict[str, str],
    folder: Path,
    patch: pytest.MonkeyPatch,
    capture: pytest.CaptureFixture[str],
) -> Shell:
    root = folder / "work"
    root.mkdir()
    (root / "gitops.yaml").write_text(DOCUMENT, "utf-8")
    server.simulator.git("init", "--quiet", ".", cwd=root)
    server.simulator.git("remote", "add", "origin", url, cwd=root)
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT"):
        patch.delenv(name, raising=False)
    for name, value in {**env, "NO_COLOR": "1"}.items():
        patch.setenv(name, value)
    patch.chdir(root)
    return Shell(root, patch, capture)


@pytest.fixture
def on_github(
    github: OnGitHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    server = github.server
    return shell(server, server.github_url, server.github_env, tmp_path, monkeypatch, capsys)


@pytest.fixture
def on_azure(
    azure: OnAzure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    server = azure.server
    return shell(server, server.azure_url, server.azure_env, tmp_path, monkeypatch, capsys)


def test_plan_check_apply(on_github: Shell, github: OnGitHub) -> None:
    code, out, _ = on_github.run("setup", "github")
    assert code == 0
    assert "create   environment production" in out
    assert out.rstrip().endswith("10 to change: gitops setup github --apply")
    assert on_github.run("setup", "github", "--plan") == (0, out, "")
    assert on_github.run("setup", "github", "--check")[0] == 1
    assert github.wrote() == []

    code, out, err = on_github.run("setup", "github", "--apply")
    assert code == 0
    assert "10 done, read back as wanted" in out
    assert "done: ruleset gitops: registry" in err

    code, out, _ = on_github.run("setup", "github", "--check")
    assert code == 0
    assert out.rstrip().endswith("nothing to change")
    github.wrote()
    code, out, _ = on_github.run("setup", "github", "--apply")
    assert (code, github.wrote()) == (0, [])
    assert out.rstrip().endswith("so already: nothing to change")


def test_one_document(on_github: Shell, github: OnGitHub) -> None:
    code, found = on_github.json("setup", "github")
    assert code == 0
    assert (found["forge"], found["repository"]) == ("GitHub", "acme/flights")
    assert all(one["why"] and "state" not in one for one in found["steps"])
    changes = {one["name"]: one["changes"] for one in found["steps"]}
    assert {"at": "branches", "old": None, "new": ["release/staging"]} in changes["staging"]

    github.settings.actions_locked = True
    code, found = on_github.json("setup", "github", "--apply")
    assert code == 4
    states = {f"{one['kind']} {one['name']}".strip(): one for one in found["steps"]}
    assert states["actions"]["state"] == "failed"
    assert states["actions"]["fix"]
    assert {one["state"] for one in found["steps"]} == {"failed", "done"}
    code, out, _ = on_github.run("setup", "github", "--apply")
    assert code == 4
    assert "0 done, 1 not: run it again when that is mended" in out


def test_what_changes_between_plan_and_apply_is_the_answer_no(
    on_github: Shell, github: OnGitHub
) -> None:
    on_github.run("setup", "github", "--apply")
    theirs = github.settings.rulesets[1]
    theirs["enforcement"] = "disabled"
    plan = setup.plan

    def overtaken(*arguments: Any) -> Plan:
        found = plan(*arguments)
        theirs["enforcement"] = "evaluate"
        return found

    on_github.patch.setattr(setup, "plan", overtaken)
    code, out, _ = on_github.run("setup", "github", "--apply")
    assert (code, theirs["enforcement"]) == (1, "evaluate")
    assert "changed meanwhile: ruleset gitops: dev" in out


def test_names_that_others_gave_do_nothing_to_a_log(on_github: Shell, github: OnGitHub) -> None:
    body = {"name": "::error::x\x1b[2J\u202e", "enforcement": "active", "rules": []}
    theirs = ruleset(github.settings, Contract("github.json"), body)
    github.settings.rulesets.append(theirs)
    _, out, _ = on_github.run("setup", "github")
    assert "error::x" in out
    assert not [sign for sign in ("\x1b", "\u202e", " ::error") if sign in out]


def test_who_does_not_administer_changes_nothing(on_github: Shell, github: OnGitHub) -> None:
    github.settings.admin = False
    on_github.patch.setenv("GITHUB_TOKEN", "github_pat_secret")
    code, _, err = on_github.run("setup", "github", "--apply")
    assert (code, github.wrote()) == (4, [])
    assert "doesn't administer acme/flights: nothing was changed" in err
    code, out, _ = on_github.run("setup", "github")
    assert code == 0
    assert "it may not change them" in out


def test_of_an_app_its_writes_say_what_it_may(on_github: Shell, github: OnGitHub) -> None:
    github.settings.admin = False  # GitHub says so of every installation
    code, found = on_github.json("setup", "github", "--apply")
    assert code == 4
    refused = [one["fix"] for one in found["steps"] if "answered 403" in one["problem"]]
    assert len(refused) == 9
    assert all("administration=write" in fix for fix in refused)


def test_what_may_not_be_read_is_not_written_blindly(on_azure: Shell, azure: OnAzure) -> None:
    azure.settings.forbidden = ("list access control lists",)
    code, _, err = on_azure.run("setup", "azure", "--apply")
    assert (code, azure.wrote()) == (4, [])
    assert "can't be read, so nothing was changed" in err
    assert "Manage permissions" in err


def test_of_azure(on_azure: Shell, azure: OnAzure) -> None:
    (on_azure.root / ".azure-pipelines").mkdir()
    (on_azure.root / ".azure-pipelines" / "pull-request.yml").touch()
    values = [f"--set={name}=x" for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID")]
    values.append("--set=AZURE_SUBSCRIPTION_ID=x")
    code, out, _ = on_azure.run("setup", "azure", "--apply", *values)
    assert code == 0
    # The subject is known only once the connection is there.
    assert "sc://acme/gitops" in out
    assert [one["name"] for one in azure.settings.definitions] == ["pull-request"]
    code, found = on_azure.json("setup", "azure", "--check", *values)
    assert code == 0
    assert {one["action"] for one in found["steps"]} == {"keep"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["setup", "github", "--check", "--apply"], "exclude each other"),
        (["setup", "azure"], "isn't on Azure DevOps"),
        (["setup", "github", "--set", "TOKEN=x"], "no workflow of this project"),
        (["setup", "github", "--remote", "nowhere"], "no git remote"),
        (["setup", "github", "--pusher", "ann"], "names nobody"),
    ],
)
def test_words_that_cannot_work(on_github: Shell, arguments: list[str], said: str) -> None:
    code, _, err = on_github.run(*arguments)
    assert code == 2
    assert said in err


def test_azure_has_one_identity_for_all(on_azure: Shell) -> None:
    code, _, err = on_azure.run("setup", "azure", "--set", "production:AZURE_CLIENT_ID=x")
    assert code == 2
    assert "log in by gitops and gitops-read" in err


def test_a_remote_without_a_forge(on_github: Shell, github: OnGitHub) -> None:
    place = str(github.simulator.path)
    github.simulator.git("remote", "set-url", "origin", place, cwd=on_github.root)
    code, _, err = on_github.run("setup", "github")
    assert code == 2
    assert "no forge is known" in err


def test_without_a_token(on_github: Shell) -> None:
    on_github.patch.delenv("GITHUB_TOKEN")
    code, _, err = on_github.run("setup", "github")
    assert code == 4
    assert "GITHUB_TOKEN and GH_TOKEN are not set" in err


def test_the_doctor_asks_the_forge_only_when_told_to(on_github: Shell, github: OnGitHub) -> None:
    on_github.json("doctor")
    assert github.server.requests == []
    code, found = on_github.json("doctor", "--forge")
    assert code == 1
    wanting = {one["check"]: one for one in found["findings"] if "setup" in one["fix"]}
    assert len(wanting) == 10
    assert wanting["ruleset gitops: registry"]["detail"] == "isn't there"
    assert "allow_merge_commit: no -> yes" in wanting["repository"]["detail"]
    assert {one["fix"] for one in wanting.values()} == {"gitops setup github --apply"}
    assert github.wrote() == []

    on_github.run("setup", "github", "--apply")
    _, found = on_github.json("doctor", "--forge")
    (asked,) = [one for one in found["findings"] if one["check"] == "forge"]
    assert asked["state"] == "ok"
    assert "10 settings are as wanted" in asked["detail"]


def test_the_doctor_names_what_the_plan_does_not_have(on_github: Shell, github: OnGitHub) -> None:
    on_github.run("setup", "github", "--apply")
    github.settings.private, github.settings.plan = True, "free"
    _, found = on_github.json("doctor", "--forge")
    states = {one["check"]: one["state"] for one in found["findings"] if "gitops:" in one["check"]}
    assert set(states.values()) == {"warn"}
    assert len(states) == 5


def test_the_doctor_without_a_token(on_github: Shell) -> None:
    on_github.patch.delenv("GITHUB_TOKEN")
    code, found = on_github.json("doctor", "--forge")
    assert code == 1
    assert found["findings"][-1]["check"] == "forge"
    assert "GH_TOKEN" in found["findings"][-1]["fix"]
