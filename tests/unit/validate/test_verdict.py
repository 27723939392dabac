"""The verdict as a document: of its contract, with a digest that what is measured can't move."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gitops.errors import EvidenceError, Where
from gitops.validate import verdict
from gitops.validate.model import Check, Cost, Finding, Interval, Verdict
from tests.unit.validate import verdicts

HERE = Where("verdict.json")


def check(state: Any = "PASS", **others: Any) -> Check:
    kept = {
        "id": "auc", "kind": "bound", "title": "auc", "state": state, "blocking": True,
        "value": Interval(0.7, 0.6, 0.8), "bound": 0.5, "sense": "above", "rows": 10, "why": "so",
    }  # fmt: skip
    return Check(**{**kept, **others})


@pytest.mark.parametrize(
    "make",
    [
        verdicts.rich,
        verdicts.failing,
        verdicts.undecided,
        verdicts.first_model,
        verdicts.regression,
        verdicts.broken_numbers,
    ],
)
def test_a_document_is_of_the_contract_and_proves_itself(make: Callable[[], Verdict]) -> None:
    found = verdict.document(verdict.sealed(replace(make(), digest="")))
    text = json.dumps(found, allow_nan=False)
    verdict.prove(json.loads(text), HERE)


def test_the_digest_leaves_out_what_no_two_runs_repeat() -> None:
    one = replace(verdicts.rich(), digest="")
    times = Cost("single_row_ms", "ms", 9.9, 1.1, measured=True)
    slow = check("FAIL", id="cost:single_row_ms", kind="cost", stops=True, measured=True)
    other = replace(one, costs=(*one.costs, times), checks=(*one.checks, slow), date="2026-02-01")
    before, after = verdict.document(one), verdict.document(other)
    assert before["digest"] == after["digest"]
    assert after["measured"]["passed"] is False
    assert after["measured"]["checks"][0]["id"] == "cost:single_row_ms"
    left = {k: v for k, v in after.items() if k not in ("measured", "date")}
    assert left == {k: v for k, v in before.items() if k != "measured"}


@pytest.mark.parametrize(
    "change",
    [
        {"notes": (Finding("policy-changed", "note", "another"),)},
        {"model": "another"},
        {"policy_digest": "0" * 64},
        {"waivers": ()},
        {"changes": ("data: another",)},
        {"checks": (check(),)},
        {"environment": "staging"},
    ],
)
def test_the_digest_is_over_all_else(change: dict[str, Any]) -> None:
    one = replace(verdicts.rich(), digest="")
    assert verdict.sealed(one).digest != verdict.sealed(replace(one, **change)).digest


def test_a_document_that_was_changed_is_found() -> None:
    found = verdict.document(verdict.sealed(replace(verdicts.failing(), digest="")))
    forged = copy.deepcopy(found)
    forged["state"] = "PASS"
    with pytest.raises(EvidenceError, match="the verdict was changed"):
        verdict.prove(forged, HERE)
    del forged["digest"]
    with pytest.raises(EvidenceError, match="'digest' is missing"):
        verdict.prove(forged, HERE)


def test_numbers_that_are_none_become_null_and_never_a_pass() -> None:
    broken = check(value=Interval(float("nan"), 0.1, 0.2))
    with pytest.raises(EvidenceError, match="value"):
        verdict.document(replace(verdicts.rich(), checks=(broken,), digest=""))
    found = verdict.document(
        replace(verdicts.rich(), checks=(replace(broken, state="FAIL"),), digest="")
    )
    assert found["checks"][0]["value"] is None


@pytest.mark.parametrize(
    ("checks", "state", "passed"),
    [
        ([check()], "PASS", True),
        ([check(), check("FAIL", stops=True)], "FAIL", False),
        ([check("FAIL", blocking=False)], "PASS", True),
        ([check("FAIL", waived="by me")], "PASS", True),
        ([check("INCONCLUSIVE")], "INCONCLUSIVE", True),
        ([check("INCONCLUSIVE", stops=True)], "INCONCLUSIVE", False),
        ([check("INCONCLUSIVE", stops=True), check("FAIL", stops=True)], "FAIL", False),
    ],
)
def test_the_answer_of_several_checks(checks: list[Check], state: str, passed: bool) -> None:
    assert verdict.answer(checks) == (state, passed)
