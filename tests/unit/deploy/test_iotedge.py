"""The target `iotedge`: what it makes of files and plan, and what a hub and its devices come to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gitops import config
from gitops.cli import places
from gitops.config.serving import Rollout, Serve
from gitops.deploy.ask import Answer
from gitops.deploy.iotedge import documents
from gitops.deploy.iotedge.hub import Hub
from gitops.deploy.iotedge.target import IotEdge
from gitops.deploy.model import Desired, Plan, Served, Variant
from gitops.deploy.state import State
from gitops.errors import ConfigError, ToolError, Where
from gitops.scaffold import targets
from tests import az_world as az
from tests.az_world import Az, World

PROJECT = Path(__file__).parents[3]
# Of Azure/azure-iot-cli-extension, azext_iot/assets at a42f57ae, with its licence beside them.
SCHEMAS = PROJECT / "tests" / "contracts" / "iotedge"
TEXT = """\
version: 1
project: flights
environments:
  - {name: dev, branch: main}
  - {name: production, branch: release/production}
models:
  late: {task: binary, deploy: {target: iotedge}}
  fare: {task: regression, path: models/fare, deploy: {target: iotedge}}
targets: {registry: ghcr.io/acme, iotedge: {hubs: {production: flights-hub}}}
"""
HUB, NAMES = "flights-hub", ("flights", "production")
SERVE = {**Serve().model_dump(mode="json"), "script": None, "workdir": None}


def parse(text: str = TEXT) -> config.Config:
    return config.parse(text.encode(), Path("gitops.yaml"))


def rendered(text: str = TEXT) -> dict[str, str]:
    """The files of production, by name."""
    top = "deploy/iotedge/production/"
    found = {str(one.path): one.content.decode() for one in targets.rendered(parse(text))}
    return {path.removeprefix(top): one for path, one in found.items() if path.startswith(top)}


def variant(model: str, version: int, number: int = 1) -> Variant:
    package = f"{version}" * 64
    release = f"{model}@v{version}.0.0"
    return Variant(release, f"{model}#production#{number}", f"/packages/{package}", package)


def plan(generation: int, **versions: int) -> Plan:
    """A plan of models and their versions."""
    models = {
        model: Served(variant(model, version, generation), dict(SERVE))
        for model, version in versions.items()
    }
    return Plan(generation, *NAMES, models)


def image(one: Variant) -> str:
    """What a registry has of a package."""
    return f"ghcr.io/acme/{one.release.partition('@')[0]}@sha256:{one.package}"


@dataclass
class Beside:
    """In place of a server on this machine: what it was asked."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    open: int = 0

    @contextmanager
    def aside(self, plan: Plan) -> Iterator[Beside]:
        self.open += 1
        yield self
        self.open -= 1

    def ask(self, model: str, version: str, body: bytes | Mapping[str, Any]) -> Answer:
        self.asked.append((model, version))
        return Answer(200, {})


@dataclass
class Place:
    """A target, and the cloud that it speaks to."""

    az: Az
    target: IotEdge
    said: list[str]
    beside: Beside

    @property
    def deployments(self) -> dict[str, Any]:
        found: dict[str, Any] = self.az.world.hubs[HUB]["deployments"]
        return found

    def running(self) -> dict[str, dict[str, str]]:
        """What each device is told to run, by module."""
        hub = self.az.world.hubs[HUB]
        return {name: az.reported(hub, one) for name, one in hub["devices"].items()}

    def change(self, change: Callable[[World], None]) -> None:
        world = self.az.world
        change(world)
        self.az.put(world)

    def again(self, folder: Path) -> IotEdge:
        """The same place, deployed to from another machine."""
        return replace(self.target, state=State(folder), _trial=None)


def made(folder: Path, say: Callable[[str], None], beside: Any) -> IotEdge:
    return IotEdge(
        state=State(folder),
        hub=Hub(HUB, "/".join(NAMES)),
        names=NAMES,
        images=lambda commit: image,
        named=lambda one: f"ghcr.io/acme/{one.release.partition('@')[0]}:{one.package[:32]}",
        files=lambda commit: rendered(),
        beside=lambda state: beside,
        say=say,
        patience=0.0,
        look=0.0,
    )


def desired() -> Desired:
    kinds = {"late": "iotedge", "fare": "iotedge"}
    return Desired(*NAMES, ("127.0.0.1", 1), Rollout(), "", {}, kinds, tip="c" * 40)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    devices = az.hub(("one", "production"), ("two", "production"), ("three", "staging"))
    found = az.install(tmp_path, World(hubs={HUB: devices}))
    for name, value in found.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{found.folder}:{os.environ['PATH']}")
    said: list[str] = []
    beside = Beside()
    target = made(tmp_path / "state", said.append, beside)
    target.place(desired())
    return Place(found, target, said, beside)


# ---------------------------------------------------------------- documents


def expanded(layer: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """What a device is told: the base with the layer's modules in it."""
    found: dict[str, Any] = json.loads(json.dumps(base))
    agent = found["modulesContent"]["$edgeAgent"]["properties.desired"]
    for key, module in layer["modulesContent"]["$edgeAgent"].items():
        agent["modules"][key.removeprefix("properties.desired.modules.")] = module
    return found


def refused(content: dict[str, Any]) -> list[str]:
    """What the official schemas say against a deployment's content."""
    from jsonschema import Draft4Validator

    found = []
    for module, schema in (
        ("$edgeAgent", "azure-iot-edgeagent-deployment-1.1.json"),
        ("$edgeHub", "azure-iot-edgehub-deployment-1.1.json"),
    ):
        rules = json.loads((SCHEMAS / schema).read_text())
        part = {module: content["modulesContent"][module]}
        found += [one.message for one in Draft4Validator(rules).iter_errors(part)]
    return found


def filled(model: str = "late") -> dict[str, Any]:
    """Base and layer as the hub gets them, put together."""
    files = rendered()
    base = documents.base(files["base.json"], Where(Path("base.json")), NAMES)
    served = Served(variant(model, 1), dict(SERVE))
    layer = documents.layer(
        files[f"{model}.json"], Where(Path(f"{model}.json")), NAMES, model, served, "ghcr.io/x:1"
    )
    return expanded(layer.filled(image(served.champion)), base.filled(""))


def test_what_is_generated_keeps_the_official_schemas() -> None:
    assert set(rendered()) == {"base.json", "late.json", "fare.json"}
    assert refused(filled("late")) == []
    assert refused(filled("fare")) == []


def agent(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content["modulesContent"]["$edgeAgent"]["properties.desired"]
    return found


MUTATIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "schema version": lambda it: agent(it).update(schemaVersion="2.0"),
    "no runtime": lambda it: agent(it).pop("runtime"),
    "no edgeHub": lambda it: agent(it)["systemModules"].pop("edgeHub"),
    "options that aren't text": lambda it: agent(it)["modules"]["late"]["settings"].update(
        createOptions={"User": "0"}
    ),
    "no image": lambda it: agent(it)["modules"]["late"]["settings"].pop("image"),
    "unknown policy": lambda it: agent(it)["modules"]["late"].update(restartPolicy="sometimes"),
    "unknown pull policy": lambda it: agent(it)["modules"]["late"].update(imagePullPolicy="new"),
    "a key too many": lambda it: agent(it)["modules"]["late"].update(memory=1),
    "a module's name": lambda it: agent(it)["modules"].update(
        {"a.b": agent(it)["modules"]["late"]}
    ),
    "no status": lambda it: agent(it)["modules"]["late"].pop("status"),
    "edgeHub's version": lambda it: it["modulesContent"]["$edgeHub"]["properties.desired"].update(
        schemaVersion="0.9"
    ),
    "no routes": lambda it: it["modulesContent"]["$edgeHub"]["properties.desired"].pop("routes"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_official_schemas_refuse(name: str) -> None:
    content = filled()
    MUTATIONS[name](content)
    assert refused(content)


def test_a_module_may_little_and_is_reached_on_the_device_alone() -> None:
    content = agent(filled("fare"))["modules"]["fare"]
    options = json.loads(content["settings"]["createOptions"])
    assert content["settings"]["image"] == image(variant("fare", 1))
    assert content["version"] == "v1.0.0"
    assert options["User"] == "10001:10001"
    host = options["HostConfig"]
    assert host["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8081"}]}
    assert host["Memory"] == 512 << 20
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    for module in agent(filled())["systemModules"].values():  # pinned, not :1.5
        assert module["settings"]["image"].rpartition(":")[2].count(".") == 2


def test_a_model_that_comes_to_devices_moves_no_others_port() -> None:
    before = TEXT.replace("late: {task: binary, deploy: {target: iotedge}}", "late: {task: binary}")
    assert "late.json" not in rendered(before)
    assert rendered(before)["fare.json"] == rendered()["fare.json"]


def test_no_version_and_no_digest_stands_in_a_file() -> None:
    for text in rendered().values():
        assert "sha256" not in text
        assert "ghcr.io" not in text
    assert rendered()["late.json"].count("{image}") == 1


WRONG: list[tuple[str, Callable[[str], str], str]] = [
    ("late", lambda text: text.replace("{image}", "ghcr.io/x:latest"), "settings.image is {image}"),
    ("late", lambda text: text.replace("modules.late", "modules.fare"), "the layer of late has"),
    ("late", lambda text: text.replace("tags.environment='production'", " "), "no targetCondition"),
    ("late", lambda text: text.replace("modulesContent", "modules"), "content.modulesContent"),
    ("late", lambda text: text[:-5], "isn't JSON"),
    ("late", lambda text: "[]", "isn't a JSON object"),
    ("base", lambda text: text.replace("properties.desired", "desired"), "a base deployment has"),
    ("base", lambda text: text.replace('"priority": 10', '"priority": "10"'), "priority is '10'"),
    ("base", lambda text: text.replace('"priority": 10', '"priority": -1'), "priority is -1"),
]


@pytest.mark.parametrize(("name", "change", "says"), WRONG)
def test_files_that_cannot_be_used_are_refused(
    name: str, change: Callable[[str], str], says: str
) -> None:
    text, where = change(rendered()[f"{name}.json"]), Where(Path(f"{name}.json"))
    with pytest.raises(ConfigError) as caught:
        if name == "base":
            documents.base(text, where, NAMES)
        else:
            served = Served(variant(name, 1), dict(SERVE))
            documents.layer(text, where, NAMES, name, served, "ghcr.io/x:1")
    assert says in caught.value.message
    assert caught.value.where == where


def test_a_registry_login_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    login = {"acme": {"address": "ghcr.io", "username": "u", "password": "{env:EDGE_PASSWORD}"}}
    text = rendered()["base.json"].replace(
        '"minDockerVersion": "v1.25"', f'"registryCredentials": {json.dumps(login)}'
    )
    base = documents.base(text, Where(Path("base.json")), NAMES)
    monkeypatch.delenv("EDGE_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match="EDGE_PASSWORD, which isn't set"):
        base.filled("")
    monkeypatch.setenv("EDGE_PASSWORD", "s3cret")
    found = agent(base.filled(""))["runtime"]["settings"]["registryCredentials"]
    assert found["acme"]["password"] == "s3cret"
    assert "s3cret" not in json.dumps(base.content)


# ---------------------------------------------------------------- gitops.yaml


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TEXT.replace("{hubs: {production: flights-hub}}", "{}"), "no IoT hub is known for prod"),
        (TEXT.replace("{production: flights-hub}", "{live: flights-hub}"), 'no environment "live"'),
        (TEXT.replace("flights-hub", "-hub-"), "a hub's name has 3-50"),
        (TEXT.replace("fare:", "base:"), "models.base: deploy/iotedge/ENVIRONMENT/base.json is"),
        (
            TEXT.replace("release/production}", "release/production, rollout: {steps: [5]}}"),
            "a share of requests can't be judged",
        ),
        (
            TEXT + "infrastructure: {provider: azure, id: k7q2m9xd, components: {iot: {}}}\n",
            "infrastructure.components.iot provisions the hubs",
        ),
    ],
)
def test_what_devices_cannot_do_is_refused_when_gitops_yaml_is_read(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert says in caught.value.message + caught.value.fix


def test_the_first_environment_needs_no_hub_and_other_targets_may_go_step_by_step() -> None:
    assert parse().targets.iotedge.hubs == {"production": "flights-hub"}
    local = TEXT.replace("iotedge}}", "local}}").replace(
        "release/production}", "release/production, rollout: {steps: [5]}}"
    )
    assert parse(local).environments[1].rollout.steps == (5,)


def test_an_environment_has_a_place_on_devices_where_it_has_a_hub(tmp_path: Path) -> None:
    text = TEXT.replace("iotedge}}", "local}}") + "storage: {remote: ../storage}\n"
    text = text.replace(
        "- {name: production", "- {name: staging, branch: release/staging}\n  - {name: production"
    )
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    url = "git@github.com:OWNER/flights.git"
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", url], check=True)
    kinds = {
        name: places.Setting(tmp_path, parse(text), name, "origin").kinds()
        for name in ("dev", "staging", "production")
    }
    assert kinds == {"dev": ["local"], "staging": ["local"], "production": ["local", "iotedge"]}


# ---------------------------------------------------------------- the hub and its devices


def test_a_version_runs_when_every_device_of_the_environment_reports_it(place: Place) -> None:
    place.target.apply(plan(1, late=1))
    images = {"late": image(variant("late", 1))}
    assert place.running() == {"one": images, "two": images, "three": {}}
    found = place.target.observe()
    assert (found.runs, found.generation, found.error) == (True, 1, "")
    assert found.workers == {"one": 1, "two": 1}
    assert place.said[-1] == "late: one, two of 2 run v1.0.0"
    parts = {one["labels"]["part"]: one for one in place.deployments.values()}
    assert parts["late"]["priority"] > parts["base"]["priority"] == 10
    assert parts["late"]["labels"]["package"] == "1" * 64


def test_a_new_version_wins_over_the_old_one_before_that_goes(place: Place) -> None:
    place.target.apply(plan(1, late=1, fare=1))
    before = {one["labels"]["part"]: one for one in place.deployments.values()}
    place.target.apply(plan(2, late=2, fare=1))
    after = {one["labels"]["part"]: one for one in place.deployments.values()}
    assert len(place.deployments) == 3
    assert after["late"]["priority"] > before["late"]["priority"]
    assert after["base"] == before["base"]
    words = [" ".join(call[3:4]) for call in place.az.calls]
    assert words.index("delete") > max(at for at, word in enumerate(words) if word == "create")
    assert {one["late"] for one in place.running().values() if one} == {image(variant("late", 2))}

    place.target.apply(plan(3, late=1, fare=1))  # back to what ran before
    assert {one["late"] for one in place.running().values() if one} == {image(variant("late", 1))}
    assert place.target.observe().generation == 3


def test_a_challenger_without_traffic_reaches_no_device_and_is_asked_here(place: Place) -> None:
    place.target.apply(plan(1, late=1))
    served = Served(variant("late", 1), dict(SERVE), variant("late", 2), share=0)
    place.target.apply(Plan(2, *NAMES, {"late": served}))
    assert {one["late"] for one in place.running().values() if one} == {image(variant("late", 1))}
    for _ in range(2):
        assert place.target.ask("late", "v2.0.0", {}).status == 200
    assert place.beside.asked == [("late", "v2.0.0")] * 2
    assert place.beside.open == 1  # one server for all of the tests
    place.target.apply(plan(3, late=2))
    assert place.beside.open == 0


def offline(world: World) -> None:
    world.hubs[HUB]["devices"]["two"]["online"] = False


def all_offline(world: World) -> None:
    for one in world.hubs[HUB]["devices"].values():
        one["online"] = False


def nobody(world: World) -> None:
    world.hubs[HUB]["devices"] = {}


def breaks(world: World) -> None:
    world.hubs[HUB]["devices"]["one"]["broken"] = [image(variant("late", 2))]


def test_devices_that_are_offline_get_it_later(place: Place) -> None:
    place.target.apply(plan(1, late=1))
    place.change(offline)
    place.target.apply(plan(2, late=2))
    assert place.said[-1] == (
        "late: 1 of 2 devices report v2.0.0; two not yet: the hub tells them when they are online"
    )
    found = place.target.observe()
    assert (found.generation, found.workers) == (2, {"one": 2})


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (nobody, "no device of flights-hub fits tags.environment='production'"),
        (all_offline, "none of 2 devices reports that it runs v2.0.0"),
        (breaks, "one of 2 report that v2.0.0 of late fails"),
    ],
)
def test_what_no_device_runs_is_no_success_and_the_old_version_comes_back(
    fault: Callable[[World], None], says: str, place: Place
) -> None:
    place.target.apply(plan(1, late=1))
    place.change(fault)
    with pytest.raises(ToolError) as caught:
        place.target.apply(plan(2, late=2))
    assert says in caught.value.message
    assert caught.value.fix
    kept = {
        one["labels"]["release"] for one in place.deployments.values() if len(one["labels"]) > 2
    }
    assert kept == {"late@v1.0.0", "late@v2.0.0"}  # the old one is there until the new one runs

    def mended(world: World) -> None:
        fresh = az.hub(("one", "production"), ("two", "production"))
        world.hubs[HUB]["devices"] = fresh["devices"]

    place.change(mended)
    place.target.apply(plan(3, late=1))
    assert {one["late"] for one in place.running().values()} == {image(variant("late", 1))}
    assert place.target.observe().generation == 3


def test_drift_at_the_hub_is_seen_and_healed(place: Place) -> None:
    wanted = plan(1, late=1)
    place.target.apply(wanted)
    layer = next(one for one in place.deployments.values() if one["labels"]["part"] == "late")

    def lost(world: World) -> None:
        del world.hubs[HUB]["deployments"][layer["id"]]

    def overruled(world: World) -> None:
        other = {**layer, "id": "other", "priority": layer["priority"] + 5}
        world.hubs[HUB]["deployments"]["other"] = other

    for drift in (lost, overruled):
        place.change(drift)
        found = place.target.observe()
        assert found.generation is None
        assert found.error
        place.target.apply(wanted)
        assert place.target.observe().generation == 1
        assert "other" not in place.deployments


def test_deployments_of_others_are_left_alone(place: Place) -> None:
    def theirs(world: World) -> None:
        foreign = {
            "id": "theirs",
            "labels": {"gitops": "another/production", "part": "late"},
            "priority": 3,
            "targetCondition": "tags.environment='staging'",
            "content": {"modulesContent": {"$edgeAgent": {}}},
        }
        world.hubs[HUB]["deployments"]["theirs"] = foreign
        world.hubs[HUB]["deployments"]["plain"] = {**foreign, "id": "plain", "labels": None}

    place.change(theirs)
    place.target.apply(plan(1, late=1))
    assert place.target.observe().generation == 1
    assert place.target.stop()
    assert set(place.deployments) == {"theirs", "plain"}
    assert not place.target.stop()
    assert not place.target.observe().runs


def test_another_machine_knows_what_runs_and_what_is_on_record(
    place: Place, tmp_path: Path
) -> None:
    place.target.apply(plan(1, late=1, fare=1))
    book = {
        "version": 1,
        "models": {
            "late": {"recorded": ["late#production#1", "running"], "previous": None},
            "fare": {"recorded": ["fare#production#1", "running"], "previous": None},
        },
        "outbox": [{"assignment": "fare#production#1"}],  # isn't pushed yet
    }
    place.target.state.write("deployed.json", book)
    other = place.again(tmp_path / "other")
    other.recall()
    recalled = other.state.plan()
    assert recalled is not None
    folder = str(other.state.package("1" * 64))
    assert recalled.models["late"] == Served(replace(variant("late", 1), folder=folder), SERVE)
    known = other.state.read("deployed.json")
    assert known is not None
    assert known["models"]["late"]["recorded"] == ["late#production#1", "running"]
    assert "fare" not in known["models"] or known["models"]["fare"]["recorded"] is None
    assert other.observe().generation == recalled.generation  # as far as it can tell
    other.place(desired())
    assert other.observe().generation == recalled.generation

    place.target.apply(plan(2, late=2, fare=1))
    other.recall()  # the folder isn't empty, and says something older
    newer = other.state.plan()
    assert newer is not None
    assert newer.models["late"].champion.release == "late@v2.0.0"
    assert newer.generation > recalled.generation
    calls = len(place.az.calls)
    other.recall()
    assert other.state.plan() == newer
    assert len(place.az.calls) == calls + 1


def test_what_is_kept_in_labels_is_little_and_comes_back_whole() -> None:
    text, where = rendered()["late.json"], Where(Path("late.json"))
    for serve in (SERVE, {**SERVE, "out_of_range": "reject"}):
        served = Served(variant("late", 1), serve)
        labels = documents.layer(text, where, NAMES, "late", served, "ghcr.io/x:1").labels
        assert len(labels["serve"]) < 30
        assert max(map(len, labels.values())) <= 64
        found = documents.released(labels, lambda package: Path("/packages", package))
        assert found == served
        for broken in ({**labels, "serve": "?"}, {"part": "late"}, {**labels, "serve": "1"}):
            assert documents.released(broken, Path) is None


def test_what_would_be_handed_over_can_be_read_without_a_hub(place: Place) -> None:
    shown = place.target.documents(plan(1, late=1))
    assert place.az.calls == []
    late = json.loads(shown["late.json"])
    assert late["image"] == f"ghcr.io/acme/late:{'1' * 32}"
    assert late["labels"]["release"] == "late@v1.0.0"
    assert set(shown) == {"base.json", "late.json"}


# ---------------------------------------------------------------- killed

DRIVER = """\
import sys
from pathlib import Path
from tests.unit.deploy import test_iotedge as it
target = it.made(Path(sys.argv[1]), print, None)
target.place(it.desired())
target.apply(it.plan(2, late=2))
"""


@pytest.mark.extended("killed after every call; each step is tested without")
def test_killed_after_any_call_and_run_again_it_comes_to_the_same(place: Place) -> None:
    place.target.apply(plan(1, late=1))
    start = place.az.world
    folder = place.target.state.folder
    calls = Path(place.az.env["AZ_CALLS"])
    ends, number = [], 1
    while True:
        place.az.put(start)
        calls.unlink(missing_ok=True)
        command = [sys.executable, "-c", DRIVER, str(folder)]
        env = {**os.environ, "AZ_KILL": f"{number}+", "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        killed = done.returncode == -signal.SIGKILL
        assert killed or done.returncode == 0, done.stderr
        if killed:
            place.target.apply(plan(2, late=2))
        ends.append((place.running(), sorted(place.deployments)))
        if not killed:
            break
        number += 1
    assert number > 5
    assert all(one == ends[-1] for one in ends)
    assert len(ends[-1][1]) == 2
