"""A promoted model and a machine that deploys it, once for all tests; each works on a copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.deploy.machine import LAX, PLACES, Machine, free_ports
from tests.unit.promote.conftest import better, good, plain, settle, worse
from tests.unit.promote.line import Line
from tests.unit.validate.gate_repo import GateRepo, Made

__all__ = ["better", "good", "plain", "worse"]
ROLLOUT = "{steps: [20, 50], each: 40, until: 4000, margin: 0.05, alpha: 0.1}"


@pytest.fixture(scope="session")
def placed(tmp_path_factory: pytest.TempPathFactory, good: Made) -> Line:
    """A first model, promoted to staging and production, each with an address of its own."""
    folder = tmp_path_factory.mktemp("placed")
    with pytest.MonkeyPatch.context() as patch:
        settle(patch, folder)
        line = Line(GateRepo(folder / "repo")).start()
        line.repo.settings(more=PLACES.format(*free_ports(3), rollout=ROLLOUT))
        line.repo.write(".gitops/policies/lax.yaml", LAX)
        line.repo.commit("Say where it answers")
        line.git("push", "-q", "origin", "HEAD:main", "HEAD:release/staging")
        line.git("push", "-q", "origin", "HEAD:release/production")
        line.build(good)
        line.promote("dev", "staging")
        line.promote("staging", "production")
    return line


@pytest.fixture
def machine(
    placed: Line, tmp_path: Path, plain: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machine]:
    """A machine on which nothing runs yet; at the end nothing does again."""
    home = tmp_path / "state"
    monkeypatch.setenv("GITOPS_STATE", str(home))
    found = Machine(placed.copied(tmp_path), home)
    yield found
    found.stop()
