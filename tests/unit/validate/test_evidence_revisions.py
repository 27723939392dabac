"""What is judged against what, on a laptop and in CI."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gitops import basis
from gitops.errors import EvidenceError, UsageError
from gitops.validate.evidence import revisions
from tests.unit.validate.gate_repo import GateRepo

MONOREPO = """\
version: 1
project: demo
models:
  one: {path: models/one, task: binary}
  two: {path: models/two, task: binary}
"""


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_BASE_REF", "SYSTEM_PULLREQUEST_TARGETBRANCH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def repo(tmp_path: Path) -> GateRepo:
    return GateRepo(tmp_path / "repo").start()


def clone(repo: GateRepo, *options: str) -> GateRepo:
    target = repo.root.with_name("clone")
    url = f"file://{repo.root}"
    subprocess.run(["git", "clone", "-q", *options, url, str(target)], check=True)
    return GateRepo(target)


def test_the_tip_of_the_environments_branch(repo: GateRepo) -> None:
    main = repo.git("rev-parse", "HEAD")
    repo.git("switch", "-qc", "feature")
    repo.commit("Feature")
    assert basis.of(repo.root, None, "dev") == main
    repo.git("branch", "release/staging", "main")
    assert basis.of(repo.root, None, "staging") == main
    with pytest.raises(EvidenceError, match="release/production is not in this clone") as caught:
        basis.of(repo.root, None, "production")
    assert "+refs/heads/release/production:refs/remotes/origin/" in caught.value.fix


def test_main_itself_is_judged_against_what_was_before(repo: GateRepo) -> None:
    first = repo.git("rev-parse", "HEAD")
    with pytest.raises(UsageError, match="is the first commit"):
        basis.of(repo.root, None, None)
    repo.commit("Second")
    assert basis.of(repo.root, None, None) == first
    assert basis.of(repo.root, "HEAD", None) == repo.git("rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GITHUB_BASE_REF", "release/staging"),
        ("SYSTEM_PULLREQUEST_TARGETBRANCH", "refs/heads/release/staging"),
    ],
)
def test_the_pull_requests_target_in_ci(
    repo: GateRepo, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    repo.git("switch", "-qc", "release/staging")
    staging = repo.commit("Staging")
    repo.git("switch", "-q", "main")
    repo.commit("Main")
    monkeypatch.setenv(variable, value)
    found = revisions.target(repo.root, base=None, environment=None)
    assert found.base.commit == staging
    assert found.environment.name == "staging"
    assert found.release


def test_the_remotes_branch_counts_before_a_local_one(repo: GateRepo) -> None:
    copy = clone(repo)
    tip = copy.git("rev-parse", "HEAD")
    copy.commit("Local only")
    copy.git("switch", "-qc", "feature")
    copy.commit("Feature")
    assert basis.of(copy.root, None, None) == tip
    assert basis.of(copy.root, "main", None) != tip
    repo.git("branch", "release/staging")
    copy.git("fetch", "-q")
    assert basis.of(copy.root, "release/staging", None) == tip


def test_a_shallow_clone_says_how_to_get_the_rest(
    repo: GateRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit("Second")
    repo.git("branch", "release/staging")
    copy = clone(repo, "--depth", "1")
    with pytest.raises(EvidenceError, match="clone is shallow") as caught:
        basis.of(copy.root, None, None)
    assert "fetch-depth: 0" in caught.value.fix
    monkeypatch.setenv("GITHUB_BASE_REF", "release/staging")
    with pytest.raises(EvidenceError, match="is not in this clone") as caught:
        basis.of(copy.root, None, None)
    assert "fetch-depth: 0" in caught.value.fix


def test_no_such_revision(repo: GateRepo) -> None:
    for name in ("nope", "-x", "main..HEAD"):
        with pytest.raises(UsageError, match="there's no revision"):
            basis.of(repo.root, name, None)


def test_a_pull_request_cannot_choose_its_environments_policy(repo: GateRepo) -> None:
    repo.git("switch", "-qc", "feature")
    repo.settings(more="environments: [{name: dev, branch: main, policy: strict}]\n")
    repo.commit("Mine")
    found = revisions.target(repo.root, base=None, environment="dev")
    assert found.environment.policy == "baseline"
    assert found.proposed.environments[0].policy == "strict"


def test_a_pull_request_cannot_choose_what_it_is_judged_against(
    repo: GateRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = repo.git("rev-parse", "HEAD")
    repo.git("switch", "-qc", "mine")
    repo.commit("As bad as the candidate")
    repo.git("switch", "-qc", "feature")
    repo.settings(more="environments: [{name: dev, branch: mine}]\n")
    repo.commit("Candidate")
    with pytest.raises(EvidenceError, match="is the branch mine, but the one there says main"):
        revisions.target(repo.root, base=None, environment=None)
    assert revisions.target(repo.root, base="main", environment=None).base.commit == main
    monkeypatch.setenv("GITHUB_BASE_REF", "main")
    assert revisions.target(repo.root, base=None, environment=None).base.commit == main
