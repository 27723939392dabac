"""Targets that aren't there yet are refused, and where the server is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops import contracts
from gitops.cli import places
from gitops.config.deploy import KINDS
from gitops.deploy import local
from gitops.deploy.ask import Endpoint
from gitops.deploy.local import Local
from gitops.deploy.state import State
from gitops.errors import ToolError


def test_every_known_kind_can_be_made() -> None:
    assert set(places._MAKERS) == set(KINDS)
    target = contracts.schema("deployment")["properties"]["target"]["properties"]
    assert target["kind"]["enum"] == list(KINDS)


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
