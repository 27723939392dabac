"""One model of two: its closure moves, and nothing else does."""

from __future__ import annotations

import json

import pytest

from gitops import dvc
from gitops.errors import AnswerNo, UsageError
from gitops.promote import partial
from tests.unit.promote.line import MD5, Line, copy_objects, remote_git, write_record
from tests.unit.validate.gate_repo import Made

SECOND = "models/second"
PIPELINE = """\
stages:
  train:
    cmd: python train.py
    deps: [../../src/train.py, data.csv]
    params: [train.depth]
    outs: [models/package, evaluation]
"""


def build_second(line: Line, made: Made, depth: int, message: str = "Build second") -> str:
    """Commit a build of the second model in its own folder, and push all."""
    repo = line.repo
    repo.write(f"{SECOND}/params.yaml", f"train: {{depth: {depth}}}\n")
    outs = [
        {"path": path, "hash": "md5", "md5": repo.store(made.folder / name), "size": 1}
        for path, name in (("models/package", "package"), ("evaluation", "evaluation"))
    ]
    code = dvc.file_md5(line.root / "src/train.py")
    deps = [
        {"path": "../../src/train.py", "hash": "md5", "md5": code, "size": 1},
        {"path": "data.csv", "hash": "md5", "md5": MD5, "size": 9},
    ]
    params = {"params.yaml": {"train.depth": depth}}
    stage = {"cmd": "python train.py", "deps": deps, "params": params, "outs": outs}
    document = {"schema": "2.0", "stages": {"train": stage}}
    repo.write(f"{SECOND}/dvc.lock", json.dumps(document, indent=1))
    commit = repo.commit(message)
    write_record(line.root, made, "second", f"{SECOND}/dvc.lock")
    copy_objects(repo)
    line.git("push", "-q", "origin", "HEAD")
    return commit


@pytest.fixture
def two(line: Line, good: Made) -> Line:
    """Two models, both promoted to staging."""
    repo = line.repo
    repo.write("gitops.yaml", SETTINGS)
    repo.write(f"{SECOND}/dvc.yaml", PIPELINE)
    repo.write(f"{SECOND}/.gitignore", "/models\n/evaluation\n/data.csv\n")
    text = (line.root / "data.csv.dvc").read_text()
    repo.write(f"{SECOND}/data.csv.dvc", text)
    repo.commit("A second model")
    for branch in ("main", "release/staging", "release/production"):
        line.git("push", "-q", "origin", f"HEAD:{branch}")
    line.build(good)
    build_second(line, good, depth=1)
    line.promote("dev", "staging")
    return line


SETTINGS = """\
version: 1
project: demo
models:
  demo: {task: binary}
  second: {task: binary, path: models/second}
"""


def test_one_model_is_promoted_without_the_other(two: Line, better: Made) -> None:
    two.build(better, depth=4)
    build_second(two, better, depth=2)
    done = two.promote("dev", "staging", model="second")
    assert done.versions == {"second": "v1.1.0"}
    changed = remote_git(
        two.origin, "diff", "--name-only", "release/staging^", "release/staging"
    ).split()
    assert changed == [f"{SECOND}/dvc.lock", f"{SECOND}/params.yaml"]
    message = remote_git(two.origin, "log", "-1", "--format=%B", "release/staging")
    assert "Gitops-Model: second" in message
    assert two.runs("staging") == "v1.0.0"
    rest = two.promote("dev", "staging")
    assert rest.versions == {"demo": "v1.1.0"}
    assert two.tree("release/staging") == two.tree("main")
    assert two.promote("staging", "production").versions == {"demo": "v1.1.0", "second": "v1.1.0"}


def test_a_change_of_its_section_goes_with_it(two: Line, better: Made) -> None:
    two.repo.write(
        "gitops.yaml", SETTINGS.replace("models/second}", "models/second, sensitive: [sex]}")
    )
    build_second(two, better, depth=2)
    two.promote("dev", "staging", model="second")
    settings = remote_git(two.origin, "show", "release/staging:gitops.yaml")
    assert "sensitive: [sex]" in settings
    assert settings.startswith("version: 1\nproject: demo\nmodels:\n  demo: {task: binary}\n")


def test_shared_code_would_change_the_other_model(two: Line, good: Made, better: Made) -> None:
    two.repo.write("src/train.py", "# trains both of them otherwise\n")
    two.build(good, depth=4)
    build_second(two, better, depth=2)
    before = two.refs()
    with pytest.raises(AnswerNo, match=r"second shares src/train\.py with demo") as caught:
        two.promote("dev", "staging", model="second")
    assert "promote all models together" in caught.value.fix
    assert two.refs() == before


def test_what_is_not_there_or_needs_nothing_is_said(two: Line) -> None:
    found = two.plan("dev", "staging")
    with pytest.raises(UsageError, match="no model 'secnod'"):
        partial.of(found, "secnod")
    with pytest.raises(AnswerNo, match="has second as it is at the source"):
        partial.of(found, "second")
