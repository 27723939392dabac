"""Targets that aren't there yet are refused, and where the server is remembered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from gitops.cli import places
from gitops.config_deploy import Kind
from gitops.config_serving import Rollout
from gitops.deploy import local
from gitops.deploy.ask import Endpoint
from gitops.deploy.local import Local
from gitops.deploy.model import Desired
from gitops.deploy.state import State
from gitops.deploy.target import KINDS, require_known
from gitops.errors import ConfigError, ToolError

DESIRED = Desired(
    "flights", "production", ("127.0.0.1", 8082), Rollout(), "", {}, {"late": "local"}
)


def test_every_known_kind_can_be_made() -> None:
    assert tuple(places._MAKERS) == KINDS
    assert set(KINDS) <= set(get_args(Kind))


@pytest.mark.parametrize("kind", ["mainframe", *sorted(set(get_args(Kind)) - set(KINDS))])
def test_a_target_that_is_not_there_yet_is_no_silent_success(kind: str) -> None:
    require_known(DESIRED)
    with pytest.raises(ConfigError, match=f"deploy.target is {kind}") as caught:
        require_known(replace(DESIRED, kinds={"late": "local", "fare": kind}))
    assert caught.value.code == 3
    assert "gitops fetch fare --env production" in caught.value.fix


def test_nothing_runs_where_nothing_was_started(tmp_path: Path) -> None:
    target = Local(State(tmp_path), Endpoint("127.0.0.1", 1), None, print)
    found = target.observe()
    assert (found.runs, found.generation, found.workers) == (False, None, {})
    assert not target.stop()
    assert not target.ready()
    assert local.remembered(target.state) is None
    with pytest.raises(ToolError, match="doesn't answer"):
        target.ask("late", "v1.0.0", {})


def test_addresses_are_urls() -> None:
    assert Endpoint("::1", 80).url == "http://[::1]:80"
    assert Endpoint("127.0.0.1", 8080).url == "http://127.0.0.1:8080"
