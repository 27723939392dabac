"""Training code that was there before, made first class without a change to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Command, Gitops, run

TRAIN = """\
import joblib
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

rows = pd.read_csv("data/customers.csv")
held = rows.customer % 4 == 0
rows[~held].to_csv("data/train.csv", index=False)
rows[held].to_csv("data/test.csv", index=False)
inputs = rows[~held].drop(columns=["churned", "customer"])
pipeline = make_pipeline(
    make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["plan"]),
        (StandardScaler(), ["monthly", "tenure"]),
    ),
    LogisticRegression(),
)
joblib.dump(pipeline.fit(inputs, rows[~held].churned), "model.joblib")
"""
PREDICT = """\
import sys

import joblib
import pandas as pd

scores = joblib.load("model.joblib").predict_proba(pd.read_parquet(sys.argv[1]))[:, 1]
pd.DataFrame({"score": scores}).to_parquet(sys.argv[2])
"""
SCORES = "    metrics: [metrics/churn.json: {cache: false}]\n"
CONFIG = """\
version: 1
project: churn  # ours
storage: {{remote: ../storage}}
models:
  churn:
    path: {folder}
    task: binary
    metrics: metrics/churn.json
{predict}    wrap:
      command: python train.py
      deps: [train.py, data/customers.csv]
      model: model.joblib
      train: data/train.csv
      test: data/test.csv
      target: churned
      id: customer
      slices: [plan]
"""


def customers() -> str:
    lines = ["customer,plan,monthly,tenure,churned"]
    for number in range(800):
        plan = ("basic", "plus", "pro")[number % 3]
        monthly, tenure = 20 + number * 37 % 60, 1 + number * 53 % 70
        leaves = monthly - tenure + (number % 3 == 0) * 20 + number * 29 % 40 > 30
        lines.append(f"{number},{plan},{monthly},{tenure},{'yes' if leaves else 'no'}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def folder() -> str:
    """Where in the repository the model is."""
    return "."


@pytest.fixture
def existing(
    tmp_path: Path,
    installed: Path,
    git: Command,
    dvc: Command,
    git_identity: dict[str, str],
    folder: str,
) -> Path:
    """A repository with a train.py, a locked environment and DVC, as somebody may have it."""
    root = tmp_path / "churn"
    base = root / folder
    (base / "data").mkdir(parents=True)
    (tmp_path / "storage").mkdir()
    (base / "data" / "customers.csv").write_text(customers())
    (base / "train.py").write_text(TRAIN)
    (base / "predict.py").write_text(PREDICT)
    (base / "dvc.yaml").write_text(
        "# our pipeline\nstages:\n  report:  # the boss reads it\n    cmd: echo hello\n"
    )
    git(root, "init", "--quiet", "--initial-branch=main")
    uv = installed / "uv"
    run([uv, "init", "--quiet", "--bare", "--name", "churn"], root, git_identity)
    run([uv, "add", "--quiet", "--no-sync", "scikit-learn", "pandas"], root, git_identity)
    dvc(root, "init", "--quiet")
    dvc(root, "remote", "add", "--quiet", "-d", "storage", str(tmp_path / "storage"))
    dvc(root, "remote", "modify", "storage", "verify", "true")
    return root


COMMAND = "    predict: python predict.py {input} {output}\n"


@pytest.mark.parametrize(("predict", "folder"), [("", "models/churn"), (COMMAND, ".")])
def test_a_train_py_is_wrapped_built_and_verified(
    existing: Path, gitops: Gitops, git: Command, predict: str, folder: str
) -> None:
    base = existing / folder
    (existing / "gitops.yaml").write_text(CONFIG.format(predict=predict, folder=folder))
    git(existing, "add", "--all")
    git(existing, "commit", "--quiet", "-m", "Start")
    assert gitops(existing, "new", "--no-input").code == 0  # adopted, as it may well be before
    added = gitops(existing, "add", "packaging", "--json")
    assert added.code == 0, added.err
    assert json.loads(added.out)["stages"] == ["train", "package"]
    pipeline = (base / "dvc.yaml").read_text()
    assert pipeline.startswith("# our pipeline\nstages:\n  report:  # the boss reads it\n")
    assert (base / "train.py").read_text() == TRAIN
    at_rest = gitops(existing, "sync", "--check")
    assert at_rest.code == 0, at_rest.out
    git(existing, "add", "--all")
    git(existing, "commit", "--quiet", "-m", "Package the model")
    assert json.loads(gitops(existing, "add", "packaging", "--json").out)["stages"] == []
    assert git(existing, "status", "--porcelain") == ""
    built = gitops(existing, "build", "--json")
    assert built.code == 0, built.err
    assert json.loads(built.out)["models"][0]["metrics"]["roc_auc"] > 0.8
    assert git(existing, "status", "--porcelain") == ""
    runtime = json.loads((base / "models/package/signature.json").read_text())["runtime"]
    assert runtime["kind"] == ("command" if predict else "onnx")
    verified = gitops(existing, "verify")
    assert verified.code == 0, verified.err
    (base / "model.joblib").unlink()
    data = str(Path(folder) / "data/customers.csv")
    predicted = gitops(existing, "predict", data, "--rev", "HEAD")
    assert predicted.code == 0, predicted.err
    assert predicted.out.splitlines()[0] == "customer,prediction,score"
    assert len(predicted.out.splitlines()) == 801


def test_what_stands_in_the_way_is_named(existing: Path, gitops: Gitops, git: Command) -> None:
    (existing / "gitops.yaml").write_text(
        CONFIG.format(predict="", folder=".").partition("    wrap:")[0]
    )
    done = gitops(existing, "add", "packaging")
    assert done.code == 2 and "wrap:" in done.err
    (existing / "gitops.yaml").write_text(CONFIG.format(predict="", folder="."))
    (existing / "model.joblib").write_text("")
    git(existing, "add", "--all")
    done = gitops(existing, "add", "packaging")
    assert done.code == 2 and "git rm -r --cached model.joblib" in done.err
    git(existing, "rm", "--quiet", "--cached", "model.joblib")
    pipeline = "stages:\n  package:\n    cmd: echo ours\n"
    (existing / "dvc.yaml").write_text(pipeline)
    done = gitops(existing, "add", "packaging")
    assert done.code == 3 and "has a stage 'package' already" in done.err
    assert (existing / "dvc.yaml").read_text() == pipeline
    assert not (existing / "src").exists()
    (existing / "dvc.yaml").write_text(pipeline.replace("package", "ours") + SCORES)
    done = gitops(existing, "add", "packaging")
    assert done.code == 0 and "metrics: metrics/churn-package.json now" in done.err
    assert "    metrics: metrics/churn-package.json\n" in (existing / "gitops.yaml").read_text()
    assert "never built\n      fix: gitops build" in gitops(existing, "doctor").out
    (existing / "pyproject.toml").unlink()
    done = gitops(existing, "add", "packaging")
    assert done.code == 2 and "uv init --bare" in done.err
