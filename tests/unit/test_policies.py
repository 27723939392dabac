"""Policy packs: each that we ship is valid, and the schema refuses what cannot mean anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitops import content, yamlfile
from gitops.errors import ConfigError

FOLDER = content.folder("policies")
PACKS = sorted(FOLDER.glob("*.yaml"))
SCHEMA = Draft202012Validator(json.loads((FOLDER / "policy.schema.json").read_text()))
CHECK = "{metric: f1, at_least: 0.8}"


def pack(folder: Path, extra: str, *, checks: str = f"[{CHECK}]") -> dict[str, Any]:
    path = folder / "pack.yaml"
    lines = ["version: 1", "name: ours", "description: Ours.", extra]
    path.write_text("\n".join([*lines, *([f"checks: {checks}"] if checks else [])]))
    return yamlfile.read(path).data


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA.schema)


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
def test_a_shipped_pack_is_valid_and_explains_itself(path: Path) -> None:
    data = yamlfile.read(path).data
    SCHEMA.validate(data)
    assert data["name"] == path.stem
    assert path.read_text().startswith("# ")
    if "extends" in data:
        assert FOLDER / f"{data['extends']}.yaml" in PACKS


def test_the_shipped_packs() -> None:
    assert [path.stem for path in PACKS] == ["baseline", "strict"]
    baseline, strict = (yamlfile.read(path).data for path in PACKS)
    assert (baseline["on_inconclusive"], strict["on_inconclusive"]) == ("warn", "block")
    assert strict["extends"] == "baseline"


def test_the_baseline_judges_a_model_of_every_task() -> None:
    checks = yamlfile.read(FOLDER / "baseline.yaml").data["checks"]
    assert {check["task"] for check in checks} == {"binary", "multiclass", "regression"}


@pytest.mark.parametrize(
    "extra",
    [
        "on_inconclusive: block",
        "slices: {columns: [carrier], minimum_rows: 30}",
        "slices: {}",
        "extends: baseline",
    ],
)
def test_accepted(tmp_path: Path, extra: str) -> None:
    SCHEMA.validate(pack(tmp_path, extra))


def test_a_pack_that_extends_another_needs_no_checks(tmp_path: Path) -> None:
    SCHEMA.validate(pack(tmp_path, "extends: baseline", checks=""))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("on_inconclusive: pass", "'pass' is not one of"),
        ("on_inconclusve: warn", "'on_inconclusve' was unexpected"),
        ("extends: ../x", "does not match"),
        ("slices: {minimum_rows: 0}", "0 is less than the minimum"),
        ("slices: {columns: carrier}", "'carrier' is not of type 'array'"),
        ("slices: {column: [a]}", "'column' was unexpected"),
    ],
)
def test_refused(tmp_path: Path, extra: str, message: str) -> None:
    (error,) = SCHEMA.iter_errors(pack(tmp_path, extra))
    assert message in error.message


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ("", "is not valid under any of the given schemas"),
        ("[]", "should be non-empty"),
        (f"[{CHECK}, {CHECK}]", "has non-unique elements"),
        ("[{at_least: 1}]", "'metric' is a required property"),
        ("[{metric: f1}]", "is not valid under any of the given schemas"),
        ("[{metric: f1, at_least: 0, at_most: 1}]", "is valid under each of"),
        ("[{metric: f2, at_least: 0}]", "'f2' is not one of"),
        ("[{metric: f1, at_least: '0'}]", "'0' is not of type 'number'"),
        ("[{metric: f1, at_least: true}]", "True is not of type 'number'"),
        ("[{metric: f1, at_least: 0, task: ranking}]", "'ranking' is not one of"),
        ("[{metric: f1, at_least: 0, confidence: 1}]", "1 is greater than or equal to"),
        ("[{metric: f1, at_least: 0, confidence: 0.05}]", "0.05 is less than the minimum"),
        ("[{metric: f1, no_worse_than_champion: 0.1}]", "0.1 is not of type 'object'"),
        ("[{metric: f1, no_worse_than_champion: {}}]", "'margin' is a required property"),
        ("[{metric: f1, no_worse_than_champion: {margin: -1}}]", "-1 is less than the minimum"),
    ],
)
def test_a_check_is_refused(tmp_path: Path, checks: str, message: str) -> None:
    errors = list(SCHEMA.iter_errors(pack(tmp_path, "", checks=checks)))
    assert any(message in error.message for error in errors)


@pytest.mark.parametrize("version", ["2", "'1'", "true"])
def test_another_version_is_refused(tmp_path: Path, version: str) -> None:
    data = pack(tmp_path, "")
    (tmp_path / "v.yaml").write_text(f"version: {version}")
    assert not SCHEMA.is_valid({**data, **yamlfile.read(tmp_path / "v.yaml").data})


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf"])
def test_a_threshold_that_no_comparison_can_fail_is_refused_by_the_reader(
    tmp_path: Path, number: str
) -> None:
    # A JSON Schema cannot: `minimum` lets NaN pass.
    with pytest.raises(ConfigError, match="not a finite number"):
        pack(tmp_path, "", checks=f"[{{metric: f1, at_least: {number}}}]")
