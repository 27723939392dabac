"""Each recipe of the policy cookbook is judged by the real gate, and stops what it is there for."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from gitops import cli
from tests.doc_blocks import ROOT, blocks
from tests.doc_documents import policy_text, yaml_kind
from tests.unit.validate.conftest import make_evaluation, make_package, people
from tests.unit.validate.gate_repo import GateRepo, Made, model

PAGE = ROOT / "docs" / "guides" / "cookbook.md"
Judge = Callable[[str, str], tuple[int, dict[str, Any]]]

# For each heading: the candidate that the recipe stops, the check that says so, and what it says.
STOPPED = {
    "Policy cookbook": ("worse", "roc_auc-at-least", "FAIL"),
    "Never worse than what runs now": ("worse", "log_loss-no-worse", "FAIL"),
    "A floor that no release may sink below": ("worse", "roc_auc-at-least", "FAIL"),
    "Better, or it isn't worth it": ("same", "roc_auc-better", "FAIL"),
    "Not knowing is no reason to ship": ("unsure", "roc_auc-no-worse", "INCONCLUSIVE"),
    "No group of rows pays for a better average": ("worse", "roc_auc-no-worse-each-slice", "FAIL"),
    "One segment that matters most": ("timid", "recall-at-least:region=north", "FAIL"),
    "Alike for men and women": ("unfair", "equal_opportunity:sex", "FAIL"),
    "What a mistake costs us": ("worse", "value", "FAIL"),
    "Probabilities that mean what they say": ("worse", "calibration_error-at-most", "FAIL"),
    "The same reasons as before": ("narrow", "reasons", "FAIL"),
    "Small and fast enough": ("large", "cost:package_bytes", "FAIL"),
    "Data that has moved": ("moved", "shift:drift", "FAIL"),
    "Show it, don't block": ("worse", "f1-no-worse", "FAIL"),
    "One model of several, and one kind of task": ("worse", "precision-at-least", "FAIL"),
    "I know, let it pass until then": ("worse", "roc_auc-no-worse", "FAIL"),
}


def recipes() -> dict[str, str]:
    """The policies of the page, by the heading that they stand under."""
    lines = PAGE.read_text("utf-8").splitlines()
    found = {}
    for block in blocks(PAGE):
        if block.language == "yaml" and yaml_kind(yaml.safe_load(block.text)) == "policy":
            headings = [line for line in lines[: block.line] if line.startswith("#")]
            found[headings[-1].lstrip("# ")] = block.text.replace("model: late", "model: demo")
    return found


RECIPES = recipes()


@pytest.fixture(scope="module")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    """A champion, and what may come after it."""
    folder = tmp_path_factory.mktemp("candidates")
    train, test = (people("binary", *which).drop("joined") for which in ((1500, 1), (3000, 2)))
    gap = people("binary", 1500, 1, gap=6.0).drop("joined")
    features = ["income", "age", "region", "member", "sex"]
    made = {
        "champion": model(folder / "champion", train, test, ruin=0.3),
        "better": model(folder / "better", train, test),
        "same": model(folder / "same", train, test, ruin=0.301),
        "worse": model(folder / "worse", train, test, ruin=4.0),
        "unsure": model(folder / "unsure", train, test[:120], ruin=0.5),
        "unfair": model(folder / "unfair", gap, test, features=features),
        "narrow": model(folder / "narrow", train, test, features=["income"]),
        "timid": timid(folder / "timid", train, test),
        "large": model(folder / "large", train, test),
        "moved": model(folder / "moved", train, test.with_columns(pl.col("income") * 4)),
    }
    with (made["large"].folder / "package" / "MODEL_CARD.md").open("a") as card:
        card.write("\nWord upon word.\n" * 20_000)
    return made


def timid(folder: Path, train: pl.DataFrame, test: pl.DataFrame) -> Made:
    """A good model that hardly ever dares to say yes."""
    package = make_package(folder / "package", train, threshold=0.95)
    make_evaluation(folder / "evaluation", package, test)
    return Made(package, folder)


@pytest.fixture
def judge(
    candidates: dict[str, Made],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Judge:
    """`gitops gate --json` of a candidate, by a policy that is on main: exit code and verdict."""
    for name in ("GITHUB_BASE_REF", "SYSTEM_PULLREQUEST_TARGETBRANCH"):
        monkeypatch.delenv(name, raising=False)
    cost = importlib.import_module("gitops.validate.analyses.cost")
    monkeypatch.setattr(cost, "SECONDS", 0.0)  # times have tests of their own
    monkeypatch.setattr(cost, "_memory", lambda _: 1.0)

    def call(text: str, candidate: str) -> tuple[int, dict[str, Any]]:
        shutil.rmtree(tmp_path / "repo", ignore_errors=True)
        shutil.rmtree(tmp_path / "storage", ignore_errors=True)
        repo = GateRepo(tmp_path / "repo").start()
        lines = "environments:\n  - {name: dev, branch: main, policy: project}\n"
        repo.settings("sensitive: [sex]", lines)
        repo.write(".gitops/policies/project.yaml", policy_text(text))
        for name, branch in (("champion", "main"), (candidate, "change")):
            if branch != "main":
                repo.git("switch", "-qc", branch)
            repo.built(candidates[name].folder / "package", candidates[name].evaluation)
        monkeypatch.chdir(repo.root)
        monkeypatch.setattr(sys, "argv", ["gitops", "gate", "--json"])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        answer = json.loads(capsys.readouterr().out)
        assert "error" not in answer, answer
        (verdict,) = answer["verdicts"]
        return int(caught.value.code or 0), verdict

    return call


def test_every_recipe_is_judged() -> None:
    assert list(RECIPES) == list(STOPPED)


@pytest.mark.parametrize("heading", STOPPED)
def test_a_recipe_stops_what_it_is_there_for(heading: str, judge: Judge) -> None:
    candidate, check, state = STOPPED[heading]
    code, verdict = judge(RECIPES[heading], candidate)
    (found,) = (one for one in verdict["checks"] if one["id"] == check)
    assert found["state"] == state
    if heading.startswith("Show it"):
        assert not found["blocking"]
    elif heading.startswith("I know"):
        assert "@org/ml-leads" in found["waived"]
    else:
        assert code == 1


def test_all_recipes_go_together_in_one_policy_and_a_better_model_passes(judge: Judge) -> None:
    whole: dict[str, Any] = {"checks": []}
    for text in RECIPES.values():
        part = yaml.safe_load(text)
        whole["checks"] += [one for one in part.pop("checks", []) if one not in whole["checks"]]
        whole |= part
    code, verdict = judge(yaml.safe_dump(whole), "better")
    assert (code, verdict["state"]) == (0, "PASS"), [
        (one["id"], one["state"]) for one in verdict["checks"] if one["state"] != "PASS"
    ]
    assert len(verdict["checks"]) > len(STOPPED)


def test_an_undecided_model_goes_on_where_that_only_warns(judge: Judge) -> None:
    code, verdict = judge(RECIPES["Policy cookbook"], "unsure")
    assert (code, verdict["state"]) == (0, "INCONCLUSIVE")
