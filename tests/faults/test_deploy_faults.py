"""Deploying under faults, with real servers: only versions that were tested ever answer."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitops import daemon
from gitops.deploy import decide, stock
from gitops.deploy.state import State
from tests.unit.deploy.conftest import better, good, machine, placed, plain, worse
from tests.unit.deploy.machine import Machine, Ran, asking, in_use, until
from tests.unit.promote.line import remote_git
from tests.unit.validate.gate_repo import Made

__all__ = ["better", "good", "machine", "placed", "plain", "worse"]

# Runs `gitops` and kills itself right before, or right after, the n-th file of the state is put.
KILLED = """
import os, signal, sys
from gitops.deploy.state import State
from gitops.cli import main

when, number = sys.argv.pop(1), int(sys.argv.pop(1))
put, count = State.write, 0

def write(self, name, document):
    global count
    count += name != "progress.json"  # which nothing goes by
    if count == number and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    put(self, name, document)
    if count == number:
        os.kill(os.getpid(), signal.SIGKILL)

State.write = write
main()
"""


each_write = pytest.mark.parametrize(
    "when",
    [
        pytest.param(
            "before", marks=pytest.mark.extended("the kill after the write before is near")
        ),
        "after",
    ],
)


@pytest.fixture
def ahead(machine: Machine, better: Made) -> Machine:
    """Staging runs v1.0.0, and v1.1.0 is assigned to it."""
    assert machine.deploy("staging").code == 0
    machine.line.build(better, depth=4)
    machine.line.promote("dev", "staging")
    return machine


def killed(machine: Machine, when: str, number: int, *words: str) -> bool:
    """Run `gitops` with a kill built in; whether it came to that."""
    done = machine.ran(KILLED, when, str(number), *words)
    assert done.code in (0, 1, -signal.SIGKILL), done.err
    return done.code == -signal.SIGKILL


def servers(machine: Machine, environment: str) -> list[int]:
    """Every server process of an environment, and of its tests aside."""
    folder = machine.state(environment).folder
    plans = (folder / "serving.json", folder / "aside" / "serving.json")
    return [one.pid for plan in plans for one in daemon.find("serve", "--plan", str(plan))]


def sound(machine: Machine, environment: str, release: str) -> None:
    """It runs as assigned: one server, this release, its record once, nothing left over."""
    done = machine.deploy(environment, "--json")
    assert done.code == 0, done.err
    assert [one["state"] for one in done.document["models"]] == ["running"]
    assert machine.release(environment) == release
    assert len(servers(machine, environment)) == 1
    assert machine.happened(environment).count((release, "running")) == 1
    folder = machine.state(environment).folder
    assert not [one.name for one in folder.glob(".*.json.*")]
    assert not (folder / "aside").exists()
    assert machine.state(environment).under_way() == {}


@each_write
def test_killed_at_any_write_of_a_first_deployment(machine: Machine, when: str) -> None:
    records = machine.line.refs()["refs/heads/gitops/records"]
    number = 1
    while killed(machine, when, number, "deploy", "staging"):
        sound(machine, "staging", "demo@v1.0.0")
        # The next is a machine again that never deployed anything.
        machine.stop()
        shutil.rmtree(machine.home)
        remote_git(machine.line.origin, "update-ref", "refs/heads/gitops/records", records)
        number += 1
    assert number > 5
    sound(machine, "staging", "demo@v1.0.0")


@each_write
def test_killed_at_any_write_of_a_swap(ahead: Machine, when: str) -> None:
    number, versions = 1, ["demo@v1.0.0", "demo@v1.1.0"]
    refs, folder = ahead.line.refs(), ahead.state("staging").folder
    kept = folder.with_name("kept")
    with asking(ahead, "staging") as seen:
        shutil.copytree(folder, kept)
        while killed(ahead, when, number, "deploy", "staging"):
            assert ahead.release("staging") in versions
            sound(ahead, "staging", "demo@v1.1.0")
            # Back to before: the same server follows the plan that it had.
            for name in ("serving.json", "deployed.json"):
                shutil.copy(kept / name, folder / f".{name}")
                (folder / f".{name}").replace(folder / name)
            until(lambda: ahead.release("staging") == versions[0], "going back")
            remote_git(
                ahead.line.origin,
                "update-ref",
                "refs/heads/gitops/records",
                refs["refs/heads/gitops/records"],
            )
            number += 1
    assert number > 3
    assert {status for status, _ in seen} == {200}
    sound(ahead, "staging", "demo@v1.1.0")


def test_a_killed_server_is_started_again_by_what_the_state_folder_says(machine: Machine) -> None:
    assert machine.deploy("staging", "--workers", "2").code == 0
    os.kill(machine.server("staging"), signal.SIGKILL)
    sound(machine, "staging", "demo@v1.0.0")
    assert machine.happened("staging") == [("demo@v1.0.0", "running")]  # no change of state


def test_a_killed_worker_loses_nothing_that_others_answer(machine: Machine) -> None:
    assert machine.deploy("staging", "--workers", "2").code == 0
    workers = machine.state("staging").folder / "workers"
    first = {int(one.stem) for one in workers.glob("*.json")}
    assert len(first) == 2
    os.kill(min(first), signal.SIGKILL)
    until(
        lambda: len(now := {int(one.stem) for one in workers.glob("*.json")}) == 2 and now != first,
        "another worker",
    )
    sound(machine, "staging", "demo@v1.0.0")


def test_after_a_reboot_another_process_of_that_number_is_not_taken_for_the_server(
    machine: Machine,
) -> None:
    assert machine.deploy("staging").code == 0
    state = machine.state("staging")
    server = machine.server("staging")
    known = state.read("server.json")
    os.kill(server, signal.SIGKILL)
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        # The number of the dead server is somebody else's now.
        state.write("server.json", {**(known or {}), "pid": stranger.pid})
        sound(machine, "staging", "demo@v1.0.0")
        assert machine.server("staging") != stranger.pid
        assert machine.deploy("staging", "--stop").code == 0
        assert stranger.poll() is None
    finally:
        stranger.communicate()


@contextmanager
def unreachable(machine: Machine) -> Iterator[None]:
    """The git remote is gone for a while."""
    away = machine.line.origin.with_name("away.git")
    machine.line.origin.rename(away)
    try:
        yield
    finally:
        away.rename(machine.line.origin)


def test_with_the_remote_down_what_ran_is_started_and_that_is_said(machine: Machine) -> None:
    machine.line.git("remote", "set-url", "origin", "../origin.git")  # as people write it
    assert machine.deploy("staging").code == 0
    os.kill(machine.server("staging"), signal.SIGKILL)
    with unreachable(machine):
        done = machine.deploy("staging", "--once")
        assert done.code == 4
        assert "starting what the state folder says" in done.err
        assert "what ran before runs, by the state folder" in done.err
        assert machine.release("staging") == "demo@v1.0.0"
        live = machine.gitops("status", "--live", "--json")
        (one,) = [each for each in live.document["live"] if each["environment"] == "staging"]
        assert (one["runs"], one["healthy"]) == ("demo@v1.0.0", True)
    sound(machine, "staging", "demo@v1.0.0")


def test_with_the_remote_down_a_machine_that_has_nothing_runs_nothing(machine: Machine) -> None:
    with unreachable(machine):
        done = machine.deploy("staging")
    assert done.code == 4
    assert "state folder" not in done.err
    assert servers(machine, "staging") == []


def test_altered_bytes_are_never_served(machine: Machine) -> None:
    assert machine.deploy("staging").code == 0
    plan = machine.state("staging").plan()
    assert plan is not None
    package = Path(plan.models["demo"].champion.folder)
    (package / "signature.json").write_text((package / "signature.json").read_text() + " ")
    os.kill(machine.server("staging"), signal.SIGKILL)
    with unreachable(machine):
        done = machine.deploy("staging", "--once")
        assert done.code == 4
        assert "can't be served" in done.err
        assert machine.endpoint("staging").get("/v2/health/ready").status == 503
    sound(machine, "staging", "demo@v1.0.0")
    assert stock.digest_of(package) == plan.models["demo"].champion.package


def lose(machine: Machine, made: Made) -> None:
    """The model's file is in no storage and no cache."""
    name = hashlib.md5((made.folder / "package" / "model.onnx").read_bytes()).hexdigest()
    for place in (machine.line.repo.cache, machine.line.repo.storage / "files" / "md5"):
        (place / name[:2] / name[2:]).unlink()


def failed(machine: Machine, done: Ran, code: int, said: str) -> None:
    """It failed with this exit code, the old one answers, and it is on record once."""
    assert done.code == code, done.err
    assert said in done.err
    assert machine.release("staging") == "demo@v1.0.0"
    assert machine.happened("staging") == [("demo@v1.0.0", "running"), ("demo@v1.1.0", "failed")]
    plan = machine.state("staging").plan()
    assert plan is not None
    assert plan.models["demo"].challenger is None


def test_a_package_that_the_storage_lacks_leaves_the_old_one(ahead: Machine, better: Made) -> None:
    lose(ahead, better)
    failed(ahead, ahead.deploy("staging"), 3, "model.onnx")
    failed(
        ahead, ahead.deploy("staging"), 3, "model.onnx"
    )  # once on record, however often it is tried
    ahead.line.repo.store(better.folder / "package")
    shutil.copytree(
        ahead.line.repo.cache, ahead.line.repo.storage / "files" / "md5", dirs_exist_ok=True
    )
    assert ahead.deploy("staging").code == 0
    assert ahead.happened("staging")[-1] == ("demo@v1.1.0", "running")


def deploy_by(machine: Machine, code: str) -> subprocess.CompletedProcess[str]:
    """`deploy staging` by Python code that ends in the command line's `main`."""
    command = [sys.executable, "-c", code, "deploy", "staging"]
    return subprocess.run(command, cwd=machine.line.root, capture_output=True, text=True)


def test_a_version_that_answers_otherwise_than_its_package_gets_no_traffic(
    ahead: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "from gitops.cli import main, hands_deploy\n"
        "scored = hands_deploy.Remote.scored\n"
        "def other(self, *words):\n"
        "    found = scored(self, *words)\n"
        "    return {**found, 'score': [1 - one for one in found['score']]}\n"
        "hands_deploy.Remote.scored = other\n"
        "main()\n"
    )
    with asking(ahead, "staging") as seen:
        done = deploy_by(ahead, code)
    assert done.returncode == 3
    assert "contract tests" in done.stderr
    assert set(seen) == {(200, "demo@v1.0.0")}
    assert ahead.happened("staging") == [("demo@v1.0.0", "running"), ("demo@v1.1.0", "failed")]
    assert ahead.deploy("staging").code == 0  # tried again, and no fault now


def test_a_full_disk_leaves_the_old_one(ahead: Machine) -> None:
    code = (
        "import resource\n"
        "from gitops.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "main()\n"
    )
    done = deploy_by(ahead, code)
    assert done.returncode == 4, done.stderr
    assert "File too large" in done.stderr
    assert ahead.release("staging") == "demo@v1.0.0"
    assert ahead.deploy("staging").code == 0
    assert ahead.release("staging") == "demo@v1.1.0"


def test_a_taken_address_is_named(machine: Machine) -> None:
    endpoint = machine.endpoint("staging")
    with socket.create_server((endpoint.host, endpoint.port)):
        done = machine.deploy("staging")
    assert done.code == 4
    assert f"can't listen on {endpoint.host}:{endpoint.port}" in done.err
    assert machine.happened("staging") == [("demo@v1.0.0", "failed")]
    assert machine.deploy("staging").code == 0


def test_two_reconcilers_don_t_get_into_each_other_s_way(machine: Machine) -> None:
    follower = machine.start("deploy", "staging", "--follow")
    try:
        until(lambda: machine.state("staging").plan(), "the first deployment")
        done = machine.deploy("staging")
        assert done.code == 1
        assert f"process {follower.pid}" in done.err
    finally:
        follower.send_signal(signal.SIGTERM)
        follower.communicate()
    assert follower.returncode == 130
    sound(machine, "staging", "demo@v1.0.0")


def test_records_that_can_t_be_pushed_are_pushed_later(machine: Machine) -> None:
    hook = machine.line.origin / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho no records today >&2\nexit 1\n")
    hook.chmod(0o755)
    done = machine.deploy("staging")
    assert done.code == 4
    assert "no records today" in done.err
    assert machine.release("staging") == "demo@v1.0.0"
    assert machine.records() == []
    hook.unlink()
    sound(machine, "staging", "demo@v1.0.0")


def test_a_follower_heals_and_follows(machine: Machine, better: Made) -> None:
    follower = machine.start("deploy", "staging", "--follow")
    try:
        until(lambda: machine.state("staging").plan(), "the first deployment")
        until(lambda: machine.happened("staging"), "its record")
        os.kill(server := machine.server("staging"), signal.SIGKILL)
        until(lambda: machine.server("staging") != server, "another server")
        machine.line.build(better, depth=4)
        machine.line.promote("dev", "staging")
        until(lambda: machine.happened("staging")[-1][0] == "demo@v1.1.0", "the new version")
        assert machine.release("staging") == "demo@v1.1.0"
    finally:
        follower.send_signal(signal.SIGTERM)
        follower.communicate()


@pytest.fixture
def releasing(machine: Machine, worse: Made) -> Machine:
    """Production runs v1.0.0; v1.1.0, which is worse, is assigned to it."""
    assert machine.deploy("production").code == 0
    machine.line.build(worse, depth=4)
    machine.line.promote("dev", "staging")
    machine.line.promote("staging", "production")
    return machine


def rolled_back(machine: Machine) -> None:
    """Endpoint, branch, tag and records agree, and each is there once."""
    assert machine.release("production") == "demo@v1.0.0"
    assert machine.line.runs("production") == "v1.0.0"
    assert machine.happened("production") == [
        ("demo@v1.0.0", "running"),
        ("demo@v1.1.0", "rolled_back"),
        ("demo@v1.0.0", "running"),
    ]
    assert "worse in brier" in machine.records()[1]["why"]
    assert machine.state("production").under_way() == {}
    held = [name for name in machine.line.refs() if name.startswith("refs/tags/hold/production/")]
    assert held == ["refs/tags/hold/production/1"]


@each_write
def test_killed_over_and_over_a_rollout_comes_to_its_end(releasing: Machine, when: str) -> None:
    number = 1
    with in_use(releasing, "production") as seen:
        while killed(releasing, when, number, "deploy", "production"):
            number += 1
        done = releasing.deploy("production", "--json")
    assert number > 4
    assert done.code == 0, done.err
    assert set(seen) == {200, 202}
    rolled_back(releasing)


def test_a_rollback_that_the_remote_refuses_leaves_the_traffic_with_the_champion(
    releasing: Machine,
) -> None:
    hook = releasing.line.origin / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho the branch is protected >&2\nexit 1\n")
    hook.chmod(0o755)
    before = releasing.line.refs()
    with in_use(releasing, "production") as seen:
        done = releasing.deploy("production")
        assert done.code == 4, done.err
        assert "demo@v1.0.0 answers again, but the branch could not be rolled back" in done.err
        assert "the branch is protected" in done.err
        assert {releasing.release("production") for _ in range(30)} == {"demo@v1.0.0"}
        assert releasing.line.refs() == before
        assert releasing.state("production").under_way()["demo"].phase == "undoing"
        again = releasing.deploy("production", "--once")
        assert again.code == 4
        assert {releasing.release("production") for _ in range(30)} == {"demo@v1.0.0"}
        hook.unlink()
        done = releasing.deploy("production")
    assert done.code == 1, done.err
    assert set(seen) == {200, 202}
    rolled_back(releasing)


def test_with_the_remote_down_a_rollout_is_still_judged(releasing: Machine) -> None:
    assert releasing.deploy("production", "--once").code == 0
    with in_use(releasing, "production"), unreachable(releasing):
        follower = releasing.start("deploy", "production", "--follow")
        try:
            until(
                lambda: (
                    (under := releasing.state("production").under_way().get("demo"))
                    and under.phase == "undoing"
                ),
                "the verdict",
            )
            assert {releasing.release("production") for _ in range(30)} == {"demo@v1.0.0"}
        finally:
            follower.send_signal(signal.SIGTERM)
            follower.communicate()
    assert releasing.deploy("production").code == 1
    rolled_back(releasing)


def test_a_promotion_that_was_killed_is_not_taken_back(machine: Machine, better: Made) -> None:
    assert machine.deploy("production").code == 0
    machine.line.build(better, depth=4)
    machine.line.promote("dev", "staging")
    machine.line.promote("staging", "production")
    assert machine.deploy("production", "--once").code == 0
    state = machine.state("production")
    plan, under = state.plan(), state.under_way()["demo"]
    assert plan is not None
    served = plan.models["demo"]
    assert served.challenger is not None
    # As if killed right after the plan was put that makes the challenger the champion.
    promoted = decide.alone(served.challenger, served.serve)
    state.put_plan(decide.with_model(plan, "demo", promoted, ("demo", "production")))
    with unreachable(machine):
        assert machine.deploy("production", "--once").code == 4
        assert machine.release("production") == "demo@v1.1.0"
        assert state.under_way() == {}
    sound(machine, "production", "demo@v1.1.0")
    assert machine.records()[-1]["replaces"] == under.champion.package


def test_a_champion_that_was_altered_during_a_rollout_is_fetched_by_its_version(
    releasing: Machine,
) -> None:
    assert releasing.deploy("production", "--once").code == 0
    plan = releasing.state("production").plan()
    assert plan is not None
    champion = plan.models["demo"].champion
    (Path(champion.folder) / "model.onnx").write_bytes(b"altered")
    os.kill(releasing.server("production"), signal.SIGKILL)
    done = releasing.deploy("production", "--once", "--json")
    assert done.code == 0, done.err
    assert stock.digest_of(Path(champion.folder)) == champion.package
    assert done.document["models"][0]["state"] == "rolling_out"
    assert releasing.ask("production").status == 200


def test_another_number_of_workers_starts_the_server_anew(machine: Machine) -> None:
    assert machine.deploy("staging").code == 0
    workers = machine.state("staging").folder / "workers"
    assert len(list(workers.glob("*.json"))) == 1
    assert machine.deploy("staging", "--workers", "2").code == 0
    assert len(list(workers.glob("*.json"))) == 2
    server = machine.server("staging")
    assert machine.deploy("staging").code == 0  # which says nothing of workers
    assert machine.server("staging") == server


def test_a_state_that_is_damaged_is_named(machine: Machine) -> None:
    assert machine.deploy("staging").code == 0
    state = State(machine.state("staging").folder)
    (state.folder / "rollout.json").write_text("{")
    done = machine.deploy("staging")
    assert done.code == 3
    assert "rollout.json" in done.err
    assert machine.release("staging") == "demo@v1.0.0"
