"""What the rulesets that we make let through: real pushes to a GitHub that enforces them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitops import config, forge
from gitops.cli.hands import hands
from gitops.errors import ToolError
from gitops.forge.github import GitHub
from gitops.forge.github_settings import GitHubSettings
from gitops.promote import request, tags
from gitops.setup import github as setup
from gitops.setup import run
from gitops.version import Version
from tests.forge_server import Server, serve
from tests.forge_simulator import Simulator
from tests.unit.promote.line import Line
from tests.unit.setup.conftest import OnGitHub, configured
from tests.unit.validate.gate_repo import Made


def protect(place: GitHubSettings, simulator: Simulator, declared: config.Config) -> None:
    outcomes = run.apply(place, setup.plan(place, declared, {}, ()).steps, lambda text: None)
    assert {one.state for one in outcomes} == {"done"}
    simulator.enforce()


@dataclass(frozen=True)
class Pusher:
    """A clone of a protected repository that has every sort of ref."""

    root: Path

    def push(self, *words: str) -> bool:
        """Whether a push goes through; one that doesn't is refused by a rule."""
        command = ["git", "push", "--quiet", "origin", *words]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True)
        assert done.returncode == 0 or "GH013" in done.stderr, done.stderr
        return done.returncode == 0


NAMES = {
    "version": tags.version_tag("late", Version.parse("v1.2.0")),
    "stage": tags.stage_tag("late", "production", 7),
    "hold": "hold/production/1",
    "approval": "approval/production/12",
}
BRANCHES = ("main", "release/staging", "release/production")


@pytest.fixture
def pusher(github: OnGitHub, tmp_path: Path) -> Pusher:
    git, root = github.simulator.git, tmp_path / "clone"
    git("clone", "--quiet", str(github.simulator.path), str(root))
    for words in (
        ["commit", "--quiet", "--allow-empty", "-m", "First"],
        ["branch", "first"],
        ["commit", "--quiet", "--allow-empty", "-m", "Second"],
        ["branch", "second"],
        ["commit", "--quiet", "--allow-empty", "--amend", "-m", "Other"],
    ):
        git(*words, cwd=root)
    found = Pusher(root)
    names = (*BRANCHES, "gitops/records", "topic")
    assert found.push(*(f"first:refs/heads/{name}" for name in names))
    assert found.push("first:refs/tags/v1.0.0", "first:refs/tags/holdings")
    protect(github.place, github.simulator, configured())
    return found


@pytest.mark.parametrize("kind", NAMES)
def test_tags_of_the_registry_are_made_but_neither_moved_nor_deleted(
    pusher: Pusher, kind: str
) -> None:
    ref = f"refs/tags/{NAMES[kind]}"
    assert pusher.push(f"first:{ref}")
    assert not pusher.push("--force", f"second:{ref}")
    assert not pusher.push("--delete", ref)


@pytest.mark.parametrize("name", ["v1.0.0", "holdings"])
def test_other_tags_are_free(pusher: Pusher, name: str) -> None:
    assert pusher.push("--force", f"second:refs/tags/{name}")
    assert pusher.push("--delete", f"refs/tags/{name}")


def test_records_only_grow(pusher: Pusher) -> None:
    assert pusher.push("second:gitops/records")
    assert not pusher.push("--force", "HEAD:gitops/records")
    assert not pusher.push("--delete", "gitops/records")


@pytest.mark.parametrize("branch", BRANCHES)
def test_nobody_pushes_to_an_environment(pusher: Pusher, branch: str) -> None:
    assert not pusher.push(f"second:{branch}")
    assert not pusher.push("--force", f"HEAD:{branch}")
    assert not pusher.push("--delete", branch)


def test_other_branches_are_free(pusher: Pusher) -> None:
    assert pusher.push("--force", "HEAD:topic")
    assert pusher.push("HEAD:refs/heads/gitops/promote/staging")
    assert pusher.push("--force", "second:refs/heads/gitops/promote/staging")
    assert pusher.push("--delete", "topic")


# ---------------------------------------------------------------- a promotion under these rules


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve(Simulator(tmp_path / "forge")) as found:
        yield found


def test_a_promotion_goes_by_pull_request_and_its_record_by_push(
    line: Line, good: Made, server: Server
) -> None:
    found = forge.of(server.github_url, server.github_env)
    assert isinstance(found, GitHub)
    line = line.behind(server.simulator.path)
    line.build(good)
    protect(GitHubSettings(found), server.simulator, line.config)
    before = line.refs()
    with pytest.raises(ToolError, match="GH013"):
        line.promote("dev", "staging")
    assert line.refs() == before

    asked = request.propose(
        line.world(),
        line.plan("dev", "staging"),
        hands(line.root),
        alone=None,
        forge=found,
        why="a test",
    )
    server.simulator.merge(asked.branch, "release/staging", "merge")
    assert line.finish("staging").versions == {"demo": "v1.0.0"}
    assert line.runs("staging") == "v1.0.0"


def test_a_rollback_pushes_and_needs_who_may(running: Line, better: Made, server: Server) -> None:
    found = forge.of(server.github_url, server.github_env)
    assert isinstance(found, GitHub)
    line = running.behind(server.simulator.path)
    line.build(better, depth=4)
    line.promote("dev", "staging")
    protect(GitHubSettings(found), server.simulator, line.config)
    before = line.refs()
    with pytest.raises(ToolError, match="GH013"):
        line.rollback("staging")
    assert line.refs() == before
