"""Promotion by pull request, on a forge whose every answer is held against its description."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops import forge
from gitops.cli.hands import hands
from gitops.errors import AnswerNo
from gitops.forge import Forge
from gitops.promote import finish, request, run
from gitops.promote.request import Requested
from gitops.promote.run import Promoted
from tests.forge_server import Server, serve
from tests.forge_simulator import Simulator
from tests.unit.promote.line import Line
from tests.unit.validate.gate_repo import Made

PROMOTER = "Test <test@example.org>"
ENVIRONMENTS = (
    "environments:\n  - {name: dev, branch: main}\n"
    '  - {name: staging, branch: release/staging, approvers: ["@lea", "@acme/leads"]}\n'
    "  - {name: production, branch: release/production}\n"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve(Simulator(tmp_path / "forge")) as found:
        yield found
        assert found.problems == []


@pytest.fixture
def asked(line: Line, good: Made, server: Server) -> Line:
    """A model on main of a forge, whose staging needs an approval."""
    line.repo.settings(more=ENVIRONMENTS)
    line.repo.commit("Who approves")
    for branch in ("main", "release/staging", "release/production"):
        line.git("push", "-q", "origin", f"HEAD:{branch}")
    server.simulator.teams["acme/leads"] = ("kim",)
    found = line.behind(server.simulator.path)
    found.build(good)
    return found


def github(server: Server) -> Forge:
    found = forge.of(server.github_url, server.github_env)
    assert found is not None
    return found


def propose(line: Line, server: Server) -> Requested:
    there, plan = line.world(), line.plan("dev", "staging")
    return request.propose(
        there, plan, hands(line.root), alone=None, forge=github(server), why="a test"
    )


def finished(line: Line, server: Server) -> Promoted:
    there = line.world()
    plan = finish.plan(
        there,
        line.config,
        "staging",
        promoter=PROMOTER,
        reviewers=lambda head, to: request.reviewers(github(server), head, to.branch, to.approvers),
    )
    tip = there.refs.heads["release/staging"]
    return run.run(there, plan, hands(line.root), why="merged", tip=tip)


def test_the_reviewer_sees_it_all_and_approves(asked: Line, server: Server) -> None:
    first = propose(asked, server)
    assert first.created
    again = propose(asked, server)
    assert (again.commit, again.url, again.created) == (first.commit, first.url, False)
    (pull,) = server.simulator.seen()
    assert pull.title == "Promote demo from dev to staging"
    who = "What now: one of `@lea`, `@acme/leads`, who isn't the promoter, approves it; then merge"
    for text in ("| demo | – |", who, "merge commit", asked.git("rev-parse", "HEAD"), "roc_auc"):
        assert text in pull.body
    server.simulator.review(pull.number, "lea", "approved")
    server.simulator.merge(first.branch, "release/staging", "merge")
    done = finished(asked, server)
    assert done.versions == {"demo": "v1.0.0"}
    assert asked.runs("staging") == "v1.0.0"


@pytest.mark.parametrize("who", ["nobody", "mallory", "lea, of an older commit"])
def test_without_the_approval_nothing_is_recorded(asked: Line, server: Server, who: str) -> None:
    found = propose(asked, server)
    if who == "mallory":
        server.simulator.review(1, "mallory", "approved")
    elif who != "nobody":
        server.simulator.review(1, "lea", "approved", commit=asked.git("rev-parse", "HEAD"))
    server.simulator.merge(found.branch, "release/staging", "merge")
    with pytest.raises(AnswerNo, match="needs the approval of one of @lea, @acme/leads"):
        finished(asked, server)
    assert asked.runs("staging") == ""


def test_a_member_of_the_team_approves(asked: Line, server: Server) -> None:
    found = propose(asked, server)
    server.simulator.review(1, "kim", "approved")
    server.simulator.merge(found.branch, "release/staging", "merge")
    assert finished(asked, server).versions == {"demo": "v1.0.0"}


def test_a_model_that_the_gate_refuses_is_not_proposed(
    running: Line, worse: Made, server: Server
) -> None:
    line = running.behind(server.simulator.path)
    line.build(worse, depth=4)
    before = line.refs()
    with pytest.raises(AnswerNo, match="the gate of staging says no"):
        propose(line, server)
    assert line.refs() == before
    assert server.simulator.seen() == []
