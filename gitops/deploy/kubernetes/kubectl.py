"""The edge to a cluster: kubectl, with the context and the namespace always said."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gitops import proc
from gitops.errors import AnswerNo, ConfigError, ToolError, Where

Json = dict[str, Any]
MANAGER = "gitops"  # who owns the fields that we apply
_SECONDS = 120.0
# A server's own words: a context, a host or a login that isn't found is no answer of a cluster.
_NOT_FOUND = re.compile(r"^Error from server \(NotFound\)", re.MULTILINE)
_CONFLICT = re.compile(r"^Error from server \((?:Conflict|AlreadyExists)\)", re.MULTILINE)


@dataclass(frozen=True)
class Kubectl:
    """kubectl for one namespace of the cluster that a context names.

    `login` makes the kubeconfig that has the context, when it is first needed; without it the
    user's own has.
    """

    context: str
    namespace: str
    login: Callable[[], Path] | None = None
    container: str = "server"
    _made: list[str] = field(default_factory=list, compare=False)

    def get(self, kind: str, name: str) -> Json | None:
        """An object; None if there's none. Raises ToolError if the cluster can't be asked."""
        done = self._run("get", kind, name, "--output", "json", check=False)
        if done.code and _NOT_FOUND.search(done.err):
            return None
        return self._document(done)

    def select(self, kind: str, labels: Mapping[str, str]) -> list[Json]:
        """Objects with these labels. Raises as `get`."""
        chosen = ",".join(f"{key}={value}" for key, value in labels.items())
        done = self._run("get", kind, "--selector", chosen, "--output", "json", check=False)
        return list(self._document(done)["items"])

    def apply(self, documents: Sequence[Json]) -> None:
        """Make these objects what the documents say; fields of others stay as they are.

        Raises:
            ToolError: the cluster refuses them, or another manager owns a field.
        """
        words = ["apply", "--server-side", "--field-manager", MANAGER, "--filename", "-"]
        self._run(*words, input=text(documents))

    def put(self, document: Json) -> Json:
        """Write an object as it is, if it is still of its resourceVersion (none: a new one).

        Raises:
            AnswerNo: somebody else has written it meanwhile.
            ToolError: the cluster refuses it.
        """
        new = "resourceVersion" not in document["metadata"]
        words = ["create" if new else "replace", "--filename", "-", "--output", "json"]
        done = self._run(*words, input=text([document]), check=False)
        if done.code and _CONFLICT.search(done.err):
            raise AnswerNo(
                "another reconciler is at work on this environment: it has written the state",
                fix="let it work, or end it first",
            )
        return self._document(done)

    def annotate(self, kind: str, names: Sequence[str], note: str, value: str) -> None:
        """Annotate objects; one that has gone meanwhile is no matter."""
        words = ["annotate", "--overwrite", kind, *names, f"{note}={value}"]
        done = self._run(*words, check=False)
        if done.code and not _NOT_FOUND.search(done.err):
            self._document(done)

    def delete(self, kinds: Sequence[str], labels: Mapping[str, str]) -> bool:
        """Delete objects of these kinds with these labels; whether there were any."""
        chosen = ",".join(f"{key}={value}" for key, value in labels.items())
        words = ["delete", ",".join(kinds), "--selector", chosen, "--output", "name"]
        return bool(self._run(*words, "--ignore-not-found", "--wait=true").out.strip())

    def inside(self, pod: str, *words: str, input: str = "") -> str:
        """What `gitops.serve.inside` answers in a pod's server container. Raises ToolError."""
        command = ["python", "-m", "gitops.serve.inside", *words]
        there = ["exec", "--stdin", pod, "--container", self.container, "--"]
        return self._run(*there, *command, input=input).out

    def _run(self, *words: str, input: str | None = None, check: bool = True) -> proc.Done:
        if self.login is not None and not self._made:
            self._made.append(str(self.login()))
        env = {"KUBECONFIG": self._made[0]} if self._made else {}
        where = ["--context", self.context, "--namespace", self.namespace]
        command = [program(), *where, *words]
        return proc.run(command, input=input, env=env, timeout=_SECONDS, check=check)

    def _document(self, done: proc.Done) -> Json:
        if done.code:
            raise ToolError(
                f"the cluster can't be asked: {done.err.strip()[:1000]}",
                fix=f"does `kubectl --namespace {self.namespace} get pods` answer here?",
            )
        found = json.loads(done.out)
        return found if isinstance(found, dict) else {}


def program() -> str:
    """Raises ToolError if kubectl isn't installed."""
    found = shutil.which("kubectl")
    if found is None:
        raise ToolError("kubectl is not installed", fix="https://kubernetes.io/docs/tasks/tools")
    return found


def kustomize(folder: Path) -> list[Json]:
    """The documents of an overlay; no cluster is asked.

    Raises:
        ConfigError: kustomize can't build it.
    """
    done = proc.run([program(), "kustomize", str(folder)], check=False, timeout=_SECONDS)
    if done.code:
        raise ConfigError(
            f"kustomize can't build it: {done.err.strip()[:1000]}",
            fix="mend the files below deploy/kubernetes",
            where=Where(folder),
        )
    return [one for one in yaml.safe_load_all(done.out) if one is not None]


def text(documents: Sequence[Json]) -> str:
    """Documents as one YAML text."""
    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=100)
