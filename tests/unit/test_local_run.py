"""What a run on this machine decides: its event, who may run, what a step sees, what is said."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitops import dvcremote
from gitops.errors import UsageError
from gitops.pipelines.local import event as events
from gitops.pipelines.local import job as jobs
from gitops.pipelines.local import machine
from gitops.pipelines.local.event import Asked, Event
from gitops.pipelines.local.machine import Run
from gitops.pipelines.local.result import JobResult, StepResult, headline, state_of, why_failed
from gitops.pipelines.model import (
    Concurrency,
    Condition,
    Input,
    Job,
    Matrix,
    Permission,
    Pins,
    Pipeline,
    Runner,
    Step,
    Triggers,
    Value,
)

PUSH = Event("push", "main", "1" * 40, "0" * 40, {"loud": "true", "why": "x"}, False, {})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    for name in ("work", "ci/runs/1", "root"):
        (tmp_path / name).mkdir(parents=True)
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    return Run(
        root=tmp_path / "root",
        work=tmp_path / "work",
        logs=tmp_path / "ci" / "runs" / "1",
        store=tmp_path / "store",
        word="word",
        remote="https://github.com/me/churn",
        real=False,
        storage=None,
        event=PUSH,
        lock=lock,
        say=lambda _: None,
    )


def job(*steps: Step, **fields: Any) -> Job:
    given = {"id": "one", "timeout": 1, "permissions": (), "runner": Runner(own=True)}
    return Job(**{**given, "steps": steps, **fields})


def ended(name: str, state: Any, **fields: Any) -> JobResult:
    return JobResult(name, name, state, "", 1.0, **fields)


WRITES = (Permission("contents", "write", "it must"),)


@pytest.mark.parametrize("real", [False, True])
def test_a_rehearsal_asks_no_cloud(run: Run, real: bool) -> None:
    plan = Step("Plan", run="gitops infra plan dev --read-only", logins=("azure",), oidc=True)
    why = jobs.elsewhere(replace(run, real=real), job(plan), plan)
    assert why == (None if real else "a rehearsal asks no cloud")
    tool = Step("Install Terraform", use="terraform")
    assert jobs.elsewhere(replace(run, real=real), job(tool), tool) == ""


# ---------------------------------------------------------------- events


def pipeline(**triggers: Any) -> Pipeline:
    pins = Pins("ubuntu", "1.2.3", (), ())
    rule = Concurrency("try", "branch", cancel=False)
    return Pipeline("try", "Try.", "main", Triggers(**triggers), rule, (), (), pins)


@pytest.mark.parametrize(
    ("triggers", "event", "kind"),
    [
        ({"pull_request": ("main",), "push": ("main",)}, None, "pull_request"),
        ({"push": ("main",), "inputs": ()}, None, "push"),
        ({"push": ("main",), "inputs": ()}, "manual", "workflow_dispatch"),
        ({"schedule": ("0 0 * * *",)}, None, "schedule"),
        ({"events": ("ready",)}, None, "workflow_dispatch"),
        ({"pull_request": ("main",), "push": ("main",)}, "pull-request", "pull_request"),
    ],
)
def test_the_kind_of_an_event(triggers: Mapping[str, Any], event: str | None, kind: str) -> None:
    assert events.named(pipeline(**triggers), Asked(event))[0] == kind


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"pull_request": {}}, "pull_request"),
        ({"after": "1" * 40}, "push"),
        ({"inputs": {"flag": True}}, "workflow_dispatch"),
    ],
)
def test_a_payload_says_its_kind(tmp_path: Path, payload: object, kind: str) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps(payload))
    flag = Input("flag", "boolean", "A flag", default=False)
    whole = pipeline(pull_request=("main",), push=("main",), inputs=(flag,))
    found, _, inputs = events.named(whole, Asked(str(file)))
    assert found == kind
    assert inputs == ({"flag": "true"} if kind == "workflow_dispatch" else {})


@pytest.mark.parametrize(("text", "says"), [("{", "no JSON"), ("[]", "not an object")])
def test_a_payload_that_is_none(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "event.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=says):
        events.named(pipeline(push=("main",)), Asked(str(file)))


# ---------------------------------------------------------------- conditions


FORK = replace(PUSH, kind="pull_request", fork=True)


@pytest.mark.parametrize(
    ("event", "condition", "why"),
    [
        (PUSH, Condition("branch", "main"), ""),
        (PUSH, Condition("branch", "other"), "it is for other"),
        (FORK, Condition("branch", "main"), "it is for main"),
        (FORK, Condition("same-repository"), "the change comes from a fork"),
        (PUSH, Condition("same-repository"), ""),
        (PUSH, Condition("pull-request"), "this is no pull request"),
        (FORK, Condition("pull-request"), ""),
        (PUSH, Condition("input", "loud"), ""),
        (PUSH, Condition("no-input", "loud"), "loud is true"),
        (PUSH, Condition("input", "soft"), "soft is false"),
        (PUSH, Condition("always"), ""),
        (PUSH, Condition("failed"), "nothing has failed"),
        (PUSH, Condition("finished", "skips"), "skips was skipped"),
        (PUSH, Condition("finished", "fails"), ""),
        (PUSH, Condition("found", "finds.full"), ""),
        (PUSH, Condition("found", "finds.empty"), jobs.NO_MODEL),
        (PUSH, Condition("found", "finds.missing"), jobs.NO_MODEL),
    ],
)
def test_conditions(run: Run, event: Event, condition: Condition, why: str) -> None:
    outputs = {"full": '[{"name": "a", "models": ["a", "b"]}]', "empty": "[]"}
    done = {
        "finds": [ended("finds", "passed", outputs=outputs)],
        "fails": [ended("fails", "failed")],
        "skips": [ended("skips", "skipped")],
    }
    needs = (condition.value,) if condition.kind == "finished" else ()
    one = job(when=(condition,), needs=needs)
    assert jobs.skipped(replace(run, event=event), one, done) == why
    matrix = Matrix(source=("finds", "full"))
    assert jobs.rows(job(matrix=matrix), done) == [{"name": "a", "models": "a b"}]


@pytest.mark.parametrize(("state", "why"), [("failed", "a failed"), ("skipped", "a was skipped")])
def test_what_is_needed_must_have_passed(run: Run, state: Any, why: str) -> None:
    done = {"a": [ended("a", state), ended("a", "passed" if state == "failed" else "skipped")]}
    assert jobs.skipped(run, job(needs=("a",)), done) == why
    anyway = job(needs=("a",), when=(Condition("always"),))
    assert jobs.skipped(run, anyway, done) == ""


def test_of_a_matrix_one_that_failed_decides() -> None:
    assert state_of([ended("a", "passed"), ended("a", "failed")]) == "failed"
    assert state_of([ended("a", "passed"), ended("a", "skipped")]) == "passed"
    assert state_of([]) == "skipped"


# ---------------------------------------------------------------- steps


def test_a_job_has_only_its_minutes(run: Run) -> None:
    done = jobs.perform(run, job(Step("Waits", "sleep 60; touch never"), timeout=0), {})
    assert done.state == "failed"
    assert done.why == "it took longer than the job's 0 minutes"
    assert not list(run.work.iterdir())


def test_what_a_step_sees(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "hush")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("GITHUB_TOKEN", "hush")
    kinds = {
        "A": Value("text", "as it is"),
        "B": Value("input", "why"),
        "C": Value("matrix", "models"),
        "D": Value("before"),
        "E": Value("secret", "KEY"),
        "F": Value("variable", "NOT_SET"),
    }
    row = {"models": "a b"}
    plain = Step("Plain", "true", env=kinds)
    seen = {"A": "as it is", "B": "x", "C": "a b", "D": "0" * 40, "E": "hush", "F": ""}
    assert machine.of_step(run, job(), plain, row) == seen
    cloud = machine.of_step(run, job(), Step("Cloud", "true", logins=("aws",)), {})
    assert cloud["AWS_PROFILE"] == "mine"
    assert "GITHUB_TOKEN" not in cloud
    assert machine.of_step(run, job(), Step("Own store", "true", own=("aws",)), {}) == cloud
    pushes = Step("Push", "true", token=True)
    assert machine.of_step(run, job(permissions=WRITES), pushes, {}) == {"GITOPS_CI_PUSH": "word"}
    assert machine.of_step(run, job(), pushes, {}) == {}
    real = machine.of_step(replace(run, real=True), job(permissions=WRITES), pushes, {})
    assert real["GITHUB_TOKEN"] == "hush"
    assert "GITOPS_CI_PUSH" not in real


@pytest.mark.parametrize(
    ("step", "fields", "why"),
    [
        (Step("Comments", "true", token=True), {}, "needs the forge"),
        (Step("Pushes", "true", token=True), {"permissions": WRITES}, None),
        (Step("Attests", use="attest"), {}, "needs the forge: it signs"),
        (Step("Results", use="test-results"), {}, ""),
        (
            Step("Deploys", "gitops deploy staging --once", token=True),
            {"permissions": WRITES, "environment": "staging"},
            "a rehearsal deploys nothing",
        ),
        (
            Step("Deploys", "set -e\ncd x\ngitops deploy staging --once"),
            {"environment": "staging"},
            "a rehearsal deploys nothing",
        ),
        (
            Step("Deploys", "make it", logins=("azure",)),
            {"environment": "staging"},
            "a rehearsal deploys nothing",
        ),
    ],
)
def test_what_is_not_for_here(
    run: Run, monkeypatch: pytest.MonkeyPatch, step: Step, fields: Mapping[str, Any], why: str
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "hush")
    assert jobs.elsewhere(run, job(**fields), step) == why
    real = replace(run, real=True)
    if step.name in ("Comments", "Deploys"):
        assert jobs.elsewhere(real, job(**fields), step) is None
    monkeypatch.delenv("GITHUB_TOKEN")
    monkeypatch.delenv("GH_TOKEN", raising=False)
    if step.name == "Comments":
        assert jobs.elsewhere(real, job(**fields), step) == why


def test_a_dispatch_is_left_out_and_said(run: Run) -> None:
    step = Step("Promote", "echo promote --dispatch > $HOME/../said", token=True)
    done = jobs.perform(run, job(step, permissions=WRITES), {})
    assert (run.work / "said").read_text() == "promote\n"
    assert done.steps[0].state == "passed"
    assert done.steps[0].why == "without --dispatch, which needs the forge"


def test_a_storage_folder_stands_for_the_true_one(tmp_path: Path) -> None:
    root, storage = tmp_path / "root", tmp_path / "storage"
    assert machine.stand_in(root, tmp_path / "none") is None
    (storage / "files").mkdir(parents=True)
    (storage / "files" / "object").write_text("true")
    (root / ".dvc").mkdir(parents=True)
    section = "[core]\nremote = s\n['remote \"s\"']\nurl = "
    (root / ".dvc" / "config").write_text(f"{section}s3://bucket/x\n")
    assert machine.stand_in(root, tmp_path / "none") is None
    (root / ".dvc" / "config").write_text(f"{section}{storage}\n")
    assert dvcremote.remote(root).is_folder
    found = machine.stand_in(root, tmp_path / "copy")
    assert found is not None
    assert (found / "files" / "object").read_text() == "true"
    (found / "files" / "more").write_text("new")
    assert [one.name for one in (storage / "files").iterdir()] == ["object"]


def test_the_shim_is_no_way_into_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    machine.give_tool(tmp_path)
    (tmp_path / "gitops.py").write_text("raise SystemExit('theirs')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = subprocess.run(
        [tmp_path / "bin" / "gitops", "--version"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.startswith("gitops "), done.stderr


# ---------------------------------------------------------------- what is said


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (
            "noise\n::error file=gitops.yaml,title=FAIL%3A late for dev::roc_auc fell, 5%25 more\n"
            "error: later\n",
            "late for dev: roc_auc fell, 5% more",
        ),
        ("::error::plain\n", "plain"),
        ("::notice title=x::fine\nerror: \x1b[31mbad\x1b[0m\nmore\n", "bad"),
        ("remote: error: no\nerror: failed to push\n", "no"),
        ("╭─ Error ─╮\n│ No such option: --x │\n╰─────────╯\n", "No such option: --x"),
        ("error: nothing was done:\n  one\n  two\n  fix: x\n", "nothing was done: one; two"),
        ("E  assert 1\n1 failed\n\n", "1 failed"),
        ("", "it said nothing"),
        ("##vso[task.setvariable]x\n", "\\u{0023}#vso[task.setvariable]x"),
    ],
)
def test_why_a_step_failed(log: str, why: str) -> None:
    assert why_failed(log.encode()) == why


def test_the_headline() -> None:
    def steps(*whys: str) -> tuple[StepResult, ...]:
        return tuple(StepResult(f"S{n}", "skipped", why, 0.0) for n, why in enumerate(whys))

    fails = replace(ended("b", "failed", steps=steps("")), why="it fell")
    check = replace(ended("required", "failed"), why="b failed")
    assert headline("w", [ended("a", "passed"), fails, check]) == "w failed: b: it fell"
    assert headline("w", [fails, fails, check]) == "w failed: b: it fell (and 1 more)"
    lint = replace(ended("lint", "failed", steps=steps("")), advice=True)
    assert headline("w", [lint, fails, check]) == "w failed: b: it fell"
    assert headline("w", [lint]) == "w passed, but not lint, which isn't required"
    assert headline("w", [ended("a", "passed")]) == "w passed"
    assert headline("w", [ended("a", "skipped")]) == "w: nothing had to run"
    some = [ended("a", "passed", steps=steps("", "no")), ended("b", "skipped", steps=steps("no"))]
    assert headline("w", some) == "w passed, but this can't be done here: S1, b"
