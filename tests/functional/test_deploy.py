"""`gitops deploy` on a real repository, with a real server: what the branch says answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops import contracts
from gitops.deploy import state
from gitops.errors import Where
from tests.unit.deploy.conftest import better, good, machine, placed, plain, worse
from tests.unit.deploy.machine import Machine, asking, in_use
from tests.unit.validate.gate_repo import Made

__all__ = ["better", "good", "machine", "placed", "plain", "worse"]


def test_what_is_assigned_answers_and_is_on_record(machine: Machine) -> None:
    done = machine.deploy("staging", "--json")
    assert done.code == 0, done.err
    (model,) = done.document["models"]
    assert (model["model"], model["state"], model["release"]) == ("demo", "running", "demo@v1.0.0")
    answer = machine.ask("staging", rows=3)
    assert answer.status == 200
    assert answer.body["release"] == "demo@v1.0.0"
    assert len(answer.body["predictions"]) == 3
    (record,) = machine.records()
    contracts.validate("deployment", record, Where("record"))
    assert record["assignment"].startswith("demo#staging#")
    assert record["package"] == model["package"]
    assert record["target"] == {
        "kind": "local",
        "endpoint": machine.endpoint("staging").url,
    }
    assert record["state"] == "running"
    assert "replaces" not in record
    assert record["by"] == "Test <test@example.org>"


def test_deploying_again_changes_nothing(machine: Machine) -> None:
    assert machine.deploy("staging").code == 0
    server, refs = machine.server("staging"), machine.line.refs()
    plan = machine.state("staging").plan()
    again = machine.deploy("staging")
    assert again.code == 0, again.err
    assert machine.server("staging") == server
    assert machine.state("staging").plan() == plan
    assert machine.line.refs() == refs


def test_a_promotion_changes_what_answers_and_no_request_is_lost(
    machine: Machine, better: Made
) -> None:
    assert machine.deploy("staging").code == 0
    machine.line.build(better, depth=4)
    machine.line.promote("dev", "staging")
    assert machine.release("staging") == "demo@v1.0.0"  # assigned is not running
    with asking(machine, "staging") as seen:
        done = machine.deploy("staging")
    assert done.code == 0, done.err
    assert {status for status, _ in seen} == {200}
    releases = [release for _, release in seen]
    assert set(releases) <= {"demo@v1.0.0", "demo@v1.1.0"}
    assert releases == sorted(releases)  # never back and forth
    assert machine.release("staging") == "demo@v1.1.0"
    assert machine.happened("staging") == [("demo@v1.0.0", "running"), ("demo@v1.1.0", "running")]
    first, second = machine.records()
    assert second["replaces"] == first["package"]


def test_a_rollback_brings_back_the_bytes_at_once(machine: Machine, better: Made) -> None:
    assert machine.deploy("staging").code == 0
    old = machine.ask("staging", rows=20).body["scores"]
    machine.line.build(better, depth=4)
    machine.line.promote("dev", "staging")
    assert machine.deploy("staging").code == 0
    assert machine.ask("staging", rows=20).body["scores"] != old
    machine.line.rollback("staging")
    assert machine.deploy("staging").code == 0
    assert machine.ask("staging", rows=20).body["scores"] == old
    assert machine.happened("staging") == [
        ("demo@v1.0.0", "running"),
        ("demo@v1.1.0", "running"),
        ("demo@v1.0.0", "running"),
    ]


def test_packages_that_nothing_needs_go(machine: Machine, better: Made, worse: Made) -> None:
    digests = []
    for depth, made in ((4, better), (5, worse)):
        assert machine.deploy("staging").code == 0
        plan = machine.state("staging").plan()
        assert plan is not None
        digests.append(plan.models["demo"].champion.package)
        machine.line.build(made, depth=depth)
        machine.line.git("push", "-q", "origin", "HEAD")
        machine.line.promote("dev", "staging")
    assert machine.deploy("staging").code == 0
    kept = sorted(one.name for one in (machine.state("staging").folder / "packages").iterdir())
    assert len(kept) == 2  # the present one, and the one before
    assert digests[0] not in kept
    assert digests[1] in kept


def test_dev_and_an_environment_without_an_assignment_say_what_to_do(
    machine: Machine, tmp_path: Path
) -> None:
    dev = machine.deploy("dev")
    assert dev.code == 2
    assert "gitops promote dev staging" in dev.err
    nowhere = machine.deploy("nowhere")
    assert nowhere.code == 2


def test_stopping_ends_the_server_and_deploying_starts_it_again(machine: Machine) -> None:
    assert machine.deploy("staging").code == 0
    stopped = machine.deploy("staging", "--stop", "--json")
    assert stopped.document == {"environment": "staging", "stopped": True}
    assert machine.deploy("staging", "--stop", "--json").document["stopped"] is False
    assert machine.deploy("staging").code == 0
    assert machine.release("staging") == "demo@v1.0.0"
    assert machine.happened("staging") == [("demo@v1.0.0", "running")]  # no change of state


def test_status_says_what_runs_and_what_drifted(machine: Machine) -> None:
    def live() -> dict[str, object]:
        done = machine.gitops("status", "--live", "--json")
        assert done.code == 0, done.err
        (one,) = [each for each in done.document["live"] if each["environment"] == "staging"]
        return dict(one)

    assert live()["drift"] == ["it is assigned, and was never deployed here"]
    assert machine.deploy("staging").code == 0
    running = live()
    assert (running["runs"], running["healthy"], running["drift"]) == ("demo@v1.0.0", True, [])
    package = machine.state("staging").package(str(running["package"]))
    (package / "MODEL_CARD.md").write_text("altered")
    assert "altered" in str(live()["drift"])
    assert machine.deploy("staging").code == 0
    assert live()["drift"] == []
    assert state.digest_of(package) == running["package"]
    assert machine.deploy("staging", "--stop").code == 0
    down = live()
    assert (down["runs"], down["healthy"]) == (None, False)
    assert down["drift"] == ["the endpoint is down: no server runs"]


@pytest.mark.parametrize("words", [("--once", "--follow"), ("--stop", "--unit")])
def test_contradicting_options_are_refused(machine: Machine, words: tuple[str, str]) -> None:
    assert machine.deploy("staging", *words).code == 2


# ---------------------------------------------------------------- step by step


def released(machine: Machine, made: Made, depth: int = 4) -> None:
    """Another version of the model comes to production."""
    machine.line.build(made, depth=depth)
    machine.line.promote("dev", "staging")
    machine.line.promote("staging", "production")


def test_a_challenger_that_is_no_worse_becomes_the_champion(machine: Machine, better: Made) -> None:
    assert machine.deploy("production").code == 0
    released(machine, better)
    with in_use(machine, "production") as seen:
        done = machine.deploy("production", "--json", "--timeout", "120")
    assert done.code == 0, done.err
    (model,) = done.document["models"]
    assert (model["state"], model["release"]) == ("running", "demo@v1.1.0")
    assert set(seen) == {200, 202}
    assert machine.release("production") == "demo@v1.1.0"
    assert "step 1 of 2: 20 %" in done.err
    assert "step 2 of 2: 50 %" in done.err
    assert machine.happened("production") == [
        ("demo@v1.0.0", "running"),
        ("demo@v1.1.0", "running"),
    ]
    assert machine.state("production").under_way() == {}


def test_a_challenger_that_is_worse_is_rolled_back_everywhere(
    machine: Machine, worse: Made
) -> None:
    assert machine.deploy("production").code == 0
    released(machine, worse)
    with in_use(machine, "production") as seen:
        done = machine.deploy("production", "--timeout", "120")
    assert done.code == 1, done.err
    assert "worse in brier" in done.err
    assert set(seen) == {200, 202}
    # Branch, stage tag, record and endpoint agree, and the hold keeps it so.
    assert machine.release("production") == "demo@v1.0.0"
    assert machine.line.runs("production") == "v1.0.0"
    assert machine.happened("production") == [
        ("demo@v1.0.0", "running"),
        ("demo@v1.1.0", "rolled_back"),
        ("demo@v1.0.0", "running"),
    ]
    back = machine.records()[1]
    assert back["why"].startswith("worse in brier")
    assert "refs/tags/hold/production/1" in machine.line.refs()
    again = machine.deploy("production", "--json")
    assert again.code == 0
    assert again.document["models"][0]["state"] == "running"


def test_once_takes_a_step_at_a_time(machine: Machine, better: Made) -> None:
    assert machine.deploy("production").code == 0
    released(machine, better)
    done = machine.deploy("production", "--once", "--json")
    assert done.code == 0, done.err
    (model,) = done.document["models"]
    assert (model["state"], model["release"]) == ("rolling_out", "demo@v1.0.0")
    assert model["progress"]["steps"] == [20, 50]
    assert model["progress"]["verdict"]["state"] == "go_on"
    live = machine.gitops("status", "--live", "--json").document["live"]
    (one,) = [each for each in live if each["environment"] == "production"]
    assert one["rollout"] == "demo@v1.1.0: step 1 of 2: 20 %"
    assert one["drift"] == []
    waited = machine.deploy("production", "--timeout", "0")
    assert waited.code == 1
    assert "no verdict within" in waited.err


def test_a_newer_promotion_supersedes_the_challenger(
    machine: Machine, worse: Made, better: Made
) -> None:
    assert machine.deploy("production").code == 0
    released(machine, worse)
    assert machine.deploy("production", "--once").code == 0
    released(machine, better, depth=5)
    done = machine.deploy("production", "--once", "--json")
    assert done.code == 0, done.err
    under = machine.state("production").under_way()["demo"]
    assert under.release.name == "demo@v1.2.0"
    assert machine.happened("production") == [
        ("demo@v1.0.0", "running"),
        ("demo@v1.1.0", "rolled_back"),
    ]
    assert machine.records()[-1]["why"] == "superseded by demo@v1.2.0"
    assert {machine.release("production") for _ in range(40)} <= {"demo@v1.0.0", "demo@v1.2.0"}


def test_a_rollback_by_hand_ends_the_rollout_and_is_at_once(machine: Machine, worse: Made) -> None:
    assert machine.deploy("production").code == 0
    released(machine, worse)
    assert machine.deploy("production", "--once").code == 0
    machine.line.rollback("production")
    done = machine.deploy("production", "--json")
    assert done.code == 0, done.err
    assert machine.state("production").under_way() == {}
    assert {machine.release("production") for _ in range(40)} == {"demo@v1.0.0"}
    assert machine.records()[1]["why"].startswith("rolled back by hand: demo#production#")
