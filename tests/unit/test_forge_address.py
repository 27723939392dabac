"""Which remote is on which forge, and where that forge's API is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gitops import forge
from gitops.errors import ConfigError
from gitops.forge import address
from gitops.forge.address import OnAzure, OnGitHub

GITHUB = OnGitHub("https://api.github.com", "acme", "flights")
AZURE = OnAzure("https://dev.azure.com/acme", "My Project", "flights")


def github(url: str, env: Mapping[str, str] | None = None) -> OnGitHub | None:
    place = address.parse(url)
    return address.on_github(place, env or {}) if place else None


def azure(url: str, env: Mapping[str, str] | None = None) -> OnAzure | None:
    place = address.parse(url)
    return address.on_azure(place, env or {}) if place else None


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/flights",
        "https://github.com/acme/flights.git",
        "https://GitHub.com/acme/flights/",
        "https://x-access-token:secret@github.com/acme/flights.git",
        "git@github.com:acme/flights.git",
        "github.com:acme/flights",
        "ssh://git@github.com/acme/flights.git",
        "ssh://git@ssh.github.com:443/acme/flights.git",
    ],
)
def test_every_spelling_of_github(url: str) -> None:
    assert github(url) == GITHUB
    assert azure(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://dev.azure.com/acme/My%20Project/_git/flights",
        "https://acme@dev.azure.com/acme/My%20Project/_git/flights",
        "https://dev.azure.com/acme/My%20Project/_git/_optimized/flights",
        "git@ssh.dev.azure.com:v3/acme/My%20Project/flights",
        "ssh://git@ssh.dev.azure.com/v3/acme/My%20Project/flights",
        "ssh://git@ssh.dev.azure.com:22/v3/acme/My%20Project/flights",
        "https://acme.visualstudio.com/My%20Project/_git/flights",
        "https://acme.visualstudio.com/DefaultCollection/My%20Project/_git/flights",
        "acme@vs-ssh.visualstudio.com:v3/acme/My%20Project/flights",
        "ssh://acme@acme.vs-ssh.visualstudio.com:22/My%20Project/_ssh/flights",
        "ssh://acme@acme.vs-ssh.visualstudio.com:22/DefaultCollection/My%20Project/_ssh/flights",
    ],
)
def test_every_spelling_of_azure(url: str) -> None:
    assert azure(url) == AZURE
    assert github(url) is None


def test_a_project_of_one_repository_needs_no_name() -> None:
    same = OnAzure("https://dev.azure.com/acme", "flights", "flights")
    assert azure("https://dev.azure.com/acme/_git/flights") == same
    assert azure("https://acme.visualstudio.com/_git/flights") == same


@pytest.mark.parametrize(
    "url",
    [
        "/srv/git/flights.git",
        "../flights.git",
        "file:///srv/git/flights.git",
        "C:\\git\\flights",
        "C:/git/flights",
        "https://gitlab.com/acme/flights.git",
        "git@git.example.org:acme/flights.git",
        "https://github.com.evil.example/acme/flights",
        "https://github.evil.example/acme/flights",
        "https://evilgithub.com/acme/flights",
        "https://dev.azure.com.evil.example/acme/p/_git/flights",
        "https://evilvisualstudio.com/p/_git/flights",
        "https://github.com/acme",
        "https://github.com/acme/flights/issues",
        "https://github.com/acme/..",
        "https://github.com/acme/%2E%2E",
        "https://github.com/acme/a%2Fb",
        "https://dev.azure.com/acme/p/_git/a/b",
        "https://dev.azure.com/acme/p/flights",
        "https://[::1/acme/flights",
        "https://github.com:port/acme/flights",
        "",
    ],
)
def test_paths_other_hosts_and_nonsense_have_no_forge(url: str) -> None:
    assert forge.of(url, {"GITHUB_TOKEN": "secret", "SYSTEM_ACCESSTOKEN": "secret"}) is None


def test_an_enterprise_server_is_one_that_the_environment_names() -> None:
    url = "git@git.corp.example:acme/flights.git"
    api = "https://git.corp.example/api/v3"
    assert github(url) is None
    assert github(url, {"GH_HOST": "git.corp.example"}) == OnGitHub(api, "acme", "flights")
    server = {"GITHUB_SERVER_URL": "https://git.corp.example"}
    assert github(url, server) == OnGitHub(api, "acme", "flights")
    told = {**server, "GITHUB_API_URL": "https://api.corp.example/v3/"}
    assert github(url, told) == OnGitHub("https://api.corp.example/v3", "acme", "flights")
    cloud = github("https://acme.ghe.com/acme/flights")
    assert cloud == OnGitHub("https://api.acme.ghe.com", "acme", "flights")


def test_the_api_address_counts_for_its_own_server_only() -> None:
    env = {"GITHUB_SERVER_URL": "https://git.corp.example", "GITHUB_API_URL": "https://api.corp"}
    assert github("https://github.com/acme/flights", env) == GITHUB
    alone = {"GITHUB_API_URL": "https://proxy.example/api"}
    found = github("https://github.com/acme/flights", alone)
    assert found == OnGitHub("https://proxy.example/api", "acme", "flights")


def test_an_azure_server_is_one_that_the_pipeline_names() -> None:
    url = "https://tfs.corp.example/tfs/Main/Late%20Flights/_git/flights"
    env = {"SYSTEM_COLLECTIONURI": "https://tfs.corp.example/tfs/Main/"}
    place = OnAzure("https://tfs.corp.example/tfs/Main", "Late Flights", "flights")
    assert azure(url) is None
    assert azure(url, env) == place
    older = {"SYSTEM_COLLECTIONURI": "https://acme.visualstudio.com/"}
    found = azure("git@ssh.dev.azure.com:v3/acme/p/flights", older)
    assert found == OnAzure("https://acme.visualstudio.com", "p", "flights")
    other = azure("git@ssh.dev.azure.com:v3/other/p/flights", older)
    assert other == OnAzure("https://dev.azure.com/other", "p", "flights")


@pytest.mark.parametrize(
    ("url", "env"),
    [
        ("https://github.com/acme/flights", {"GITHUB_API_URL": "http://api.example"}),
        ("https://dev.azure.com/acme/_git/f", {"SYSTEM_COLLECTIONURI": "http://ci.example/acme"}),
    ],
)
def test_a_token_never_travels_in_the_clear(url: str, env: Mapping[str, str]) -> None:
    with pytest.raises(ConfigError, match="not encrypted"):
        forge.of(url, env)
