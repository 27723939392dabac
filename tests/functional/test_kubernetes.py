"""`gitops deploy` to a cluster: rollouts, verdicts, rollbacks through the target `kubernetes`."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gitops import config, contracts, yamlfile
from gitops.deploy.ask import Answer, Endpoint
from gitops.errors import ToolError, Where
from gitops.scaffold import targets, vendor
from tests.cluster import Cluster, install
from tests.unit.deploy.conftest import better, good, placed, plain, worse
from tests.unit.deploy.machine import Machine, meanwhile, people
from tests.unit.validate import conftest as tables
from tests.unit.validate.gate_repo import Made

__all__ = ["better", "good", "placed", "plain", "worse"]
KUBECTL = shutil.which("kubectl")


@dataclass(frozen=True)
class Place:
    """A machine that deploys to a cluster."""

    machine: Machine
    cluster: Cluster

    def ask(self, rows: int = 1, at: int = 0) -> Answer:
        """A request to the Service: one of the pods that are ready."""
        pods = self.cluster.pods()
        if not pods:
            raise ToolError("no pod is ready")
        return self.endpoint(pods[at % len(pods)]).post(
            "/models/demo/predict", {"rows": people(rows)}
        )

    @staticmethod
    def endpoint(pod: dict[str, Any]) -> Endpoint:
        return Endpoint("127.0.0.1", int(pod["port"]))

    def releases(self) -> set[str]:
        return {str(self.ask(at=at).body["release"]) for at in range(10)}

    def released(self, made: Made, depth: int = 4) -> None:
        self.machine.line.build(made, depth=depth)
        self.machine.line.promote("dev", "staging")
        self.machine.line.promote("staging", "production")

    def plan(self) -> dict[str, Any]:
        found = self.cluster.get("configmap", "demo-plan")
        assert found is not None
        return dict(json.loads(found["data"]["serving.json"]))


@pytest.fixture
def place(
    placed: Any, tmp_path: Path, plain: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    if KUBECTL is None:
        pytest.skip("kubectl isn't installed, whose kustomize is needed")
    cluster, env = install(tmp_path / "cluster", KUBECTL)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "state"
    monkeypatch.setenv("GITOPS_STATE", str(home))
    machine = Machine(placed.copied(tmp_path), home)
    declare(machine)
    try:
        yield Place(machine, cluster)
    finally:
        cluster.stop()


def declare(machine: Machine, **more: str) -> None:
    """The model is for Kubernetes: what gitops.yaml says, and the files that it needs."""
    root = machine.line.root
    contexts = {name: f"demo-{name}" for name in ("staging", "production")}
    kubernetes = {"contexts": contexts, **more}
    declared = {"registry": "registry.example.org", "kubernetes": kubernetes}
    deploy = {"target": "kubernetes"}
    change: dict[yamlfile.Place, object] = {
        ("models", "demo", "deploy"): deploy,
        ("targets",): declared,
    }
    yamlfile.edit(root / config.FILE, change)
    for file in (*targets.rendered(config.load(root)), *vendor.vendored()):
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    machine.line.repo.commit("Deploy it to Kubernetes")
    machine.line.git("push", "-q", "origin", "HEAD:main", "HEAD:release/staging")
    machine.line.git("push", "-q", "origin", "HEAD:release/production")


@contextmanager
def in_use(place: Place, *, seed: int = 11) -> Iterator[list[int]]:
    """Users: rows to one pod after another, and what came true; statuses of all answers."""
    frame = tables.people(count=4000, seed=seed)
    rows, labels = people(4000, seed), frame["label"].to_list()
    seen: list[int] = []
    users = itertools.count()

    def use() -> None:
        at = next(users)
        row, label = rows[at % len(rows)], labels[at % len(rows)]
        pods = place.cluster.pods()
        endpoint = place.endpoint(pods[at % len(pods)])
        answer = endpoint.post("/models/demo/predict", {"rows": [row]})
        seen.append(answer.status)
        if answer.status == 200:
            told = {"labels": [{"id": answer.body["id"], "label": label}]}
            seen.append(endpoint.post("/labels", told).status)

    with meanwhile(use):
        yield seen


def live(place: Place) -> dict[str, Any]:
    """What `status --live` says of production."""
    done = place.machine.gitops("status", "--live", "--json")
    assert done.code == 0, done.err
    (one,) = [each for each in done.document["live"] if each["environment"] == "production"]
    return dict(one)


@pytest.mark.extended("a rollout of minutes; the one that is rolled back takes the same steps")
def test_a_challenger_that_is_no_worse_answers_by_a_branch_that_the_cluster_follows(
    place: Place, better: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivery by pull; and only a package that no pod has makes pods anew."""
    origin = place.machine.line.origin
    monkeypatch.setenv("GITOPS_TEST_FOLLOWS", f"{origin} gitops/deploy/production")
    declare(place.machine, delivery="pull", repository=f"file://{origin}")
    shown = place.machine.deploy("production", "--dry-run", "--json")
    assert shown.code == 0, shown.err
    text = shown.document["documents"]["kubernetes"]["documents.yaml"]
    assert "kind: Deployment" in text
    assert "image: registry.example.org/demo/demo:" in text
    assert place.cluster.objects() == {}  # it changed nothing
    assert live(place)["deployed"] is False

    first = place.machine.deploy("production", "--json")
    assert first.code == 0, first.err
    url = "http://demo.demo-production.svc.cluster.local"
    assert first.document["endpoints"] == {"kubernetes": url}
    assert len(place.cluster.pods()) == 2
    assert place.releases() == {"demo@v1.0.0"}
    (record,) = place.machine.records()
    contracts.validate("deployment", record, Where("record"))
    assert record["target"] == {"kind": "kubernetes", "endpoint": url}
    assert place.cluster.pods("aside") == []  # where it was tested
    found = live(place)
    assert (found["target"], found["runs"], found["drift"]) == ("kubernetes", "demo@v1.0.0", [])

    place.released(better)
    assert place.machine.deploy("production", "--once").code == 0
    pods = {one["metadata"]["name"] for one in place.cluster.pods()}
    assert place.plan()["models"]["demo"]["share"] == 20
    with in_use(place) as seen:
        done = place.machine.deploy("production", "--json", "--timeout", "300")
    assert done.code == 0, done.err
    assert set(seen) == {200, 202}
    (one,) = done.document["models"]
    assert (one["state"], one["release"]) == ("running", "demo@v1.1.0")
    assert place.releases() == {"demo@v1.1.0"}
    assert {one["metadata"]["name"] for one in place.cluster.pods()} == pods
    # By kubectl came the namespace and the state; what serves, from the branch alone.
    applied = [one for one in place.cluster.calls if one.startswith("apply")]
    assert len(applied) == 1
    assert "refs/heads/gitops/deploy/production" in place.machine.line.refs()


def test_what_cant_be_pulled_or_is_worse_goes_and_any_machine_carries_that_out(
    place: Place, better: Made, worse: Made
) -> None:
    place.released(better)  # so that what it goes back to is for the cluster, too
    assert place.machine.deploy("production").code == 0
    place.released(worse, depth=5)
    place.cluster.break_images(True)
    failed = place.machine.deploy("production", "--once")
    assert failed.code == 4, failed.err
    assert "ImagePullBackOff" in failed.err
    assert place.releases() == {"demo@v1.1.0"}
    place.cluster.break_images(False)
    assert place.machine.deploy("production", "--once").code == 0
    assert place.plan()["models"]["demo"]["share"] == 20

    shutil.rmtree(place.machine.home)  # another machine: nothing is known there
    with in_use(place) as seen:
        done = place.machine.deploy("production", "--timeout", "300")
    assert done.code == 1, done.err
    assert "worse in brier" in done.err
    assert set(seen) == {200, 202}
    assert place.releases() == {"demo@v1.1.0"}
    assert place.plan()["models"]["demo"]["challenger"] is None
    assert place.machine.line.runs("production") == "v1.1.0"
    assert place.machine.happened("production") == [
        ("demo@v1.1.0", "running"),
        ("demo@v1.2.0", "failed"),
        ("demo@v1.2.0", "rolled_back"),
        ("demo@v1.1.0", "running"),
    ]
    stopped = place.machine.deploy("production", "--stop", "--json")
    assert stopped.document["stopped"] is True
    assert place.cluster.pods() == []


@pytest.mark.extended("rollouts of minutes; their documents and states have tests of their own")
def test_argo_rollouts_brings_a_version_to_traffic_and_gitops_watches_it(
    place: Place, better: Made, worse: Made
) -> None:
    declare(place.machine, canary="argo-rollouts")
    first = place.machine.deploy("production")
    assert first.code == 0, first.err
    assert place.releases() == {"demo@v1.0.0"}
    assert place.cluster.get("deployment", "demo") is None
    place.released(better)
    begun = place.machine.deploy("production", "--once", "--json")
    assert begun.code == 0, begun.err
    (one,) = begun.document["models"]
    assert one["state"] == "rolling_out"
    pods = {str(each["port"]) for each in place.cluster.pods()}
    again = place.machine.deploy("production", "--once", "--json")  # nothing is handed over anew
    assert again.document["models"] == begun.document["models"]
    assert pods <= {str(each["port"]) for each in place.cluster.pods()}
    assert place.machine.happened("production") == [("demo@v1.0.0", "running")]
    shutil.rmtree(place.machine.home)  # another machine goes on
    place.cluster.analysed("passed")
    done = place.machine.deploy("production", "--json", "--timeout", "200")
    assert done.code == 0, done.err
    (one,) = done.document["models"]
    assert (one["state"], one["release"]) == ("running", "demo@v1.1.0")
    assert place.releases() == {"demo@v1.1.0"}
    assert place.machine.happened("production")[-1] == ("demo@v1.1.0", "running")

    # What its analysis breaks off goes back on the branch too, to the same pods.
    before = place.cluster.get("rollout", "demo")
    pods = {one["metadata"]["name"] for one in place.cluster.pods()}
    place.released(worse, depth=5)
    place.cluster.analysed("failed")
    done = place.machine.deploy("production", "--timeout", "200")
    assert done.code == 1, done.err
    assert 'metric "errors" assessed Failed' in done.err
    assert place.machine.line.runs("production") == "v1.1.0"
    assert place.machine.happened("production")[-2:] == [
        ("demo@v1.2.0", "rolled_back"),
        ("demo@v1.1.0", "running"),
    ]
    after = place.cluster.get("rollout", "demo")
    assert before is not None
    assert after is not None
    assert after["spec"]["template"] == before["spec"]["template"]
    assert {one["metadata"]["name"] for one in place.cluster.pods()} == pods
    assert place.releases() == {"demo@v1.1.0"}
    stopped = place.machine.deploy("production", "--stop", "--json")
    assert stopped.document["stopped"] is True
    assert place.cluster.pods() == []
