"""Devices with Azure IoT Edge: a deployment of the hub for their base, and a layer for each model.

A new version is a new layer with a higher priority; the old one goes when devices report the new.
No request reaches a device from here: a version is tested by the server that its image holds, on
this machine, and that it runs is what the hub says that devices report.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gitops.config.target_checks import BASE
from gitops.deploy import decide
from gitops.deploy.ask import Answer
from gitops.deploy.iotedge import documents
from gitops.deploy.iotedge.documents import Deployment
from gitops.deploy.iotedge.hub import Found, Hub
from gitops.deploy.model import Desired, Observed, Plan, Variant, plan_of, variants_of
from gitops.deploy.state import State
from gitops.deploy.target import Images, Target
from gitops.errors import ConfigError, ToolError, Where

Json = dict[str, Any]
PATIENCE = 900.0  # seconds until devices report a version
LOOK = 10.0  # seconds between two looks at the hub
_FILES = "iotedge.json"  # the environment's files, as the branch had them last
_SHOWN = 5  # devices that a message names
Files = Callable[[str], Mapping[str, str]]
"""The files of an environment at a commit, by name."""


@dataclass
class IotEdge:
    """The devices of one environment. `names`: project, environment.

    `images` looks up images for a commit of the branch, `named` names one by its tag. `beside`
    serves plans on this machine, where no traffic comes.
    """

    state: State
    hub: Hub
    names: tuple[str, str]
    images: Callable[[str], Images]
    named: Callable[[Variant], str]
    files: Files
    beside: Callable[[State], Target]
    say: Callable[[str], None]
    patience: float = PATIENCE
    look: float = LOOK
    kind: str = "iotedge"
    _trial: tuple[str, ExitStack, Target] | None = field(default=None, repr=False)
    _seen: tuple[float, Plan | None, Observed] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.state = replace(self.state, keep=self._keep)

    # ------------------------------------------------------------ the state

    def recall(self) -> None:
        """The plan, from the labels of what the hub has, where this folder says something else."""
        winners = _winners(self.hub.deployments())
        winners.pop(BASE, None)
        models: dict[str, Json] = {}
        recorded: dict[str, str] = {}
        for part, found in winners.items():
            if served := documents.released(found.labels, self.state.package):
                models[part] = asdict(served)
                recorded[part] = found.labels.get("recorded", "")
        plan = self.state.plan()
        said = {part: _label(one) for part, one in winners.items()}
        if models and (plan is None or _said(plan) != said):
            generation = plan.generation + 1 if plan else 1
            project, environment = self.names
            there = {"generation": generation, "project": project, "environment": environment}
            plan = plan_of({**there, "models": models})
            self.state.recalled("serving.json", json.dumps(plan.as_json()))
        self._recall_book(recorded)

    def _recall_book(self, recorded: Mapping[str, str]) -> None:
        """What is on record, so that another machine doesn't record it again."""
        book = self.state.read("deployed.json") or {"version": 1, "models": {}, "outbox": []}
        changed = False
        for model, assignment in recorded.items():
            one = book["models"].setdefault(model, {"recorded": None, "previous": None})
            if assignment and one["recorded"] is None:
                one["recorded"], changed = [assignment, "running"], True
        if changed:
            self.state.recalled("deployed.json", json.dumps(book))

    def _keep(self, name: str, text: str) -> None:
        """What is on record becomes a label of the layer."""
        if name != "deployed.json":
            return
        book = json.loads(text)
        waiting = {one["assignment"] for one in book["outbox"]}
        done = {
            model: one["recorded"][0]
            for model, one in book["models"].items()
            if one["recorded"] and one["recorded"][1] == "running"
        }
        due = {model: it for model, it in done.items() if it not in waiting}
        for found in self.hub.deployments() if due else ():
            assignment = due.get(found.part)
            mine = assignment and found.labels.get("assignment") == assignment
            if assignment and mine and found.labels.get("recorded") != assignment:
                self.hub.label(found, {"recorded": assignment})

    def place(self, desired: Desired) -> None:
        found = dict(self.files(desired.tip))
        self._seen = None
        self.state.write(_FILES, {"version": 1, "tip": desired.tip, "files": found})

    def listening(self) -> str:
        return f"https://{self.hub.name}.azure-devices.net"

    def mark(self, model: str) -> Json:
        """Nothing: no log of predictions comes from a device."""
        return {"log": {}, "labels": {}}

    def collect(self, model: str) -> None:
        """Nothing: devices keep what they log."""

    # ------------------------------------------------------------ what runs

    def observe(self) -> Observed:
        """Believed for as long as a look takes: `az` needs seconds for each answer."""
        plan = self.state.plan()
        if self._seen and self._seen[1] == plan and time.monotonic() < self._seen[0] + self.look:
            return self._seen[2]
        found = self._observed(plan)
        self._seen = (time.monotonic(), plan, found)
        return found

    def _observed(self, plan: Plan | None) -> Observed:
        there = self.hub.deployments()
        winners = _winners(there)
        error, workers = "", {}
        if plan and plan.models:
            error = self._differs(plan, there, winners)
            for model in plan.models if not error else ():
                for device in self.hub.devices(winners[model].id, "running"):
                    workers[device] = plan.generation
        return Observed(
            runs=any(part != BASE for part in winners),
            fits=True,
            generation=plan.generation if plan and not error else None,
            workers=workers,
            error=error,
        )

    def _differs(self, plan: Plan, there: list[Found], winners: Mapping[str, Found]) -> str:
        """Why the hub isn't what the plan says; "" if it is.

        Where the branch wasn't read on this machine yet, releases alone are compared.
        """
        if self.state.read(_FILES) is None:
            runs = {part: _label(one) for part, one in winners.items() if part != BASE}
            return "" if runs == _said(plan) else "the hub has other releases"
        wanted = {one.id: one for one in self._wanted(plan)}
        for id, one in wanted.items():
            if one.part not in winners or winners[one.part].id != id:
                return f"the hub doesn't have {id}, or another one wins over it"
        if more := sorted({one.id for one in there} - wanted.keys()):
            return f"the hub still has {', '.join(more)}"
        return ""

    def ready(self) -> bool:
        return self.observe().generation is not None

    def documents(self, plan: Plan) -> Mapping[str, str]:
        """With images by their tags, and variables by their names: nothing is looked up."""
        found = {}
        for one in self._wanted(plan):
            document = {
                "id": one.id,
                "targetCondition": one.condition,
                "labels": dict(one.labels),
                "image": one.image or None,
                "metrics": {"queries": dict(one.metrics)},
                "content": one.content,
            }
            found[f"{one.part}.json"] = json.dumps(document, indent=2)
        return found

    # ------------------------------------------------------------ what is to run

    def apply(self, plan: Plan) -> None:
        self._end_trial()
        self._seen = None
        self.state.put_plan(plan)
        there = {one.id: one for one in self.hub.deployments()}
        wanted = self._wanted(plan)
        images = self.images(str(self._known()["tip"]))
        by_part = {model: served.champion for model, served in plan.models.items()}
        for one in wanted:
            image = images(by_part[one.part]) if one.part != BASE else ""
            self._bring(one, image, there)
        for one in wanted:
            if one.part != BASE:
                self._await(one)
        for id in there.keys() - {one.id for one in wanted}:
            self.hub.remove(id)

    def _bring(self, one: Deployment, image: str, there: dict[str, Found]) -> None:
        """The deployment is there, and wins over all others of its part; layers over the base."""
        below = [
            each.priority + 1
            for each in there.values()
            if each.id != one.id and each.part in (one.part, BASE)
        ]
        priority = max([one.floor, *below])
        found = there.get(one.id)
        if found is None:
            self.hub.create(one, image, priority)
            self.say(f"{one.part}: {one.version or 'a new base'} goes to {one.condition}")
        elif found.priority < priority:
            self.hub.raise_to(one.id, priority)
        else:
            priority = found.priority
        there[one.id] = Found(one.id, priority, one.labels)

    def _await(self, one: Deployment) -> None:
        """Until every device that is meant reports that it runs this; the offline ones come later.

        Raises:
            ToolError: after so long none reports it, or one reports that it fails.
        """
        deadline = time.monotonic() + self.patience
        while True:
            meant = self.hub.devices(one.id, "targetedCount", system=True)
            runs = self.hub.devices(one.id, "running") & meant
            if meant and runs == meant:
                self.say(f"{one.part}: {_devices(meant)} of {len(meant)} run {one.version}")
                return
            if time.monotonic() > deadline:
                break
            time.sleep(self.look)
        fails = self.hub.devices(one.id, "failing") & meant
        if not meant:
            raise ToolError(
                f"no device of {self.hub.name} fits {one.condition}: nothing runs {one.version}",
                fix="tag devices: az iot hub device-twin update --device-id ID --hub-name"
                f' {self.hub.name} --tags \'{{"environment": "{self.names[1]}"}}\'',
            )
        if fails:
            raise ToolError(
                f"{_devices(fails)} of {len(meant)} report that {one.version} of {one.part} fails",
                fix=f"on a device: iotedge logs {one.part}",
            )
        if not runs:
            raise ToolError(
                f"none of {len(meant)} devices reports that it runs {one.version} of {one.part}",
                fix="are they online, and may they pull the image? On a device: iotedge check",
            )
        self.say(
            f"{one.part}: {len(runs)} of {len(meant)} devices report {one.version};"
            f" {_devices(meant - runs)} not yet: the hub tells them when they are online"
        )

    def stop(self) -> bool:
        self._end_trial()
        self._seen = None
        found = self.hub.deployments()
        for one in sorted(found, key=lambda each: each.part == BASE):  # layers before their base
            self.hub.remove(one.id)
        return bool(found)

    # ------------------------------------------------------------ tests

    def ask(self, model: str, version: str, body: bytes | Mapping[str, Any]) -> Answer:
        """By a server on this machine that has this version alone, until the next `apply`."""
        release = f"{model}@{version}"
        if self._trial is None or self._trial[0] != release:
            self._end_trial()
            plan = self.state.plan()
            served = plan.models.get(model) if plan else None
            (variant,) = (one for one in variants_of(plan) if one.release == release)
            assert served is not None  # noqa: S101
            alone = decide.alone(variant, served.serve)
            stack = ExitStack()
            at = stack.enter_context(self.aside(decide.with_model(None, model, alone, self.names)))
            self._trial = (release, stack, at)
        return self._trial[2].ask(model, version, body)

    @contextmanager
    def aside(self, plan: Plan) -> Iterator[Target]:
        with self.beside(State(self.state.folder / "trial")).aside(plan) as at:
            yield at

    def _end_trial(self) -> None:
        if self._trial is not None:
            self._trial[1].close()
            self._trial = None

    # ------------------------------------------------------------ files

    def _known(self) -> Json:
        found = self.state.read(_FILES)
        if found is None:
            raise ToolError(
                "the branch wasn't read here yet: what the devices run isn't changed",
                fix="run it again when the git remote can be reached",
            )
        return found

    def _wanted(self, plan: Plan) -> list[Deployment]:
        """The base, and the layer of each model's champion: a challenger without traffic has none.

        Raises:
            ConfigError: a file is missing, or isn't what it must be.
        """
        made = [documents.base(*self._file(f"{BASE}.json"), self.names)]
        for model, served in plan.models.items():
            image = self.named(served.champion)
            text, where = self._file(f"{model}.json")
            made.append(documents.layer(text, where, self.names, model, served, image))
        return made

    def _file(self, name: str) -> tuple[str, Where]:
        path = Path("deploy", "iotedge", self.names[1], name)
        text = self._known()["files"].get(name)
        if text is None:
            raise ConfigError(
                f"the branch has no {path}",
                fix="gitops sync writes it; commit and promote it",
                where=Where(path),
            )
        return text, Where(path)


def _winners(there: list[Found]) -> dict[str, Found]:
    """The deployment that wins, of each part."""
    found: dict[str, Found] = {}
    for one in sorted(there, key=lambda each: (each.priority, each.id)):
        found[one.part] = one
    return found


def _said(plan: Plan) -> dict[str, tuple[str, str]]:
    return {
        model: (served.champion.package, served.champion.assignment)
        for model, served in plan.models.items()
    }


def _label(found: Found) -> tuple[str, str]:
    return found.labels.get("package", ""), found.labels.get("assignment", "")


def _devices(names: set[str]) -> str:
    """A few of them by name."""
    shown = ", ".join(sorted(names)[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
