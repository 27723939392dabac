"""Log and labels as evidence: what counts, what doesn't, and that nothing is read twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitops.cli.evidence import Evidence
from gitops.config.serving import Rollout, Serve
from gitops.deploy import decide
from gitops.deploy.ask import Endpoint
from gitops.deploy.local import Local
from gitops.deploy.model import Under
from gitops.deploy.state import State
from gitops.errors import EvidenceError, UsageError
from gitops.serve import labels, log, route
from tests.unit.deploy.releases import NAMES, NEW, OLD, UNDER, variant
from tests.unit.validate import conftest as tables

POLICY = Rollout(steps=(20, 50), each=100, until=4000, margin=0.05)
START = replace(UNDER, policy=POLICY, step=0)


@pytest.fixture
def here(tmp_path: Path) -> State:
    """Both packages lie where they should; the plan has champion and challenger."""
    state = State(tmp_path / "state")
    for one, task in ((OLD, "binary"), (NEW, "binary")):
        made = tables.make_package(state.package(one.package), tables.people(), task=task)
        document = json.loads((made.folder / "signature.json").read_text())
        (made.folder / "signature.json").write_text(json.dumps({**document, "model": "late"}))
    served = decide.loaded(decide.alone(variant(OLD), settings()), variant(NEW), settings())
    state.put_plan(decide.with_model(None, "late", served, NAMES))
    return state


def settings(*redact: str) -> dict[str, object]:
    serve = Serve.model_validate({"log": {"redact": list(redact)}})
    return serve.model_dump(mode="json") | {"workdir": None}


def line(id: str, score: float, *, share: int | None = 20, **more: object) -> bytes:
    """An answer by whoever's unit it is."""
    theirs = share is not None and route.is_challengers(NEW.assignment, id, share)
    words: dict[str, object] = {
        "id": id,
        "model": "late",
        "release": (NEW if theirs else OLD).name,
        "variant": "challenger" if theirs else "champion",
        "rows": 1,
        "features": None,
        "predictions": ["true" if score >= 0.5 else "false"],
        "scores": [score],
        "ms": 1.0,
        "share": share,
        "salt": NEW.assignment,
        "at": 1000.0 + int(id),
    }
    return log.line(**words | more)  # type: ignore[arg-type]


def append(state: State, kind: str, lines: list[bytes], name: str = "1") -> None:
    folder = state.folder / ("log/late" if kind == "log" else "labels")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"20260131T120000Z-1-00000{name}.jsonl").open("ab") as file:
        file.write(b"".join(lines))


def label(id: int, said: str) -> bytes:
    return labels.encoded(str(id), 0, said, None, None, 2000.0 + id)


def used(state: State, first: int, count: int, worse: float, share: int = 20) -> None:
    """Answers and labels: the challenger's probabilities are off by `worse`."""
    draw = np.random.default_rng(first)
    answers, said = [], []
    for id in range(first, first + count):
        true = draw.random() < 0.5
        theirs = route.is_challengers(NEW.assignment, str(id), share)
        sure = 0.8 - worse * theirs + draw.normal(0, 0.02)
        answers.append(line(str(id), sure if true else 1 - sure, share=share))
        said.append(label(id, "true" if true else "false"))
    append(state, "log", answers)
    append(state, "labels", said)


def test_a_challenger_that_is_as_good_goes_on_and_is_promoted(here: State) -> None:
    judge = Evidence(here).judge
    assert judge("late", START).reason == "steps"  # nothing yet, and that is no mistake
    used(here, 0, 150, worse=0.0)
    found = judge("late", START)
    assert (found.state, found.step, found.seen) == ("go_on", 1, 150)
    used(here, 150, 600, worse=0.0, share=50)
    found = judge("late", replace(START, step=1))
    assert (found.state, found.reason, found.seen) == ("promote", "not_worse", 750)


def test_a_challenger_that_is_worse_is_found(here: State) -> None:
    used(here, 0, 500, worse=0.5)
    found = Evidence(here).judge("late", START)
    assert (found.state, found.reason) == ("rollback", "worse")


def test_answers_that_fail_or_are_slow_are_found(here: State) -> None:
    nothing: dict[str, Any] = {
        "predictions": None,
        "scores": None,
        "rows": 0,
        "status": 500,
        "error": "failed",
    }
    ids = [id for id in map(str, range(400)) if route.is_challengers(NEW.assignment, id, 20)]
    append(here, "log", [line(id, 0.5, **nothing) for id in ids[:40]])
    assert Evidence(here).judge("late", START).reason == "errors"
    slow = State(here.folder.with_name("slow"))
    here.folder.rename(slow.folder)
    (slow.folder / "log").rename(slow.folder / "gone")
    append(slow, "log", [line(id, 0.5, ms=400.0) for id in ids[:60]])
    assert Evidence(slow).judge("late", START).reason == "slow"


def test_what_was_logged_before_it_began_is_not_read(here: State) -> None:
    used(here, 0, 500, worse=0.5)
    target = Local(here, Endpoint("127.0.0.1", 1), None, print)
    under = replace(START, since=target.mark("late"))
    assert Evidence(here).judge("late", under).seen == 0
    used(here, 500, 20, worse=0.0)
    assert Evidence(here).judge("late", under).seen == 20


def test_after_a_kill_the_same_evidence_gives_the_same_verdict(here: State) -> None:
    judge = Evidence(here).judge
    for first in range(0, 300, 50):
        used(here, first, 50, worse=0.1)
        known = judge("late", START)
    assert Evidence(here).judge("late", START) == known


def test_whom_chance_did_not_answer_and_other_rollouts_are_no_evidence(here: State) -> None:
    """Who asks for a version by its name gets a line without a salt."""
    used(here, 0, 20, worse=0.0)
    append(here, "log", [line(str(id), 0.5, salt=None, share=None) for id in range(100, 400)])
    append(here, "log", [line(str(id), 0.5, salt="late#production#7") for id in range(400, 600)])
    append(here, "labels", [label(id, "true") for id in range(100, 600)])
    found = Evidence(here).judge("late", START)
    assert (found.seen, found.checks[0].of) == (20, found.checks[1].of)
    assert found.checks[0].of < 20


def test_a_metric_of_another_task_and_a_package_that_is_gone_are_named(here: State) -> None:
    wrong = replace(START, policy=POLICY.model_copy(update={"metric": "absolute_error"}))
    with pytest.raises(UsageError, match="absolute_error"):
        Evidence(here).judge("late", wrong)
    (here.package(NEW.package) / "signature.json").unlink()
    with pytest.raises(EvidenceError):
        Evidence(here).judge("late", START)


def test_champion_and_challenger_of_two_tasks_can_t_be_compared(here: State) -> None:
    tables.make_package(here.package("f" * 64), tables.people("regression"), task="regression")
    other = Under(replace(NEW, package="f" * 64), START.champion, POLICY, "testing", START.started)
    with pytest.raises(EvidenceError, match="can't be judged together"):
        Evidence(here).judge("late", other)
