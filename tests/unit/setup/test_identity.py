"""What workflows on GitHub log in to a cloud with: variables, and the subjects to trust."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from gitops.errors import UsageError
from gitops.forge import github_settings
from gitops.setup import github as setup
from gitops.setup import wishes
from tests.unit.setup.conftest import OnGitHub, configured
from tests.unit.setup.test_github import applied, planned


def test_variables(github: OnGitHub) -> None:
    values = {"AZURE_CLIENT_ID": "one", "AZURE_TENANT_ID": "two"}
    applied(github, values=values)
    applied(github, values={**values, "AZURE_CLIENT_ID": "three"})
    assert github.settings.variables == {"AZURE_CLIENT_ID": "three", "AZURE_TENANT_ID": "two"}
    (told,) = [text for text in planned(github).by_hand if "log in as: gitops" in text]
    assert told.count("--set") == 2
    assert "AZURE_SUBSCRIPTION_ID" in told
    assert "AZURE_READ_CLIENT_ID" in told


def test_only_variables_that_a_workflow_reads_and_no_secret() -> None:
    texts = ["AZURE_CLIENT_ID=a=b", "production:AZURE_CLIENT_ID=c"]
    found = wishes.given(configured(), texts)
    assert found == {"AZURE_CLIENT_ID": "a=b", "production/AZURE_CLIENT_ID": "c"}
    for wrong in ("AZURE_CLIENT_SECRET=x", "AZURE_CLIENT_ID", "AZURE_CLIENT_ID=", "=x"):
        with pytest.raises(UsageError, match="no workflow"):
            wishes.given(configured(), [wrong])
    for wrong in ("dev:AZURE_CLIENT_ID=x", ":AZURE_CLIENT_ID=x", "qa:AZURE_CLIENT_ID=x"):
        with pytest.raises(UsageError, match="no variables of their own"):
            wishes.given(configured(), [wrong])
    with pytest.raises(UsageError, match="none is needed"):
        wishes.given(configured(storage={"remote": "../storage"}), ["AZURE_CLIENT_ID=x"])


@pytest.mark.parametrize(
    ("storage", "names"),
    [
        (
            {"remote": "azure://data/x", "account": "flightsml"},
            (*wishes.AZURE, wishes.AZURE_READER),
        ),
        ({"remote": "azure://data/x"}, (*wishes.AZURE, wishes.AZURE_READER, wishes.ACCOUNT)),
        ({"remote": "s3://bucket/x"}, wishes.AWS),
        ({"remote": "s3://bucket/x", "endpoint": "https://s3.example.org"}, ()),
        ({"remote": "../storage"}, ()),
    ],
)
def test_which_variables_the_workflows_read(
    storage: dict[str, str], names: tuple[str, ...]
) -> None:
    assert wishes.variables(configured(storage=storage)) == names
    serving = {"late": {"task": "binary", "deploy": {"target": "azureml"}}}
    place = {"name": "flights", "resource_group": "flights"}
    spaces = {one.name: place for one in configured().environments[1:]}
    targets = {"azureml": {"workspaces": spaces}}
    found = wishes.variables(configured(storage=storage, models=serving, targets=targets))
    assert set(found) == {*wishes.AZURE, *names}


def test_an_environment_has_variables_of_its_own(github: OnGitHub) -> None:
    applied(github, values={"production/AZURE_CLIENT_ID": "one"})
    applied(github, values={"production/AZURE_CLIENT_ID": "two", "AZURE_CLIENT_ID": "three"})
    found = {"production/AZURE_CLIENT_ID": "two", "AZURE_CLIENT_ID": "three"}
    assert github.settings.variables == found
    assert planned(github, values=found).due == ()


def credentials(github: OnGitHub) -> dict[str, dict[str, Any]]:
    found = {}
    for text in planned(github).by_hand:
        if text.startswith("az ad app federated-credential create"):
            one = json.loads(shlex.split(text)[-1])
            found[one["name"]] = one
    return found


def test_the_subjects_that_azure_has_to_trust(github: OnGitHub) -> None:
    found = credentials(github)
    assert {name: one["subject"] for name, one in found.items()} == {
        "flights-pull-request": "repo:acme/flights:pull_request",
        "flights-dev": "repo:acme/flights:ref:refs/heads/main",
        "flights-staging": "repo:acme/flights:ref:refs/heads/release/staging",
        "flights-production": "repo:acme/flights:ref:refs/heads/release/production",
        "flights-staging-deploy": "repo:acme/flights:environment:staging",
        "flights-production-deploy": "repo:acme/flights:environment:production",
    }
    assert {one["audiences"][0] for one in found.values()} == {"api://AzureADTokenExchange"}
    readers = [text for text in planned(github).by_hand if '"$AZURE_READ_CLIENT_ID"' in text]
    assert [json.loads(shlex.split(text)[-1])["name"] for text in readers] == [
        "flights-pull-request"
    ]
    issuer = f"{github.server.root}/_services/token"  # as on a server of one's own
    assert {one["issuer"] for one in found.values()} == {issuer}


def test_a_branch_of_any_name_is_one_word_of_the_command() -> None:
    text = wishes.credential("x", "https://issuer", "repo:a/b:ref:refs/heads/it's-$(a)-branch")
    assert json.loads(shlex.split(text)[-1])["subject"].endswith("it's-$(a)-branch")


@pytest.mark.parametrize(
    "subject",
    [
        {"use_default": True, "use_immutable_subject": True},
        {"use_default": True, "sub_claim_prefix": "repo:acme@123/flights@456"},
    ],
)
def test_subjects_that_outlive_a_name(github: OnGitHub, subject: dict[str, Any]) -> None:
    github.settings.subject = subject
    found = credentials(github)["flights-production-deploy"]["subject"]
    assert found == "repo:acme@123/flights@456:environment:production"


def test_subjects_of_other_claims_are_not_guessed(github: OnGitHub) -> None:
    github.settings.subject = {"use_default": False, "include_claim_keys": ["repo", "context"]}
    assert any("made of repo, context" in text for text in planned(github).by_hand)


@pytest.mark.parametrize(
    ("api", "issuer"),
    [
        ("https://api.github.com", "https://token.actions.githubusercontent.com"),
        ("https://api.acme.ghe.com", "https://token.actions.acme.ghe.com"),
        ("https://git.acme.org/api/v3", "https://git.acme.org/_services/token"),
    ],
)
def test_issuers(api: str, issuer: str) -> None:
    assert github_settings.issuer(api) == issuer


def test_nothing_to_trust_without_a_cloud(github: OnGitHub) -> None:
    config = configured(storage={"remote": "../storage"})
    texts = setup.plan(github.place, config, {}, ()).by_hand
    assert not [text for text in texts if "trust" in text or "federated" in text or "--set" in text]
    config = configured(storage={"remote": "s3://bucket/path"})
    texts = setup.plan(github.place, config, {}, ()).by_hand
    assert any("trust" in text and "environment:production" in text for text in texts)
