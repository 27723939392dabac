"""`gitops data labels`: from a file into the state folder that the server writes its log to."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gitops.cli.app import make
from gitops.deploy import state
from gitops.errors import AnswerNo, UsageError
from gitops.serve import labels
from tests.unit.serve.test_log import line, write

CONFIG = """
version: 1
project: flights
storage: {remote: s3://bucket/flights}
models: {late: {task: binary}}
environments: [{name: staging, branch: main}, {name: production, branch: release/production}]
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "repo"
    root.mkdir()
    (root / "gitops.yaml").write_text(CONFIG)
    subprocess.run(["git", "init", "-q", "."], cwd=root, check=True)
    subprocess.run(
        ["git", "remote", "add", "origin", "https://token@example.org/flights"],
        cwd=root,
        check=True,
    )
    monkeypatch.setenv("GITOPS_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(root)
    return root


def add(*arguments: str) -> Result:
    return CliRunner().invoke(make(), ["data", "labels", *arguments])


def test_labels_land_in_the_folder_of_the_environment(repository: Path) -> None:
    folder = state.of("flights", "https://example.org/flights", "production").folder
    (folder / "log").mkdir(parents=True)
    write(folder / "log" / "late", 1, line("r1"))
    Path("labels.csv").write_text("id,label\nr1,true\nr2,false\nr3,\n")
    done = add("labels.csv", "--env", "production", "--model", "late")
    assert done.exit_code == 0, done.output
    assert "2 labels added to production" in done.stdout
    assert "1 rows have neither" in done.stdout
    assert "1 (r2) are of requests" in done.stdout
    found, _ = labels.read(folder / "labels")
    assert [(one.id, one.label, one.model) for one in found] == [
        ("r1", "true", "late"),
        ("r2", "false", "late"),
    ]


def test_another_label_than_before_is_a_no(repository: Path) -> None:
    Path("a.csv").write_text("id,label\nr1,true\n")
    Path("b.csv").write_text("id,label\nr1,false\nr2,true\n")
    assert add("a.csv", "--env", "staging").exit_code == 0
    done = add("b.csv", "--env", "staging")
    assert isinstance(done.exception, AnswerNo)
    assert "1 (r1)" in done.exception.message
    assert "1 labels added" in done.stdout
    done = add("b.csv", "--env", "staging", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["conflicts"] == {"count": 1, "first": ["r1"]}
    assert json.loads(done.stdout)["repeated"] == 1


@pytest.mark.parametrize("wrong", [("--env", "prod"), ("--env", "staging", "--model", "lat")])
def test_what_is_not_in_gitops_yaml_is_refused(repository: Path, wrong: tuple[str, ...]) -> None:
    Path("a.csv").write_text("id,label\nr1,true\n")
    assert isinstance(add("a.csv", *wrong).exception, UsageError)
