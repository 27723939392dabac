"""What is handed over to each platform, held against the platform's own description."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from gitops import config, mailbox, sha256
from gitops.errors import ConfigError
from gitops.mailbox import Job, Ticket
from gitops.reproduce.compute.azureml import AzureML
from gitops.reproduce.compute.kinds import platform_of
from gitops.reproduce.compute.platform import Order

ROOT = Path(__file__).parents[3]
AZUREML = ROOT / ".azureml" / "bin" / "python"
BUNDLE = json.loads((ROOT / "tests" / "databricks_bundle.json").read_text())
GITOPS = """\
version: 1
project: churn
models: {left: {task: binary}}
infrastructure: {provider: azure, id: k7q2m9xd, components: {azureml: {gpu: {}}}}
compute:
  azureml: {azureml: {cluster: gpu}, env: {LOG_LEVEL: info}}
  databricks:
    databricks: {host: "https://adb-1.2.azuredatabricks.net"}
    env: {AWS_SECRET_ACCESS_KEY: "{{secrets/builds/key}}"}
  kubernetes:
    kubernetes:
      {namespace: builds, service_account: builds, gpus: 1, selector: {gitops/gpu: "true"}}
    timeout: 60
  process: {process: {}}
"""
JOB = Job(
    id="0123456789abcdef-1",
    compute="gpu",
    commit="1" * 40,
    tree="2" * 40,
    models=("left",),
    tool="0.1.0",
    pack="a" * 64,
    size=4711,
    needs=(),
    timeout=60,
    by="Ada <ada@example.org>",
    created=datetime(2026, 1, 31, tzinfo=UTC),
)


def order(kind: str, text: str = GITOPS) -> Order:
    options = {"account_name": "flights"}
    return Order(
        job=JOB,
        ticket=Ticket("azure://dvc/it's", options, JOB.id, sha256.of(JOB.document())),
        name=kind,
        config=config.parse(text.encode(), Path("gitops.yaml")),
        python="3.12",
        requirements=b"pip==1 --hash=sha256:0\n",
    )


def documents(kind: str) -> dict[str, Any]:
    """The YAML documents for a kind, read again."""
    found = platform_of(order(kind)).documents()
    return {
        name: yaml.safe_load(raw) for name, raw in found.items() if name.endswith((".yml", ".yaml"))
    }


def changed(document: Any, change: Callable[[Any], Any]) -> Any:
    other = copy.deepcopy(document)
    change(other)
    assert other != document
    return other


# ---------------------------------------------------------------- Azure ML


def read_by_azureml(document: object, folder: Path) -> str:
    """What the official reader says of a job; empty if it takes it."""
    (folder / "code").mkdir(exist_ok=True)
    (folder / "job.yml").write_text(yaml.safe_dump(document))
    code = "import sys; from azure.ai.ml import load_job; load_job(sys.argv[1])"
    command = [str(AZUREML), "-c", code, str(folder / "job.yml")]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


@pytest.mark.skipif(not AZUREML.exists(), reason="no azure-ai-ml here: make .azureml/ready")
def test_azure_ml_takes_the_job_and_would_see_a_mistake(tmp_path: Path) -> None:
    (document,) = documents("azureml").values()
    assert read_by_azureml(document, tmp_path) == ""
    wrong = changed(document, lambda one: one.update(comput=one.pop("compute")))
    assert "comput" in read_by_azureml(wrong, tmp_path)


def test_azure_ml_runs_as_the_cluster_for_so_long_and_in_the_projects_python() -> None:
    (document,) = documents("azureml").values()
    assert document["identity"] == {"type": "managed"}
    assert document["limits"] == {"timeout": 3600}
    assert document["environment"] == {"image": "docker.io/library/python:3.12"}
    assert document["compute"] == "azureml:gpu"
    words = ["sh", "-c", f"printf '%s\\n' {document['command'].partition('bootstrap.py ')[2]}"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert mailbox.ticket(said) == order("azureml").ticket  # quotes and all


def test_azure_ml_finds_the_workspace_by_the_infrastructures_names_or_says_what_is_missing() -> (
    None
):
    found = AzureML(order("azureml"))._place()
    assert [name.rpartition("-")[0] for name in found] == ["churn-dev", "churn-dev"]
    lines = [line for line in GITOPS.splitlines() if not line.startswith("infrastructure")]
    with pytest.raises(ConfigError, match="which workspace"):
        AzureML(order("azureml", "\n".join(lines)))._place()


# ---------------------------------------------------------------- Kubernetes


def validated(document: object, folder: Path) -> str:
    """What kubernetes-validate says of a document; empty if it takes it."""
    path = folder / "document.yaml"
    path.write_text(yaml.safe_dump(document))
    command = [str(Path(sys.executable).parent / "kubernetes-validate"), "--strict", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


def test_kubernetes_takes_the_documents_and_would_see_a_mistake(tmp_path: Path) -> None:
    found = documents("kubernetes")
    assert {name: validated(one, tmp_path) for name, one in found.items()} == {
        "program.yaml": "",
        "job.yaml": "",
    }
    wrong = changed(found["job.yaml"], lambda one: one["spec"].update(backOffLimit=0))
    assert "backOffLimit" in validated(wrong, tmp_path)


def unrestricted(pod: Any) -> list[str]:
    """How a pod breaks the restricted profile of the pod security standards, as far as it applies.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    """
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    found += [one["name"] for one in pod["volumes"] if not {"configMap", "emptyDir"} & one.keys()]
    around = pod.get("securityContext", {})
    for one in pod["containers"]:
        inside = one.get("securityContext", {})
        rules = {
            "allowPrivilegeEscalation": inside.get("allowPrivilegeEscalation") is False,
            "privileged": not inside.get("privileged"),
            "capabilities": inside.get("capabilities") == {"drop": ["ALL"]},
            "runAsNonRoot": {**around, **inside}.get("runAsNonRoot") is True,
            "runAsUser": {**around, **inside}.get("runAsUser") != 0,
            "seccompProfile": {**around, **inside}.get("seccompProfile")
            == {"type": "RuntimeDefault"},
        }
        found += [name for name, holds in rules.items() if not holds]
    return found


def test_the_pod_is_restricted() -> None:
    job = documents("kubernetes")["job.yaml"]
    pod = job["spec"]["template"]["spec"]
    assert unrestricted(pod) == []
    assert unrestricted(changed(pod, lambda one: one.pop("securityContext"))) == [
        "runAsNonRoot",
        "seccompProfile",
    ]
    loose = changed(pod, lambda one: one["containers"][0].pop("securityContext"))
    assert unrestricted(loose) == ["allowPrivilegeEscalation", "capabilities"]
    assert unrestricted(changed(pod, lambda one: one.update(hostPID=True))) == ["hostPID"]
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_job_runs_once_on_a_machine_with_a_gpu_and_goes() -> None:
    job = documents("kubernetes")["job.yaml"]
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 3600)
    assert spec["ttlSecondsAfterFinished"] == 86400
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["nodeSelector"] == {"gitops/gpu": "true"}
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert pod["serviceAccountName"] == "builds"
    labels = spec["template"]["metadata"]["labels"]
    assert labels["azure.workload.identity/use"] == "true"
    assert len(job["metadata"]["name"]) <= 63


# ---------------------------------------------------------------- Databricks


def test_databricks_knows_each_property_and_would_see_a_mistake() -> None:
    (bundle,) = documents("databricks").values()
    known = Draft202012Validator(BUNDLE)
    assert [error.message for error in known.iter_errors(bundle)] == []
    task = ["resources", "jobs", "build", "tasks", 0, "new_cluster"]

    def misspell(one: Any) -> None:
        for step in task:
            one = one[step]
        one["node_type"] = one.pop("node_type_id")

    (error,) = known.iter_errors(changed(bundle, misspell))
    assert "node_type" in error.message
    assert list(error.path) == task


def test_databricks_runs_once_for_so_long_and_knows_secrets_by_name_only() -> None:
    (bundle,) = documents("databricks").values()
    job = bundle["resources"]["jobs"]["build"]
    (task,) = job["tasks"]
    assert (job["max_concurrent_runs"], job["timeout_seconds"], task["max_retries"]) == (1, 3600, 0)
    assert task["new_cluster"]["spark_env_vars"] == {
        "AWS_SECRET_ACCESS_KEY": "{{secrets/builds/key}}"
    }
    assert "{{" not in task["spark_python_task"]["parameters"][0]  # which it would fill in


# ---------------------------------------------------------------- all


@pytest.mark.parametrize("kind", ["azureml", "databricks", "kubernetes", "process"])
def test_the_same_job_makes_the_same_documents(kind: str) -> None:
    assert platform_of(order(kind)).documents() == platform_of(order(kind)).documents()


def test_a_ticket_has_no_secret_of_the_remotes_settings(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(
        "[core]\n    remote = storage\n['remote \"storage\"']\n    url = azure://dvc/churn\n"
        "    account_name = flights\n    connection_string = AccountKey=hidden\n"
        "    sas_token = hidden\n    account_key = hidden\n"
    )
    ticket = mailbox.ticket_for(tmp_path, JOB.id, b"{}")
    assert ticket.options == {"account_name": "flights"}
    assert "hidden" not in ticket.text()
    assert mailbox.ticket(ticket.text()) == ticket


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("{}", "has no kind"),
        ("{process: {}, azureml: {}}", "azureml and process"),
        ("{process: }", "has no value"),
        ("{process: {}, env: {MY_TOKEN: abc}}", "looks like a secret"),
        ('{process: {}, env: {MY_TOKEN: "{{secrets/a/b}}"}}', "looks like a secret"),
        ("{process: {}, image: python}", "is for azureml and kubernetes"),
        ("{azureml: {workspace: flights}}", "group is missing beside workspace"),
        ("{azureml: {environment: prod}}", "no environment"),
        ("{kubernetes: {gpu: 1}}", "gpus"),
        ("{databricks: {runtime: latest}}", "16.4.x"),
        ("{process: {}, timeout: 0}", "timeout"),
    ],
)
def test_a_compute_that_cannot_work_is_refused(entry: str, found: str) -> None:
    head = GITOPS.partition("compute:")[0]
    with pytest.raises(ConfigError) as caught:
        config.parse(f"{head}compute: {{one: {entry}}}\n".encode(), Path("gitops.yaml"))
    assert found in f"{caught.value.message} {caught.value.fix}"
