"""Repositories as strangers have them, adopted: nothing of theirs changes, `sync` is at rest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pexpect
import pytest

from tests.conftest import Command, Gitops, Table

pytestmark = pytest.mark.functional

CLASSIFIER = """\
import pandas as pd
import joblib
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

rows = pd.read_csv("data/customers.csv")
model = RandomForestClassifier(random_state=0).fit(rows.drop(columns="left"), rows.left)
print(roc_auc_score(rows.left, model.predict_proba(rows.drop(columns="left"))[:, 1]))
joblib.dump(model, "models/churn.joblib")
"""
REGRESSOR = """\
import pickle, sys
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score

model = Ridge().fit(x, y)
pickle.dump(model, open("models/price.pkl", "wb"))
"""


def notebook(*cells: str) -> str:
    """As Jupyter writes it, with a picture of 3 MB in each output."""
    listed = [
        {
            "cell_type": "code",
            "execution_count": 1,
            "metadata": {},
            "outputs": [{"output_type": "display_data", "data": {"image/png": "iVBOR" * 600_000}}],
            "source": cell.splitlines(keepends=True),
        }
        for cell in cells
    ]
    page = {"cells": listed, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(page, indent=1) + "\n"


NOTEBOOKS = {
    "README.md": "# Customers who leave\n",
    "requirements.txt": "scikit-learn\njupyter\n",
    ".gitignore": "*.joblib\n*.yaml\n.ipynb_checkpoints/\n*.json\n",
    "data/customers.csv": "months,fee,left\n1,2,yes\n3,4,no\n",
    "notebooks/01-explore.ipynb": notebook("import pandas as pd", "!ls", "pd.DataFrame().hist()"),
    "notebooks/02-train-churn.ipynb": notebook("%matplotlib inline\nimport os", CLASSIFIER),
    "notebooks/weird.ipynb": "{not json",
}
PIPELINE = """\
# our pipeline   (do not reformat)
stages:
  prepare:
    cmd: python src/prepare.py
    deps: [src/prepare.py, data/raw.csv]
    outs: [data/prepared]
  train_churn:
    cmd: python src/train_churn.py
    deps: [src/train_churn.py, data/prepared]
    outs: [models/churn.joblib]
    metrics: [metrics/churn.json: {cache: false}]
  train_price:
    cmd: python src/train_price.py
    deps: [src/train_price.py, data/prepared]
    outs: [models/price.pkl]
    metrics: [metrics/price.json: {cache: false}]
"""
DVC = {
    ".dvc/config": """\
[core]
    remote = company
['remote "company"']
    url = s3://acme-data/dvc
    region = eu-central-1
""",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    ".dvcignore": "# theirs\n",
    "dvc.yaml": PIPELINE,
    "pyproject.toml": '[project]\nname = "acme_models"\nversion = "1"\n',
    "src/prepare.py": "print('prepare')\n",
    "src/train_churn.py": CLASSIFIER,
    "src/train_price.py": REGRESSOR,
    "data/raw.csv.dvc": "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  path: raw.csv\n",
    "data/.gitignore": "/raw.csv\n",
    "metrics/churn.json": '{"auc": 0.81}\n',
    "metrics/price.json": '{"mae": 3.5, "r2": 0.7}\n',
    "Readme.md": "# Models\r\nwith CRLF\r\n",
}
BY_HAND = """\
name: tests
on: [push]   # ours
jobs:
  test: {runs-on: ubuntu-latest, steps: [{run: make test}]}
"""
ACTIONS = {
    ".github/workflows/ci.yml": BY_HAND,
    ".github/workflows/pull-request.yml": BY_HAND,
    ".github/CODEOWNERS": "* @org/everybody\n",
    "azure-pipelines.yml": "trigger: [main]\r\nsteps:\r\n- script: make\r\n",
    ".gitattributes": "* text=auto eol=crlf\n*.whl filter=lfs diff=lfs merge=lfs -text\n",
    "Makefile": "test:\n\ttrue\n",
    "churn/train.py": CLASSIFIER,
    "price/train.py": REGRESSOR,
}
LAYOUTS: dict[str, tuple[Mapping[str, str], list[str], dict[str, tuple[str, str]], list[str]]] = {
    # files, CI platforms, (path, task) of models, files that are kept
    "notebooks": (
        NOTEBOOKS,
        ["github"],
        {"churn": (".", "binary")},
        [".gitignore", "README.md"],
    ),
    "dvc": (
        DVC,
        ["github"],
        {"churn": (".", "binary"), "price": (".", "regression")},
        ["Readme.md", "dvc.yaml", "pyproject.toml"],
    ),
    "actions": (
        ACTIONS,
        ["github", "azure"],
        {"churn": ("churn", "binary"), "price": ("price", "regression")},
        [".gitattributes", ".github/CODEOWNERS", ".github/workflows/pull-request.yml"],
    ),
}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def theirs(layout: str, tmp_path: Path, git: Command) -> Path:
    """The repository of a layout, committed, with a branch and something uncommitted."""
    root = tmp_path / "acme"
    made(root, LAYOUTS[layout][0], git)
    git(root, "branch", "production")
    (root / "notes.txt").write_text("not committed\n")
    return root


def made(root: Path, files: Mapping[str, str], git: Command) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "Ours")


def hashes(root: Path) -> dict[str, str]:
    """All files, with their modes; of git's own what commands of the user decide."""
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        own = name in (".git/config", ".git/HEAD", ".git/packed-refs")
        if path.is_file() and (not name.startswith(".git/") or own or "/refs/" in name):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = f"{path.stat().st_mode:o} {digest}"
    return found


def test_nothing_of_theirs_changes_and_sync_is_at_rest(
    layout: str, theirs: Path, tmp_path: Path, gitops: Gitops, git: Command
) -> None:
    _, ci, models, kept = LAYOUTS[layout]
    before, refs = hashes(theirs), git(theirs, "for-each-ref")
    planned = gitops(theirs, "new", "--dry-run", "--json")
    assert planned.code == 0, planned.err
    assert hashes(theirs) == before
    done = gitops(theirs, "new", ".", "--no-input", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer == json.loads(planned.out) | {"adopted": True}
    assert answer["ci"] == ci
    assert {name: (one["path"], one["task"]) for name, one in answer["models"].items()} == models
    assert set(kept) <= {one["path"] for one in answer["kept"]}

    after = hashes(theirs)
    assert {path: after[path] for path in before} == before
    assert sorted(after.keys() - before.keys()) == sorted(answer["files"])
    assert git(theirs, "for-each-ref") == refs
    status = git(theirs, "status", "--porcelain", "--untracked-files=all").splitlines()
    assert {line[:2] for line in status} == {"??"}

    assert gitops(theirs, "status").code == 0
    found = {
        one["check"]: one["state"]
        for one in json.loads(gitops(theirs, "doctor", "--json").out)["findings"]
    }
    assert found["gitops.yaml"] == "ok"
    at_rest(theirs, gitops)
    again = gitops(theirs, "new", ".", "--no-input")
    assert again.code == 0 and "nothing was changed" in again.out
    assert gitops(theirs, "new", ".", "--data", "x.csv", "--target", "y").code == 1
    assert hashes(theirs) == after

    if answer["ignored"]:
        git(theirs, "add", "--force", *answer["ignored"])
    git(theirs, "add", *answer["files"])
    git(theirs, "commit", "--quiet", "-m", "Adopt gitops")
    at_rest(theirs, gitops)
    git(tmp_path, "clone", "--quiet", "acme", "clone")
    at_rest(tmp_path / "clone", gitops)
    with (theirs / "gitops.yaml").open("a") as file:
        file.write("# ours\n")
    at_rest(theirs, gitops)


def at_rest(root: Path, gitops: Gitops) -> None:
    done = gitops(root, "sync", "--check")
    assert done.code == 0, done.out + done.err


def test_it_is_asked_before_anything_is_written(
    tmp_path: Path, installed: Path, git: Command, git_identity: dict[str, str]
) -> None:
    made(tmp_path / "acme", {"train.py": CLASSIFIER}, git)
    before = hashes(tmp_path / "acme")
    for answer, code in (("no", 1), ("yes", 0)):
        child = pexpect.spawn(
            str(installed / "gitops"),
            ["new"],
            cwd=str(tmp_path / "acme"),
            env=git_identity,
            encoding="utf-8",
            timeout=60,
            dimensions=(60, 160),
        )
        child.expect("Write these")
        assert hashes(tmp_path / "acme") == before
        child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == code
    assert (tmp_path / "acme" / "gitops.yaml").is_file()


def test_worktrees_submodules_subfolders_bare_repositories(
    tmp_path: Path, gitops: Gitops, git: Command
) -> None:
    root = tmp_path / "acme"
    made(root, {"lib/train.py": CLASSIFIER}, git)
    git(root, "worktree", "add", "--quiet", "../tree", "-b", "work")
    done = gitops(tmp_path / "tree", "new", "--no-input", "--json")
    assert done.code == 0, done.err
    assert (tmp_path / "tree" / ".gitops" / "lock.yaml").is_file()
    assert not (root / "gitops.yaml").exists()
    at_rest(tmp_path / "tree", gitops)

    made(tmp_path / "outer", {"README.md": "outer\n"}, git)
    git(
        tmp_path / "outer",
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "-q",
        str(root),
        "sub",
    )
    git(tmp_path / "outer", "commit", "--quiet", "-m", "Add it")
    inside = gitops(tmp_path / "outer" / "sub", "new", "--no-input")
    assert inside.code == 0, inside.err
    assert gitops(tmp_path / "outer", "new", "--no-input").code == 0

    inside = gitops(root, "new", "lib", "--no-input")
    assert inside.code == 2 and f"gitops new {root}" in inside.err
    git(tmp_path, "clone", "--quiet", "--bare", "acme", "bare")
    bare = gitops(tmp_path, "new", "bare", "--no-input")
    assert bare.code == 2 and "git clone" in bare.err
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "x").touch()
    plain = gitops(tmp_path, "new", "plain", "--no-input")
    assert plain.code == 2 and "git init" in plain.err


def test_an_existing_gitops_yaml_is_kept_or_refused_with_its_line(
    tmp_path: Path, gitops: Gitops, git: Command
) -> None:
    text = "version: 1\nproject: mine   # ours\nci: []\nmodels: {late: {task: regression}}\n"
    made(tmp_path / "acme", {"gitops.yaml": text}, git)
    done = gitops(tmp_path / "acme", "new", "--no-input", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["project"] == "mine"
    assert (tmp_path / "acme" / "gitops.yaml").read_text() == text
    at_rest(tmp_path / "acme", gitops)
    shutil.rmtree(tmp_path / "acme" / ".gitops")
    (tmp_path / "acme" / "gitops.yaml").write_text(text.replace("version: 1", "version: 2"))
    done = gitops(tmp_path / "acme", "new", "--no-input")
    assert done.code == 3 and "gitops.yaml:1:" in done.err
    assert not (tmp_path / "acme" / ".gitops").exists()


def test_a_new_project_beside_what_is_there(
    tmp_path: Path, gitops: Gitops, git: Command, dvc: Command, churn: Table
) -> None:
    root = tmp_path / "acme"
    files = {"README.md": "ours\n", ".gitignore": "*.tmp\n", "notes.bat": "echo\r\n"}
    made(root, files, git)
    (tmp_path / "customers.csv").write_text(churn(rows=120))
    before = hashes(root)
    words = ["--data", str(tmp_path / "customers.csv"), "--target", "left", "--no-input", "--json"]
    done = gitops(root, "new", *words)
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer["kept"] == [".gitattributes", ".gitignore", "README.md"]
    after = hashes(root)
    assert {path: after[path] for path in before} == before
    assert not (root / ".gitattributes").exists()
    assert "data/customers.csv" not in git(root, "ls-files", "-o", "--exclude-standard").split()
    at_rest(root, gitops)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "Start with gitops")
    assert dvc(root, "status", "--cloud") == "Cache and remote 'storage' are in sync."
    at_rest(root, gitops)
    again = gitops(root, "new", *words)
    assert again.code == 1 and "gitops add model" in again.err
    made(tmp_path / "other", {"dvc.yaml": PIPELINE}, git)
    refused = gitops(tmp_path / "other", "new", *words)
    assert refused.code == 1 and "dvc.yaml" in refused.err
    assert not (tmp_path / "other" / "gitops.yaml").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_repository_that_cannot_be_written(tmp_path: Path, gitops: Gitops, git: Command) -> None:
    made(tmp_path / "acme", {"train.py": CLASSIFIER}, git)
    (tmp_path / "acme").chmod(0o500)
    done = gitops(tmp_path / "acme", "new", "--no-input")
    (tmp_path / "acme").chmod(0o700)
    assert done.code == 4 and "fix:" in done.err
