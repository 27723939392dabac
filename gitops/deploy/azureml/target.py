"""The target `azureml`: a managed online endpoint for each model, a deployment for each version.

Azure splits and mirrors the traffic, and collects requests and answers; what the traffic was when
is noted here (`shifts.py`). The state folder's documents are kept in the workspace's own storage.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
from gitops.deploy.state import DOCUMENTS, State
from gitops.deploy.target import Images
from gitops.errors import AnswerNo, EvidenceError, ToolError, UsageError

Json = dict[str, Any]
MIRROR = 50  # percent: the most that Azure mirrors
LOOK = 30.0  # seconds for which what was seen is believed
EVERY = 60.0  # seconds between two looks at what was collected
_FILES = "azureml.json"  # the environment's files, as the branch had them last
_KEPT = (*DOCUMENTS, shifts.FILE, _FILES)


class Collected(Protocol):
    """What makes lines of the prediction log of what was collected of a model."""

    def take(self, shifts: list[Json], now: float) -> int: ...


Files = Callable[[str], Mapping[str, Mapping[str, str]]]
"""The files of an environment at a commit: by model, by name."""


@dataclass
class AzureML:
    """The endpoints of one environment in one workspace."""

    state: State
    az: Az
    store: Store
    images: Images
    files: Files
    collected: Callable[[str], Collected]
    say: Callable[[str], None]
    kind: str = "azureml"
    _seen: tuple[float, int, Observed] | None = None
    _logs: dict[str, Collected] = field(default_factory=dict)
    _looked: dict[str, float] = field(default_factory=dict)
    _recalled: bool = False
    _subscription: str = ""

    def __post_init__(self) -> None:
        self.state = replace(self.state, keep=self.store.put)
        self.caller = Caller(self.az)

    # ------------------------------------------------------------ the state

    def recall(self) -> None:
        if self._recalled:
            return
        for name in _KEPT:
            text = self.store.get(name)
            if text is not None:
                self.state.recalled(name, text)
            else:  # another project's, or of a workspace that was left
                (self.state.folder / name).unlink(missing_ok=True)
        self._recalled = True

    def place(self, desired: Desired) -> None:
        found = {name: dict(one) for name, one in self.files(desired.tip).items()}
        if (self.state.read(_FILES) or {}).get("models") != found:
            self._write(_FILES, {"version": 1, "models": found})

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
        apart, workers = [], {}
        for model, served in (plan.models if plan else {}).items():
            here = self._endpoint(model)
            shown = here.show()
            deployed = here.deployments() if shown else {}
            apart += _apart(model, served, shown, deployed, here.split(shown))
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
            for variant in _variants(served):
                one = self._deployment(model, served, variant, documents.IMAGE)
                made[f"{one['name']}.yaml"] = one
            traffic = split_of(served)
            made["traffic.yaml"] = {"traffic": traffic.traffic, "mirror_traffic": traffic.mirror}
            for name, one in made.items():
                text = yaml.safe_dump(one, sort_keys=False, allow_unicode=True)
                found[f"{documents.FOLDER}/{plan.environment}/{model}/{name}"] = text
        return found

    def apply(self, plan: Plan) -> None:
        self._seen = None
        # First what can't be: nothing was changed then.
        made = {model: self._made(model, served) for model, served in plan.models.items()}
        self.state.put_plan(plan)
        for model, served in plan.models.items():
            self._apply(model, served, made[model])
        for model in [name for name in self._noted() if name not in plan.models]:
            self._forget(model)
        self._seen = None

    def ask(self, model: str, version: str, body: bytes | Mapping[str, Any]) -> Answer:
        here = self._endpoint(model)
        for name, one in here.deployments().items():
            if str((one.get("tags") or {}).get("release", "")).rpartition("@")[2] == version:
                shown = here.show() or {}
                return self.caller.ask(here.name, str(shown.get("scoring_uri", "")), name, body)
        raise ToolError(
            f"{here.name} has no deployment of {model}@{version}",
            fix="gitops deploy makes what should run",
        )

    @contextmanager
    def aside(self, plan: Plan) -> Iterator[AzureML]:
        """Deployed where it will answer, but without traffic: asked by its name alone."""
        made = {model: self._made(model, served) for model, served in plan.models.items()}
        try:
            for model, served in plan.models.items():
                here = self._endpoint(model)
                here.ensure(self._document(model))
                self._deploy(here, made[model])
                # Azure gives nothing traffic that wasn't told to; a run that was killed may have.
                if served.challenger is None and here.split(here.show()).traffic:
                    here.shift(Split({}, {}), here.deployments())
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
            for name in sorted({arm.deployment for one in mine for arm in _arms(one)}):
                prefix = f"{COLLECTED}/{here.name}/{name}"
                self.store.bring(prefix, folder / name, since)
        self.store.bring(self.store.labels(), self.state.folder / "brought")
        self._take(model, known)
        self._looked[model] = time.monotonic()

    def stop(self) -> bool:
        """Deployments go, and with them what costs; endpoints keep their addresses."""
        stopped = False
        for model in self._noted():
            here = self._endpoint(model)
            if here.show() is None:
                continue
            deployed = here.deployments()
            if here.split(here.show()) != Split({}, {}):
                here.shift(Split({}, {}), deployed)
            for name in deployed:
                here.remove(name)
            stopped |= bool(deployed)
            self._note(model, None)
        self._seen = None
        return stopped

    # ------------------------------------------------------------ steps

    def _apply(self, model: str, served: Served, made: list[Json]) -> None:
        here = self._endpoint(model)
        here.ensure(self._document(model))
        deployed = self._deploy(here, made)
        wanted = split_of(served)
        arms = {
            variant.release: Arm(
                documents.deployment_name(variant), variant.release, variant.package
            )
            for variant in _variants(served)
        }
        changed = shifts.begun(self._shifts(model), shifts.wanted(served, arms))
        if changed[-1].settled is None or here.split(here.show()) != wanted:
            if changed[-1].settled is not None:  # somebody else has changed it meanwhile
                changed = (*changed, replace(shifts.wanted(served, arms)))
            self._note(model, changed)
            if here.split(here.show()) != wanted:
                here.shift(wanted, deployed)
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
        for one in made:
            here.deploy(one, deployed)
        return here.deployments()

    def _batch(self, model: str, champion: Variant) -> None:
        """The batch endpoint runs the champion, too."""
        files, image = self._files(model), self.images(champion)
        document = documents.endpoint(files, model, BATCH[0], self._account())
        made, component = documents.batch(files, model, champion, image)
        here = Endpoint(self.az, str(document["name"]), "batch")
        shown = here.ensure(document)
        deployed = here.deployments()
        here.deploy(made, deployed, component)
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
            names = {documents.deployment_name(one) for one in _variants(kept)} if kept else set()
            try:
                here = self._endpoint(model)
                for name, one in (here.deployments() if here.show() else {}).items():
                    if name not in names and documents.TAG in (one.get("tags") or {}):
                        here.remove(name)
            except (ToolError, EvidenceError) as error:
                self.say(f"{model}: what was made for its tests is still there: {error.message}")

    def _forget(self, model: str) -> None:
        """A model that the environment no longer has."""
        name = self._noted()[model]
        Endpoint(self.az, name).delete()
        self._note(model, None)

    def _take(self, model: str, known: tuple[Shift, ...]) -> None:
        if model not in self._logs:
            self._logs[model] = self.collected(model)
        document = shifts.noted(None, model, known)
        try:
            self._logs[model].take(document["models"][model], time.time())
        except OSError as error:
            raise ToolError(
                f"can't write {error.filename or 'the prediction log'}: {error.strerror or error}",
                fix="make room, or let GITOPS_STATE name another folder",
            ) from error
