"""Records that are about no ref: deployments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gitops import contracts
from gitops.errors import AnswerNo, ToolError, Where
from gitops.git import remote
from gitops.promote import records
from gitops.promote.records import Records
from tests.unit.promote.line import Line, remote_git

VALID = Path(__file__).parents[2] / "contracts" / "deployment" / "valid"


def deployment(**changes: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((VALID / "running.json").read_text()) | changes
    contracts.validate("deployment", document, Where("test"))
    return document


def append(line: Line, *documents: Mapping[str, Any]) -> None:
    records.append(
        line.root,
        "origin",
        lambda here: records.deployment_paths(here, [dict(one) for one in documents]),
        "Record a deployment",
    )


def stored(line: Line) -> dict[str, Any]:
    here = line.world().records
    return here.many(here.names("deployments"))


def test_deployments_count_by_model_and_environment(running: Line) -> None:
    one = deployment()
    other = deployment(state="failed", why="the port is taken")
    staging = deployment(environment="staging")
    before = len(running.world().records.names("promotions"))
    append(running, one)
    append(running, other, staging)
    tree = one["revision"]["tree"]
    assert stored(running) == {
        f"deployments/{tree}/production-late-1.json": one,
        f"deployments/{tree}/production-late-2.json": other,
        f"deployments/{tree}/staging-late-1.json": staging,
    }
    assert len(running.world().records.names("promotions")) == before


def test_what_is_there_already_is_not_written_again(running: Line) -> None:
    append(running, deployment())
    tip = running.refs()["refs/heads/gitops/records"]
    append(running, deployment())  # as after a kill between the push and its note
    assert running.refs()["refs/heads/gitops/records"] == tip
    append(running, deployment(), deployment(by="somebody else"))
    assert len(stored(running)) == 2


def test_the_loser_of_a_race_writes_on_top(running: Line) -> None:
    raced: list[bool] = []

    def racing(here: Records) -> Mapping[str, dict[str, Any]]:
        if not raced:
            raced.append(True)
            append(running, deployment(by="the winner"))
        return records.deployment_paths(here, [deployment(by="the loser")])

    records.append(running.root, "origin", racing, "Record a deployment")
    assert [one["by"] for one in stored(running).values()] == ["the winner", "the loser"]


def test_who_always_loses_gives_up(running: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise AnswerNo("somebody else moved it")

    monkeypatch.setattr(remote, "push", lost)
    with pytest.raises(AnswerNo, match="others write records"):
        append(running, deployment())


def test_a_remote_that_refuses_has_nothing_new(running: Line) -> None:
    hook = running.origin / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho no records today >&2\nexit 1\n")
    hook.chmod(0o755)
    before = running.refs()
    with pytest.raises(ToolError, match="no records today"):
        append(running, deployment())
    assert running.refs() == before
    assert remote_git(running.origin, "ls-tree", "-r", "--name-only", "gitops/records")
