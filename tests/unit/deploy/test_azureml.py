"""The target `azureml` against a stand-in for `az`: what it leaves there, whatever happens."""

from __future__ import annotations

import contextlib
import io
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gitops import config, proc
from gitops.config.serving import Rollout
from gitops.deploy.azureml import az as edge
from gitops.deploy.azureml import documents, shifts
from gitops.deploy.azureml import target as targets
from gitops.deploy.azureml.az import Az
from gitops.deploy.azureml.store import Store
from gitops.deploy.azureml.target import AzureML
from gitops.deploy.model import Desired, Plan, Served, Variant
from gitops.deploy.state import State
from gitops.errors import AnswerNo, EvidenceError, ToolError
from gitops.scaffold import targets as scaffold
from tests import az
from tests.unit.deploy.releases import NEW, OLD, SERVE, variant

GITOPS = """\
version: 1
project: flights
environments:
  - {name: dev, branch: main}
  - {name: production, branch: release/production}
models: {late: {task: binary, deploy: {target: azureml}}}
targets:
  azureml: {workspaces: {production: {name: flights, resource_group: flights}}}
"""
CONFIG = config.parse(GITOPS.encode(), Path("gitops.yaml"))
FILES = {
    one.path.name: one.content.decode()
    for one in scaffold.rendered(CONFIG)
    if "azureml" in one.path.parts
}
NAME = "flights-late-production-"
V1, V2 = (documents.deployment_name(variant(one)) for one in (OLD, NEW))


class Killed(BaseException):
    """The process is gone: nothing that it would still do is done."""


@dataclass
class Cloud:
    """The stand-in, called within this process; `dies`: the call at which the caller is killed."""

    top: Path
    calls: int = 0
    dies: int = 0
    after: bool = False

    def run(self, command: Sequence[str], **_: Any) -> proc.Done:
        assert command[0] == "az"
        self.calls += 1
        if self.dies and (self.calls > self.dies or (self.calls == self.dies and not self.after)):
            raise Killed
        out, err, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                az.run(list(command[1:]))
            except SystemExit as ended:
                code = int(str(ended.code))
        if self.dies == self.calls:
            raise Killed
        return proc.Done(code, out.getvalue(), err.getvalue())

    def wish(self, **what: object) -> None:
        (self.top / "wishes.json").write_text(json.dumps({"containers": False, **what}))

    @property
    def there(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.top / "state.json").read_text())
        return found

    @property
    def endpoint(self) -> dict[str, Any]:
        (one,) = self.there["endpoints"].values()
        return dict(one)

    def stands(self) -> tuple[dict[str, int], dict[str, int], dict[str, str]]:
        """Traffic, mirror, and the state of each deployment."""
        one = self.endpoint
        states = {name: each["provisioning_state"] for name, each in one["deployments"].items()}
        return one["traffic"], one["mirror_traffic"], states

    def shape(self) -> object:
        """All that there is, but for numbers that tell one run from another."""
        one = self.endpoint
        made = {name: each["document"] for name, each in one["deployments"].items()}
        return self.stands(), made, {key: one[key] for key in ("auth_mode", "tags")}


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    found = Cloud(tmp_path / "cloud")
    found.top.mkdir()
    found.wish()
    monkeypatch.setattr(az, "TOP", found.top)
    monkeypatch.setattr(proc, "run", found.run)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(targets, "LOOK", 0.0)
    return found


def machine(folder: Path, files: dict[str, str] | None = None) -> AzureML:
    """A machine that deploys, with the state folder `folder`."""
    edge_ = Az(("flights", "flights"), print)
    found = AzureML(
        State(folder),
        edge_,
        Store(edge_, "production"),
        lambda commit: lambda one: f"registry.example.org/late@sha256:{one.package}",
        lambda one: f"registry.example.org/late:{one.package[:32]}",
        lambda commit: {"late": FILES if files is None else files},
        lambda model: pytest.fail("nothing is collected here"),
        print,
    )
    found.recall()
    found.place(desired())
    return found


def desired() -> Desired:
    return Desired(
        "flights", "production", ("127.0.0.1", 1), Rollout(), "", {}, {"late": "azureml"}, tip="t"
    )


def plan(generation: int, served: Served | None) -> Plan:
    return Plan(generation, "flights", "production", {"late": served} if served else {})


FIRST = plan(1, Served(variant(OLD), SERVE))
BESIDE = plan(2, Served(variant(OLD), SERVE, variant(NEW), share=0))
SHADOW = plan(3, Served(variant(OLD), SERVE, variant(NEW), shadow=True, salt=NEW.assignment))
SPLIT = plan(4, Served(variant(OLD), SERVE, variant(NEW), share=5, salt=NEW.assignment))
PROMOTED = plan(5, Served(variant(NEW), SERVE))
ROLLED_BACK = plan(5, Served(variant(OLD), SERVE))
READY = "Succeeded"


def test_a_rollouts_steps_in_azures_words(cloud: Cloud, tmp_path: Path) -> None:
    here = machine(tmp_path / "state")
    expected = [
        (FIRST, {V1: 100}, {}, {V1: READY}),
        (BESIDE, {V1: 100}, {}, {V1: READY, V2: READY}),
        (SHADOW, {V1: 100}, {V2: 50}, {V1: READY, V2: READY}),
        (SPLIT, {V1: 95, V2: 5}, {}, {V1: READY, V2: READY}),
        (PROMOTED, {V2: 100}, {}, {V2: READY}),
        (FIRST, {V1: 100}, {}, {V1: READY}),
    ]
    for one, *stands in expected:
        here.apply(one)
        assert list(cloud.stands()) == stands
        found = here.observe()
        assert (found.runs, found.generation, found.error) == (True, one.generation, "")
    assert next(iter(cloud.there["endpoints"])).startswith(NAME)


@pytest.mark.extended("killed at every call; each step is tested without")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("before", "then"),
    [(None, FIRST), (FIRST, BESIDE), (FIRST, SPLIT), (SHADOW, SPLIT), (SPLIT, PROMOTED)],
)
def test_killed_at_any_call_and_run_again_it_comes_to_the_same(
    cloud: Cloud, tmp_path: Path, before: Plan | None, then: Plan, after: bool
) -> None:
    def until_then(folder: Path, dies: int) -> bool:
        """From nothing to before, then on; whether it was killed on the way on."""
        for name in ("state.json", "blobs"):
            path = cloud.top / name
            if path.is_dir():
                for one in path.rglob("*.json"):
                    one.unlink()
            else:
                path.unlink(missing_ok=True)
        cloud.dies = 0
        if before is not None:
            machine(folder).apply(before)
        cloud.calls, cloud.dies, cloud.after = 0, dies, after
        try:
            machine(folder).apply(then)
        except Killed:
            return True
        finally:
            cloud.dies = 0
        return False

    assert not until_then(tmp_path / "sound", 0)
    sound, number = cloud.shape(), 1
    while until_then(tmp_path / str(number), number):
        again = machine(tmp_path / f"{number}-again")  # another machine: nothing but the cloud
        again.apply(then)
        assert cloud.shape() == sound, number
        assert again.observe().generation == then.generation
        noted = shifts.read(again.state.read(shifts.FILE), "late")
        assert noted[-1].settled is not None
        number += 1
    assert number > 5


def test_a_call_that_fails_changes_nothing_that_the_next_run_does_not_mend(
    cloud: Cloud, tmp_path: Path
) -> None:
    here = machine(tmp_path / "state")
    here.apply(FIRST)
    calls = cloud.there["calls"]
    here.apply(SPLIT)
    sound, number = cloud.shape(), cloud.there["calls"] - calls
    assert number > 5
    for at in range(1, number + 1):
        here.apply(FIRST)
        cloud.wish(at=cloud.there["calls"] + at, do="fail")
        with pytest.raises(ToolError, match="InternalServerError"):
            here.apply(SPLIT)
        assert cloud.stands()[0].get(V1, 0) >= 95  # the champion goes on answering
        cloud.wish()
        here.apply(SPLIT)
        assert cloud.shape() == sound


def test_operations_under_way_are_waited_for(cloud: Cloud, tmp_path: Path) -> None:
    cloud.wish(slow=3)
    here = machine(tmp_path / "state")
    here.apply(FIRST)
    # Somebody else changes the endpoint at this moment.
    here.az.begin("x", "online-endpoint", "update", "--name", here._endpoint("late").name)
    here.apply(SPLIT)
    assert cloud.stands() == ({V1: 95, V2: 5}, {}, {V1: READY, V2: READY})


def test_an_operation_that_never_ends_is_given_up_and_told(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.wish(slow=10**6)
    monkeypatch.setattr(edge, "PATIENCE", 0.05)
    with pytest.raises(ToolError, match="is still Creating after") as caught:
        machine(tmp_path / "state").apply(FIRST)
    assert "waits for it again" in caught.value.fix


def test_a_version_that_does_not_come_up_leaves_the_old_one_alone(
    cloud: Cloud, tmp_path: Path
) -> None:
    here = machine(tmp_path / "state")
    here.apply(FIRST)
    cloud.wish(broken=True)
    with pytest.raises(EvidenceError, match="doesn't come up: it is Failed; it said: it fell over"):
        here.apply(BESIDE)
    assert cloud.stands()[0] == {V1: 100}
    cloud.wish()
    here.apply(ROLLED_BACK)
    assert cloud.stands() == ({V1: 100}, {}, {V1: READY})
    here.apply(BESIDE)  # what had failed is made anew
    assert cloud.stands()[2] == {V1: READY, V2: READY}


def test_what_others_changed_is_seen_healed_and_no_evidence(cloud: Cloud, tmp_path: Path) -> None:
    here = machine(tmp_path / "state")
    here.apply(SPLIT)
    name = here._endpoint("late").name
    here.az.ml("online-endpoint", "update", "--name", name, "--traffic", f"{V1}=50 {V2}=50")
    found = here.observe()
    assert (found.runs, found.generation) == (True, None)
    assert "the traffic is" in found.error
    here.apply(SPLIT)
    assert cloud.stands()[0] == {V1: 95, V2: 5}
    assert len(shifts.read(here.state.read(shifts.FILE), "late")) == 2


def test_deployments_that_are_not_ours_are_left_alone(cloud: Cloud, tmp_path: Path) -> None:
    here = machine(tmp_path / "state")
    here.apply(FIRST)
    name = here._endpoint("late").name
    theirs = {"name": "theirs", "endpoint_name": name, "environment": {"image": "x@sha256:1"}}
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "one.yaml").write_text(json.dumps(theirs))
    here.az.ml("online-deployment", "create", "--file", str(tmp_path / "theirs" / "one.yaml"))
    here.apply(PROMOTED)
    assert set(cloud.stands()[2]) == {V2, "theirs"}


def test_files_that_the_branch_changed_are_applied_and_traffic_stays(
    cloud: Cloud, tmp_path: Path
) -> None:
    machine(tmp_path / "state").apply(SPLIT)
    larger = FILES["deployment.yaml"].replace("instance_count: 3", "instance_count: 4")
    open_ = FILES["endpoint.yaml"].replace("auth_mode: aad_token", "auth_mode: key")
    assert (larger, open_) != (FILES["deployment.yaml"], FILES["endpoint.yaml"])
    here = machine(tmp_path / "state", {**FILES, "deployment.yaml": larger, "endpoint.yaml": open_})
    assert here.observe().generation is None
    here.apply(replace(SPLIT, generation=5))
    assert cloud.stands()[0] == {V1: 95, V2: 5}
    assert cloud.endpoint["auth_mode"] == "key"
    counts = {one["document"]["instance_count"] for one in cloud.endpoint["deployments"].values()}
    assert counts == {4}


def test_stopping_takes_what_costs_and_keeps_the_address(cloud: Cloud, tmp_path: Path) -> None:
    here = machine(tmp_path / "state")
    here.apply(SPLIT)
    assert here.stop()
    assert cloud.stands() == ({}, {}, {})
    assert not here.stop()
    here.apply(FIRST)
    assert cloud.stands() == ({V1: 100}, {}, {V1: READY})


def test_a_model_that_is_gone_takes_its_endpoint_with_it(cloud: Cloud, tmp_path: Path) -> None:
    here = machine(tmp_path / "state")
    here.apply(FIRST)
    here.apply(plan(2, None))
    assert cloud.there["endpoints"] == {}


def test_tests_aside_leave_nothing_when_they_fail(cloud: Cloud, tmp_path: Path) -> None:
    here = machine(tmp_path / "state")
    with pytest.raises(EvidenceError), here.aside(FIRST):
        assert cloud.stands() == ({}, {}, {V1: READY})
        raise EvidenceError("it answers otherwise")
    assert cloud.stands() == ({}, {}, {})


# ---------------------------------------------------------------- the state


def test_another_machine_goes_on_from_what_the_cloud_keeps(cloud: Cloud, tmp_path: Path) -> None:
    machine(tmp_path / "one").apply(SPLIT)
    other = machine(tmp_path / "two")
    assert other.state.plan() == SPLIT
    assert other.observe().generation == SPLIT.generation
    calls = cloud.there["calls"]
    other.apply(SPLIT)
    words = (cloud.top / "calls.txt").read_text().splitlines()[calls:]
    assert not [one for one in words if " create " in one or " update " in one]


def test_two_machines_at_once_are_found_out(cloud: Cloud, tmp_path: Path) -> None:
    one, other = machine(tmp_path / "one"), machine(tmp_path / "two")
    one.apply(FIRST)
    with pytest.raises(AnswerNo, match="another machine deploys"):
        other.apply(PROMOTED)
    assert cloud.stands() == ({V1: 100}, {}, {V1: READY})
    other.recall()
    other.apply(PROMOTED)
    assert cloud.stands()[0] == {V2: 100}


# ---------------------------------------------------------------- what is refused


def edited(file: str, old: str, new: str) -> dict[str, str]:
    assert old in FILES[file]
    return {**FILES, file: FILES[file].replace(old, new)}


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (edited("deployment.yaml", "IMAGE", "mine:latest"), "fixes the image"),
        (edited("deployment.yaml", "name: RELEASE", "name: blue"), "fixes the name"),
        (edited("deployment.yaml", "endpoint_name: f", "endpoint_name: x"), "another endpoint"),
        (edited("endpoint.yaml", "auth_mode", "traffic: {}\nauth_mode"), "has traffic"),
        (edited("endpoint.yaml", "auth_mode:", "auth_mode: ["), "endpoint.yaml"),
        (edited("deployment.yaml", 'response: {enabled: "true"}', ""), "doesn't collect responses"),
        (edited("deployment.yaml", 'IN_BODY: "true"', 'IN_BODY: "false"'), "status and time taken"),
        (edited("deployment.yaml", "rate: 1.0", "rate: 0.5"), "collects a sample"),
        ({"endpoint.yaml": FILES["endpoint.yaml"]}, "there's no deployment.yaml"),
    ],
)
def test_files_that_decide_what_is_the_plans_are_refused(
    cloud: Cloud, tmp_path: Path, files: dict[str, str], why: str
) -> None:
    machine(tmp_path / "state").apply(FIRST)
    here = machine(tmp_path / "state", files)
    before = cloud.shape()
    with pytest.raises(EvidenceError, match=why):
        here.apply(SPLIT)
    assert cloud.shape() == before


@pytest.mark.parametrize(
    ("served", "why"),
    [
        (replace(SPLIT.models["late"], key="customer"), "no key"),
        (
            replace(FIRST.models["late"], serve={**SERVE, "log": {"redact": ["name"]}}),
            "serve.log.redact",
        ),
    ],
)
def test_what_azure_can_not_keep_is_refused(
    cloud: Cloud, tmp_path: Path, served: Served, why: str
) -> None:
    with pytest.raises(EvidenceError, match=why):
        machine(tmp_path / "state").apply(plan(1, served))
    assert not cloud.there["endpoints"]


@pytest.mark.parametrize(
    ("says", "fix"),
    [
        ("Please run 'az login' to setup account.", "az login"),
        ("'ml' is misspelled or not recognized by the system.", "az extension add --name ml"),
        ("The command requires the extension ml. Unable to prompt", "az extension add"),
        ("(AuthorizationFailed) The client does not have authorization", "Contributor"),
        ("(OutOfQuota) not enough cores", "quota"),
        ("something new", "gitops deploy tries again"),
    ],
)
def test_errors_of_az_say_what_to_do(cloud: Cloud, tmp_path: Path, says: str, fix: str) -> None:
    cloud.wish(says=says)
    with pytest.raises(ToolError) as caught:
        machine(tmp_path / "state")
    assert fix in caught.value.fix
    assert says.split()[0] in caught.value.message


def test_without_az_it_says_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="az was not found") as caught:
        machine(tmp_path / "state")
    assert "https://aka.ms" in caught.value.fix


def test_a_workspace_that_is_not_there_is_named(cloud: Cloud, tmp_path: Path) -> None:
    cloud.wish(says="(ResourceNotFound) The Resource workspaces/flights was not found")
    with pytest.raises(ToolError, match="no workspace flights in the resource group flights"):
        machine(tmp_path / "state")


# ---------------------------------------------------------------- names


def test_deployments_are_named_by_version_and_bytes() -> None:
    one = variant(OLD)
    assert documents.deployment_name(one) == V1 == "v1-2-0-" + one.package[:6]
    assert documents.deployment_name(replace(one, package="f" * 64)) == "v1-2-0-ffffff"
    long = Variant("late@v1.2.0-rc.1+build-with-a-very-long-name", "", "", "a" * 64)
    assert documents.deployment_name(long) == "v1-2-0-rc-1-build-with-a-aaaaaa"
    for version in ("v1.2.0", "v1.2.0-rc.1+build-with-a-very-long-name", "v10.20.30--x"):
        assert az.NAME.fullmatch(documents.deployment_name(replace(one, release=f"late@{version}")))


def test_documents_show_what_would_be_handed_over(cloud: Cloud, tmp_path: Path) -> None:
    here = machine(tmp_path / "state")
    shown = here.documents(SPLIT)
    top = "deploy/azureml/production/late"
    assert set(shown) == {f"{top}/{name}.yaml" for name in ("endpoint", V1, V2, "traffic")}
    assert f"{V1}: 95" in shown[f"{top}/traffic.yaml"]
    assert "RELEASE" not in shown[f"{top}/{V1}.yaml"]
    assert "image: registry.example.org/late:" in shown[f"{top}/{V1}.yaml"]
    # Nothing was changed by it.
    words = (cloud.top / "calls.txt").read_text().splitlines()
    assert not [one for one in words if re.search(r" (create|update|delete|upload) ", one)]
