"""The shipped policy packs: valid, explained, and of the schema that editors are given."""

from __future__ import annotations

import json
from datetime import date
from itertools import pairwise

import pytest
from jsonschema import Draft202012Validator

from gitops import content, yamlfile
from gitops.config import Environment
from gitops.validate import policy
from gitops.validate.model import Task

FOLDER = content.folder("policies")
PACKS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = json.loads((FOLDER / "policy.schema.json").read_text())
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")


def loaded(name: str) -> policy.Policy:
    environment = Environment(name="production", branch="release/production", policy=name)
    today = date(2026, 1, 1)
    return policy.load(environment, lambda path: None, "0" * 40, first=False, today=today)


def test_there_are_three() -> None:
    assert PACKS == ["baseline", "regulated", "strict"]


def test_the_schema_in_the_folder_is_the_one_that_is_read_by() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert policy.json_schema() == SCHEMA


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_is_valid_and_explains_itself(name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    Draft202012Validator(SCHEMA).validate(yamlfile.read(path).data)
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    # A threshold without a reason is a number that nobody dares to change.
    for before, line in pairwise(lines):
        assert not (line.startswith("  - ") and before == "checks:"), line


@pytest.mark.parametrize("name", PACKS)
@pytest.mark.parametrize("task", TASKS)
def test_a_pack_judges_a_model_of_every_task(name: str, task: Task) -> None:
    asked = loaded(name).of(task)
    assert any(one.rule.compares and one.rule.blocking for one in asked)
    assert any(one.rule.leakage and one.rule.blocking for one in asked)


def test_gates_get_harder_on_the_way_up() -> None:
    baseline, strict, regulated = (loaded(name) for name in ("baseline", "strict", "regulated"))
    assert [one.on_inconclusive for one in (baseline, strict, regulated)] == [
        "warn",
        "block",
        "block",
    ]
    for task in TASKS:
        blocking = [
            {one.name for one in pack.of(task) if one.rule.blocking}
            for pack in (baseline, strict, regulated)
        ]
        assert blocking[0] < blocking[1] < blocking[2]


def test_strict_blocks_a_parity_gap_and_worse_slices() -> None:
    asked = {one.name: one.rule for one in loaded("strict").of("binary")}
    parity = asked["demographic_parity"]
    assert parity.blocking
    assert parity.fairness is not None
    assert (parity.fairness.at_most, parity.fairness.columns) == (0.1, ())
    assert asked["roc_auc-no-worse-each-slice"].each_slice
