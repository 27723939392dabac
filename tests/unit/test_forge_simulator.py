"""The simulated forge does what it says: each rule fires, and each broken contract is noticed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import forge_github
from tests.forge_contract import Reply
from tests.forge_server import Server, serve
from tests.forge_simulator import ROBOT, Run, Simulator
from tests.unit.test_forge import BASE, HEAD, seed

_ENV = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "NO_PROXY": "127.0.0.1",
    **{f"GIT_{role}_NAME": "Ann" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "ann@acme.org" for role in ("AUTHOR", "COMMITTER")},
}


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    return seed(tmp_path)


@pytest.fixture
def server(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(simulator) as found:
        yield found


def git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["git", *arguments], cwd=folder, env=_ENV, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done


def work(tmp_path: Path, url: str) -> Path:
    """A clone with a commit that nobody else has."""
    folder = tmp_path / "work"
    git(tmp_path, "clone", "--quiet", url, str(folder))
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "ours")
    return folder


def test_a_protected_branch_refuses_that_ref(simulator: Simulator, tmp_path: Path) -> None:
    folder = work(tmp_path, str(simulator.path))
    simulator.rules(protected=("main",))
    before = simulator.tip("main")
    done = git(folder, "push", "origin", "HEAD:main", "HEAD:other", check=False)
    assert done.returncode == 1
    assert (
        "remote: error: GH006: Protected branch update failed for refs/heads/main." in done.stderr
    )
    assert simulator.tip("main") == before
    assert simulator.tip("other")
    done = git(folder, "push", "--atomic", "origin", "HEAD:main", "HEAD:third", check=False)
    assert done.returncode == 1
    assert simulator.tip("third") is None
    simulator.rules()
    git(folder, "push", "origin", "HEAD:main")
    assert simulator.tip("main") != before


def test_a_ruleset_refuses_the_whole_push(simulator: Simulator, tmp_path: Path) -> None:
    folder = work(tmp_path, str(simulator.path))
    simulator.rules(ruled=("main",))
    done = git(folder, "push", "origin", "HEAD:main", "HEAD:other", check=False)
    assert done.returncode == 1
    assert "GH013: Repository rule violations found for refs/heads/main." in done.stderr
    assert simulator.tip("other") is None
    git(folder, "push", "origin", "HEAD:other")


def test_a_hook_declines_one_ref_of_a_push(simulator: Simulator, tmp_path: Path) -> None:
    folder = work(tmp_path, str(simulator.path))
    simulator.rules(refused=("refs/tags/v1",))
    git(folder, "tag", "v1")
    done = git(folder, "push", "origin", "HEAD:main", "v1", check=False)
    assert "hook refuses refs/tags/v1" in done.stderr
    assert simulator.tip("main") == git(folder, "rev-parse", "HEAD").stdout.strip()
    assert simulator.git("tag") == ""


@pytest.mark.parametrize("at", ["pre-receive", "post-receive"])
def test_a_held_push_waits_before_or_after_the_change(
    simulator: Simulator, tmp_path: Path, at: str
) -> None:
    folder = work(tmp_path, str(simulator.path))
    before, ours = simulator.tip("main"), git(folder, "rev-parse", "HEAD").stdout.strip()
    push = ["git", "push", "--quiet", "origin", "HEAD:main"]
    with simulator.held("pre-receive" if at == "pre-receive" else "post-receive") as held:
        process = subprocess.Popen(push, cwd=folder, env=_ENV)
        held.wait()
        assert process.poll() is None
        assert simulator.tip("main") == (before if at == "pre-receive" else ours)
    assert process.wait(60) == 0
    assert simulator.tip("main") == ours
    git(folder, "push", "--quiet", "origin", "HEAD:other")  # and nothing is held any more


def test_merges_as_forges_make_them(simulator: Simulator) -> None:
    say = simulator.git
    head, base = simulator.tip(HEAD), simulator.tip(BASE)
    say("branch", "squashed", "main")
    say("branch", "rebased", "main")
    merged = simulator.merge(HEAD, BASE, "merge")
    assert say("rev-list", "--parents", "-1", merged).split()[1:] == [base, head]
    squashed = simulator.merge(HEAD, "squashed", "squash")
    assert say("rev-list", "--parents", "-1", squashed).split()[1:] == [base]
    rebased = simulator.merge(HEAD, "rebased", "rebase")
    assert say("rev-list", "--count", f"main..{rebased}") == "1"
    assert rebased != head
    for branch, commit in ((BASE, merged), ("squashed", squashed), ("rebased", rebased)):
        assert simulator.tip(branch) == commit
        assert say("rev-parse", f"{commit}^{{tree}}") == say("rev-parse", f"{head}^{{tree}}")
    assert say("worktree", "list").count("\n") == 0


def test_a_merge_passes_the_rules_and_closes_its_pull_request(simulator: Simulator) -> None:
    simulator.rules(protected=(BASE,), ruled=(BASE,))
    simulator.open(HEAD, BASE, "ours", "")
    simulator.open(HEAD, "main", "another", "")
    simulator.merge(HEAD, BASE, "merge")
    assert [one.state for one in simulator.pulls] == ["merged", "open"]


def test_the_clock_is_its_own(simulator: Simulator) -> None:
    assert simulator.now() < simulator.now()
    assert simulator.now().startswith("2031-")


@pytest.mark.parametrize("platform", ["github", "azure"])
def test_git_over_http_obeys_the_same_rules(
    server: Server, simulator: Simulator, tmp_path: Path, platform: str
) -> None:
    url = server.github_url if platform == "github" else server.azure_url
    folder = work(tmp_path, server.login(url, "ann"))
    done = git(folder, "push", url, "HEAD:other", check=False)
    assert done.returncode == 128
    assert "could not read Username" in done.stderr
    (folder / "large").write_bytes(os.urandom(3_000_000))  # more than git sends in one piece
    git(folder, "add", "large")
    git(folder, "commit", "--quiet", "-m", "large")
    git(folder, "push", "--quiet", "origin", "HEAD:other")
    assert simulator.tip("other") == git(folder, "rev-parse", "HEAD").stdout.strip()
    simulator.rules(protected=("main",))
    done = git(folder, "push", "origin", "HEAD:main", check=False)
    assert "GH006" in done.stderr


def test_a_push_with_the_forges_own_token_starts_nothing(
    server: Server, simulator: Simulator, tmp_path: Path
) -> None:
    folder = work(tmp_path, server.login(server.github_url, ROBOT))
    git(folder, "push", "--quiet", "origin", "HEAD:one")
    assert list(simulator.runs) == []
    ann = server.login(server.github_url, "ann")
    git(folder, "push", "--quiet", ann, "HEAD:two")
    assert list(simulator.runs) == [Run("push", "refs/heads/two")]
    simulator.rules(starting=False)
    git(folder, "push", "--quiet", ann, "HEAD:three")
    assert len(simulator.runs) == 1


_HEADERS = {
    "Accept": "application/vnd.github+json",
    "X-GitHub-Api-Version": "2022-11-28",
    "Authorization": "Bearer x",
}
_PULLS = "/api/v3/repos/acme/flights/pulls"
_AZURE = "/azure/acme/flights/_apis"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "problem"),
    [
        ("GET", f"{_PULLS}?state=opened", None, {}, "is not one of ['open', 'closed', 'all']"),
        ("GET", f"{_PULLS}?per_page=all", None, {}, "is not of type 'integer'"),
        ("GET", f"{_PULLS}?targetRefName=x", None, {}, "targetRefName is no parameter"),
        ("GET", f"{_PULLS}?state=open", None, {"Authorization": "token x"}, "header authorization"),
        (
            "GET",
            _PULLS,
            None,
            {"X-GitHub-Api-Version": "2000-01-01"},
            "header x-github-api-version",
        ),
        ("GET", _PULLS, {"state": "open"}, {}, "a body is sent"),
        ("GET", "/api/v3/repos/acme/flights/branches", None, {}, "no such operation"),
        ("POST", _PULLS, {"head": "x"}, {}, "'base' is a required property"),
        ("POST", _PULLS, {"head": "x", "base": "y", "name": "z"}, {}, "name is unknown"),
        ("POST", _PULLS, None, {}, "None is not of type 'object'"),
        ("PATCH", f"{_PULLS}/1", {"title": 1}, {}, "1 is not of type 'string'"),
        ("PATCH", f"{_PULLS}/one", {}, {}, "'one' is not of type 'integer'"),
        ("GET", f"{_AZURE}/pipelines", None, {}, "api-version is missing"),
        ("GET", f"{_AZURE}/pipelines?api-version=5.0", None, {}, "is not one of ['7.1']"),
        (
            "POST",
            f"{_AZURE}/pipelines/8/runs?api-version=7.1",
            {"inputs": {}},
            {},
            "'inputs' was unexpected",
        ),
        (
            "POST",
            f"{_AZURE}/git/repositories/flights/pullrequests?api-version=7.1",
            {"sourceRefName": "x", "targetRefName": "refs/heads/y", "title": "z"},
            {},
            "does not match",
        ),
    ],
)
def test_a_request_that_breaks_the_contract_is_noticed(
    server: Server,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    headers: dict[str, str],
    problem: str,
) -> None:
    url, sent = f"{server.root}{path}", {**_HEADERS, **headers}
    answer = requests.request(method, url, json=body, headers=sent, timeout=30)
    assert answer.status_code == 422
    assert problem in "\n".join(server.problems)
    server.problems.clear()


def test_a_broken_contract_fails_the_test(simulator: Simulator) -> None:
    with pytest.raises(AssertionError, match="no such operation"), serve(simulator) as server:
        requests.get(f"{server.root}/api/v3/user", headers=_HEADERS, timeout=30)


def test_an_answer_of_the_simulator_that_breaks_the_contract_is_noticed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests import forge_server

    def answer(*_: object) -> Reply:
        return Reply(200, [{"number": "one"}])

    monkeypatch.setitem(forge_server._FRONTS, "github", answer)
    requests.get(f"{server.root}{_PULLS}", headers=_HEADERS, timeout=30)
    assert any("'one' is not of type 'integer'" in one for one in server.problems)
    assert any("'html_url' is a required property" in one for one in server.problems)
    server.problems.clear()
    monkeypatch.setitem(forge_server._FRONTS, "github", forge_github.answer)
