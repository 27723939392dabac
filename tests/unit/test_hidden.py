"""What lets in somewhere isn't repeated, in whatever form it comes."""

from __future__ import annotations

import base64

import pytest

from gitops import hidden

VALUE = "Ab/9+c=d e&f"


@pytest.mark.parametrize(
    "name",
    [
        *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_CONNECTION_STRING"),
        *("AZURE_STORAGE_KEY", "GITHUB_TOKEN", "SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT"),
        *("DATABRICKS_TOKEN", "PGPASSWORD", "ARM_CLIENT_SECRET", "MY_PWD"),
    ],
)
def test_secrets_of_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, VALUE)
    basic = base64.b64encode(f"x-access-token:{VALUE}".encode()).decode()
    for form in (VALUE, "Ab/9%2Bc%3Dd%20e%26f", "Ab%2F9%2Bc%3Dd%20e%26f", basic):
        assert hidden.masked(f"it said <{form}>, twice <{form}>") == "it said <***>, twice <***>"


def test_what_is_no_secret_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("SHORT_TOKEN", "main")
    text = "main of eu-central-1, ssh://git@host/x, https://host:80/x, a@b.c; USER:PASSWORD@"
    assert hidden.masked(text) == text
    hint = "export X='postgresql://USER:PASSWORD@HOST/DATABASE'"
    assert hidden.masked(hint) == hint


def test_the_password_of_a_url_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP", "postgresql://ada:hunter%40two@db/shop")
    assert hidden.masked("no: hunter@two, hunter%40two") == "no: ***, ***"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("at https://ada:hunter2@host/x.git", "at https://host/x.git"),
        ("at https://ghp_16characters@host/x", "at https://host/x"),
        ("?sv=1&sig=a%2Fb&x=1", "?sv=1&sig=***&x=1"),
        ("AccountName=a;AccountKey=b==;x", "AccountName=a;AccountKey=***;x"),
        ("HostName=a;SharedAccessKey=b", "HostName=a;SharedAccessKey=***"),
    ],
)
def test_credentials_by_their_place(said: str, shown: str) -> None:
    assert hidden.masked(said) == shown
