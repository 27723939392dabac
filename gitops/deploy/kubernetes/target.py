"""The target `kubernetes`: servers in a cluster, which follow the plan in a ConfigMap.

What the repository says comes from the environment's branch; the cluster keeps the state's
documents, so that any machine can go on where another has stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from gitops import jsontext
from gitops.deploy.ask import Answer
from gitops.deploy.kubernetes import course, logs, manifests
from gitops.deploy.kubernetes.delivery import Delivery
from gitops.deploy.kubernetes.kubectl import Kubectl, text
from gitops.deploy.model import Course, Desired, Observed, Plan
from gitops.deploy.state import DOCUMENTS, State
from gitops.deploy.target import Images
from gitops.errors import ConfigError, EvidenceError, ToolError

Json = dict[str, Any]
_LOOK = 1.0  # seconds between two looks at the pods
_PATIENCE = 900.0  # seconds until a plan is served: a node may have to be made, an image pulled
_PLACE = "place.json"
_HERE = "$STATE"  # stands for the state folder, which is another on each machine
# What keeps a container from starting, and waiting doesn't mend.
_STUCK = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError")
_FAILS = ("CrashLoopBackOff",)


@dataclass(frozen=True)
class Told:
    """What a pod says: the generation that it serves; why it doesn't serve the `wanted` one."""

    generation: int | None = None
    wanted: int = 0
    error: str = ""


@dataclass
class Kubernetes:
    """Servers called `name`, objects of the kind `workload`. `sources` gives the documents of the
    repository at a commit, `images` the images for its Containerfile ("": the work tree's)."""

    state: State
    kubectl: Kubectl
    delivery: Delivery
    name: str
    sources: Callable[[str], Sequence[Json]]
    images: Callable[[str], Images]
    named: Images
    say: Callable[[str], None]
    workload: str = "Deployment"
    kind: str = "kubernetes"
    beside: bool = False
    tip: str = ""
    _version: str | None = None
    _data: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.beside:
            self.state = replace(self.state, keep=self._keep)

    # ------------------------------------------------------------ the state's documents

    def recall(self) -> None:
        found = self.kubectl.get("configmap", self._kept)
        self._data = dict(found.get("data") or {}) if found else {}
        self._version = found["metadata"]["resourceVersion"] if found else None
        for name in DOCUMENTS:
            here = self.state.folder / name
            if name in self._data:
                said = self._data[name].replace(_HERE, str(self.state.folder))
                if not here.is_file() or here.read_text("utf-8") != said:
                    self.state.recalled(name, said)
            elif found is None and name != "deployed.json":  # whose records may wait to be pushed
                here.unlink(missing_ok=True)

    def _keep(self, name: str, said: str) -> None:
        """Take a document to the cluster; AnswerNo if another reconciler has written meanwhile."""
        meta: Json = {"name": self._kept, "namespace": self.kubectl.namespace}
        meta["labels"] = self._labels
        if self._version is None:
            self._make_room()
        else:
            meta["resourceVersion"] = self._version
        data = {**self._data, name: said.replace(str(self.state.folder), _HERE)}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
        self._version = self.kubectl.put(document)["metadata"]["resourceVersion"]
        self._data = data

    def _make_room(self) -> None:
        """The namespace, if the repository declares it and it isn't there: whoever deploys later
        needs no right to make one."""
        spaces = [one for one in self._documents() if one["kind"] == "Namespace"]
        if spaces and self.kubectl.get("namespace", self.kubectl.namespace) is None:
            self.kubectl.apply(spaces)

    @property
    def _kept(self) -> str:
        return f"{self.name}-state"

    @property
    def _labels(self) -> dict[str, str]:
        return {"app.kubernetes.io/managed-by": "gitops", "app.kubernetes.io/name": self.name}

    # ------------------------------------------------------------ what is served

    def place(self, desired: Desired) -> None:
        self.tip = desired.tip

    def listening(self) -> str:
        service = f"{self.name}-predictor" if self._kserve else self.name
        return f"http://{service}.{self.kubectl.namespace}.svc.cluster.local"

    def observe(self) -> Observed:
        live = self._live()
        if live is None:
            return Observed(False, True, None, {})
        states = {one["metadata"]["name"]: self._told(one) for one in self._current(live)}
        errors = [one.error for one in states.values() if one.error]
        generations = {one.generation for one in states.values()}
        whole = manifests.rolled_out(live) and len(generations) == 1
        notes = live["metadata"].get("annotations", {})
        return Observed(
            runs=bool(states),
            fits=notes.get(manifests.SOURCE) == manifests.source(self._documents()),
            generation=course.generation(live) or (generations.pop() if whole else None),
            workers={pod: one.generation or 0 for pod, one in states.items()},
            error=errors[0] if errors else "",
        )

    def ready(self) -> bool:
        live = self._live()
        return live is not None and live.get("status", {}).get("availableReplicas", 0) > 0

    def documents(self, plan: Plan) -> Mapping[str, str]:
        """With images by their tag: which digest that is only the registry knows."""
        packages = manifests.packed(plan, self.named)
        return {"documents.yaml": text(manifests.filled(self._documents(), plan, packages))}

    def apply(self, plan: Plan) -> None:
        wanted = manifests.packed(plan, self.images(self._tip))
        packages = wanted
        if not self.argo:  # whose pods have a plan of their own, and no more than it names
            packages = manifests.kept(wanted, manifests.holding(self._live()))
        self._make_room()
        sources = self._documents()
        documents = manifests.filled(sources, plan, packages)
        own = manifests.revision(manifests.workload(sources), plan)
        if self.beside:
            self.delivery.put("aside", manifests.aside(documents))
        else:
            self.state.write(_PLACE, {"tip": self._tip})
            self.state.put_plan(plan)
            self.delivery.put("served", documents)
        if self.argo and not self.beside:
            course.handed_over(self._live, plan.generation, self._pods, _require_started)
            return
        self._nudge(plan.generation)
        generation = 1 if own else plan.generation
        self._wait(generation, manifests.loads(packages, own))

    def course(self) -> Course:
        """How Argo Rollouts is getting on with what it was handed last. Raises ToolError."""
        plan = self.state.plan()
        return course.told(self._live(), plan.generation if plan else 0)

    @property
    def argo(self) -> bool:
        """Whether Argo Rollouts brings new versions to traffic."""
        return self.workload == "Rollout"

    @property
    def _kserve(self) -> bool:
        return self.workload == "InferenceService"

    def _nudge(self, generation: int) -> None:
        """A pod whose annotations change gets its ConfigMaps at once, not within a minute or two.

        https://kubernetes.io/docs/tasks/configure-pod-container/configure-pod-configmap/
        """
        names = [one["metadata"]["name"] for one in self._pods()]
        if names:
            self.kubectl.annotate("pods", names, "gitops/generation", str(generation))

    def ask(self, model: str, version: str, body: bytes | Mapping[str, Any]) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body, allow_nan=False).encode()
        live = self._live()
        for pod in self._current(live) if live else ():
            if _ready(pod):
                path = f"/models/{model}/versions/{version}/predict"
                said = raw.decode("utf-8", "replace")
                return self._asked(pod["metadata"]["name"], path, said)
        raise ToolError("no pod is ready to be asked", fix="gitops deploy starts what should run")

    def _asked(self, pod: str, path: str, body: str) -> Answer:
        told = json.loads(self.kubectl.inside(pod, "ask", str(manifests.PORT), path, input=body))
        try:
            return Answer(int(told["status"]), jsontext.loads(told["body"]))
        except ValueError:
            return Answer(int(told["status"]), told["body"])

    @contextmanager
    def aside(self, plan: Plan) -> Iterator[Kubernetes]:
        beside = replace(self, beside=True, state=replace(self.state, keep=None))
        try:
            beside.apply(plan)
            yield beside
        finally:
            beside.stop()

    def mark(self, model: str) -> Json:
        found: dict[str, int] = {}
        for name, uid in self._logging():
            told = json.loads(self.kubectl.inside(name, "sizes", manifests.STATE))
            found |= logs.here(self.state.folder, uid, told)
        folders = {"log": f"log/{model}/", "labels": "labels/"}
        return {
            kind: {
                path.removeprefix(folder): size
                for path, size in found.items()
                if path.startswith(folder)
            }
            for kind, folder in folders.items()
        }

    def _logging(self) -> list[tuple[str, str]]:
        """Name and uid of each pod that may have logged."""
        metas = [one["metadata"] for one in self._pods() if _running(one)]
        return [(one["name"], one["uid"]) for one in metas]

    def collect(self, model: str) -> None:
        under = self.state.under_way().get(model)
        for kind, before in (under.since if under else {}).items():
            folder = f"log/{model}" if kind == "log" else kind
            skipped = {f"{folder}/{name}": int(size) for name, size in before.items()}
            logs.skip(self.state.folder, skipped)
        for name, uid in self._logging():
            known = json.dumps(logs.offsets(self.state.folder, uid))
            told = self.kubectl.inside(name, "log", manifests.STATE, input=known)
            logs.add(self.state.folder, uid, told)

    def stop(self) -> bool:
        if self.beside:
            return self.delivery.remove("aside", {**self._labels, manifests.COMPONENT: "aside"})
        return self.delivery.remove("served", self._labels)

    # ------------------------------------------------------------ pods

    @property
    def _tip(self) -> str:
        """The commit whose files count: the branch's tip, or the one that was applied last."""
        return self.tip or str((self.state.read(_PLACE) or {}).get("tip", ""))

    def _documents(self) -> Sequence[Json]:
        """What the repository says. Raises ConfigError if it names another namespace or server."""
        found = self.sources(self._tip)
        server = manifests.workload(found)
        where = (server["metadata"].get("namespace"), server["metadata"]["name"])
        if where != (self.kubectl.namespace, self.name):
            raise ConfigError(
                f"deploy/kubernetes has the server {where[1]} in the namespace {where[0]}, but"
                f" gitops.yaml means {self.name} in {self.kubectl.namespace}",
                fix="write targets.kubernetes.namespace, or give them back their names",
            )
        if server["kind"] != self.workload:
            raise ConfigError(
                f"deploy/kubernetes has a {server['kind']}, but gitops.yaml means a"
                f" {self.workload} (targets.kubernetes)",
                fix="gitops sync; commit and promote what it writes",
            )
        return found

    def _live(self) -> Json | None:
        name = f"{self.name}-aside" if self.beside else self.name
        if self.argo and not self.beside:
            return self.kubectl.get("rollouts.argoproj.io", name)
        return self.kubectl.get("deployment", f"{name}-predictor" if self._kserve else name)

    def _pods(self) -> list[Json]:
        component = "aside" if self.beside else "server"
        return self.kubectl.select("pods", {**_name(self.name), manifests.COMPONENT: component})

    def _current(self, live: Json) -> list[Json]:
        """The pods of a workload's present template that aren't on their way out."""
        loads = live["spec"]["template"]["metadata"]["labels"].get(manifests.LOADS)
        return [
            one
            for one in self._pods()
            if one["metadata"].get("labels", {}).get(manifests.LOADS) == loads
            and "deletionTimestamp" not in one["metadata"]
        ]

    def _told(self, pod: Json) -> Told:
        if not _running(pod):
            return Told()
        try:
            said = self.kubectl.inside(pod["metadata"]["name"], "state", manifests.STATE)
        except ToolError:  # it has just ended
            return Told()
        workers = list(json.loads(said)["workers"].values())
        served = {one["generation"] for one in workers}
        refused = [one for one in workers if one.get("error")]
        return Told(
            generation=served.pop() if len(served) == 1 else None,
            wanted=max((int(one.get("wanted") or 0) for one in refused), default=0),
            error=str(refused[0]["error"]) if refused else "",
        )

    def _wait(self, generation: int, loads: str) -> None:
        """Until every pod is of the present template, is ready, and serves the generation."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            live = self._live()
            pods = self._current(live) if live else []
            for pod in pods:
                _require_started(pod)
            told = {one["metadata"]["name"]: self._told(one) for one in pods}
            for pod_name, one in told.items():
                if one.error and one.wanted >= generation:
                    raise EvidenceError(
                        f"pod {pod_name} can't serve this: {one.error.splitlines()[0]}",
                        fix="what ran goes on running",
                    )
            due = live and live["spec"]["template"]["metadata"]["labels"].get(manifests.LOADS)
            reached = [(one.generation or 0) >= generation for one in told.values()]
            if live and due == loads and manifests.rolled_out(live) and reached and all(reached):
                return
            if live and (why := _failed(live)):
                raise ToolError(f"the cluster gave up: {why}", fix=self._hint)
            if time.monotonic() > deadline:
                raise ToolError(
                    f"generation {generation} isn't served after {_PATIENCE:.0f} seconds",
                    fix=self._hint,
                )
            time.sleep(_LOOK)

    @property
    def _hint(self) -> str:
        return f"kubectl --namespace {self.kubectl.namespace} describe pods"


def _name(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}


def _running(pod: Json) -> bool:
    states = pod.get("status", {}).get("containerStatuses", [])
    return any(
        one["name"] in manifests.SERVERS and "running" in one.get("state", {}) for one in states
    )


def _ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _require_started(pod: Json) -> None:
    """Raise if a container of a pod can't start, and waiting won't mend it.

    Raises:
        ToolError: its image can't be had, or it can't be made.
        EvidenceError: it starts and ends, over and over.
    """
    status = pod.get("status", {})
    for one in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        waiting = one.get("state", {}).get("waiting", {})
        why = f"{one['name']} of pod {pod['metadata']['name']}: {waiting.get('reason')}"
        if waiting.get("reason") in _STUCK:
            raise ToolError(
                f"{why}: {waiting.get('message', '')}"[:500],
                fix="may the cluster's machines pull from this registry?",
            )
        if waiting.get("reason") in _FAILS:
            raise EvidenceError(
                f"{why}: it can't serve what the plan says",
                fix="kubectl logs says why; what ran goes on running",
            )


def _failed(live: Json) -> str:
    for one in live.get("status", {}).get("conditions", []):
        current = live["status"].get("observedGeneration", 0) >= live["metadata"]["generation"]
        if one["type"] == "Progressing" and one["status"] == "False" and current:
            return str(one.get("message", one.get("reason", "")))
    return ""
