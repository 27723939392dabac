"""What a cluster is told: each combination under every offline check, and what a plan makes."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from gitops import config, contracts
from gitops.deploy.kubernetes import kubectl, manifests
from gitops.deploy.kubernetes.manifests import Packed
from gitops.deploy.model import Plan, Served, Variant
from gitops.errors import ConfigError, Where
from gitops.scaffold import targets
from tests.unit.deploy.releases import NEW, OLD, SERVE, variant

Json = dict[str, Any]
PROJECT = Path(__file__).resolve().parents[2]
HEAD = (
    "version: 1\nproject: flights\nmodels:\n  late: {task: binary, deploy: {target: kubernetes}}\n"
)
STEPS = """environments:
  - {name: dev, branch: main}
  - {name: staging, branch: release/staging}
  - name: production
    branch: release/production
    rollout: {steps: [5, 25, 50], guardrails: {errors: 0.02, slow_ms: 100, slow: 0.03}}
"""
ARGO = HEAD + STEPS + "targets: {kubernetes: {canary: argo-rollouts}}\n"
KSERVE = HEAD + "targets: {kubernetes: {kserve: true}}\n"
COMBINATIONS = {
    "plain": HEAD,
    "argo": ARGO,
    "kserve": KSERVE,
    "gpu": HEAD + "targets: {kubernetes: {gpu: true, namespace: ml}}\n",
}
# Of those that the API servers of AKS may be: https://learn.microsoft.com/azure/aks/supported-kubernetes-versions
CUSTOM = ("Rollout", "AnalysisTemplate", "InferenceService")
VERSIONS = ("1.30.0", kubernetes_validate.latest_version())
SIGNATURE = {
    **SERVE,
    "out_of_range": "accept",
    "script": None,
    "log": {"sample": 1.0, "redact": [], "sync_seconds": 1.0, "segment_mb": 64, "keep_mb": 1024},
}
pytestmark = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl isn't installed, whose kustomize is needed"
)


def lay(text: str, folder: Path) -> Path:
    declared = config.parse(text.encode(), folder / "gitops.yaml")
    for file in targets.rendered(declared):
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Json]]:
    """The documents of production, by combination."""
    found = {}
    for name, text in COMBINATIONS.items():
        root = lay(text, tmp_path_factory.mktemp(name))
        found[name] = kubectl.kustomize(root / "deploy/kubernetes/overlays/production")
    return found


def image(one: Variant) -> str:
    return f"registry.example.org/flights/late@sha256:{one.package}"


def plan(served: Served, generation: int = 1) -> Plan:
    return Plan(generation, "flights", "production", {"late": served})


ALONE = Served(variant(OLD), SIGNATURE)
CANARY = Served(variant(OLD), SIGNATURE, variant(NEW), share=5, key="carrier", salt="s")


def filled(documents: list[Json], served: Served, there: tuple[Packed, ...] = ()) -> list[Json]:
    made = plan(served)
    packages = manifests.kept(manifests.packed(made, image), there)
    return manifests.filled(documents, made, packages)


def of(documents: list[Json], kind: str) -> Json:
    (found,) = [one for one in documents if one["kind"] == kind]
    return found


# ---------------------------------------------------------------- every offline check


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_api_takes_every_document(
    built: Mapping[str, list[Json]], name: str, version: str
) -> None:
    documents = filled(built[name], CANARY)
    for one in (*documents, *manifests.aside(documents)):
        if one["kind"] not in CUSTOM:  # which others than the API's own schemas are for
            kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: one["spec"]["template"]["spec"]["containers"][0].update(
            imagePulPolicy="Always"
        ),
        lambda one: one["spec"].pop("selector"),
        lambda one: one["spec"]["template"]["spec"].update(terminationGracePeriodSeconds="long"),
    ],
)
def test_a_fault_in_a_document_is_found(
    built: Mapping[str, list[Json]], spoil: Callable[[Json], object]
) -> None:
    one = of(copy.deepcopy(filled(built["plain"], ALONE)), "Deployment")
    spoil(one)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(one, VERSIONS[0], strict=True)


def checkov(folder: Path, more_than: int = 3) -> list[str]:
    """The ids of checks that fail, of resources that are so many."""
    program = PROJECT / ".checkov" / "bin" / "checkov"
    if not program.exists():
        pytest.skip("checkov isn't there: make .checkov/ready")
    words = ["--directory", str(folder), "--framework", "kubernetes", "--output", "json"]
    done = subprocess.run(
        [program, *words, "--compact", "--quiet", "--skip-download"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    told = json.loads(done.stdout)
    assert told["summary"]["resource_count"] > more_than, told
    return [one["check_id"] for one in told.get("results", {}).get("failed_checks", [])]


def applied(folder: Path, documents: list[Json]) -> Path:
    folder.mkdir(parents=True)
    (folder / "applied.yaml").write_text(kubectl.text(documents))
    return folder


def test_no_security_rule_is_broken(built: Mapping[str, list[Json]], tmp_path: Path) -> None:
    """By what is applied, nor by the files alone; in one run, since the program starts slowly."""
    for name in COMBINATIONS:
        documents = filled(built[name], CANARY)
        if name == "argo":  # the checker knows no Rollout; its pods are those of the Deployment
            documents += [of(manifests.aside(documents), "Deployment")]
        applied(tmp_path / "applied" / name, documents)
        lay(COMBINATIONS[name], tmp_path / "files" / name)
    assert checkov(tmp_path, more_than=3 * 2 * len(COMBINATIONS)) == []


def test_a_broken_security_rule_is_found(built: Mapping[str, list[Json]], tmp_path: Path) -> None:
    documents = copy.deepcopy(filled(built["plain"], ALONE))
    pod = of(documents, "Deployment")["spec"]["template"]["spec"]
    pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    pod["automountServiceAccountToken"] = True
    found = checkov(applied(tmp_path / "one", documents))
    assert {"CKV_K8S_20", "CKV_K8S_38"} <= set(found)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_files_are_in_style(name: str, tmp_path: Path) -> None:
    root = lay(COMBINATIONS[name], tmp_path)
    rules = "{extends: default, rules: {document-start: disable, line-length: {max: 120},"
    rules += " comments: {min-spaces-from-content: 1}}}"
    tool = Path(sys.executable).with_name("yamllint")
    words = [str(tool), "--strict", "-d", rules, str(root / "deploy")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0
    (root / "deploy" / "kubernetes" / "base" / "plan.yaml").write_text("a: 1\na: 2\n")
    assert subprocess.run(words, capture_output=True).returncode == 1


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_every_environment_has_a_namespace_of_its_own_and_names_no_release(
    environment: str, tmp_path: Path
) -> None:
    root = lay(HEAD, tmp_path)
    found = kubectl.kustomize(root / "deploy/kubernetes/overlays" / environment)
    assert of(found, "Namespace")["metadata"]["name"] == f"flights-{environment}"
    spaces = {one["metadata"].get("namespace") for one in found if one["kind"] != "Namespace"}
    assert spaces == {f"flights-{environment}"}
    # A promotion proves trees: what differs between releases stands in no file.
    text = kubectl.text(found)
    assert "sha256:" not in text.replace("sha256:" + 64 * "0", "")
    assert "v1." not in text.replace("/v1.", "")


def test_pods_are_unprivileged_and_wait_for_what_they_need(built: Mapping[str, list[Json]]) -> None:
    pod = of(filled(built["plain"], CANARY), "Deployment")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in (*pod["containers"], *pod["initContainers"]):
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} <= one["resources"].keys()
    (server,) = pod["containers"]
    assert server["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert server["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    quiet = server["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > quiet + 30  # the longest request


def test_a_gpu_is_asked_for_where_it_is_declared(built: Mapping[str, list[Json]]) -> None:
    pod = of(built["gpu"], "Deployment")["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"gitops/gpu": "true"}
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nodeSelector" not in of(built["plain"], "Deployment")["spec"]["template"]["spec"]


PULL = (
    "targets: {kubernetes: {delivery: pull, repository: 'https://github.com/acme/flights.git'}}\n"
)


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_argo_cd_follows_the_branch_that_is_written(environment: str, tmp_path: Path) -> None:
    root = lay(HEAD + PULL, tmp_path)
    text = (root / f"deploy/kubernetes/argocd/{environment}.yaml").read_text()
    one = yaml.safe_load(text)
    schema = json.loads((PROJECT / "tests/contracts/argocd/application.schema.json").read_text())
    jsonschema.validate(one, schema)
    assert one["spec"]["source"]["targetRevision"] == f"gitops/deploy/{environment}"
    assert one["spec"]["destination"]["namespace"] == f"flights-{environment}"
    assert one["spec"]["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True}
    for wrong in (("syncPolicy", "automatic"), ("destination", "namespaces")):
        spoilt = copy.deepcopy(one)
        spoilt["spec"][wrong[0]][wrong[1]] = {}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(spoilt, schema)


def test_pushed_to_there_is_nothing_of_argo_cd(tmp_path: Path) -> None:
    assert not (lay(HEAD, tmp_path) / "deploy/kubernetes/argocd").exists()


def test_pulling_needs_the_repositorys_address(tmp_path: Path) -> None:
    text = HEAD + "targets: {kubernetes: {delivery: pull}}\n"
    with pytest.raises(ConfigError, match="repository"):
        config.parse(text.encode(), tmp_path / "gitops.yaml")


LONG = "p" * 32


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + "targets: {kubernetes: {contexts: {prod: a}}}\n", 'no environment "prod"'),
        (HEAD + 'targets: {kubernetes: {contexts: {production: ""}}}\n', "has a name"),
        (
            HEAD.replace("flights", LONG)
            + f"environments: [{{name: dev, branch: main}}, {{name: {'e' * 31}, branch: e}}]\n",
            "at most 63 characters",
        ),
    ],
)
def test_what_could_mean_another_cluster_is_refused(text: str, says: str, tmp_path: Path) -> None:
    """A misspelt environment would have the provisioned one, and no name kubectl's present one."""
    with pytest.raises(ConfigError) as caught:
        config.parse(text.encode(), tmp_path / "gitops.yaml")
    assert says in caught.value.message + caught.value.fix


# ---------------------------------------------------------------- what a plan makes of them


def test_the_plan_is_in_its_config_map_as_the_contract_has_it(
    built: Mapping[str, list[Json]],
) -> None:
    found = of(filled(built["plain"], CANARY), "ConfigMap")
    document = json.loads(found["data"]["serving.json"])
    contracts.validate("serving", document, Where("serving.json"))
    served = document["models"]["late"]
    assert served["share"] == 5
    assert served["challenger"]["folder"] == f"/packages/{NEW.package}"


def test_each_package_comes_out_of_its_own_image(built: Mapping[str, list[Json]]) -> None:
    pod = of(filled(built["plain"], CANARY), "Deployment")["spec"]["template"]["spec"]
    found = {one["image"]: one["command"][-2:] for one in pod["initContainers"]}
    assert found == {
        image(variant(one)): ["/models/late", f"/packages/{one.package}"] for one in (OLD, NEW)
    }
    assert pod["containers"][0]["image"] in found


def template(documents: list[Json]) -> Json:
    return dict(of(documents, "Deployment")["spec"]["template"])


def test_only_a_package_that_no_pod_has_makes_pods_anew(built: Mapping[str, list[Json]]) -> None:
    """A share, a promotion and a rollback change the plan alone."""
    canary = filled(built["plain"], CANARY)
    live = of(copy.deepcopy(canary), "Deployment")
    live["metadata"]["generation"] = 3
    whole = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    live["spec"]["replicas"] = 2
    live["status"] = {**whole, "observedGeneration": 3}
    there = manifests.holding(live)
    further = replace(CANARY, share=50)
    promoted, rolled_back = Served(variant(NEW), SIGNATURE), ALONE
    for served in (further, promoted, rolled_back):
        assert template(filled(built["plain"], served, there)) == template(canary)
    assert template(filled(built["plain"], ALONE)) != template(canary)
    # On its way to its pods it holds nothing for certain: what is needed is said anew.
    live["status"]["availableReplicas"] = 1
    assert manifests.holding(live) == ()


def test_aside_there_is_no_traffic(built: Mapping[str, list[Json]]) -> None:
    documents = filled(built["plain"], ALONE)
    beside = manifests.aside(documents)
    chosen = of(documents, "Service")["spec"]["selector"]
    labels = of(beside, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert not chosen.items() <= labels.items()
    assert "Service" not in {one["kind"] for one in beside}
    assert of(beside, "ConfigMap")["metadata"]["name"] == "flights-aside-plan"
    volumes = of(beside, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "flights-aside-plan"} in [one.get("configMap") for one in volumes]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda all_: all_.remove(of(all_, "Deployment")), "0 workloads"),
        (lambda all_: all_.append(copy.deepcopy(of(all_, "Deployment"))), "2 workloads"),
        (lambda all_: all_.remove(of(all_, "ConfigMap")), "no ConfigMap flights-plan"),
        (
            lambda all_: of(all_, "Deployment")["spec"]["template"]["spec"]["containers"][0].update(
                name="other"
            ),
            "no container called server",
        ),
    ],
)
def test_manifests_that_lost_what_is_needed_are_refused(
    built: Mapping[str, list[Json]], spoil: Callable[[list[Json]], object], said: str
) -> None:
    documents = copy.deepcopy(built["plain"])
    spoil(documents)
    with pytest.raises(ConfigError, match=said):
        filled(documents, ALONE)


def test_kustomize_says_what_it_cant_build(tmp_path: Path) -> None:
    root = lay(HEAD, tmp_path)
    overlay = root / "deploy/kubernetes/overlays/production"
    (overlay / "namespace.yaml").unlink()
    with pytest.raises(ConfigError, match=r"namespace\.yaml"):
        kubectl.kustomize(overlay)
    assert yaml.safe_load((overlay / "kustomization.yaml").read_text())["namespace"]
