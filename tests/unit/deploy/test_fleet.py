"""Several kinds of places in one environment: each has its turn, whatever becomes of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from gitops.deploy.fleet import Fleet
from gitops.deploy.run import Standing, Watcher
from gitops.deploy.state import State
from gitops.errors import AnswerNo, ToolError


class Place:
    """As much of a watcher as a fleet knows."""

    def __init__(self, kind: str, said: list[str], names: tuple[str, ...], fails: bool) -> None:
        self.kind, self.said, self.fails = kind, said, fails
        self.desired = cast(Any, type("Desired", (), {"kinds": {one: one for one in names}}))
        self.show: Any = None

    def once(self) -> bool:
        self.said.append(self.kind)
        if self.fails:
            raise ToolError(f"{self.kind} fails")
        return True

    def standings(self) -> list[Standing]:
        return [Standing(self.kind, "running", "r", "p")]


def fleet(
    kinds: list[str], said: list[str], *, names: tuple[str, ...] = (), fails: str = ""
) -> Fleet:
    def make(kind: str) -> Watcher:
        return cast(Watcher, Place(kind, said, names, kind == fails))

    # Watcher.once is called by its class, as the fleet does it for all of its work.
    return Fleet(kinds, make, lambda standings: None)


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watcher, "once", lambda self: cast(Any, self).once())


def test_a_kind_that_only_the_branch_names_has_its_turn_too() -> None:
    said: list[str] = []
    found = fleet(["local"], said, names=("local", "kubernetes", "no-such-kind"))
    assert found.once() is True
    assert said == ["local", "kubernetes"]
    assert [one.model for one in found.standings()] == ["kubernetes", "local"]


def test_what_fails_at_one_place_keeps_no_other_from_its_turn() -> None:
    said: list[str] = []
    with pytest.raises(ToolError, match="local fails"):
        fleet(["local", "kubernetes"], said, fails="local").once()
    assert said == ["local", "kubernetes"]


def test_a_document_goes_to_where_it_is_kept_before_it_lies_here(tmp_path: Path) -> None:
    """A place that refuses leaves all as it was; other files never go there."""
    kept: list[str] = []

    def keep(name: str, text: str) -> None:
        kept.append(name)
        if len(kept) > 1:
            raise AnswerNo("another reconciler is at work")

    state = State(tmp_path, keep)
    state.write("rollout.json", {"version": 1, "models": {}})
    state.write("progress.json", {"version": 1})
    with pytest.raises(AnswerNo):
        state.write("rollout.json", {"version": 2, "models": {}})
    assert kept == ["rollout.json", "rollout.json"]
    assert state.read("rollout.json") == {"version": 1, "models": {}}
