"""JUnit, SARIF, annotations, the terminal, the model card, and writing them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from gitops.errors import ToolError
from gitops.logtext import Platform
from gitops.validate import reports
from gitops.validate.model import Verdict
from gitops.validate.reports import card, junit, sarif
from gitops.validate.reports.text import clean, width
from tests.unit.validate import verdicts

EVERY: list[Callable[[], Verdict]] = [
    *verdicts.PLAIN,
    verdicts.hostile,
    verdicts.broken_numbers,
]

# What both Jenkins' junit-10.xsd and the schema of Apache Ant allow: children in order, attributes.
JUNIT: dict[str, tuple[str, set[str]]] = {
    "testsuites": ("(testsuite )*", set()),
    "testsuite": (
        "properties (testcase )*system-out system-err ",
        {"name", "package", "id", "tests", "failures", "errors", "skipped", "time", "timestamp",
         "hostname"},
    ),
    "properties": ("(property )*", set()),
    "property": ("", {"name", "value"}),
    "testcase": ("((failure|skipped) )?", {"name", "classname", "time"}),
    "failure": ("", {"type", "message"}),
    "skipped": ("", {"message"}),
    "system-out": ("", set()),
    "system-err": ("", set()),
}  # fmt: skip

_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 1}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


# The part of SARIF 2.1.0 that we write, as strict as the standard or stricter.
MESSAGE = _object("text", text=_TEXT)
LOCATION = _object(
    "physicalLocation",
    physicalLocation=_object(
        "artifactLocation region",
        artifactLocation=_object("uri uriBaseId", uri=_TEXT, uriBaseId={"const": "SRCROOT"}),
        region=_object("startLine", startLine=_COUNT, startColumn=_COUNT),
    ),
)
RESULT = _object(
    "ruleId ruleIndex level message locations partialFingerprints",
    ruleId=_TEXT,
    ruleIndex={"type": "integer", "minimum": 0},
    level={"enum": ["none", "note", "warning", "error"]},
    message=MESSAGE,
    locations={"type": "array", "items": LOCATION, "minItems": 1},
    partialFingerprints={"type": "object", "additionalProperties": _TEXT, "minProperties": 1},
)
TAGS = {"type": "array", "items": _TEXT, "uniqueItems": True}
RULE = _object(
    "id shortDescription", id=_TEXT, shortDescription=MESSAGE, properties=_object("", tags=TAGS)
)
RULES = {"type": "array", "items": RULE, "uniqueItems": True}
DRIVER = _object(
    "name semanticVersion rules", name=_TEXT, rules=RULES,
    semanticVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
)  # fmt: skip
RUN = _object(
    "tool results",
    tool=_object("driver", driver=DRIVER),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    originalUriBaseIds=_object("SRCROOT", SRCROOT=_object("description", description=MESSAGE)),
    results={"type": "array", "items": RESULT, "maxItems": 25_000},
)
SARIF = _object(
    "$schema version runs",
    **{"$schema": _TEXT, "version": {"const": "2.1.0"}},
    runs={"type": "array", "items": RUN, "minItems": 1, "maxItems": 1},
)


def check_junit(text: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text.encode())
    assert root.tag == "testsuites"
    for element in root.iter():
        children, attributes = JUNIT[element.tag]
        assert re.fullmatch(children, "".join(f"{child.tag} " for child in element)), element.tag
        assert set(element.attrib) == attributes
        for name in ("name", "classname", "package"):
            value = element.get(name, "x")
            assert value and value == " ".join(value.split()), value
    for suite in root:
        assert re.fullmatch(r"\d{4}(-\d\d){2}T(\d\d:){2}\d\d", suite.attrib["timestamp"])
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        for name, tag in (("failures", "failure"), ("skipped", "skipped")):
            assert int(suite.attrib[name]) == len(suite.findall(f"testcase/{tag}"))
        assert suite.attrib["errors"] == "0"
    return root


def check_sarif(text: str) -> list[dict[str, Any]]:
    document = json.loads(text)
    jsonschema.Draft202012Validator(SARIF).validate(document)
    (run,) = document["runs"]
    names = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(names) == len(set(names))
    results: list[dict[str, Any]] = run["results"]
    assert all(names[one["ruleIndex"]] == one["ruleId"] for one in results)
    return results


@pytest.mark.parametrize("make", EVERY)
def test_junit_and_sarif_are_valid(make: Callable[[], Verdict]) -> None:
    check_junit(junit.render([make()]))
    check_sarif(sarif.render([make()]))


def test_the_validators_of_these_tests_fire() -> None:
    good = junit.render([verdicts.failing()])
    for bad in (
        good.replace("<system-err/>", ""),
        good.replace(' time="0"', "", 1),
        good.replace('failures="6"', 'failures="5"'),
        good.replace("<testcase", "<test").replace("</testcase", "</test"),
    ):
        with pytest.raises((AssertionError, KeyError)):
            check_junit(bad)
    document = sarif.render([verdicts.failing()])
    for old, new in (
        ('"error"', '"fatal"'),
        ('"uri"', '"url"'),
        ('"startLine": 1', '"startLine": 0'),
    ):
        with pytest.raises(jsonschema.ValidationError):
            check_sarif(document.replace(old, new))


def test_junit_fails_what_blocks_and_skips_what_does_not() -> None:
    root = check_junit(junit.render([verdicts.failing(), verdicts.undecided(passed=True)]))
    failing, allowed = root
    assert failing.attrib["failures"] == "6" and failing.attrib["skipped"] == "0"
    assert allowed.attrib["failures"] == "0" and allowed.attrib["skipped"] == "5"
    names = [case.attrib["name"] for case in failing.findall("testcase")]
    assert len(names) == len(set(names))
    properties = {one.attrib["name"]: one.attrib["value"] for one in failing.iter("property")}
    assert properties["policy"] == "strict"
    assert properties["waiver.recall-carrier"].startswith("by @org/ml-leads, until 2026-03-31")
    undecided = check_junit(junit.render([verdicts.undecided()]))
    assert undecided[0].attrib["failures"] == "5"
    assert "about 13,000 rows would decide it" in junit.render([verdicts.undecided()])


def test_junit_never_passes_what_the_gate_refuses() -> None:
    some = verdicts.rich()
    gone = replace(some.waivers[0], expired=True)
    refused = replace(some, state="FAIL", passed=False, waivers=(gone,))
    (suite,) = check_junit(junit.render([refused]))
    assert suite.attrib["failures"] == "1"
    assert "expired on 2026-03-31" in ElementTree.tostring(suite, "unicode")


def test_sarif_has_what_failed_and_the_alarms() -> None:
    results = check_sarif(sarif.render([verdicts.failing(), verdicts.undecided(passed=True)]))
    levels = [one["level"] for one in results]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    assert levels.count("error") == 6
    assert sum("id-like" in one["ruleId"] for one in results) == 2
    prints = [one["partialFingerprints"]["gitopsGate/v1"] for one in results]
    assert len(prints) == len(set(prints))
    assert check_sarif(sarif.render([replace(verdicts.rich(), findings=(), notes=())])) == []


def test_sarif_keeps_to_githubs_limit_with_the_worst_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "RESULTS", 6)
    results = check_sarif(sarif.render([verdicts.undecided(passed=True), verdicts.failing()]))
    assert [one["level"] for one in results] == ["error"] * 6


def test_annotations_of_github() -> None:
    lines = reports.annotations([verdicts.failing()], "github")
    assert lines[0].startswith(
        "::error file=gitops.yaml,title=No go%3A late for production::“roc_auc"
    )
    assert len(lines) == 8  # the answer, six checks, an alarm
    assert lines[-1].startswith("::warning ")
    (notice,) = reports.annotations([verdicts.better()], "github")
    assert notice.startswith("::notice file=gitops.yaml,title=Go%3A late for production::10 of 10")


def test_annotations_of_azure() -> None:
    lines = reports.annotations([verdicts.failing()], "azure")
    where = "type=error;sourcepath=gitops.yaml;linenumber=1"
    assert lines[0].startswith(f"##vso[task.logissue {where}]No go: late for production: “roc_auc")
    # The answer of a pass is a plain line: Azure has no notices.
    plain = reports.annotations([verdicts.better()], "azure")
    assert plain == ["Go: late for production: 10 of 10 checks pass."]
    odd = replace(
        verdicts.failing(), checks=(replace(verdicts.failing().checks[0], why="50% off"),)
    )
    assert "50%AZP25 off" in reports.annotations([odd], "azure")[0]


@pytest.mark.parametrize("platform", ["github", "azure"])
def test_no_text_can_start_a_command_of_its_own(platform: Platform) -> None:
    lines = reports.annotations([verdicts.hostile()], platform)
    for line in lines:
        assert len(line.splitlines()) == 1
        assert line.count("##vso[") == (platform == "azure")
        if platform == "github":
            head, _, _ = line[2:].partition("::")
            assert re.fullmatch(r"(error|warning|notice) file=gitops\.yaml,title=[^:,]*", head)
    shown = reports.terminal([verdicts.hostile()], columns=60)
    assert "##vso[" not in shown
    assert not [line for line in shown.splitlines() if line.strip().startswith("::")]


def test_at_most_ten_annotations_of_a_level() -> None:
    lines = reports.annotations([verdicts.hostile()] * 3, "github")
    for level in ("error", "warning"):
        assert sum(line.startswith(f"::{level} ") for line in lines) == 10
    assert lines[9].endswith("more are in the report")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_terminal_says_the_answer_first_and_keeps_to_its_width(columns: int) -> None:
    shown = reports.terminal([verdicts.failing(), verdicts.rich()], columns=columns)
    lines = shown.splitlines()
    assert lines[0] == "✘ No go: late for production"
    assert all(width(line) <= max(columns, 75) for line in lines)
    assert ("●" in shown) == (columns == 120)
    assert "recall-carrier" in shown and "−0.0300 [−0.0312, −0.0288]" in shown


def test_the_terminal_is_coloured_by_whoever_prints_it() -> None:
    shown = reports.terminal(
        [verdicts.better()], style=lambda text, kind: f"<{kind}>{text}</{kind}>"
    )
    assert shown.startswith("<green>✔ Go: late for production</green>")
    plain = re.sub(r"</?(green|dim|yellow|bold)>", "", shown)
    assert plain.splitlines() == reports.terminal([verdicts.better()]).splitlines()


def test_the_terminal_stays_short_with_a_thousand_checks() -> None:
    lines = reports.terminal([verdicts.many_slices()], columns=160).splitlines()
    assert len(lines) < 60
    assert "  … 960 more checks, 960 of them pass" in lines


def test_the_terminal_gives_a_line_to_each_of_many_models_that_pass() -> None:
    passing = [replace(verdicts.better(), model=f"m{i}") for i in range(60)]
    lines = reports.terminal([*passing, verdicts.failing()]).splitlines()
    assert lines[0].startswith("✔ Go") and lines[1].startswith("✔ Go")
    assert "✘ No go: late for production" in lines
    assert lines[-1] == "60 of 61 models may go on"
    assert len(lines) < 110


def test_the_terminal_wraps_names_rather_than_cutting_them() -> None:
    check = replace(verdicts.failing().checks[0], title="a name of many words that say what it is")
    shown = reports.terminal([replace(verdicts.failing(), checks=(check,))], columns=60)
    assert "…" not in shown
    assert "\n  what it is\n    fails: " in shown


@pytest.mark.parametrize("make", EVERY)
def test_the_card_has_a_model_index(make: Callable[[], Verdict]) -> None:
    text = card.render(make(), "# late\n\nPredicts `late`.\n\n## Limits\n\n<b>x</b> <script>\n")
    _, front, body = text.split("---\n", 2)
    meta = yaml.safe_load(front)
    (entry,) = meta["model-index"]
    (result,) = entry["results"]
    regression = make().task == "regression"
    assert result["task"]["type"] == f"tabular-{'regression' if regression else 'classification'}"
    assert {"type", "name"} <= set(result["dataset"])
    assert all(isinstance(one["value"], float) and one["type"] for one in result["metrics"])
    assert "### late" in body and "#### Limits" in body
    assert "<script" not in body and "<img" not in body and "<b>" not in body


def test_every_number_of_a_card_has_its_interval_and_rows() -> None:
    (entry,) = yaml.safe_load(card.render(verdicts.rich()).split("---\n")[1])["model-index"]
    names = [one["name"] for one in entry["results"][0]["metrics"]]
    assert names[0] == "roc_auc 0.7372 [0.7337, 0.7407] at 90%, n = 66,000"


def test_everything_is_written_whole(tmp_path: Path) -> None:
    paths = reports.write([verdicts.rich()], tmp_path / "new" / "report")
    names = sorted(str(path.relative_to(tmp_path / "new" / "report")) for path in paths)
    assert names == ["junit.xml", "late/MODEL_CARD.md", "report.html", "report.md", "report.sarif"]
    assert all(path.stat().st_size > 500 for path in paths)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == sorted(paths)
    before = {path: path.read_bytes() for path in paths}
    reports.write([verdicts.rich()], tmp_path / "new" / "report")
    assert before == {path: path.read_bytes() for path in paths}


def test_several_models_have_a_page_each(tmp_path: Path) -> None:
    other = replace(verdicts.failing(), model="fare")
    reports.write([verdicts.rich(), other], tmp_path, {"fare": "# fare\n\nFor fares only.\n"})
    index = (tmp_path / "report.html").read_text("utf-8")
    assert index.index('href="fare/report.html"') < index.index('href="late/report.html"')
    assert "No go" in (tmp_path / "fare/report.html").read_text("utf-8")
    assert "For fares only." in (tmp_path / "fare/MODEL_CARD.md").read_text("utf-8")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ToolError) as caught:
        reports.write([verdicts.rich()], tmp_path / "file")
    assert "--report" in caught.value.fix and str(tmp_path) in str(caught.value.where)


def test_somebody_elses_text_is_in_no_report_raw() -> None:
    for name, text in reports.files([verdicts.hostile()]).items():
        assert "\u202e" not in text and "\x00" not in text and "\x1b" not in text, name
        assert "##vso[" not in text and "<img" not in text and "<script>al" not in text, name
        assert clean("x" * 10_000) in text and "x" * 700 not in text, name
