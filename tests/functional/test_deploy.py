"""`gitops deploy` on a real repository, with a real server: what the branch says answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gitops import contracts
from gitops.deploy import stock
from gitops.errors import AnswerNo, Where
from tests.unit.deploy.conftest import better, good, machine, placed, plain, worse
from tests.unit.deploy.machine import Machine, asking, in_use, until
from tests.unit.serve.projects import project
from tests.unit.validate import conftest as tables
from tests.unit.validate.gate_repo import Made, model

__all__ = ["better", "good", "machine", "placed", "plain", "worse"]


def test_what_is_assigned_answers_and_is_on_record(machine: Machine) -> None:
    done = machine.deploy("staging", "--json")
    assert done.code == 0, done.err
    (one,) = done.document["models"]
    assert (one["model"], one["state"], one["release"]) == ("demo", "running", "demo@v1.0.0")
    answer = machine.ask("staging", rows=3)
    assert answer.status == 200
    assert answer.body["release"] == "demo@v1.0.0"
    assert len(answer.body["predictions"]) == 3
    (record,) = machine.records()
    contracts.validate("deployment", record, Where("record"))
    assert record["assignment"].startswith("demo#staging#")
    assert record["package"] == one["package"]
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

    never = live()
    assert (never["assigned"], never["deployed"], never["drift"]) == ("demo@v1.0.0", False, [])
    assert "not deployed (gitops deploy staging)" in machine.gitops("status", "--live").out
    assert machine.deploy("staging").code == 0
    running = live()
    assert (running["runs"], running["healthy"], running["drift"]) == ("demo@v1.0.0", True, [])
    assert running["deployed"] is True
    package = machine.state("staging").package(str(running["package"]))
    (package / "MODEL_CARD.md").write_text("altered")
    assert "altered" in str(live()["drift"])
    assert machine.deploy("staging").code == 0
    assert live()["drift"] == []
    assert stock.digest_of(package) == running["package"]
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
    (one,) = done.document["models"]
    assert (one["state"], one["release"]) == ("running", "demo@v1.1.0")
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
    (under,) = done.document["models"]
    assert (under["state"], under["release"]) == ("rolling_out", "demo@v1.0.0")
    assert under["progress"]["steps"] == [20, 50]
    assert under["progress"]["verdict"]["state"] == "go_on"
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


def test_a_rollout_can_be_watched_by_whoever_does_it_and_by_others(
    machine: Machine, better: Made
) -> None:
    assert machine.deploy("production").code == 0
    released(machine, better)
    assert machine.deploy("production", "--once").code == 0
    doing = machine.start("deploy", "production", "--watch")
    until(lambda: (machine.state("production").folder / "progress.json").exists(), "a look")
    until(lambda: busy(machine), "the other one's lock")
    with in_use(machine, "production"):
        watching = machine.deploy("production", "--watch", "--json")
    out, err = doing.communicate()
    assert doing.returncode == 0, err
    assert "rolling out  demo@v1.1.0" in out
    assert watching.code == 0, watching.err
    assert "only watches" in watching.err
    lines = [json.loads(line) for line in watching.out.splitlines()]
    assert lines[0]["models"][0]["progress"]["champion"] == "demo@v1.0.0"
    assert lines[0]["models"][0]["progress"]["steps"] == [20, 50]
    assert machine.release("production") == "demo@v1.1.0"


def busy(machine: Machine) -> bool:
    """Whether a reconciler is at work."""
    try:
        with machine.state("production").alone():
            return False
    except AnswerNo:
        return True


def test_callers_of_an_earlier_version_are_not_refused(machine: Machine, tmp_path: Path) -> None:
    """The new version takes a column less: who still sends it is answered all the while."""
    narrow = model(
        tmp_path / "narrow",
        tables.people(count=3000),
        tables.people(count=2000, seed=2),
        features=["income", "age", "region", "member"],
    )
    (narrow.folder / "prepared").mkdir()
    (narrow.folder / "prepared" / "train.csv").write_text("3000\n")
    assert machine.deploy("staging").code == 0
    machine.line.build(narrow, depth=4)
    machine.line.promote("dev", "staging")
    with asking(machine, "staging") as seen:
        done = machine.deploy("staging")
        until(lambda: seen[-1][1] == "demo@v2.0.0" or seen[-1][0] != 200, "the new version")
    assert done.code == 0, done.err
    assert {status for status, _ in seen} == {200}
    assert machine.ask("staging").status == 200  # and for good


def test_code_around_a_model_is_each_release_s_own(machine: Machine, better: Made) -> None:
    """The champion has no script, the challenger has one: each answers as it was released."""
    assert machine.deploy("production").code == 0
    root = machine.line.root
    after = (
        "def after(rows, answers):\n    return [{**one, 'prediction': 'true'} for one in answers]\n"
    )
    project(root, scoring=after)
    settings = (root / "gitops.yaml").read_text()
    scripted = settings.replace("task: binary", "task: binary, serve: {script: scoring.py}")
    machine.line.repo.write("gitops.yaml", scripted)
    released(machine, better)
    done = machine.deploy("production", "--once")
    assert done.code == 0, done.err
    said: dict[str, set[str]] = {}
    for _ in range(20):
        answer = machine.ask("production", rows=30)
        said.setdefault(answer.body["release"], set()).update(answer.body["predictions"])
    assert said == {"demo@v1.0.0": {"true", "false"}, "demo@v1.1.0": {"true"}}
    plan = machine.state("production").plan()
    assert plan is not None
    served = plan.models["demo"]
    assert served.champion.code is None
    assert served.challenger is not None
    assert served.challenger.code is not None
    assert served.challenger.code.script == "scoring.py"
    machine.line.rollback("production")
    assert machine.deploy("production").code == 0
    assert list((machine.state("production").folder / "checkouts").iterdir()) == []
