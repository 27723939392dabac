"""The project's own workflows, those that it writes, and the guide."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from gitops.pipelines import definition
from gitops.pipelines.lint import RULES, Finding, Known, lint, report
from tests.unit.validate.test_report_ci import check_sarif

PROJECT = Path(__file__).resolve().parents[3]
KNOWN = Known({pin.action: (pin.tag, pin.commit) for pin in definition.pins().actions})


def test_our_own_workflows_have_no_finding() -> None:
    linted = lint(PROJECT, [PROJECT / ".github" / "workflows"], KNOWN)
    assert linted.files == len(list((PROJECT / ".github" / "workflows").iterdir()))
    assert linted.findings == ()


@pytest.mark.parametrize("kind", ["plain", "monorepo"])
def test_what_we_write_has_no_finding_until_platforms_differ(kind: str, tmp_path: Path) -> None:
    golden, root = PROJECT / "tests" / "golden" / kind, tmp_path.resolve()
    shutil.copytree(golden / "github", root / ".github")
    shutil.copytree(golden / "azure-pipelines", root / "azure-pipelines")
    linted = lint(root, (), KNOWN)
    assert linted.files == len([*golden.rglob("*.yml")])
    assert linted.findings == ()
    path = root / "azure-pipelines" / "pull-request.yml"
    path.write_text(path.read_text().replace("gitops build --check", "gitops build"))
    found = lint(root, (), KNOWN).findings
    assert {(one.rule, one.path) for one in found} == {
        ("parity", ".github/workflows/pull-request.yml")
    }
    assert [re.findall("`(.*)`", one.message) for one in found] == [
        ["gitops build"], ["gitops build --check"]
    ]  # fmt: skip


def test_the_guide_names_every_rule_as_the_code_does() -> None:
    guide = (PROJECT / "docs" / "guides" / "lint.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (.+?) \| (.+?) \|$", guide, re.MULTILINE)
    names = {("github", "azure"): "both", ("github",): "GitHub", ("azure",): "Azure"}
    assert rows == [(rule.id, rule.about, names[rule.platforms]) for rule in RULES]


FINDING = Finding("a,b.yml", 3, 5, "pin", "50% is\nnot enough", "more")


def test_sarif_names_rule_place_and_fix() -> None:
    (result,) = check_sarif(report.sarif([FINDING]))
    assert result["ruleId"] == "pin"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a,b.yml"
    assert place["region"] == {"startLine": 3, "startColumn": 5}
    assert result["message"]["text"].endswith("; more")


def test_annotations_are_one_line_each_and_escaped() -> None:
    assert report.annotated([FINDING], "github") == [
        "::error file=a%2Cb.yml,line=3,col=5,title=pin::50%25 is%0Anot enough; more"
    ]
    assert report.annotated([FINDING], "azure") == [
        "##vso[task.logissue type=error;sourcepath=a,b.yml;linenumber=3;columnnumber=5]"
        "pin: 50%AZP25 is%0Anot enough; more"
    ]
