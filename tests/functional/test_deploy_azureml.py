"""Deploying to Azure ML, end to end: by a stand-in for `az`, with real servers behind it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import programs
from tests.unit.deploy.azure import AZ, PLACES, Cloud, files, used
from tests.unit.deploy.conftest import better, good, plain, worse
from tests.unit.deploy.machine import LAX
from tests.unit.promote.conftest import settle
from tests.unit.promote.line import Line
from tests.unit.validate.gate_repo import GateRepo, Made

__all__ = ["better", "good", "plain", "used", "worse"]
ROLLOUT = (
    "{steps: [shadow, 50], each: 40, until: 4000, margin: 0.05, alpha: 0.2,"
    " guardrails: {slow_ms: 9000}}"
)


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
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "az"
    run = f"import runpy\nrunpy.run_path({str(AZ)!r}, run_name='__main__')\n"
    program.write_text(programs.head() + run)
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


def released(cloud: Cloud, made: Made, depth: int = 4) -> None:
    """Another version of the model comes to production."""
    cloud.line.build(made, depth=depth)
    cloud.line.promote("dev", "staging")
    cloud.line.promote("staging", "production")


@pytest.mark.extended("a rollout of minutes; the one that is rolled back takes the same steps")
def test_a_challenger_that_is_no_worse_becomes_the_champion(cloud: Cloud, better: Made) -> None:
    assert cloud.deploy("production").code == 0
    released(cloud, better)
    with used(cloud, "production", ids=True) as seen:
        done = cloud.deploy("production", "--json", "--timeout", "150")
    assert done.code == 0, done.err
    (one,) = done.document["models"]
    assert (one["state"], one["release"]) == ("running", "demo@v1.1.0")
    assert set(seen) == {200}
    assert "step 1 of 2: shadow" in done.err
    assert "step 2 of 2: 50 %" in done.err
    here = cloud.deployed("production")
    (name,) = here["states"]
    assert name.startswith("v1-1-0-")
    assert here["traffic"] == {name: 100}
    assert cloud.happened("production") == [
        ("demo@v1.0.0", "running"),
        ("demo@v1.1.0", "running"),
    ]
    # The batch endpoint runs the new champion, too.
    (batch,) = cloud.there()["batch"].values()
    assert batch["defaults"] == {"deployment_name": name}
    assert set(batch["deployments"]) == {name}


@pytest.mark.extended("a rollout of minutes; unit tests kill it at each call")
def test_a_challenger_that_is_worse_is_rolled_back_from_another_machine(
    cloud: Cloud, worse: Made
) -> None:
    """Each look is a job of its own, on an empty machine: the cloud has all that it needs."""
    assert cloud.deploy("production").code == 0
    released(cloud, worse)
    cloud.wish(successes_only=True)
    with used(cloud, "production", ids=True) as seen:
        for _ in range(40):
            shutil.rmtree(cloud.home)
            done = cloud.deploy("production", "--once")
            assert done.code in (0, 1), done.err
            if done.code == 1:
                break
    assert done.code == 1, done.err
    assert "worse in brier" in done.err
    assert set(seen) == {200}
    assert cloud.line.runs("production") == "v1.0.0"
    assert cloud.release("production") == "demo@v1.0.0"
    assert ("demo@v1.1.0", "rolled_back") in cloud.happened("production")
    (name,) = cloud.deployed("production")["states"]
    assert name.startswith("v1-0-0-")
