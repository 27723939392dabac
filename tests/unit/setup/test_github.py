"""`gitops setup github` against a GitHub that keeps what it is told."""

from __future__ import annotations

from gitops.setup import github as setup
from gitops.setup import run
from tests.unit.setup.conftest import OnGitHub, configured


def test_first(github: OnGitHub) -> None:
    config = configured()
    plan = setup.plan(github.place, config, {}, ())
    assert github.wrote() == []
    assert {one.action for one in plan.steps} == {"create", "update"}
    outcomes = run.apply(github.place, plan.steps, lambda text: None)
    assert {one.state for one in outcomes} == {"done"}, outcomes
    assert github.wrote()
    again = setup.plan(github.place, config, {}, ())
    assert {one.action for one in again.steps} == {"keep"}, again.due
    assert {one.state for one in run.apply(github.place, again.steps, print)} == {"so already"}
    assert github.wrote() == []
