"""Deploying to Azure ML, end to end: through the reconciler, by a stand-in for `az`, with real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.deploy.azure import AZ, PLACES, Cloud, files, used
from tests.unit.deploy.conftest import better, good, plain, worse
from tests.unit.deploy.machine import LAX
from tests.unit.promote.conftest import settle
from tests.unit.promote.line import Line
from tests.unit.validate.gate_repo import GateRepo, Made

__all__ = ["better", "good", "plain", "worse"]
ROLLOUT = "{steps: [20, 50], each: 40, until: 4000, margin: 0.05, alpha: 0.1, guardrails: {slow_ms: 9000}}"


def line(folder: Path, made: Made, *, rollout: str, batch: bool) -> Line:
    """A first model, promoted to production, to be deployed to Azure ML."""
    found = Line(GateRepo(folder / "repo")).start()
    more = PLACES.format(rollout=rollout, batch=str(batch).lower())
    found.repo.settings("deploy: {target: azureml}", more)
    found.repo.write(".gitops/policies/lax.yaml", LAX)
    files(found)
    found.repo.commit("Say where it answers")
    found.git(
        "push", "-q", "origin", "HEAD:main", "HEAD:release/staging", "HEAD:release/production"
    )
    found.build(made)
    found.promote("dev", "staging")
    found.promote("staging", "production")
    return found


@pytest.fixture(scope="session")
def clouded(tmp_path_factory: pytest.TempPathFactory, good: Made) -> Line:
    folder = tmp_path_factory.mktemp("clouded")
    with pytest.MonkeyPatch.context() as patch:
        settle(patch, folder)
        return line(folder, good, rollout=ROLLOUT, batch=True)


@pytest.fixture
def cloud(
    clouded: Line, tmp_path: Path, plain: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """An empty cloud, and a machine that never deployed anything."""
    import sys

    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "az"
    program.write_text(f"#!{sys.executable}\n" + AZ.read_text().replace("__file__", repr(str(AZ))))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("AZ_STANDIN", str(tmp_path / "cloud"))
    monkeypatch.setenv("GITOPS_STATE", str(tmp_path / "state"))
    (tmp_path / "cloud").mkdir()
    found = Cloud(clouded.copied(tmp_path), tmp_path / "state", tmp_path / "cloud")
    yield found
    found.stop()


def test_what_is_assigned_answers_and_is_on_record(cloud: Cloud) -> None:
    done = cloud.deploy("staging", "--json")
    assert done.code == 0, done.err
    (one,) = done.document["models"]
    assert (one["state"], one["release"]) == ("running", "demo@v1.0.0")
    assert cloud.release("staging") == "demo@v1.0.0"
    here = cloud.deployed("staging")
    (name,) = here["states"]
    assert name == f"v1-0-0-{one['package'][:6]}"
    assert here == {"traffic": {name: 100}, "mirror": {}, "states": {name: "Succeeded"}}
    (record,) = cloud.records()
    assert record["target"]["kind"] == "azureml"
