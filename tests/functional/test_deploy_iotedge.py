"""`gitops deploy` to devices: a real repository and a real server for tests; hub and registry are
stand-ins."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from gitops import contracts
from gitops.errors import Where
from gitops.scaffold import targets
from tests import az_world as az
from tests.az_world import Az, World
from tests.unit.deploy.machine import LAX, PLACES, Machine, free_ports
from tests.unit.promote.conftest import better, good, plain
from tests.unit.promote.line import Line
from tests.unit.validate.gate_repo import GateRepo, Made

__all__ = ["better", "good", "plain"]
MORE = "targets: {registry: ghcr.io/acme, iotedge: {hubs: {staging: edge, production: live}}}\n"
# What a registry says of an image that it has; nothing is ever built or pushed here.
SKOPEO = """\
#!/bin/sh
for name; do :; done
printf 'sha256:%s\\n' "$(printf %s "$name" | sha256sum | cut -d' ' -f1)"
"""
BUILDAH = "#!/bin/sh\necho 'the image is in the registry' >&2\nexit 9\n"


@pytest.fixture
def machine(tmp_path: Path, good: Made, plain: None, monkeypatch: pytest.MonkeyPatch) -> Machine:
    line = Line(GateRepo(tmp_path / "repo")).start()
    line.repo.settings(
        "deploy: {target: iotedge}", PLACES.format(*free_ports(3), rollout="{}") + MORE
    )
    line.repo.write(".gitops/policies/lax.yaml", LAX)
    for file in targets.rendered(line.config):
        line.repo.write(str(file.path), file.content.decode())
    line.repo.commit("Deploy to devices")
    for branch in ("main", "release/staging", "release/production"):
        line.git("push", "-q", "origin", f"HEAD:{branch}")
    line.build(good)
    line.promote("dev", "staging")
    home = tmp_path / "home"
    monkeypatch.setenv("GITOPS_STATE", str(home))
    return Machine(line, home)


@pytest.fixture
def edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Az:
    devices = az.hub(("one", "staging"), ("two", "staging"), ("far", "production"))
    world = World(hubs={"edge": devices, "live": az.hub()}, extensions=["azure-iot"])
    found = az.install(tmp_path / "az", world)
    for name, text in (("skopeo", SKOPEO), ("buildah", BUILDAH)):
        program = found.folder / name
        program.write_text(text)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    for name, value in found.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{found.folder}:{os.environ['PATH']}")
    return found


def running(edge: Az) -> dict[str, str]:
    """The image that each device runs of the model; "" for none."""
    hub = edge.world.hubs["edge"]
    found = {name: az.reported(hub, one) for name, one in hub["devices"].items()}
    return {name: one.get("demo", "") for name, one in found.items()}


def test_devices_run_what_the_branch_says_from_whichever_machine(
    machine: Machine, edge: Az, better: Made, tmp_path: Path
) -> None:
    shown = machine.deploy("staging", "--dry-run", "--json")
    assert shown.code == 0, shown.err
    documents = shown.document["documents"]["iotedge"]
    assert set(documents) == {"base.json", "demo.json"}
    assert json.loads(documents["demo.json"])["labels"]["release"] == "demo@v1.0.0"
    assert edge.world.hubs["edge"]["deployments"] == {}

    done = machine.deploy("staging", "--once", "--json")
    assert done.code == 0, done.err
    (one,) = done.document["models"]
    assert (one["state"], one["release"]) == ("running", "demo@v1.0.0")
    assert done.document["endpoints"] == {"iotedge": "https://edge.azure-devices.net"}
    first = running(edge)
    assert first["one"].startswith("ghcr.io/acme/demo/demo@sha256:")
    assert first == {"one": first["one"], "two": first["one"], "far": ""}
    (record,) = machine.records()
    contracts.validate("deployment", record, Where("record"))
    assert record["target"] == {"kind": "iotedge", "endpoint": "https://edge.azure-devices.net"}

    other = replace(machine, home=tmp_path / "another")
    refs, world = machine.line.refs(), edge.world
    again = other.deploy("staging", "--once", "--json")
    assert again.code == 0, again.err
    assert machine.line.refs() == refs  # it is on record already
    assert edge.world == world

    machine.line.build(better, depth=4)
    machine.line.promote("dev", "staging")
    newer = machine.deploy("staging", "--once", "--json")
    assert newer.code == 0, newer.err
    assert newer.document["models"][0]["release"] == "demo@v1.1.0"
    assert running(edge)["one"] not in ("", first["one"])
    assert len(edge.world.hubs["edge"]["deployments"]) == 2

    gone = machine.gitops("rollback", "staging", "--reason", "worse on the road")
    assert gone.code == 0, gone.err
    back = other.deploy("staging", "--once", "--json")
    assert back.code == 0, back.err
    assert running(edge) == first
    states = [(one["release"], one["state"]) for one in machine.records()]
    assert states == [
        ("demo@v1.0.0", "running"),
        ("demo@v1.1.0", "running"),
        ("demo@v1.0.0", "running"),
    ]
    shown = other.gitops("status", "--live", "--json")
    (live,) = [one for one in shown.document["live"] if one["environment"] == "staging"]
    assert (live["target"], live["drift"]) == ("iotedge", [])
    assert machine.deploy("staging", "--stop").code == 0
    assert edge.world.hubs["edge"]["deployments"] == {}
