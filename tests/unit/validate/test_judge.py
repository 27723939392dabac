"""From two commits and a policy to a verdict: what passes, what blocks, and what is refused."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gitops.errors import ConfigError, Where
from gitops.validate import gate, judge_words, verdict
from gitops.validate.judge import never_predicted
from gitops.validate.model import Check, Interval, Predictions, Table, Task, Verdict
from gitops.validate.stats import Sense, decided, needed_rows
from tests.unit.validate.conftest import people
from tests.unit.validate.gate_repo import GateRepo, Made, model

ROWS, BAD = 2000, 1.0
MADE: dict[tuple[str, float], Made] = {}
SETTINGS = """\
version: 1
project: demo
environments:
  - {name: dev, branch: main, policy: POLICY}
  - {name: production, branch: release, policy: strict, approvers: ["@org/leads"]}
models:
  demo: {task: TASK, sensitive: [sex]}
"""


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_BASE_REF", "SYSTEM_PULLREQUEST_TARGETBRANCH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def quick_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second for measuring times, no process for memory: other tests are about these."""
    module = importlib.import_module("gitops.validate.analyses.cost")
    monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.setattr(module, "_memory", lambda _: 1.0)


@pytest.fixture(scope="module", autouse=True)
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Models of each task: as good as they can be, a second one by other rows, and a bad one."""
    for task in ("binary", "multiclass", "regression"):
        for ruin in (0.0, BAD):
            folder = tmp_path_factory.mktemp("made") / "made"
            noise = ruin * (20 if task == "regression" else 1)
            MADE[task, ruin] = model(
                folder, people(task, ROWS, 1), people(task, ROWS, 2), task=task, ruin=noise
            )
    yield
    MADE.clear()


def repo(
    tmp_path: Path,
    task: str = "binary",
    *,
    policy: str = "ours",
    packs: str = "",
    champion: bool = True,
) -> GateRepo:
    """A good champion on main under `policy`, and the branch `feature`."""
    found = GateRepo(tmp_path / "repo", task).start()
    found.write("gitops.yaml", SETTINGS.replace("POLICY", policy).replace("TASK", task))
    if packs:
        found.write(f".gitops/policies/{policy}.yaml", pack(policy, packs))
    found.commit("Settings")
    if champion:
        put(found, tmp_path / "champion", task)
    found.git("switch", "-qc", "feature")
    return found


def pack(name: str, rest: str) -> str:
    return f"version: 1\nname: {name}\ndescription: Ours.\n{rest}\n"


def put(into: GateRepo, folder: Path, task: str = "binary", ruin: float = 0.0) -> None:
    shutil.copytree(MADE[task, ruin].folder, folder)
    into.built(folder / "package", folder / "evaluation")


def judged(on: GateRepo, environment: str = "dev") -> Verdict:
    judged = gate.run(on.root, [], base="main", environment=environment, say=lambda _: None)
    for _, error in judged.unusable:
        raise error
    (found,) = judged.outcomes
    return found.verdict


def named(found: Verdict) -> dict[str, Check]:
    return {one.id: one for one in found.checks}


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_an_equal_model_passes_and_a_worse_one_fails(tmp_path: Path, task: Task) -> None:
    on = repo(tmp_path, task, policy="baseline")
    on.commit("Nothing")
    same = judged(on)
    assert (same.state, same.passed) == ("PASS", True)
    put(on, tmp_path / "candidate", task, BAD)
    worse = judged(on)
    assert (worse.state, worse.passed) == ("FAIL", False)
    failing = [one for one in worse.checks if one.state == "FAIL"]
    assert failing
    assert all(
        one.kind == "no_worse" and one.stops and one.value.upper is not None for one in failing
    )
    assert {one.metric for one in worse.measures} >= {
        one.measure.metric for one in failing if one.measure
    }


@pytest.mark.parametrize(
    ("task", "predicted", "said"),
    [
        ("binary", [0, 0, 0, 0], "no test row is predicted 'b' (1 have it)"),
        ("binary", [0, 0, 1, 0], ""),
        ("binary", [1, 1, 1, 1], ""),  # of two classes the positive one is what is looked for
        ("multiclass", [0, 0, 0, 0], "no test row is predicted 'b' (1 have it), 'c' (1 have it)"),
        ("multiclass", [1, 2, 0, 0], ""),
        ("regression", [0.0, 0.0, 0.0, 0.0], ""),
    ],
)
def test_a_class_that_is_never_predicted_is_named(
    task: Task, predicted: list[float], said: str
) -> None:
    kind = float if task == "regression" else np.int64
    label = np.array([0, 1, 2, -1] if task == "multiclass" else [0, 1, 0, 0], kind)
    names = {"binary": ("a", "b"), "multiclass": ("a", "b", "c", "d"), "regression": ()}[task]
    side = Predictions(np.array(predicted, kind), None)
    assert never_predicted(Table(task, names, label, side, None)) == said


def test_the_same_evidence_gives_the_same_bytes(tmp_path: Path) -> None:
    on = repo(tmp_path, policy="strict")
    put(on, tmp_path / "candidate", ruin=BAD)
    one, two = (verdict.document(judged(on)) for _ in "ab")
    for found in (one, two):
        found.pop("measured")
    assert json.dumps(one) == json.dumps(two)
    verdict.prove(one, Where("verdict.json"))


def test_a_pull_request_cannot_loosen_its_own_policy(tmp_path: Path) -> None:
    on = repo(tmp_path, packs="extends: baseline")
    on.write(".gitops/policies/ours.yaml", pack("ours", "checks: [{metric: f1, at_least: 0}]"))
    put(on, tmp_path / "candidate", ruin=BAD)
    found = judged(on)
    assert not found.passed
    assert "roc_auc-no-worse" in named(found)
    assert "policy-changed" in {note.kind for note in found.notes}
    assert found.policy_source.endswith(":.gitops/policies/ours.yaml")


def test_a_first_model_is_judged_by_its_bounds_and_says_so(tmp_path: Path) -> None:
    packs = "extends: strict\nchecks: [{metric: roc_auc, at_least: 0.5}]"
    on = repo(tmp_path, packs=packs, champion=False)
    put(on, tmp_path / "candidate")
    found = judged(on)
    assert found.champion is None
    assert "first-model" in {note.kind for note in found.notes}
    checks = named(found)
    assert checks["roc_auc-at-least"].state == "PASS"
    compared = checks["roc_auc-no-worse"]
    assert (compared.state, compared.blocking, compared.stops) == ("INCONCLUSIVE", False, False)
    assert compared.why.startswith("not applicable")
    assert verdict.document(found)["first_model"] is True


def test_a_first_model_below_its_bound_does_not_enter(tmp_path: Path) -> None:
    on = repo(tmp_path, packs="checks: [{metric: roc_auc, at_least: 0.99}]", champion=False)
    put(on, tmp_path / "candidate")
    assert not judged(on).passed


@pytest.mark.parametrize(("meaning", "passed"), [("warn", True), ("block", False)])
def test_what_undecided_means_is_the_policys_choice(
    tmp_path: Path, meaning: str, passed: bool
) -> None:
    estimate = "checks: [{metric: accuracy, at_least: 0.5}]"
    on = repo(tmp_path, packs=estimate)
    level = next(m.candidate.estimate for m in judged(on).measures if m.metric == "accuracy")
    again = repo(
        tmp_path / "again",
        packs=f"on_inconclusive: {meaning}\nchecks: [{{metric: accuracy, at_least: {level}}}]",
    )
    found = judged(again)
    assert (found.state, found.passed) == ("INCONCLUSIVE", passed)


def test_slices_by_name_and_each_slice(tmp_path: Path) -> None:
    packs = """\
checks:
  - {metric: accuracy, at_least: 0.01, slice: {sex: female}}
  - {metric: roc_auc, each_slice: true, no_worse_than_champion: {margin: 0.01}}
  - {id: value, expression: 2 * accuracy - brier, at_least: 0}
  - {id: gain, expression: accuracy - brier, better_than_champion: {by: 0}}
"""
    on = repo(tmp_path, packs=packs)
    put(on, tmp_path / "candidate", ruin=BAD)
    checks = named(judged(on))
    assert checks["accuracy-at-least:sex=female"].state == "PASS"
    assert 0 < checks["accuracy-at-least:sex=female"].rows < ROWS
    each = checks["roc_auc-no-worse-each-slice"]
    assert each.state == "FAIL"
    assert "Holm" in each.why
    assert checks["value"].state == "PASS"
    assert checks["gain"].state == "FAIL"


def test_slices_that_are_all_too_small_stop_another_model_and_not_the_champion_itself(
    tmp_path: Path,
) -> None:
    packs = """\
on_inconclusive: block
slices: {minimum_rows: 100000}
checks: [{metric: roc_auc, each_slice: true, no_worse_than_champion: {margin: 0.01}}]
"""
    on = repo(tmp_path, packs=packs)
    on.write("README.md", "Other words, the same model.\n")
    on.commit("Words")
    same = judged(on)
    assert (same.state, same.passed) == ("PASS", True)
    assert "the package is the champion's" in same.checks[0].why
    put(on, tmp_path / "candidate", ruin=BAD)
    other = judged(on)
    assert (other.state, other.passed) == ("INCONCLUSIVE", False)
    assert "about 200,000 test rows" in other.checks[0].why
    assert other.checks[0].needed_rows is not None


def test_a_waiver_lets_one_failure_through_until_its_day(tmp_path: Path) -> None:
    waiver = "waivers: [{check: accuracy-at-least, by: '@org/leads', why: known, until: UNTIL}]"
    checks = "checks: [{metric: accuracy, at_least: 0.999}]"
    held = repo(tmp_path, packs=f"{waiver.replace('UNTIL', '2999-01-01')}\n{checks}")
    found = judged(held)
    assert found.passed
    assert found.checks[0].state == "FAIL"
    assert found.checks[0].waived == "@org/leads, until 2999-01-01: known"
    assert verdict.document(found)["date"] == date.fromisoformat(found.date).isoformat()
    gone = repo(tmp_path / "gone", packs=f"{waiver.replace('UNTIL', '2020-01-01')}\n{checks}")
    found = judged(gone)
    assert not found.passed
    assert [one.expired for one in found.waivers] == [True]
    assert "expired on 2020-01-01" in found.checks[0].why


def test_a_metric_that_is_not_defined_fails_even_where_undecided_warns(tmp_path: Path) -> None:
    on = repo(tmp_path, policy="baseline")
    rows = people("binary", ROWS, 2).filter(pl.col("label") == "true")
    found = model(tmp_path / "single", people("binary", ROWS, 1), rows)
    on.git("switch", "-q", "main")
    on.built(found.folder / "package", found.evaluation)
    on.git("switch", "-qC", "feature")
    on.commit("Nothing")
    check = named(judged(on))["roc_auc-no-worse"]
    assert (check.state, check.stops) == ("FAIL", True)
    assert "only one class" in check.why


def test_an_advisory_check_never_blocks(tmp_path: Path) -> None:
    on = repo(tmp_path, packs="checks: [{metric: accuracy, at_least: 0.999, blocking: false}]")
    found = judged(on)
    assert (found.state, found.passed, found.checks[0].state) == ("PASS", True, "FAIL")


def test_parity_is_judged_for_each_sensitive_column(tmp_path: Path) -> None:
    packs = "checks: [{fairness: {criterion: demographic_parity, at_most: LIMIT}}]"
    wide = named(judged(repo(tmp_path, packs=packs.replace("LIMIT", "0.9"))))
    assert wide["demographic_parity:sex"].state == "PASS"
    narrow = named(judged(repo(tmp_path / "b", packs=packs.replace("LIMIT", "0.0001"))))
    assert narrow["demographic_parity:sex"].state != "PASS"


def test_every_other_kind_of_check_is_answered(tmp_path: Path) -> None:
    packs = """\
checks:
  - {importance: {change: 0.5}}
  - cost:
      package_bytes: {at_most: 1}
      single_row_ms: {at_most: 9999}
      batch_ms: {ratio_to_champion: 99}
  - {data: {inputs: true, drift: 0.25, missing: 0.1, range: 0.1, unseen: 0.1}}
  - {leakage: {single_feature: 0.98, target_like: true, id_like: true, overlap: 0.01}}
"""
    found = judged(repo(tmp_path, packs=packs))
    states = {one.id: one.state for one in found.checks}
    assert states.pop("cost:package_bytes") == "FAIL"
    assert set(states.values()) == {"PASS"}
    assert {one.id for one in found.checks if one.measured} == {
        "cost:single_row_ms",
        "cost:batch_ms",
    }
    assert {"leakage:id-like", "data:unseen", "importance"} <= states.keys()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("packs", "message", "fix"),
    [
        ("checks: [{metric: f1, at_least: 0, slice: {sexx: female}}]", "'sexx'", "'sex'"),
        ("checks: [{metric: f1, at_least: 0, slice: {sex: femal}}]", "'femal'", "'female'"),
        ("slices: {columns: [regio]}\nextends: baseline", "'regio'", "'region'"),
        (
            "checks: [{fairness: {criterion: error_rate, at_most: 1, columns: [sx]}}]",
            "'sx'",
            "'sex'",
        ),
        ("checks: [{metric: rmse, at_most: 1}]", "no metric of a binary", "task: regression"),
    ],
)
def test_what_the_test_set_does_not_have_is_refused_with_its_line(
    tmp_path: Path, packs: str, message: str, fix: str
) -> None:
    on = repo(tmp_path, packs=packs)
    with pytest.raises(ConfigError) as caught:
        judged(on)
    assert message in caught.value.message
    assert fix in caught.value.fix
    assert caught.value.where is not None
    assert caught.value.where.line == 4


# ---------------------------------------------------------------- three answers


@pytest.mark.parametrize(
    ("lower", "upper", "bound", "sense", "strict", "state"),
    [
        (-0.009, 0.01, -0.01, "above", False, "PASS"),
        (-0.01, 0.01, -0.01, "above", False, "PASS"),
        (-0.011, 0.01, -0.01, "above", False, "INCONCLUSIVE"),
        (-0.03, -0.011, -0.01, "above", False, "FAIL"),
        (0.05, 0.09, 0.1, "below", False, "PASS"),
        (0.05, 0.11, 0.1, "below", False, "INCONCLUSIVE"),
        (0.11, 0.12, 0.1, "below", False, "FAIL"),
        (0.0, 0.0, 0.0, "above", False, "PASS"),
        (0.0, 0.0, 0.0, "above", True, "FAIL"),
        (None, 0.5, 0.1, "above", False, "INCONCLUSIVE"),
        (float("nan"), 0.5, 0.1, "above", False, "INCONCLUSIVE"),
        (0.5, float("inf"), 0.1, "above", False, "INCONCLUSIVE"),
    ],
)
def test_the_three_answers(
    lower: float, upper: float, bound: float, sense: Sense, strict: bool, state: str
) -> None:
    middle = None if lower is None else (lower + upper) / 2
    assert decided(Interval(middle, lower, upper), bound, sense, strict=strict) == state


def test_nothing_undefined_passes() -> None:
    assert decided(Interval(None), 0.0, "above") == "INCONCLUSIVE"
    assert decided(Interval(float("nan"), 0.1, 0.2), 0.0, "above") == "INCONCLUSIVE"


def test_the_rows_that_would_decide() -> None:
    value = Interval(0.0, -0.02, 0.02)
    # (1.645 + 0.842) standard errors of 0.02 / 1.645 must fit into 0.01.
    assert needed_rows(value, -0.01, 1000, 0.95) == pytest.approx(9141, abs=1)
    assert needed_rows(Interval(-0.01, -0.02, 0.0), -0.01, 1000, 0.95) is None
    assert needed_rows(Interval(None), -0.01, 1000, 0.95) is None


def test_too_few_rows_say_how_many_and_which_way() -> None:
    def said(estimate: float, needed: int | None) -> str:
        value = Interval(estimate, estimate - 0.02, estimate + 0.02)
        return judge_words.too_few(value, -0.01, "above", 400, needed)

    few = "400 rows are too few to decide"
    assert said(-0.004, 1234) == f"{few}; about 1,300 would, probably in its favour"
    assert said(-0.014, 1234) == f"{few}; about 1,300 would, probably against it"
    assert said(-0.01001, 90_000).endswith("so near to the bound that about 90,000 would be needed")
    assert said(-0.01, None) == few


def test_a_slice_that_only_many_excuse_is_called_so(tmp_path: Path) -> None:
    first = repo(tmp_path / "first", policy="baseline")
    put(first, tmp_path / "first" / "candidate")
    known = [
        one.candidate.estimate or 1.0 for one in judged(first).slices if one.metric == "roc_auc"
    ]
    check = f"{{metric: roc_auc, each_slice: true, at_least: {min(known)}}}"
    second = repo(tmp_path / "second", packs=f"checks: [{check}]")
    put(second, tmp_path / "second" / "candidate")
    (found,) = judged(second).checks
    assert found.state == "PASS"
    assert found.why.endswith(", which has too few rows to decide by itself")


def test_a_leak_is_caught(tmp_path: Path) -> None:
    on = repo(tmp_path, policy="baseline")
    train, test = (
        people("binary", rows, seed).with_columns(told=pl.col("label") + "!")
        for rows, seed in ((ROWS, 1), (ROWS, 2))
    )
    leaky = model(tmp_path / "leaky", train, test)
    on.built(leaky.folder / "package", leaky.evaluation)
    found = judged(on)
    assert not found.passed
    leak = named(found)["leakage:target-like"]
    assert (leak.state, leak.stops) == ("FAIL", True)
    assert "'told'" in leak.why
