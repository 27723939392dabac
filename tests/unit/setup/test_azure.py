"""`gitops setup azure` against an Azure DevOps that keeps what it is told."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from gitops.forge import address
from gitops.setup import azure as setup
from gitops.setup import run, wishes
from gitops.setup.model import Plan
from tests.forge_azure_settings import BUILD_SERVICE, PROJECT, REPOSITORY_ID, identifier
from tests.unit.setup.conftest import OnAzure, configured

FILES = (".azure-pipelines/deploy.yml", ".azure-pipelines/pull-request.yml")
VALUES = {name: f"the-{name}" for name in wishes.AZURE}
PEOPLE = ["ann@example.org", "@flights/leads"]
KINDS = {
    "build": "0609b952-1397-4640-95ec-e00a01b2c241",
    "count": "fa4e907d-c16b-4a4c-9dfa-4906e5d171dd",
    "required": "fd2167ab-b0be-447a-8ec8-39368250530e",
    "merges": "fa4e907d-c16b-4a4c-9dfa-4916e5d171ab",
}


def planned(
    azure: OnAzure,
    *,
    people: list[str] = PEOPLE,
    files: tuple[str, ...] = FILES,
    values: dict[str, str] = VALUES,
) -> Plan:
    environments: list[dict[str, object]] = [
        {"name": "dev", "branch": "main"},
        {"name": "staging", "branch": "release/staging"},
        {"name": "production", "branch": "release/production", "approvers": people},
    ]
    return setup.plan(azure.place, configured(environments=environments), files, values)


def applied(azure: OnAzure, **changes: Any) -> None:
    outcomes = run.apply(azure.place, planned(azure, **changes).steps, lambda text: None)
    assert {one.state for one in outcomes} <= {"done", "so already"}, outcomes


def policies(azure: OnAzure, kind: str) -> dict[str, dict[str, Any]]:
    """Those of a kind by the branch that they are for."""
    return {
        one["settings"]["scope"][0]["refName"].removeprefix("refs/heads/"): one
        for one in azure.settings.policies
        if one["type"]["id"] == KINDS[kind]
    }


def test_a_plan_reads_applying_makes_it_and_a_second_time_there_is_nothing_to_do(
    azure: OnAzure,
) -> None:
    plan = planned(azure)
    assert azure.wrote() == []
    assert {one.action for one in plan.steps} == {"create", "update"}, plan.steps
    outcomes = run.apply(azure.place, plan.steps, lambda text: None)
    assert {one.state for one in outcomes} == {"done"}, outcomes
    assert azure.wrote()
    again = planned(azure)
    assert {one.action for one in again.steps} == {"keep"}, again.due
    outcomes = run.apply(azure.place, again.steps, lambda text: None)
    assert {one.state for one in outcomes} == {"so already"}
    assert azure.wrote() == []


def test_what_is_there_afterwards(azure: OnAzure) -> None:
    applied(azure)
    found = azure.settings
    pipelines = {one["name"]: one for one in found.definitions}
    assert {name: one["process"]["yamlFilename"] for name, one in pipelines.items()} == {
        "deploy": "/.azure-pipelines/deploy.yml",
        "pull-request": "/.azure-pipelines/pull-request.yml",
    }
    assert {one["path"] for one in pipelines.values()} == {"\\flights"}

    assert set(policies(azure, "build")) == {"main", "release/staging", "release/production"}
    for one in policies(azure, "build").values():
        assert one["isEnabled"]
        assert one["isBlocking"]
        assert one["settings"]["buildDefinitionId"] == pipelines["pull-request"]["id"]
        assert one["settings"]["validDuration"] == 0
        assert one["settings"]["scope"][0]["repositoryId"] == REPOSITORY_ID
    assert set(policies(azure, "merges")) == {"release/staging", "release/production"}
    for one in policies(azure, "merges").values():
        merges = {key: one["settings"][key] for key in one["settings"] if key.startswith("allow")}
        assert [key for key, on in merges.items() if on] == ["allowNoFastForward"]
        assert len(merges) == 4
    assert policies(azure, "count")["release/production"]["settings"]["creatorVoteCounts"] is False
    asked = policies(azure, "required")["release/production"]
    ids = {identifier("ann@example.org"), identifier("flights/leads")}
    assert set(asked["settings"]["requiredReviewerIds"]) == ids
    assert asked["isBlocking"] is False  # else both would have to approve

    names = {str(one["id"]): one["name"] for one in found.environments}
    assert set(names.values()) == {"staging", "production"}
    checks = {(names[one["resource"]["id"]], one["type"]["name"]): one for one in found.checks}
    assert len(checks) == 5
    approval = checks["production", "Approval"]["settings"]
    assert {one["id"] for one in approval["approvers"]} == ids
    assert approval["requesterCannotBeApprover"]
    assert approval["minRequiredApprovers"] == 1
    control = checks["staging", "Task Check"]["settings"]["inputs"]
    assert control == {
        "allowedBranches": "refs/heads/release/staging",
        "ensureProtectionOfBranch": "true",
        "allowUnknownStatusBranch": "false",
    }

    place = f"repoV2/{PROJECT}/{REPOSITORY_ID}"
    # `gitops` and `records` in UTF-16, as the security service writes branches.
    branch = "6700690074006f0070007300/7200650063006f00720064007300"
    assert found.entries == {
        (place, BUILD_SERVICE): (4 + 16 + 32 + 16_384, 8),
        (f"{place}/refs/heads/{branch}", BUILD_SERVICE): (0, 8),
    }
    (connection,) = found.endpoints
    assert connection["authorization"]["scheme"] == "WorkloadIdentityFederation"


def test_the_subject_that_azure_has_to_trust_is_told_once_it_is_known(azure: OnAzure) -> None:
    assert any("--apply: the connection's issuer" in text for text in planned(azure).by_hand)
    applied(azure)
    (told,) = [text for text in planned(azure).by_hand if text.startswith("az ad app")]
    credential = json.loads(shlex.split(told)[-1])
    assert credential["subject"] == "sc://acme/gitops"
    assert credential["issuer"].startswith("https://vstoken.dev.azure.com/")


def test_a_single_approver_is_required(azure: OnAzure) -> None:
    applied(azure, people=["@flights/leads"])
    assert policies(azure, "required")["release/production"]["isBlocking"]


def test_settings_of_others_stay(azure: OnAzure) -> None:
    applied(azure)
    wide = {"repositoryId": None, "refName": "refs/heads/release/", "matchKind": "Prefix"}
    for kind in ("count", "build"):
        own = policies(azure, kind)["release/production"]
        settings = {**own["settings"], "scope": [wide], "displayName": "theirs"}
        azure.settings.policies.append({**own, "id": azure.settings.number(), "settings": settings})
    scope = {**wide, "refName": "refs/heads/main", "matchKind": "Exact"}
    second = {**policies(azure, "build")["main"], "id": azure.settings.number()}
    second["settings"] = {**second["settings"], "displayName": "their tests", "scope": [scope]}
    azure.settings.policies.append(second)
    policies(azure, "count")["release/production"]["settings"]["minimumApproverCount"] = 2
    approval = next(one for one in azure.settings.checks if one["type"]["name"] == "Approval")
    approval["settings"] |= {"minRequiredApprovers": 0, "instructions": "Look at the slices"}
    azure.settings.definitions[0]["path"] = "\\elsewhere"
    before = json.loads(json.dumps(azure.settings.policies))
    assert planned(azure).due == ()

    approval["settings"]["requesterCannotBeApprover"] = False
    assert [one.setting.title for one in planned(azure).due] == ["approval production"]
    applied(azure)
    assert approval["settings"]["requesterCannotBeApprover"]
    assert approval["settings"]["instructions"] == "Look at the slices"
    assert azure.settings.policies == before


def test_what_loosens_ours_is_taken_back(azure: OnAzure) -> None:
    applied(azure)
    merges = policies(azure, "merges")["release/staging"]
    merges["settings"]["allowSquash"] = True
    policies(azure, "build")["main"]["isBlocking"] = False
    token = f"repoV2/{PROJECT}/{REPOSITORY_ID}"
    azure.settings.entries[token, BUILD_SERVICE] = (4 + 8, 0)
    azure.settings.definitions[0]["process"]["yamlFilename"] = "/elsewhere.yml"
    assert {one.setting.title: {c.at for c in one.changes} for one in planned(azure).due} == {
        "pipeline deploy": {"file"},
        "build validation main": {"isBlocking"},
        "merge types release/staging": {"settings.allowSquash"},
        "permissions": {"Create branch", "Create tag", "Contribute to pull requests", "Force push"},
    }
    outcomes = run.apply(azure.place, planned(azure).steps, lambda text: None)
    failed = [one for one in outcomes if one.state == "failed"]
    # Of this name, and another file: it may well be somebody's.
    assert [one.step.setting.title for one in failed] == ["pipeline deploy"]
    assert "in the portal" in failed[0].fix
    assert merges["settings"]["allowSquash"] is False
    assert azure.settings.entries[token, BUILD_SERVICE] == (4 + 16 + 32 + 16_384, 8)


def test_approvers_that_azure_cannot_know_are_named(azure: OnAzure) -> None:
    people = ["@ann", "ann@example.org", "nobody@example.org", "@flights/nobody"]
    plan = planned(azure, people=people)
    told = [text.split(":")[0] for text in plan.by_hand if "knows no" in text]
    assert [text.removeprefix("Azure DevOps knows no ") for text in told] == [
        "@ann",
        "@flights/nobody",
        "nobody@example.org",
    ]
    (step,) = [one for one in plan.steps if one.setting.kind == "approval"]
    assert step.value["approvers"] == ["ann@example.org"]


def test_an_address_that_several_have_in_part_is_one_persons(azure: OnAzure) -> None:
    azure.settings.people = ("ann@example.org", "joann@example.org")
    applied(azure, people=["ann@example.org"])
    (approval,) = [one for one in azure.settings.checks if one["type"]["name"] == "Approval"]
    ids = [one["id"] for one in approval["settings"]["approvers"]]
    assert ids == [identifier("ann@example.org")]


def test_without_a_pull_request_pipeline_nothing_is_required_that_cannot_run(
    azure: OnAzure,
) -> None:
    plan = planned(azure, files=())
    assert not [one for one in plan.steps if one.setting.kind in ("pipeline", "build validation")]
    assert any("pull-request.yml: gitops sync" in text for text in plan.by_hand)


def test_a_build_service_that_is_not_there_yet(azure: OnAzure) -> None:
    azure.settings.service = False
    outcomes = run.apply(azure.place, planned(azure).steps, lambda text: None)
    failed = [one for one in outcomes if one.state == "failed"]
    assert {one.step.setting.kind for one in failed} == {"permissions"}
    assert "after the first run of a pipeline" in failed[0].fix
    azure.settings.service = True
    applied(azure)
    assert planned(azure).due == ()


def test_environments_are_told_apart_by_their_whole_name(azure: OnAzure) -> None:
    azure.settings.environments.append({"id": 1, "name": "production-eu"})
    azure.settings.environments.append({"id": 2, "name": "Staging"})
    applied(azure)
    names = [one["name"] for one in azure.settings.environments]
    assert names == ["production-eu", "Staging", "staging", "production"]


def test_a_connection_of_another_identity_is_changed(azure: OnAzure) -> None:
    applied(azure)
    applied(azure, values={**VALUES, "AZURE_CLIENT_ID": "other"})
    (connection,) = azure.settings.endpoints
    assert connection["authorization"]["parameters"]["serviceprincipalid"] == "other"


def test_without_an_identity_it_is_asked_for(azure: OnAzure) -> None:
    plan = planned(azure, values={"AZURE_CLIENT_ID": "one"})
    assert not [one for one in plan.steps if one.setting.kind == "service connection"]
    (told,) = [text for text in plan.by_hand if "--set" in text]
    assert told.count("--set") == 3
    assert "AZURE_READ_CLIENT_ID" in told


def test_pull_requests_log_in_as_who_only_reads(azure: OnAzure) -> None:
    applied(azure, values={**VALUES, "AZURE_READ_CLIENT_ID": "reader"})
    known = {
        one["name"]: one["authorization"]["parameters"]["serviceprincipalid"]
        for one in azure.settings.endpoints
    }
    assert known == {"gitops": VALUES["AZURE_CLIENT_ID"], "gitops-read": "reader"}
    told = [text for text in planned(azure).by_hand if text.startswith("az ad app")]
    assert ["AZURE_READ_CLIENT_ID" in text for text in told] == [False, True]


def test_the_pipelines_of_a_repository(tmp_path: Path) -> None:
    (tmp_path / ".azure-pipelines").mkdir()
    for name in ("b.yml", "a.yml", "notes.md"):
        (tmp_path / ".azure-pipelines" / name).touch()
    assert setup.files(tmp_path) == (".azure-pipelines/a.yml", ".azure-pipelines/b.yml")


@pytest.mark.parametrize(
    ("collection", "where"),
    [
        ("https://dev.azure.com/acme", "https://vssps.dev.azure.com/acme"),
        ("https://acme.visualstudio.com", "https://acme.vssps.visualstudio.com"),
        ("https://tfs.acme.org/tfs/Main", "https://tfs.acme.org/tfs/Main"),
        ("https://dev.azure.com.evil.org/acme", "https://dev.azure.com.evil.org/acme"),
    ],
)
def test_where_people_are_asked_for(collection: str, where: str) -> None:
    assert address.identities(collection) == where
