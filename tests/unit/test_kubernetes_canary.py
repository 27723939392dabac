"""Argo Rollouts and KServe: what their controllers are told, under their own published schemas."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from gitops import config, contracts
from gitops.deploy.kubernetes import course, kubectl, manifests
from gitops.deploy.model import Served
from gitops.errors import ConfigError, EvidenceError, Where
from tests.unit.deploy.releases import NEW, OLD, variant
from tests.unit.test_kubernetes_manifests import (
    ALONE,
    ARGO,
    HEAD,
    KSERVE,
    PROJECT,
    SIGNATURE,
    VERSIONS,
    filled,
    image,
    lay,
    of,
    plan,
)

Json = dict[str, Any]
NEXT = Served(variant(NEW), SIGNATURE)
SCHEMAS = {
    "Rollout": "argo-rollouts/rollout",
    "AnalysisTemplate": "argo-rollouts/analysis-template",
    "InferenceService": "kserve/inferenceservice",
}
pytestmark = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl isn't installed, whose kustomize is needed"
)


@cache
def kustomized(text: str, environment: str) -> list[Json]:
    with tempfile.TemporaryDirectory() as folder:
        root = lay(text, Path(folder))
        return kubectl.kustomize(root / "deploy/kubernetes/overlays" / environment)


def built(text: str, environment: str = "production") -> list[Json]:
    return copy.deepcopy(kustomized(text, environment))


@pytest.fixture
def argo() -> list[Json]:
    return built(ARGO)


@pytest.fixture
def kserve() -> list[Json]:
    return built(KSERVE)


def require(document: Json) -> None:
    """Raises jsonschema.ValidationError if it isn't as its controller's schema has it."""
    path = PROJECT / "tests" / "contracts" / f"{SCHEMAS[document['kind']]}.schema.json"
    jsonschema.validate(document, json.loads(path.read_text()))


def as_pod(document: Json) -> Json:
    """The pods of a custom workload as a Deployment's, which the API's own schema judges."""
    spec = document["spec"]
    if document["kind"] == "InferenceService":
        own = ("labels", "annotations", "minReplicas", "maxReplicas", "scaleMetric", "scaleTarget")
        pod = {
            key: value
            for key, value in spec["predictor"].items()
            if key not in (*own, "deploymentStrategy")
        }
        template = {"metadata": {"labels": spec["predictor"]["labels"]}, "spec": pod}
    else:
        template = spec["template"]
    chosen = {"matchLabels": template["metadata"]["labels"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {"selector": chosen, "template": template},
    }


# ---------------------------------------------------------------- the schemas


@pytest.mark.parametrize("text", [ARGO, KSERVE])
def test_the_controllers_take_every_document(text: str) -> None:
    documents = filled(built(text), NEXT)
    custom = [one for one in documents if one["kind"] in SCHEMAS]
    assert custom
    for one in custom:
        require(one)
        if one["kind"] != "AnalysisTemplate":
            kubernetes_validate.validate(as_pod(one), VERSIONS[0], strict=True)
    for one in manifests.aside(documents):
        if one["kind"] in SCHEMAS:
            require(one)


def canary(one: Json) -> Json:
    found: Json = one["spec"]["strategy"]["canary"]
    return found


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("Rollout", lambda one: canary(one).update(step=[])),
        ("Rollout", lambda one: canary(one)["steps"][0].update(setWeight="5")),
        ("Rollout", lambda one: canary(one)["steps"][0].update(setWeigth=5)),
        ("Rollout", lambda one: canary(one)["steps"][1]["analysis"].update(template="flights")),
        (
            "Rollout",
            lambda one: canary(one)["steps"][1]["analysis"]["args"][0].update(value=1),
        ),
        ("Rollout", lambda one: one["spec"].update(progressDeadlineAbort="yes")),
        ("Rollout", lambda one: one["spec"].update(rollbackWindow={"revision": 2})),
        ("AnalysisTemplate", lambda one: one["spec"]["args"][0].pop("name")),
        ("AnalysisTemplate", lambda one: one["spec"]["metrics"][0].pop("provider")),
        ("AnalysisTemplate", lambda one: one["spec"]["metrics"][0].update(sucessCondition="true")),
        (
            "AnalysisTemplate",
            lambda one: one["spec"]["metrics"][0]["provider"]["prometheus"].update(querry="up"),
        ),
        ("InferenceService", lambda one: one["spec"].pop("predictor")),
        ("InferenceService", lambda one: one["spec"]["predictor"].update(minReplica=2)),
        ("InferenceService", lambda one: one["spec"]["predictor"].update(maxReplicas="10")),
        ("InferenceService", lambda one: one["spec"]["predictor"]["containers"][0].pop("name")),
        (
            "InferenceService",
            lambda one: one["spec"]["predictor"]["containers"][0]["ports"][0].pop("containerPort"),
        ),
    ],
)
def test_a_fault_in_a_document_is_found(kind: str, spoil: Callable[[Json], object]) -> None:
    text = KSERVE if kind == "InferenceService" else ARGO
    one = copy.deepcopy(of(filled(built(text), NEXT), kind))
    require(one)
    spoil(one)
    with pytest.raises(jsonschema.ValidationError):
        require(one)


# ---------------------------------------------------------------- Argo Rollouts


def test_steps_are_the_environments_and_each_is_judged(argo: list[Json]) -> None:
    steps = canary(of(argo, "Rollout"))["steps"]
    assert [one["setWeight"] for one in steps[::2]] == [5, 25, 50]
    assert {json.dumps(one["analysis"]["templates"]) for one in steps[1::2]} == {
        '[{"templateName": "flights"}]'
    }
    (arg,) = steps[1]["analysis"]["args"]
    assert arg == {"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}
    # Without steps there's nothing to judge.
    plain = built(ARGO, "staging")
    assert "steps" not in canary(of(plain, "Rollout"))
    assert "AnalysisTemplate" not in {one["kind"] for one in plain}


def exposed(folder: Path) -> str:
    """The metrics of a server that has answered; in a process of its own, since they are one's."""
    program = (
        "import sys, pathlib; from gitops.serve import metrics as m; f = pathlib.Path(sys.argv[1]);"
        "m.keep(f); m.variant('late', 'v1', 'champion').answered(0.01, 1);"
        "sys.stdout.buffer.write(m.text(f))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_the_analysis_asks_for_what_servers_measure_of_the_new_pods(
    argo: list[Json], tmp_path: Path
) -> None:
    spec = of(argo, "AnalysisTemplate")["spec"]
    found = {one["name"]: one for one in spec["metrics"]}
    queries = {name: one["provider"]["prometheus"]["query"] for name, one in found.items()}
    # Every name and bound is one that the server writes.
    written = exposed(tmp_path)
    for name in re.findall(r"gitops_\w+", " ".join(queries.values())):
        assert f"\n{name}{{" in written
    assert 'le="0.1"' in queries["slow"]
    assert 'le="0.1"' in written
    chosen = 'namespace="flights-production",pod=~"flights-{{args.hash}}-.+"'
    for query in queries.values():
        assert query.count("[5m]") == query.count(chosen) == 2
    for name, limit in (("errors", "0.02"), ("slow", "0.03")):
        assert found[name]["successCondition"] == f"len(result) > 0 && result[0] <= {limit}"
        assert found[name]["failureCondition"] == f"len(result) > 0 && result[0] > {limit}"
    assert {one["name"] for one in spec["args"]} == {"hash", "prometheus"}


def test_a_new_champion_is_a_new_revision_and_going_back_is_the_earlier_one(
    argo: list[Json],
) -> None:
    before, after = (of(filled(argo, one), "Rollout") for one in (ALONE, NEXT))
    for found, release in ((before, OLD), (after, NEW)):
        pod = found["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == image(variant(release))
        assert [one["image"] for one in pod["initContainers"]] == [image(variant(release))]
        said = json.loads(found["spec"]["template"]["metadata"]["annotations"]["gitops/plan"])
        contracts.validate("serving", said, Where("plan"))
        served = said["models"]["late"]
        assert served["champion"]["package"] == release.package
        assert served["challenger"] is None
    assert before["spec"]["template"] != after["spec"]["template"]
    assert canary(before) == canary(after)
    # A rollback is a new assignment in a later generation, and the same pods.
    again = replace(variant(OLD), assignment="late#production#9")
    made = plan(Served(again, SIGNATURE), generation=7)
    back = of(manifests.filled(argo, made, manifests.packed(made, image)), "Rollout")
    assert back["spec"] == before["spec"]
    assert back["metadata"]["annotations"]["gitops/generation"] == "7"
    (volume,) = [
        one for one in back["spec"]["template"]["spec"]["volumes"] if one["name"] == "plan"
    ]
    (item,) = volume["downwardAPI"]["items"]
    assert item["path"] == "serving.json"
    assert item["fieldRef"]["fieldPath"] == "metadata.annotations['gitops/plan']"


def test_what_is_tested_aside_is_no_canary(argo: list[Json]) -> None:
    beside = manifests.aside(filled(argo, NEXT))
    assert {one["kind"] for one in beside} == {
        "Namespace", "ServiceAccount", "NetworkPolicy", "Deployment",
    }  # fmt: skip
    kubernetes_validate.validate(of(beside, "Deployment"), VERSIONS[0], strict=True)
    assert of(argo, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["kind"] == "Rollout"


def live(phase: str, *, generation: str = "4", observed: str = "2", **more: Any) -> Json:
    notes = {"gitops/generation": generation}
    status = {"phase": phase, "observedGeneration": observed, **more}
    meta = {"name": "flights", "generation": 2, "annotations": notes}
    return {"kind": "Rollout", "metadata": meta, "status": status}


@pytest.mark.parametrize(
    ("one", "state", "why"),
    [
        (None, "unnoticed", "no Rollout"),
        (live("Healthy"), "healthy", ""),
        (live("Healthy", observed="1"), "unnoticed", "hasn't noticed"),
        (live("Healthy", generation="3"), "unnoticed", "hasn't noticed"),
        (live("Progressing", message="more replicas"), "under_way", "more replicas"),
        (live("Paused", message="InconclusiveAnalysisRun"), "under_way", "waits for a person"),
        (live("Degraded", message="RolloutAborted: metric"), "aborted", "RolloutAborted: metric"),
    ],
)
def test_a_rollouts_status_is_read_once_it_is_of_what_was_handed_over(
    one: Json | None, state: str, why: str
) -> None:
    found = course.told(one, 4)
    assert found.state == state
    assert why in found.why


def test_a_first_version_is_waited_for_and_a_later_one_only_noticed() -> None:
    looks = iter([None, live("Progressing"), live("Healthy")])
    course.handed_over(lambda: next(looks), 4, list, lambda _: None)
    assert next(looks, "all seen") == "all seen"
    for phase in ("Progressing", "Degraded"):
        noticed = partial(live, phase, stableRS="abc")
        course.handed_over(noticed, 4, list, lambda _: None)
    with pytest.raises(EvidenceError, match="given it up"):
        course.handed_over(lambda: live("Degraded"), 4, list, lambda _: None)


def declared(rollout: str, canary: str = "argo-rollouts") -> config.Config:
    text = (
        f"{HEAD}targets: {{kubernetes: {{canary: {canary}}}}}\nenvironments:\n"
        "  - {name: dev, branch: main}\n"
        f"  - {{name: production, branch: release/production, rollout: {rollout}}}\n"
    )
    return config.parse(text.encode(), Path("gitops.yaml"))


@pytest.mark.parametrize(
    ("rollout", "said"),
    [
        ("{steps: [shadow, 5]}", "rollout.steps: .*none can be asked beside another"),
        ("{steps: [5], key: carrier}", "rollout.key: .*no key keeps its version"),
        ("{steps: [5], guardrails: {slow_ms: 300}}", "rollout.guardrails.slow_ms: .*limits"),
    ],
)
def test_what_argo_rollouts_cant_do_is_refused_when_the_file_is_read(
    rollout: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        declared(rollout)
    assert "canary: gitops" in str(caught.value.fix)
    assert declared(rollout, "gitops").targets.kubernetes
    assert declared("{steps: [5, 50]}").targets.kubernetes


# ---------------------------------------------------------------- KServe


def test_kserve_and_argo_rollouts_exclude_each_other() -> None:
    text = HEAD + "targets: {kubernetes: {kserve: true, canary: argo-rollouts}}\n"
    with pytest.raises(ConfigError, match="KServe makes the servers' Deployment"):
        config.parse(text.encode(), Path("gitops.yaml"))


def test_an_inference_service_has_the_plan_and_the_images_as_a_deployment_has(
    kserve: list[Json],
) -> None:
    split = Served(variant(OLD), SIGNATURE, variant(NEW), share=5, key="carrier", salt="s")
    documents = filled(kserve, split)
    found = of(documents, "InferenceService")
    assert found["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    predictor = found["spec"]["predictor"]
    assert "canaryTrafficPercent" not in predictor  # the split is the plan's
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (2, 10)
    (server,) = predictor["containers"]
    assert server["name"] == "kserve-container"
    assert server["ports"] == [{"containerPort": 8080, "name": "http"}]
    assert server["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": "http"}
    assert server["livenessProbe"]["httpGet"] == {"path": "/v2/health/live", "port": "http"}
    images = {one["image"] for one in predictor["initContainers"]}
    assert images == {image(variant(one)) for one in (OLD, NEW)}
    assert server["image"] in images
    said = json.loads(of(documents, "ConfigMap")["data"]["serving.json"])
    assert said["models"]["late"]["share"] == 5
    kinds = {one["kind"] for one in documents}
    assert not kinds & {"Deployment", "Service", "HorizontalPodAutoscaler"}
    (beside,) = [one for one in manifests.aside(documents) if one["kind"] == "InferenceService"]
    assert beside["metadata"]["name"] == "flights-aside"
    assert beside["spec"]["predictor"]["labels"]["app.kubernetes.io/component"] == "aside"
    assert beside["spec"]["predictor"]["maxReplicas"] == 1
