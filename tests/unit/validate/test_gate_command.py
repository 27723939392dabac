"""`gitops gate` as it is typed: exit codes, what is printed where, and what CI is told."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gitops import cli, contracts
from gitops.errors import Where
from tests.unit.validate.conftest import people
from tests.unit.validate.gate_repo import GateRepo, model

Run = Callable[..., tuple[int, str, str]]
SHORT = """\
version: 1
name: ours
description: Ours.
checks: [{metric: roc_auc, no_worse_than_champion: {margin: 0.02}}]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository: a good champion on main, a bad candidate on `worse`, an equal one on `same`."""
    folder = tmp_path_factory.mktemp("gate")
    repo = GateRepo(folder / "repo").start()
    lines = "environments:\n  - {name: dev, branch: main, policy: ours}\n"
    lines += "  - {name: production, branch: release, policy: strict}\n"
    text = (repo.root / "gitops.yaml").read_text()
    repo.write("gitops.yaml", text + lines)
    repo.write(".gitops/policies/ours.yaml", SHORT)
    train, test = people("binary", 800, 1), people("binary", 800, 2)
    for name, ruin in (("main", 0.0), ("worse", 1.0), ("same", 0.0)):
        if name != "main":
            repo.git("switch", "-qc", name, "main")
        found = model(folder / name, train, test, ruin=ruin)
        repo.built(found.folder / "package", found.evaluation)
    return repo.root


@pytest.fixture
def run(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """`gitops gate` with these words on a branch: exit code, stdout, stderr."""
    root = tmp_path / "repo"
    shutil.copytree(made, root, symlinks=True)
    module = importlib.import_module("gitops.validate.analyses.cost")
    monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.setattr(module, "_memory", lambda _: 1.0)
    for name in (
        "GITHUB_BASE_REF",
        "SYSTEM_PULLREQUEST_TARGETBRANCH",
        "GITHUB_ACTIONS",
        "TF_BUILD",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(root)

    def call(branch: str, *words: str) -> tuple[int, str, str]:
        GateRepo(root).git("switch", "-q", branch)
        monkeypatch.setattr(sys, "argv", ["gitops", "gate", *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        told = capsys.readouterr()
        return int(caught.value.code or 0), told.out, told.err

    return call


def test_a_pass_exits_with_0_and_progress_is_on_stderr(run: Run) -> None:
    code, out, err = run("same")
    assert code == 0
    assert "Go" in out.splitlines()[0]
    assert "roc_auc no worse (margin 0.02)" in out
    assert "·" in err
    assert "Traceback" not in err


def test_a_failure_exits_with_1_and_json_is_one_document(run: Run) -> None:
    code, out, _ = run("worse", "--json", "--report", "out/gate")
    assert code == 1
    found = json.loads(out)
    assert found["passed"] is False
    (verdict,) = found["verdicts"]
    contracts.validate("verdict", verdict, Where("stdout"))
    assert (verdict["state"], verdict["environment"]) == ("FAIL", "dev")
    names = {path.name for path in Path("out/gate").rglob("*") if path.is_file()}
    assert names >= {"report.md", "report.html", "junit.xml", "report.sarif", "MODEL_CARD.md"}
    assert json.loads(Path("out/gate/demo/verdict.json").read_text()) == verdict


def test_missing_evidence_exits_with_3_and_the_fix(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    Path("dvc.lock").write_text("{}")
    GateRepo(Path.cwd()).git("commit", "-qam", "Lose it")
    code, out, err = run("same", "--json", "--report", "out/gate")
    assert code == 3
    assert json.loads(out)["error"]["code"] == 3
    assert "fix:" in err
    assert "::error file=gitops.yaml,title=No verdict%3A demo::" in err
    (report,) = Path("out/gate").iterdir()
    assert report.read_text().startswith("## ❌ No verdict: `demo`\n")


def test_a_summary_begins_with_models_that_have_no_verdict(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    git = GateRepo(Path.cwd()).git
    git("switch", "-q", "same")
    text = Path("gitops.yaml").read_text()
    Path("gitops.yaml").write_text(
        text.replace("models:\n", "models:\n  other: {task: binary, path: other}\n")
    )
    git("commit", "-qam", "Another model")
    code, _, _ = run("same", "demo", "other", "--report", "out/gate")
    assert code == 3
    told = summary.read_text()
    assert told.startswith("## ❌ No verdict: `other`\n") and "gitops gate: demo dev" in told
    assert Path("out/gate/report.md").read_text() + "\n" == told


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--env", "prodution"], 2, "did you mean production?"),
        (["dem"], 2, "did you mean demo?"),
        (["--base", "nowhere"], 2, "there's no revision 'nowhere'"),
        (["--base", "-x"], 2, "there's no revision '-x'"),
        (["--explain", "roc_acu"], 2, "did you mean roc_auc?"),
    ],
)
def test_words_that_cannot_work_exit_with_2(
    run: Run, words: list[str], code: int, message: str
) -> None:
    found, out, err = run("same", *words)
    assert (found, out) == (code, "")
    assert message in err


def test_ci_is_told(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    code, out, err = run("worse", "--json")
    assert code == 1
    assert json.loads(out)
    assert "::error" in err
    text = summary.read_text()
    assert text.startswith("before\n")
    assert "<!-- gitops gate: demo dev -->" in text
    monkeypatch.delenv("GITHUB_ACTIONS")
    monkeypatch.setenv("TF_BUILD", "True")
    assert "##vso[task.logissue type=error" in run("worse")[2]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("roc_auc-no-worse", ["no worse (margin 0.02)", "ours.yaml:4", "DeLong"]),
        ("demographic_parity:sex", ["shipped pack", "Hardt"]),
        ("rmse", ["root of the mean squared error", "less is better"]),
        ("leakage", ["single-feature", "Source"]),
        ("no_worse", ["Non-inferiority"]),
    ],
)
def test_explain(run: Run, name: str, words: list[str]) -> None:
    code, out, _ = run("same", "--explain", name)
    assert code == 0
    assert all(word in out for word in words)


def test_explain_needs_no_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gitops", "gate", "--explain", "brier", "--json"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    assert json.loads(capsys.readouterr().out)["name"] == "brier"
