"""git in CI: the run's own token, only for the server that the platform names; and a name."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops import git
from gitops.errors import ToolError
from gitops.git import ci, remote
from gitops.git.remote import Update
from tests.forge_server import Server, serve
from tests.forge_simulator import Simulator

ON_GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_TOKEN": "t",
    "GITHUB_SERVER_URL": "https://github.com",
}
NAMED = ("-c", "user.name=T", "-c", "user.email=t@example.org")
ON_AZURE = {
    "TF_BUILD": "True",
    "SYSTEM_ACCESSTOKEN": "t",
    "SYSTEM_COLLECTIONURI": "https://dev.azure.com/acme/",
}


@pytest.mark.parametrize(
    ("env", "key", "header"),
    [
        (
            ON_GITHUB,
            "http.https://github.com/.extraheader",
            f"AUTHORIZATION: basic {base64.b64encode(b'x-access-token:t').decode()}",
        ),
        (ON_AZURE, "http.https://dev.azure.com/.extraheader", "AUTHORIZATION: bearer t"),
    ],
)
def test_the_token_is_for_the_platforms_own_server(
    env: dict[str, str], key: str, header: str
) -> None:
    found = ci.credentials(env)
    assert found == {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": key,
        "GIT_CONFIG_VALUE_0": "",
        "GIT_CONFIG_KEY_1": key,
        "GIT_CONFIG_VALUE_1": header,
    }
    more = ci.credentials({**env, "GIT_CONFIG_COUNT": "1"})
    assert (more["GIT_CONFIG_COUNT"], more["GIT_CONFIG_VALUE_2"]) == ("3", header)


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"GITHUB_TOKEN": "t", "GITHUB_SERVER_URL": "https://github.com"},  # a laptop
        {**ON_GITHUB, "GITHUB_TOKEN": ""},
        {**ON_GITHUB, "GITHUB_SERVER_URL": "http://github.example.org"},  # everybody could read it
        {**ON_GITHUB, "GITHUB_SERVER_URL": ""},
        {**ON_AZURE, "SYSTEM_ACCESSTOKEN": ""},
    ],
)
def test_otherwise_git_gets_no_token(env: dict[str, str]) -> None:
    assert ci.credentials(env) == {}


def test_whose_commits_these_are() -> None:
    actor = {**ON_GITHUB, "GITHUB_ACTOR": "lea", "GITHUB_ACTOR_ID": "7"}
    found = ci.identity(actor)
    assert found["GIT_AUTHOR_NAME"] == found["GIT_COMMITTER_NAME"] == "lea"
    assert found["GIT_COMMITTER_EMAIL"] == "7+lea@users.noreply.github.com"
    person = {"BUILD_REQUESTEDFOR": "Lea", "BUILD_REQUESTEDFOREMAIL": "lea@example.org"}
    assert ci.identity({**ON_AZURE, **person})["GIT_AUTHOR_EMAIL"] == "lea@example.org"
    assert ci.identity({**actor, "GIT_AUTHOR_NAME": "Set"}) == {}
    assert ci.identity({}) == {}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(Simulator(tmp_path / "forge")) as found:
        yield found


@pytest.mark.parametrize("platform", ["github", "azure"])
def test_a_push_from_a_checkout_without_credentials(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    root = tmp_path / "work"
    url = server.github_url if platform == "github" else server.azure_url
    for words in (
        ["init", "-q", "-b", "main", str(root)],
        ["-C", str(root), "remote", "add", "origin", url],
        ["-C", str(root), *NAMED, "commit", "-q", "--allow-empty", "-m", "Start"],
    ):
        subprocess.run(["git", *words], check=True)
    head = git.head(root).commit
    move = [Update("refs/heads/main", None, head)]
    with pytest.raises(ToolError, match="refused"):
        remote.push(root, remote.peek(root, "origin"), move)
    env = server.github_env if platform == "github" else server.azure_env
    mark = "GITHUB_ACTIONS" if platform == "github" else "TF_BUILD"
    for name, value in {**env, mark: "true"}.items():
        monkeypatch.setenv(name, value)
    remote.push(root, remote.peek(root, "origin"), move)
    assert server.simulator.tip("main") == head
    secret = env.get("GITHUB_TOKEN") or env["SYSTEM_ACCESSTOKEN"]
    assert secret not in (root / ".git" / "config").read_text()
    # A push with GitHub's own token starts nothing; one of Azure's does.
    assert [run.ref for run in server.simulator.runs] == ["refs/heads/main"][platform == "github" :]
