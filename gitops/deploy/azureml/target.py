"""The target `azureml`: a managed online endpoint for each model, a deployment for each version.

Azure splits and mirrors the traffic, and collects requests and answers; what the traffic was when
is noted here (`shifts.py`). The state folder's documents are kept in the workspace's own storage.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import yaml

from gitops.deploy.ask import Answer
from gitops.deploy.azureml import documents, shifts
from gitops.deploy.azureml.ask import Caller
from gitops.deploy.azureml.az import Az
from gitops.deploy.azureml.documents import BATCH, ENDPOINT
from gitops.deploy.azureml.endpoint import Endpoint, Split
from gitops.deploy.azureml.shifts import Arm, Shift
from gitops.deploy.azureml.store import COLLECTED, Store
from gitops.deploy.model import Desired, Observed, Plan, Served, Variant
from gitops.deploy.state import DOCUMENTS, State, unwritable
from gitops.deploy.target import Images
from gitops.errors import EvidenceError, ToolError

Json = dict[str, Any]
MIRROR = 50  # percent: the most that Azure mirrors
LOOK = 30.0  # seconds for which what was seen is believed
EVERY = 60.0  # seconds between two looks at what was collected
_FILES = "azureml.json"  # the environment's files, as the branch had them last
_KEPT = (*DOCUMENTS, shifts.FILE, _FILES)


class Collected(Protocol):
    """What makes lines of the prediction log of what was collected of a model."""

    unusable: int  # answers that are no evidence

    def take(self, shifts: Sequence[Mapping[str, Any]], now: float) -> int: ...


Files = Callable[[str], Mapping[str, Mapping[str, str]]]
"""The files of an environment at a commit: by model, by name."""


@dataclass
class AzureML:
    """The endpoints of one environment in one workspace.

    `images` gives the images by the Containerfile of a commit, `named` only what they are called.
    """

    state: State
    az: Az
    store: Store
    images: Callable[[str], Images]
    named: Images
    files: Files
    collected: Callable[[str], Collected]
    say: Callable[[str], None]
    kind: str = "azureml"
    _seen: tuple[float, int, Observed] | None = None
    _logs: dict[str, Collected] = field(default_factory=dict)
    _looked: dict[str, float] = field(default_factory=dict)
    _recalled: bool = False
    _placed: Json | None = None
    _subscription: str = ""
    _image_of: Images | None = None
    _asked: dict[tuple[str, str], tuple[str, str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = replace(self.state, keep=self.store.put)
        self.caller = Caller(self.az)

    # ------------------------------------------------------------ the state

    def recall(self) -> None:
        if self._recalled and not self.store.lost:
            return
        kept = self.store.documents()
        for name in _KEPT:
            if name in kept:
                self.state.recalled(name, kept[name])
            else:  # of a workspace that was left
                (self.state.folder / name).unlink(missing_ok=True)
        self._recalled = True

    def place(self, desired: Desired) -> None:
        found = {name: dict(one) for name, one in self.files(desired.tip).items()}
        self._placed = {"version": 1, "tip": desired.tip, "models": found}
        self._image_of = None

    def listening(self) -> str:
        name, group = self.az.place
        return f"https://ml.azure.com/endpoints?wsid=/resourceGroups/{group}/workspaces/{name}"

    def mark(self, model: str) -> Json:
        """Nothing: lines of this rollout, and of no other, have its salt."""
        return {"log": {}, "labels": {}}

    # ------------------------------------------------------------ what runs

    def observe(self) -> Observed:
        plan = self.state.plan()
        generation = plan.generation if plan else 0
        if self._seen and self._seen[1] == generation and time.monotonic() < self._seen[0] + LOOK:
            return self._seen[2]
        apart: list[str] = []
        workers: dict[str, int] = {}
        if plan and self._noted_as().get("applied") != self._files_digest():
            apart.append("the files of the branch are others than those that were applied")
        for model, served in (plan.models if plan else {}).items():
            here = self._endpoint(model)
            shown = here.show()
            deployed = here.deployments() if shown else {}
            apart += _apart(served, shown, deployed, here.split(shown))
            workers |= {f"{here.name}/{name}": generation for name in deployed}
        found = Observed(
            runs=bool(workers),
            fits=True,
            generation=None if apart or not workers else generation,
            workers=workers,
            error=apart[0] if apart else "",
        )
        self._seen = (time.monotonic(), generation, found)
        return found

    def ready(self) -> bool:
        return self.observe().generation is not None

    def documents(self, plan: Plan) -> Mapping[str, str]:
        found = {}
        for model, served in plan.models.items():
            made = {ENDPOINT: self._document(model)}
            for variant in served.variants:
                one = self._deployment(model, served, variant, self.named(variant))
                made[f"{one['name']}.yaml"] = one
            traffic = split_of(served)
            made["traffic.yaml"] = {"traffic": traffic.traffic, "mirror_traffic": traffic.mirror}
            for name, one in made.items():
                text = yaml.safe_dump(one, sort_keys=False, allow_unicode=True)
                found[f"{documents.FOLDER}/{plan.environment}/{model}/{name}"] = text
        return found

    def apply(self, plan: Plan) -> None:
        self._seen = None
        self._asked.clear()
        # First what can't be: nothing was changed then.
        made = {model: self._made(model, served) for model, served in plan.models.items()}
        self._write(_FILES, self._branch())
        self.state.put_plan(plan)
        for model, served in plan.models.items():
            self._apply(model, served, made[model])
        for model, name in self._endpoints().items():
            if model not in plan.models:
                Endpoint(self.az, name).delete()
                self._note(model, None)
        self._write(shifts.FILE, {**self._noted_as(), "applied": self._files_digest()})
        self._seen = None

    def ask(self, model: str, version: str, body: bytes | Mapping[str, Any]) -> Answer:
        if (model, version) not in self._asked:
            here = self._endpoint(model)
            for name, one in here.deployments().items():
                if str((one.get("tags") or {}).get("release", "")).endswith(f"@{version}"):
                    uri = str((here.show() or {}).get("scoring_uri", ""))
                    self._asked[model, version] = (here.name, uri, name)
        if (model, version) not in self._asked:
            raise ToolError(
                f"there's no deployment of {model}@{version}",
                fix="gitops deploy makes what should run",
            )
        return self.caller.ask(*self._asked[model, version], body)

    @contextmanager
    def aside(self, plan: Plan) -> Iterator[AzureML]:
        """Deployed where it will answer, but without traffic: asked by its name alone."""
        made = {model: self._made(model, served) for model, served in plan.models.items()}
        try:
            for model in plan.models:
                here = self._endpoint(model)
                here.ensure(self._document(model))
                self._deploy(here, made[model])
            yield self
        except BaseException:
            self._give_up(plan)
            raise

    def collect(self, model: str) -> None:
        under = self.state.under_way().get(model)
        folder = self.state.folder / "collected" / model
        if under is None or under.phase != "stepping":
            shutil.rmtree(folder, ignore_errors=True)
            return
        if time.monotonic() < self._looked.get(model, 0.0) + EVERY:
            return
        known = self._shifts(model)
        mine = [one for one in known if one.salt == under.release.assignment]
        if mine:
            here = self._endpoint(model)
            since = datetime.fromtimestamp(mine[0].begun, UTC)
            for name in sorted({arm.deployment for one in mine for arm in one.arms}):
                prefix = f"{COLLECTED}/{here.name}/{name}"
                self.store.bring(prefix, folder / name, since)
        self.store.bring(self.store.labels(), self.state.folder / "brought")
        self._take(model, known)
        self._looked[model] = time.monotonic()

    def stop(self) -> bool:
        """Deployments go, and with them what costs; endpoints keep their addresses."""
        stopped = False
        for name in self._endpoints().values():
            here = Endpoint(self.az, name)
            shown = here.show()
            if shown is None:
                continue
            deployed, now = here.deployments(), here.split(shown)
            if now != Split({}, {}):
                here.shift(Split({}, {}), deployed, now)
            for name in deployed:
                here.remove(name)
            stopped |= bool(deployed)
        self._seen = None
        return stopped

    # ------------------------------------------------------------ steps

    def _apply(self, model: str, served: Served, made: list[Json]) -> None:
        here = self._endpoint(model)
        now = here.split(here.ensure(self._document(model)))
        deployed = self._deploy(here, made)
        wanted = split_of(served)
        arms = {
            variant.release: Arm(
                documents.deployment_name(variant), variant.release, variant.package
            )
            for variant in served.variants
        }
        changed = shifts.begun(self._shifts(model), shifts.wanted(served, arms))
        if changed[-1].settled is not None and now != wanted:  # somebody else has changed it
            changed = (*changed, shifts.wanted(served, arms))
        if changed[-1].settled is None:
            self._note(model, changed)
            if now != wanted:
                here.shift(wanted, deployed, now)
            self._note(model, shifts.settled(changed))
        kept = {str(one["name"]) for one in made}
        for name, one in deployed.items():
            if name not in kept and documents.TAG in (one.get("tags") or {}):
                self.say(f"{here.name}: nothing goes to {name} any more, so it goes")
                here.remove(name)
        if served.challenger is None and "batch-endpoint.yaml" in self._files(model):
            self._batch(model, served.champion)

    def _deploy(self, here: Endpoint, made: list[Json]) -> dict[str, Json]:
        deployed = here.deployments()
        changed = [here.deploy(one, deployed) for one in made]
        return here.deployments() if any(changed) else deployed

    def _batch(self, model: str, champion: Variant) -> None:
        """The batch endpoint runs the champion, too."""
        files, image = self._files(model), self._image(champion)
        document = documents.endpoint(files, model, BATCH[0], self._account())
        made, component = documents.batch(files, model, champion, image)
        here = Endpoint(self.az, str(document["name"]), "batch")
        shown = here.ensure(document)
        deployed = here.deployments()
        here.deploy(made, deployed, {BATCH[2]: component})
        if (shown.get("defaults") or {}).get("deployment_name") != made["name"]:
            here.set_default(str(made["name"]))
        for name, one in deployed.items():
            if name != made["name"] and documents.TAG in (one.get("tags") or {}):
                here.remove(name)

    def _give_up(self, plan: Plan) -> None:
        """What was made for tests, and isn't served by the plan in the state folder, goes."""
        served = self.state.plan()
        for model in plan.models:
            kept = served.models.get(model) if served else None
            names = {documents.deployment_name(one) for one in kept.variants} if kept else set()
            try:
                here = self._endpoint(model)
                for name, one in (here.deployments() if here.show() else {}).items():
                    if name not in names and documents.TAG in (one.get("tags") or {}):
                        here.remove(name)
            except (ToolError, EvidenceError) as error:
                self.say(f"{model}: what was made for its tests is still there: {error.message}")

    def _take(self, model: str, known: tuple[Shift, ...]) -> None:
        if model not in self._logs:
            self._logs[model] = self.collected(model)
        log, before = self._logs[model], self._logs[model].unusable
        try:
            log.take([asdict(one) for one in known], time.time())
        except OSError as error:
            raise unwritable(error, error.filename or "the prediction log") from error
        if log.unusable > before:
            self.say(f"{model}: {log.unusable:,} collected answers say too little to be evidence")

    # ------------------------------------------------------------ what is known

    def _made(self, model: str, served: Served) -> list[Json]:
        """The deployments of a model as they are to be. Raises EvidenceError if one can't be."""
        made = [self._deployment(model, served, one, self._image(one)) for one in served.variants]
        documents.require_rollout(model, served, made[0])
        return made

    def _deployment(self, model: str, served: Served, variant: Variant, image: str) -> Json:
        return documents.deployment(self._files(model), model, served, variant, image)

    def _document(self, model: str) -> Json:
        return documents.endpoint(self._files(model), model, ENDPOINT, self._account())

    def _image(self, variant: Variant) -> str:
        if self._image_of is None:
            self._image_of = self.images(str(self._branch().get("tip", "")))
        return self._image_of(variant)

    def _files(self, model: str) -> Mapping[str, str]:
        found = self._branch().get("models", {}).get(model, {})
        return {str(name): str(text) for name, text in found.items()}

    def _branch(self) -> Json:
        """What the branch has; before it was read, what it had when something was applied."""
        return self._placed or self.state.read(_FILES) or {}

    def _files_digest(self) -> str:
        text = json.dumps(self._branch().get("models", {}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _endpoint(self, model: str) -> Endpoint:
        name = self._endpoints().get(model)
        return Endpoint(self.az, name or documents.endpoint_name(self._files(model), model))

    def _account(self) -> str:
        """The subscription that az works in."""
        if not self._subscription:
            self._subscription = str((self.az.run("account", "show") or {}).get("id", ""))
        return self._subscription

    def _noted_as(self) -> Json:
        return self.state.read(shifts.FILE) or {}

    def _endpoints(self) -> dict[str, str]:
        return shifts.endpoints(self._noted_as())

    def _shifts(self, model: str) -> tuple[Shift, ...]:
        return shifts.read(self._noted_as(), model)

    def _note(self, model: str, changed: tuple[Shift, ...] | None) -> None:
        name = self._endpoint(model).name if changed is not None else ""
        self._write(shifts.FILE, shifts.noted(self._noted_as(), model, name, changed))

    def _write(self, name: str, document: Json) -> None:
        """A document that the state's own writing doesn't keep."""
        text = json.dumps(document, indent=1)
        if self.state.read(name) != document:
            self.store.put(name, text)
            self.state.recalled(name, text)


def split_of(served: Served) -> Split:
    """What a plan says, in Azure's words."""
    champion = documents.deployment_name(served.champion)
    if served.challenger is None:
        return Split({champion: 100}, {})
    other = documents.deployment_name(served.challenger)
    if served.shadow:
        return Split({champion: 100}, {other: MIRROR})
    share = served.share or 0
    return Split({champion: 100 - share} | ({other: share} if share else {}), {})


def _apart(
    served: Served, shown: Json | None, deployed: Mapping[str, Json], split: Split
) -> Iterator[str]:
    """In what an endpoint isn't as the plan says."""
    if shown is None:
        yield "there's no endpoint"
        return
    for variant in served.variants:
        name = documents.deployment_name(variant)
        one = deployed.get(name)
        state = str(one.get("provisioning_state")) if one else "not there"
        if state != "Succeeded":
            yield f"the deployment {name} is {state}"
    if split != split_of(served):
        yield f"the traffic is {dict(split.traffic)}, mirrored {dict(split.mirror)}"
