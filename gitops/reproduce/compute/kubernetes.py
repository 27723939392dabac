"""A Job in a Kubernetes cluster, by `kubectl`.

Fields: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/. The pod
keeps to the restricted profile of https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitops import jsontext, proc
from gitops.config.compute import KubernetesCompute
from gitops.errors import ToolError
from gitops.reproduce.compute.platform import Handle, Order, Seen, bootstrap, yaml_text

_SECONDS = 60.0
_KEPT_SECONDS = 86_400  # an ended job, for who wants to read its log
_USER = 10001
_PROGRAM, _WORK = "/gitops", "/work"


class Kubernetes:
    """The Job's name is the mailbox's: a second submission finds that it is there."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._settings = order.compute.kubernetes or KubernetesCompute()

    def documents(self) -> dict[str, bytes]:
        files = {
            "bootstrap.py": bootstrap().decode(),
            "requirements.txt": self._order.requirements.decode(),
        }
        program = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": self._metadata(),
            "immutable": True,
            "data": files,
        }
        return {"program.yaml": yaml_text(program), "job.yaml": yaml_text(self._job())}

    def submit(self, folder: Path) -> Handle:
        for name in self.documents():
            done = self._kubectl("create", "--filename", str(folder / name))
            if done.code and "AlreadyExists" not in done.err:
                raise proc.failed(["kubectl", "create"], done)
        return {"name": self._order.job_name}

    def look(self, handle: Handle) -> Seen:
        job = self._json("get", "job", self._order.job_name, "--ignore-not-found")
        if not job:
            return Seen("absent", "there's no such job")
        for one in job.get("status", {}).get("conditions", []):
            if one.get("type") in ("Complete", "Failed") and one.get("status") == "True":
                return Seen("ended", _words(one.get("type"), one.get("reason"), one.get("message")))
        pods = self._json("get", "pods", "--selector", f"job-name={self._order.job_name}")
        return _of_pods(pods.get("items", []))

    def cancel(self, handle: Handle) -> None:
        self._delete()

    def tidy(self, handle: Handle) -> None:
        """The program goes; the Job, with its pod's log, is the cluster's to remove after a day."""
        self._checked("delete", "configmap", self._order.job_name, "--ignore-not-found")

    def logs(self, handle: Handle) -> str:
        return " ".join([*self._command("logs"), f"job/{self._order.job_name}"])

    def _delete(self) -> None:
        wait = ["--ignore-not-found", "--wait=false"]
        self._checked("delete", "job", self._order.job_name, *wait)

    def _metadata(self) -> dict[str, Any]:
        return {
            "name": self._order.job_name,
            "namespace": self._settings.namespace,
            "labels": {
                "app.kubernetes.io/name": "gitops-build",
                "app.kubernetes.io/managed-by": "gitops",
            },
            "annotations": {
                "gitops/commit": self._order.job.commit,
                "gitops/models": " ".join(self._order.job.models),
            },
        }

    def _job(self) -> dict[str, Any]:
        metadata = self._metadata()
        labels = dict(metadata["labels"])
        if self._settings.service_account:
            # https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html
            labels["azure.workload.identity/use"] = "true"
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": {
                "backoffLimit": 0,
                "activeDeadlineSeconds": self._order.job.timeout * 60,
                "ttlSecondsAfterFinished": _KEPT_SECONDS,
                "template": {"metadata": {"labels": labels}, "spec": self._pod()},
            },
        }

    def _pod(self) -> dict[str, Any]:
        one = self._settings
        pod: dict[str, Any] = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [self._container()],
            "volumes": [
                {"name": "program", "configMap": {"name": self._order.job_name}},
                {"name": "work", "emptyDir": {"sizeLimit": one.disk}},
            ],
        }
        if one.service_account:
            pod["serviceAccountName"] = one.service_account
        if one.selector:
            pod["nodeSelector"] = dict(sorted(one.selector.items()))
        if one.gpus:
            taint = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
            pod["tolerations"] = [taint]
        return pod

    def _container(self) -> dict[str, Any]:
        one = self._settings
        # A user without a name of its own, who writes to one folder.
        env = {"HOME": _WORK, "TMPDIR": _WORK, "USER": "gitops", **self._order.env}
        room: dict[str, Any] = {"cpu": one.cpu, "memory": one.memory, "ephemeral-storage": one.disk}
        if one.gpus:
            room["nvidia.com/gpu"] = str(one.gpus)
        return {
            "name": "build",
            "image": self._order.image,
            "command": ["python3", f"{_PROGRAM}/bootstrap.py", self._order.ticket.text()],
            "workingDir": _WORK,
            "env": [{"name": name, "value": value} for name, value in env.items()],
            "resources": {"requests": room, "limits": room},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "program", "mountPath": _PROGRAM, "readOnly": True},
                {"name": "work", "mountPath": _WORK},
            ],
        }

    def _command(self, *words: str) -> list[str]:
        context = ["--context", self._settings.context] if self._settings.context else []
        return ["kubectl", *context, "--namespace", self._settings.namespace, *words]

    def _kubectl(self, *words: str) -> proc.Done:
        return proc.run(self._command(*words), timeout=_SECONDS, check=False)

    def _checked(self, *words: str) -> str:
        done = self._kubectl(*words)
        if done.code:
            raise proc.failed(["kubectl", *words], done)
        return done.out

    def _json(self, *words: str) -> dict[str, Any]:
        text = self._checked(*words, "--output", "json")
        try:
            found = jsontext.loads(text or "{}")
        except ValueError as error:
            raise ToolError("kubectl gave no JSON", fix="upgrade kubectl") from error
        return found if isinstance(found, dict) else {}


def _of_pods(pods: list[Mapping[str, Any]]) -> Seen:
    """The newest pod's state, and why it doesn't start: no machine, no image, no quota."""
    if not pods:
        return Seen("waiting", "no pod yet")
    status = max(pods, key=lambda one: one["metadata"].get("creationTimestamp", ""))["status"]
    phase = status.get("phase", "Pending")
    if phase == "Running":
        return Seen("running", "Running")
    if phase in ("Succeeded", "Failed"):  # its Job will say so
        return Seen("running", phase)
    for container in status.get("containerStatuses", []):
        if why := container.get("state", {}).get("waiting"):
            return Seen("waiting", _words(phase, why.get("reason"), why.get("message")))
    for one in status.get("conditions", []):
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return Seen("waiting", _words(phase, one.get("reason"), one.get("message")))
    return Seen("waiting", phase)


def _words(*parts: str | None) -> str:
    return ": ".join(part for part in parts if part)
