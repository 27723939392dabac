"""A stand-in for a cluster, a registry and what builds images: programs that keep all in a folder.

What is real: kustomize, the documents, every server (a process of `gitops serve --plan` for each
pod, which follows the plan that its ConfigMap has), what is asked inside of pods, versions of
objects, and the order of a rolling update: new pods first, old ones go when those are ready.

What isn't: there's no scheduler, no network between pods, no admission, no probe once a pod is
ready; applying replaces whole parts of an object; nothing happens but when `kubectl` is called.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
FOLDER, REAL = "GITOPS_TEST_CLUSTER", "GITOPS_TEST_KUBECTL"
FOLLOWS = "GITOPS_TEST_FOLLOWS"  # a bare repository and a branch, which Argo CD would follow
PROGRAMS = ("kubectl", "buildah", "skopeo")
REPLICAS = 2  # what the autoscaler asks for
_PLURAL = {
    "namespaces": "namespace",
    "deployments": "deployment",
    "configmaps": "configmap",
    "horizontalpodautoscalers": "horizontalpodautoscaler",
    "poddisruptionbudgets": "poddisruptionbudget",
    "services": "service",
    "pods": "pod",
    "rollouts.argoproj.io": "rollout",
}


@dataclass(frozen=True)
class Cluster:
    """What lies in its folder."""

    folder: Path

    def objects(self) -> dict[str, Json]:
        """Every object by kind/namespace/name."""
        with _locked(self.folder):
            return _read(self.folder)

    def get(self, kind: str, name: str) -> Json | None:
        found = [one for key, one in self.objects().items() if key.startswith(f"{kind}/")]
        return next((one for one in found if one["metadata"]["name"] == name), None)

    def pods(self, component: str = "server") -> list[Json]:
        """Pods that are ready and not on their way out: what a Service sends requests to."""
        found = []
        for key, one in self.objects().items():
            labels = one["metadata"].get("labels", {})
            if key.startswith("pod/") and labels.get("app.kubernetes.io/component") == component:
                found.append(one)
        return [one for one in found if _is_ready(one) and "leaving" not in one]

    def stop(self) -> None:
        """No process stays behind."""
        with _locked(self.folder):
            for one in _read(self.folder).values():
                if "process" in one:
                    _end(int(one["process"]))

    def break_images(self, broken: bool) -> None:
        """Whether nothing can be pulled."""
        flag = self.folder / "no-pull"
        flag.touch() if broken else flag.unlink(missing_ok=True)

    def analysed(self, said: str) -> None:
        """What Argo Rollouts' analysis says of every canary from now on: passed or failed."""
        (self.folder / "analysed").write_text(said)

    @property
    def calls(self) -> list[str]:
        """Every call of kubectl that could change something, in order."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


def install(folder: Path, real: str) -> tuple[Cluster, dict[str, str]]:
    """A new cluster, and the environment variables with which its programs are found."""
    (folder / "bin").mkdir(parents=True)
    here = Path(__file__).resolve().parents[1]
    for name in PROGRAMS:
        program = folder / "bin" / name
        program.write_text(
            f'#!/bin/sh\nPYTHONPATH={here} exec {sys.executable} -m tests.cluster {name} "$@"\n'
        )
        program.chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return Cluster(folder), {"PATH": path, FOLDER: str(folder), REAL: real}


# ---------------------------------------------------------------- objects


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(folder: Path) -> dict[str, Json]:
    path = folder / "objects.json"
    found: dict[str, Json] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _write(folder: Path, objects: dict[str, Json]) -> None:
    half = folder / ".objects.json"
    half.write_text(json.dumps(objects))
    half.replace(folder / "objects.json")


def _key(document: Json) -> str:
    meta = document["metadata"]
    return f"{document['kind'].lower()}/{meta.get('namespace', '')}/{meta['name']}"


def _put(objects: dict[str, Json], document: Json) -> Json:
    """An object as the API keeps it: with a version of its own, and what others wrote of it."""
    key, meta = _key(document), document["metadata"]
    before = objects.get(key)
    there = before or {}
    kept: Json = {name: there[name] for name in ("status", "process") if name in there}
    made = {**document, **kept, "metadata": dict(meta)}
    changed = before is None or before.get("spec") != made.get("spec")
    old = before["metadata"] if before else {}
    made["metadata"]["uid"] = old.get("uid", hashlib.sha256(os.urandom(8)).hexdigest()[:32])
    made["metadata"]["generation"] = old.get("generation", 0) + bool(changed)
    made["metadata"]["resourceVersion"] = str(int(old.get("resourceVersion", "0")) + 1)
    objects[key] = made
    return made


def _fits(one: Json, selector: str) -> bool:
    labels = one["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, _, value in _pairs(selector))


def _pairs(selector: str) -> Iterator[tuple[str, str, str]]:
    for part in selector.split(","):
        yield part.partition("=")


# ---------------------------------------------------------------- controllers


def _follow(objects: dict[str, Json]) -> None:
    """Make the cluster what the branch says, and take away what it no longer says."""
    repository, _, branch = os.environ[FOLLOWS].partition(" ")
    git = ["git", "--git-dir", repository]
    listed = subprocess.run(
        [*git, "ls-tree", "--name-only", branch], capture_output=True, text=True
    )
    wanted: dict[str, Json] = {}
    for name in listed.stdout.split():
        text = subprocess.check_output([*git, "show", f"{branch}:{name}"], text=True)
        wanted |= {_key(one): one for one in yaml.safe_load_all(text)}
    for key, one in wanted.items():
        told = json.dumps(one, sort_keys=True)
        if objects.get(key, {}).get("followed") != told:
            _put(objects, one)["followed"] = told
    for key in [one for one in objects if "followed" in objects[one] and one not in wanted]:
        del objects[key]


def _control(folder: Path, objects: dict[str, Json]) -> None:
    """What a cluster's controllers and kubelets would do now."""
    if FOLLOWS in os.environ:
        _follow(objects)
    for key in [one for one in objects if one.startswith("deployment/")]:
        _roll(folder, objects, objects[key])
    for key in [one for one in objects if one.startswith("rollout/")]:
        _share_out(folder, objects, objects[key])
    for key in [one for one in objects if one.startswith("pod/")]:
        pod = objects[key]
        owner = objects.get(str(pod["owner"]))
        if owner is None or (pod.get("leaving", 1e18) < time.time()):
            _end(int(pod["process"])) if "process" in pod else None
            del objects[key]
            continue
        _kubelet(folder, objects, pod)


def _roll(folder: Path, objects: dict[str, Json], one: Json) -> None:
    wanted = one["spec"].setdefault("replicas", REPLICAS)
    template = hashlib.sha256(json.dumps(one["spec"]["template"]).encode()).hexdigest()[:10]
    owner = _key(one)
    own = [each for each in objects.values() if each.get("owner") == owner]
    present = [each for each in own if each["template"] == template and "leaving" not in each]
    for _ in range(wanted - len(present)):
        present.append(_pod(folder, objects, one, template))
    ready = [each for each in present if _is_ready(each)]
    if len(ready) == wanted:
        for each in own:
            if each["template"] != template:
                each.setdefault("leaving", time.time() + 1.0)
    stay = [each for each in own if "leaving" not in each and each not in present] + present
    one["status"] = {
        "observedGeneration": one["metadata"]["generation"],
        "replicas": len(stay),
        "updatedReplicas": len(present),
        "availableReplicas": len([each for each in stay if _is_ready(each)]),
        "conditions": [],
    }


def _share_out(folder: Path, objects: dict[str, Json], one: Json) -> None:
    """As Argo Rollouts: one new pod beside the old ones until the analysis has said something."""
    stable = one.get("status", {}).get("stableRS", "")
    one["spec"].setdefault("replicas", REPLICAS)
    template = hashlib.sha256(json.dumps(one["spec"]["template"]).encode()).hexdigest()[:10]
    file = folder / "analysed"
    said = file.read_text() if file.exists() else ""
    phase, message = "Progressing", "more replicas need to be updated"
    if stable in ("", template) or said == "passed":
        _roll(folder, objects, one)
        counts = [one["status"][f"{name}Replicas"] for name in ("updated", "available")]
        if counts == [one["spec"]["replicas"]] * 2:
            phase, message, stable = "Healthy", "", template
    else:
        own = [each for each in objects.values() if each.get("owner") == _key(one)]
        new = [each for each in own if each["template"] == template and "leaving" not in each]
        if said == "failed":
            phase, message = "Degraded", 'RolloutAborted: metric "errors" assessed Failed'
            for each in new:
                each["leaving"] = time.time() + 1.0
        elif not new:
            _pod(folder, objects, one, template)
    observed = str(one["metadata"]["generation"])
    told = {"phase": phase, "message": message, "stableRS": stable, "observedGeneration": observed}
    one["status"] = {**one.get("status", {}), **told}


def _pod(folder: Path, objects: dict[str, Json], one: Json, template: str) -> Json:
    number = len(list((folder / "pods").glob("*"))) if (folder / "pods").exists() else 0
    name = f"{one['metadata']['name']}-{template}-{number}"
    (folder / "pods" / name / "packages").mkdir(parents=True)
    meta = dict(one["spec"]["template"]["metadata"])
    meta |= {"name": name, "namespace": one["metadata"]["namespace"], "uid": name}
    pod = {"kind": "Pod", "metadata": meta, "spec": one["spec"]["template"]["spec"]}
    return _put(objects, pod | {"owner": _key(one), "template": template})


def _kubelet(folder: Path, objects: dict[str, Json], pod: Json) -> None:
    name, spec = pod["metadata"]["name"], pod["spec"]
    home = folder / "pods" / name
    (server,) = [one for one in spec["containers"] if one["name"] == "server"]
    (volume,) = [one for one in spec["volumes"] if one["name"] == "plan"]
    space = pod["metadata"]["namespace"]
    if "downwardAPI" in volume:
        text = pod["metadata"]["annotations"]["gitops/plan"]
    else:
        text = objects[f"configmap/{space}/{volume['configMap']['name']}"]["data"]["serving.json"]
    here = text.replace('"/packages/', f'"{home}/packages/')
    plan = home / "plan" / "serving.json"
    if not plan.exists() or plan.read_text() != here:
        plan.parent.mkdir(exist_ok=True)
        (home / "half").write_text(here)
        (home / "half").replace(plan)
    if "process" not in pod:
        for one in (*spec.get("initContainers", []), server):
            image = folder / "images" / one["image"].rpartition("@sha256:")[2]
            if not image.is_dir() or (folder / "no-pull").exists():
                waiting = {"reason": "ImagePullBackOff", "message": f"no image {one['image']}"}
                pod["status"] = {
                    "containerStatuses": [{"name": one["name"], "state": {"waiting": waiting}}]
                }
                return
            if one is not server:
                source, target = one["command"][-2:]
                words = [*one["command"][1:-2], str(image / source[1:])]
                words.append(target.replace("/packages", f"{home}/packages"))
                subprocess.run([sys.executable, *words], check=True)
        _start(home, pod, server)
    port = int((home / "port").read_text())
    # As with a threshold of failures: one answer that is late takes no pod out of the service.
    ready = _is_ready(pod) and _is_alive(int(pod["process"]))
    if not ready:
        with (
            suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5) as told,
        ):
            ready = told.status == 200
    pod["status"] = {
        "containerStatuses": [{"name": "server", "state": {"running": {}}}],
        "conditions": [{"type": "Ready", "status": str(ready)}],
    }
    pod["port"] = port


def _start(home: Path, pod: Json, server: Json) -> None:
    from tests.unit.deploy.machine import free_ports

    (port,) = free_ports(1)
    (home / "port").write_text(str(port))
    places = {"/plan/serving.json": f"{home}/plan/serving.json", "/state": f"{home}/state"}
    places["0.0.0.0:8080"] = f"127.0.0.1:{port}"
    words = [places.get(one, one) for one in server["args"]]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gitops", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    pod["process"] = process.pid


def _is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _is_alive(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def _end(process: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGTERM)


# ---------------------------------------------------------------- kubectl


def kubectl(folder: Path, words: list[str]) -> int:
    if words[:1] == ["kustomize"]:
        os.execv(os.environ[REAL], ["kubectl", *words])
    options, rest = _parsed(words)
    space = options.get("--namespace", "default")
    if rest[0] == "exec":
        return _exec(folder, space, rest)
    with _locked(folder):
        objects = _read(folder)
        if rest[0] not in ("get",):
            with (folder / "calls").open("a") as file:
                file.write(" ".join(rest) + "\n")
        code = _changed(folder, objects, space, rest, options)
        _control(folder, objects)
        _write(folder, objects)
    return code


def _changed(
    folder: Path, objects: dict[str, Json], space: str, rest: list[str], options: dict[str, str]
) -> int:
    what = rest[0]
    if what == "get":
        return _get(folder, objects, space, rest, options)
    if what in ("apply", "create", "replace"):
        for document in yaml.safe_load_all(sys.stdin):
            if document["kind"] != "Namespace":
                document["metadata"].setdefault("namespace", space)
                if f"namespace//{document['metadata']['namespace']}" not in objects:
                    return _refuse(f'(NotFound): namespaces "{space}" not found')
            before = objects.get(_key(document))
            asked = document["metadata"].pop("resourceVersion", None)
            if what == "create" and before is not None:
                return _refuse(f"(AlreadyExists): {_key(document)} already exists")
            if what == "replace" and (
                before is None or before["metadata"]["resourceVersion"] != asked
            ):
                return _refuse("(Conflict): the object has been modified")
            made = _put(objects, document)
            if what != "apply":
                print(json.dumps(made))
        return 0
    if what == "annotate":
        *names, note = rest[2:]
        for one in objects.values():
            if one["kind"] == "Pod" and one["metadata"]["name"] in names:
                key, _, value = note.partition("=")
                one["metadata"].setdefault("annotations", {})[key] = value
        return 0
    if what == "delete":
        kinds = [_PLURAL[one] for one in rest[1].split(",")]
        for key, one in list(objects.items()):
            mine = key.split("/")[:2] in [[kind, space] for kind in kinds]
            if mine and _fits(one, options["--selector"]):
                del objects[key]
                print(key)
        return 0
    raise SystemExit(f"the stand-in doesn't know `kubectl {what}`")


def _get(
    folder: Path, objects: dict[str, Json], space: str, rest: list[str], options: dict[str, str]
) -> int:
    _control(folder, objects)
    kind = _PLURAL.get(rest[1], rest[1])
    if kind == "namespace":
        space = ""
    if "--selector" in options:
        found = [
            one
            for key, one in objects.items()
            if key.startswith(f"{kind}/{space}/") and _fits(one, options["--selector"])
        ]
        for one in found:
            if "leaving" in one:
                one["metadata"]["deletionTimestamp"] = "now"
        print(json.dumps({"kind": "List", "items": found}))
        return 0
    named = objects.get(f"{kind}/{space}/{rest[2]}")
    if named is None:
        return _refuse(f'(NotFound): {kind} "{rest[2]}" not found')
    print(json.dumps(named))
    return 0


def _exec(folder: Path, space: str, rest: list[str]) -> int:
    at = rest.index("--")
    pod, command = rest[1], rest[at + 2 :]
    home = folder / "pods" / pod
    places = {"/state": f"{home}/state", "8080": (home / "port").read_text()}
    words = [places.get(one, one) for one in command]
    return subprocess.run([sys.executable, *words], check=False).returncode


def _parsed(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options with values, and the rest in order."""
    valued = ("--context", "--namespace", "--selector", "--output", "--filename", "--field-manager")
    options, rest = {}, []
    it = iter(words)
    for one in it:
        if one == "--":
            rest += [one, *it]
        elif one in (*valued, "--container"):
            options[one] = next(it)
        elif not one.startswith("--"):
            rest.append(one)
    return options, rest


def _refuse(why: str) -> int:
    print(f"Error from server {why}", file=sys.stderr)
    return 1


# ---------------------------------------------------------------- images


def buildah(folder: Path, words: list[str]) -> int:
    if words[0] == "build":
        tag = words[words.index("--tag") + 1]
        model = words[words.index("--build-arg") + 1].partition("=")[2]
        made = folder / "built" / hashlib.sha256(tag.encode()).hexdigest()
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(Path(words[-1]) / "package", made / "models" / model)
        return 0
    name = hashlib.sha256(words[-1].encode()).hexdigest()
    (folder / "images").mkdir(exist_ok=True)
    shutil.copytree(folder / "built" / name, folder / "images" / name, dirs_exist_ok=True)
    return 0


def skopeo(folder: Path, words: list[str]) -> int:
    name = hashlib.sha256(words[-1].removeprefix("docker://").encode()).hexdigest()
    if not (folder / "images" / name).is_dir():
        print("reading manifest: manifest unknown", file=sys.stderr)
        return 1
    print(f"sha256:{name}")
    return 0


if __name__ == "__main__":
    program = {"kubectl": kubectl, "buildah": buildah, "skopeo": skopeo}[sys.argv[1]]
    sys.exit(program(Path(os.environ[FOLDER]), sys.argv[2:]))
