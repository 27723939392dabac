"""The repository's manifests and a plan -> what a cluster is told. Pure.

The server follows a plan in a ConfigMap, so a share changes without any restart. The packages come
out of their images by init containers: only a package that no pod has yet makes pods anew.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from gitops.deploy.model import Plan, variants_of
from gitops.deploy.target import Images
from gitops.errors import ConfigError

Json = dict[str, Any]
PACKAGES, PLAN, STATE, PORT = "/packages", "serving.json", "/state", 8080
LOADS, PACKED, SOURCE = "gitops/loads", "gitops/packages", "gitops/source"
# Where Argo Rollouts brings versions to traffic: a revision's own plan, and which it is of.
REVISION, GENERATION = "gitops/plan", "gitops/generation"
SERVERS = ("server", "kserve-container")  # what a server's container is called; KServe insists
COMPONENT = "app.kubernetes.io/component"
# Where nothing else answers for it: only what copies a package.
_SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}


@dataclass(frozen=True)
class Packed:
    """A package in its image, pinned by digest."""

    model: str
    package: str
    image: str


def packed(plan: Plan, images: Images) -> tuple[Packed, ...]:
    """All that a plan serves, each package once. Raises as `Images`."""
    found = {one.package: one for one in variants_of(plan)}
    made = [
        Packed(one.release.partition("@")[0], package, images(one))
        for package, one in sorted(found.items())
    ]
    return tuple(made)


def loads(packages: Sequence[Packed], revision: str = "") -> str:
    """What tells pods apart by what they can serve; `revision` is a plan that is theirs alone."""
    joined = "\n".join([*(one.package for one in packages), *([revision] if revision else [])])
    return hashlib.sha256(joined.encode()).hexdigest()[:12]


def kept(packages: Sequence[Packed], there: Sequence[Packed]) -> tuple[Packed, ...]:
    """What pods are to hold: what they hold already, if all that is needed is among it."""
    return tuple(there) if {*packages} <= {*there} else tuple(packages)


def source(documents: Sequence[Json]) -> str:
    """What the repository says, as a digest: whether what is applied is of these files."""
    return hashlib.sha256(json.dumps(documents, sort_keys=True).encode()).hexdigest()[:16]


def workload(documents: Sequence[Json]) -> Json:
    """The object whose pods are servers.

    Raises:
        ConfigError: there isn't just one, or it has no container called server.
    """
    found = [one for one in documents if _is_server(one)]
    if len(found) != 1:
        raise ConfigError(
            f"{len(found)} workloads have pods labelled {COMPONENT}: server; there must be one",
            fix="mend deploy/kubernetes; gitops sync has it as it was written",
        )
    return found[0]


def _is_server(document: Json) -> bool:
    spec = document.get("spec", {})
    template = spec.get("predictor", spec.get("template", {}))
    if not isinstance(template, dict):
        return False
    labels = template.get("metadata", template).get("labels", {})
    return bool(labels.get(COMPONENT) == "server")


def _pods_of(server: Json) -> tuple[Json, Json]:
    """What has the labels and annotations of a workload's pods, and their spec; KServe has them in
    one."""
    if server["kind"] == "InferenceService":
        return server["spec"]["predictor"], server["spec"]["predictor"]
    template = server["spec"]["template"]
    return template["metadata"], template["spec"]


def holding(live: Json | None) -> tuple[Packed, ...]:
    """What the pods of a live workload hold; nothing while it is still on its way there."""
    if live is None or not rolled_out(live):
        return ()
    notes = live["spec"]["template"]["metadata"].get("annotations", {})
    return tuple(Packed(**one) for one in json.loads(notes.get(PACKED, "[]")))


def rolled_out(live: Json) -> bool:
    """Whether every pod of a workload is of its present template, and available."""
    told = live.get("status", {})
    wanted = live["spec"].get("replicas", 1)
    counts = [told.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    # A Rollout has it as a text.
    current = int(told.get("observedGeneration") or 0) >= live["metadata"].get("generation", 0)
    return bool(current) and all(count == wanted for count in counts)


def filled(documents: Sequence[Json], plan: Plan, packages: Sequence[Packed]) -> list[Json]:
    """The documents with the plan, the images and the packages in them.

    Raises:
        ConfigError: as `workload`; or there's no ConfigMap for the plan.
    """
    made = copy.deepcopy(list(documents))
    server = workload(made)
    server["metadata"].setdefault("annotations", {})[SOURCE] = source(documents)
    meta, pod = _pods_of(server)
    notes = meta.setdefault("annotations", {})
    notes[PACKED] = json.dumps([asdict(one) for one in packages])
    own = revision(server, plan)
    meta["labels"][LOADS] = loads(packages, own)
    container = _server(pod)
    container["image"] = packages[0].image
    first = [_init(one, container) for one in packages]
    pod["initContainers"] = [*first, *pod.get("initContainers", [])]
    if own:
        notes[REVISION] = own
        server["metadata"]["annotations"][GENERATION] = str(plan.generation)
        return made
    name = f"{server['metadata']['name']}-plan"
    for one in made:
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name:
            one["data"] = {**one.get("data", {}), PLAN: plan_text(plan)}
            return made
    raise ConfigError(
        f"there's no ConfigMap {name} for the plan",
        fix="mend deploy/kubernetes; gitops sync has it as it was written",
    )


def revision(server: Json, plan: Plan) -> str:
    """The plan of a revision that Argo Rollouts brings to traffic; "" for other workloads.

    Neither a generation nor an assignment stands in it, so that going back to what ran before is
    going back to the same pods, which Argo Rollouts does at once.
    """
    if server["kind"] != "Rollout":
        return ""
    models = {
        name: replace(served, champion=replace(served.champion, assignment=""))
        for name, served in plan.models.items()
    }
    return plan_text(replace(plan, generation=1, models=models))


def plan_text(plan: Plan) -> str:
    """The plan as pods see it: packages are in a folder of theirs."""
    document = plan.as_json()
    for served in document["models"].values():
        for one in (served["champion"], served["challenger"]):
            if one is not None:
                one["folder"] = f"{PACKAGES}/{one['package']}"
    return json.dumps(document, indent=1) + "\n"


def _server(pod: Json) -> Json:
    for one in pod.get("containers", []):
        if one.get("name") in SERVERS:
            found: Json = one
            return found
    raise ConfigError(
        "the workload of servers has no container called server",
        fix="mend deploy/kubernetes; gitops sync has it as it was written",
    )


def _init(one: Packed, server: Json) -> Json:
    """It copies a package out of its image, as unprivileged as the server is."""
    command = ["python", "-m", "gitops.serve.inside", "copy"]
    return {
        "name": f"package-{one.package[:12]}",
        "image": one.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [*command, f"/models/{one.model}", f"{PACKAGES}/{one.package}"],
        "securityContext": copy.deepcopy(server.get("securityContext", {})),
        "resources": copy.deepcopy(_SMALL),
        "volumeMounts": [{"name": "packages", "mountPath": PACKAGES}],
    }


def aside(documents: Sequence[Json]) -> list[Json]:
    """The same servers where no traffic comes: another name, other labels, one pod.

    Of a Rollout they are a Deployment: nothing is shared out there.
    """
    made = copy.deepcopy(list(documents))
    server = workload(made)
    name = server["metadata"]["name"]
    keep = ("Namespace", "ServiceAccount", "ConfigMap", "NetworkPolicy")
    found = [one for one in made if one["kind"] in keep]
    for one in found:
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == f"{name}-plan":
            one["metadata"]["name"] = f"{name}-aside-plan"
            one["metadata"]["labels"][COMPONENT] = "aside"
    server["metadata"]["name"] = f"{name}-aside"
    server["metadata"]["labels"][COMPONENT] = "aside"
    meta, pod = _pods_of(server)
    meta["labels"][COMPONENT] = "aside"
    if server["kind"] == "InferenceService":
        pod["minReplicas"] = pod["maxReplicas"] = 1
    else:
        server["spec"]["replicas"] = 1
        server["spec"]["selector"]["matchLabels"][COMPONENT] = "aside"
    if server["kind"] == "Rollout":
        keys = ("replicas", "selector", "template")
        spec = {key: server["spec"][key] for key in keys}
        server |= {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}
    for volume in pod.get("volumes", []):
        if volume.get("configMap", {}).get("name") == f"{name}-plan":
            volume["configMap"]["name"] = f"{name}-aside-plan"
    return [*found, server]
