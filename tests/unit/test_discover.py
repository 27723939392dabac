"""What a repository says about itself, and what is guessed: all of it read, nothing run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from gitops import git
from gitops.scaffold import discover_code, discover_dvc, discover_models
from gitops.scaffold.discover import Proposal, discover


@pytest.fixture(autouse=True)
def _identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n\tname = Test\n\temail = test@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def repository(folder: Path, files: Mapping[str, str], branch: str = "main") -> Path:
    folder.mkdir()
    git.init(folder, branch)
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    if files:
        git.commit(folder, "Start")
    return folder


def found(tmp_path: Path, files: Mapping[str, str], **more: str) -> Proposal:
    return discover(repository(tmp_path / "acme", files, **more))


def values(proposal: Proposal) -> dict[str, dict[str, str]]:
    return {
        one.name: {key: value.value for key, value in one.values.items()} for one in proposal.models
    }


def notebook(*cells: str, output: str = "") -> str:
    listed = [
        {
            "cell_type": "code",
            "outputs": [{"data": {"image/png": output}}],
            "source": cell.splitlines(keepends=True),
        }
        for cell in cells
    ]
    return json.dumps({"cells": listed, "metadata": {}, "nbformat": 4}, indent=1)


CHURN = """
import joblib
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

rows = pd.read_csv("data/customers.csv")
model = RandomForestClassifier().fit(rows, rows.left)
print(roc_auc_score(rows.left, model.predict_proba(rows)))
joblib.dump(model, "models/churn.joblib")
"""
PRICE = "from sklearn.linear_model import Ridge\nRidge().fit(1, 2)\n"


# ---------------------------------------------------------------- code


def read(tmp_path: Path, name: str, text: str) -> discover_code.Code:
    (tmp_path / name).write_text(text)
    return discover_code.read(tmp_path, name)


def test_a_script_tells_its_task_model_and_table(tmp_path: Path) -> None:
    code = read(tmp_path, "train.py", CHURN)
    assert code.fits and code.saves and not code.custom
    assert code.words == {"RandomForestClassifier", "roc_auc_score", "predict_proba"}
    assert code.writes == {"models/churn.joblib"}
    assert code.tables == {"data/customers.csv"}
    assert discover_code.task(code.words).name == "binary"


@pytest.mark.parametrize(
    ("words", "task"),
    [
        ({"GradientBoostingRegressor", "accuracy_score"}, "regression"),
        ({"mae", "r2"}, "regression"),
        ({"LogisticRegression"}, "binary"),
        ({"XGBClassifier", "multi:softprob"}, "multiclass"),
        ({"RandomForestClassifier", "load_iris"}, "multiclass"),
        ({"SVC", "roc_auc_score", "macro"}, "binary"),
        ({"categorical_crossentropy"}, "multiclass"),
        (set(), "binary"),
    ],
)
def test_the_task_is_what_most_words_say(words: set[str], task: str) -> None:
    said = discover_code.task(words)
    assert said.name == task
    assert bool(said.words) == bool(words)


def test_other_libraries_are_custom_unless_scikit_learn_does_the_fitting(tmp_path: Path) -> None:
    torch = "import torch\nloss.backward()\noptimizer.step()\ntorch.nn.MSELoss()\n"
    code = read(tmp_path, "net.py", torch)
    assert code.fits and code.custom and discover_code.task(code.words).name == "regression"
    split = "from sklearn.model_selection import train_test_split\nimport xgboost\n"
    assert read(tmp_path, "a.py", f"{split}xgboost.XGBClassifier().fit(1)\n").custom
    assert not read(tmp_path, "b.py", f"{split}SVC().fit(1)\n").custom


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("old.py", "print 'fit'\n", "it is no Python 3"),
        ("nul.py", "fit\0", "it is no Python 3"),
        ("deep.py", "fit(" + "(" * 5000, "it is no Python 3"),
        ("big.py", "#" * (3 << 20), "it is larger than 2 MB"),
        ("list.ipynb", "[]", "it is no notebook of Jupyter"),
        ("half.ipynb", '{"cells": [', "it is no notebook of Jupyter"),
        ("odd.ipynb", '{"cells": 3}', "it is no notebook of Jupyter"),
        ("lfs.ipynb", "version https://git-lfs.github.com/spec/v1\n", "it is no notebook"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, text: str, problem: str) -> None:
    code = read(tmp_path, name, text)
    assert not code.fits
    assert code.problem.startswith(problem)


def test_a_link_out_of_the_repository_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text(CHURN)
    (tmp_path / "train.py").symlink_to(tmp_path / "secret.py")
    assert discover_code.read(tmp_path, "train.py").problem == "it is no plain file"


@pytest.mark.parametrize("output", ["", "A" * (3 << 20)])
def test_a_notebook_is_read_past_its_outputs(tmp_path: Path, output: str) -> None:
    text = notebook("%matplotlib inline\n!pip install x\nimport os", "if", CHURN, output=output)
    code = read(tmp_path, "n.ipynb", text)
    assert code.fits and code.writes == {"models/churn.joblib"}
    assert "RandomForestClassifier" in code.words


# ---------------------------------------------------------------- dvc.yaml


PIPELINE = """
vars: [{kind: models}]
stages:
  prepare:
    cmd: python src/prepare.py
    deps: [src/prepare.py, data/raw.csv]
    outs: [data/prepared]
  train:
    foreach: ${names}
    do:
      wdir: work
      cmd: python ../src/train.py ${item}
      deps: [../src/train.py, ../data/prepared]
      outs:
        - ../${kind}/${item}.pkl: {persist: true}
        - ../${unknown}/x
  evaluate:
    matrix: {name: [churn, price]}
    cmd: [echo, python -m src.evaluate]
    deps: ["models/${item.name}.pkl"]
    metrics: ["metrics/${item.name}.json": {cache: false}]
"""


def test_stages_of_loops_variables_and_working_folders(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text("names: [churn, price]\n")
    stages = discover_dvc.stages(tmp_path, "dvc.yaml")
    assert [one.name for one in stages] == [
        *("prepare", "train@churn", "train@price", "evaluate", "evaluate")
    ]
    assert stages[1].outs == ("models/churn.pkl",)
    assert stages[1].deps == {"src/train.py", "data/prepared"}
    assert stages[3].metrics == ("metrics/churn.json",)
    code = ["src/train.py", "src/evaluate.py", "other/train.py"]
    assert discover_dvc.scripts(stages[1], code) == ["src/train.py"]
    assert discover_dvc.scripts(stages[3], code) == ["src/evaluate.py"]


@pytest.mark.parametrize(
    "text", ["", "stages: 3", "stages: {a: 3, b: {outs: 3, deps: [{}, 3, null]}}", "- 1", "vars: 1"]
)
def test_odd_pipelines_have_no_models(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.yaml").write_text(text)
    assert not any(one.outs for one in discover_dvc.stages(tmp_path, "dvc.yaml"))


# ---------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("churn_model", "churn"),
        ("02-house-price-prediction", "house-price"),
        ("CustomerChurnClassifier", "customer-churn"),
        ("best_model_v2", None),
        ("03-xgboost-tuning", None),
        ("größe", "grosse"),
    ],
)
def test_names_say_what_a_model_is_about(text: str, name: str | None) -> None:
    assert discover_models.title(text) == name


def test_two_models_of_one_pipeline_keep_apart(tmp_path: Path) -> None:
    proposal = found(
        tmp_path,
        {
            "dvc.yaml": PIPELINE,
            "params.yaml": "names: [churn, price]\n",
            "src/train.py": "estimator.fit(1)\n",
            "data/raw.csv.dvc": "outs: [{md5: d41d8cd98f00b204e9800998ecf8427e, path: raw.csv}]\n",
            "metrics/churn.json": '{"auc": 0.8}',
            "metrics/price.json": '{"mae": 3, "r2": 0.4}',
        },
    )
    assert values(proposal) == {
        "churn": {
            "path": ".",
            "task": "binary",
            "framework": "sklearn",
            "data": "data/raw.csv",
            "package": "packages/churn",
            "evaluation": "evaluations/churn",
            "metrics": "metrics/churn.json",
        },
        "price": {
            "path": ".",
            "task": "regression",
            "framework": "sklearn",
            "data": "data/raw.csv",
            "package": "packages/price",
            "evaluation": "evaluations/price",
            "metrics": "metrics/price.json",
        },
    }
    assert proposal.models[0].why == "dvc.yaml: stage train@churn writes models/churn.pkl"
    assert "metrics/price.json: mae, r2" in proposal.models[1].values["task"].why


def test_models_in_folders_of_their_own(tmp_path: Path) -> None:
    pipeline = "stages: {train: {cmd: python train.py, deps: [train.py], outs: [model.pkl]}}\n"
    proposal = found(
        tmp_path,
        {
            "churn/dvc.yaml": pipeline,
            "churn/train.py": CHURN,
            "projects/price/dvc.yaml": pipeline,
            "projects/price/train.py": PRICE,
            "projects/price/evaluation/notes.md": "",
        },
    )
    assert {name: (one["path"], one["task"]) for name, one in values(proposal).items()} == {
        "churn": ("churn", "binary"),
        "price": ("projects/price", "regression"),
    }
    assert values(proposal)["price"]["evaluation"] == "evaluations/price"
    assert "package" not in values(proposal)["price"]


def test_notebooks_that_fit_something(tmp_path: Path) -> None:
    proposal = found(
        tmp_path,
        {
            "notebooks/01-eda.ipynb": notebook("import pandas\npandas.read_csv('x.csv')"),
            "notebooks/02-churn.ipynb": notebook(CHURN),
            "notebooks/03-price.ipynb": notebook(PRICE),
            "tests/test_churn.py": CHURN,
            "data/customers.csv": "a,left\n1,0\n",
        },
    )
    assert {name: one["task"] for name, one in values(proposal).items()} == {
        "churn": "binary",
        "price": "regression",
    }
    assert values(proposal)["churn"]["data"] == "data/customers.csv"


def test_model_files_of_git_and_dvc_but_not_their_helpers(tmp_path: Path) -> None:
    proposal = found(
        tmp_path,
        {
            "models/churn_v1.joblib": "",
            "models/churn_v2.joblib": "",
            "models/churn.onnx": "",
            "models/scaler.pkl": "",
            "data/train.pkl": "",
            "cache.pkl": "",
            "price/model.pt.dvc": "outs: []\n",
            "train_price.py": "import torch\nmodel.fit(1)\ntorch.nn.MSELoss()\n# model.pt\n",
            "tests/model.onnx": "",
        },
    )
    assert {one.name: one.why for one in proposal.models} == {
        "churn": "models/churn.onnx, tracked by git",
        "price": "price/model.pt, tracked by DVC",
    }


def test_a_script_that_runs_at_the_top_has_its_model_there(tmp_path: Path) -> None:
    script = CHURN.replace("models/churn", "churn/out/churn").replace("data/", "churn/")
    script += 'rows.to_csv("churn/a_test.csv")\n'
    tables = dict.fromkeys(("churn/a_test.csv", "churn/customers.csv"), "")
    files = {"churn/out/churn.joblib": "", "scripts/train.py": script, "load/model.onnx": ""}
    proposal = found(tmp_path, files | tables)
    churn = values(proposal)["churn"]
    assert (churn["path"], churn["data"]) == (".", "churn/customers.csv")
    assert values(proposal)["load"]["path"] == "load"


def test_one_name_twice_gets_the_folders(tmp_path: Path) -> None:
    proposal = found(
        tmp_path, {"eu/churn.onnx": "", "us/churn.onnx": "", "us/north/churn.onnx": ""}
    )
    assert [one.name for one in proposal.models] == ["churn", "us-churn", "north-churn"]


def test_nothing_shows_a_model(tmp_path: Path) -> None:
    proposal = found(tmp_path, {"README.md": "hello"})
    (model,) = proposal.models
    assert (model.name, model.values["task"].sure) == ("acme", False)


def test_a_broken_pipeline_is_told_and_the_rest_still_found(tmp_path: Path) -> None:
    proposal = found(tmp_path, {"dvc.yaml": "stages: [", "train_churn.py": CHURN})
    assert [one.name for one in proposal.models] == ["churn"]
    assert any("dvc.yaml can't be read" in note for note in proposal.notes)


# ---------------------------------------------------------------- the rest


@pytest.mark.parametrize(
    ("files", "name", "sure"),
    [
        ({"pyproject.toml": '[project]\nname = "flights"\n'}, "flights", True),
        ({"pyproject.toml": '[tool.poetry]\nname = "Late_Flights"\n'}, "late-flights", False),
        ({"pyproject.toml": "[project\n", "setup.cfg": "[metadata]\nname = x1\n"}, "x1", True),
        ({"a": ""}, "acme", True),
    ],
)
def test_the_project_s_name(tmp_path: Path, files: dict[str, str], name: str, sure: bool) -> None:
    project = found(tmp_path, files).project
    assert (project.value, project.sure) == (name, sure)


@pytest.mark.parametrize(
    ("files", "ci"),
    [
        ([".github/workflows/ci.yml"], ["github"]),
        (["azure-pipelines.yml"], ["azure"]),
        ([".pipelines/build.yml"], ["azure"]),
        (["ci/azure-pipelines-pr.yml", "pipelines/steps.yml"], ["azure"]),
        ([".azure-pipelines/a.yaml", ".github/workflows/x.yaml"], ["github", "azure"]),
        ([".github/dependabot.yml", ".gitlab-ci.yml"], ["github"]),
    ],
)
def test_platforms_in_use(tmp_path: Path, files: list[str], ci: list[str]) -> None:
    proposal = found(tmp_path, dict.fromkeys(files, "a: 1\n"))
    assert [one.value for one in proposal.ci] == ci
    assert proposal.ci[0].sure == (".gitlab-ci.yml" not in files)
    assert any("GitLab CI" in note for note in proposal.notes) == (".gitlab-ci.yml" in files)


@pytest.mark.parametrize(
    ("first", "others", "expected"),
    [
        ("main", [], ["main", "release/staging", "release/production"]),
        ("master", ["staging", "prod"], ["master", "staging", "prod"]),
        ("main", ["develop", "release"], ["develop", "staging", "main"]),
        ("trunk", ["release/production", "release/1.2"], ["trunk", "", "release/production"]),
        ("work", [], ["work", "release/staging", "release/production"]),
        ("dev", ["production/eu"], ["dev", "release/staging", "release/production"]),
    ],
)
def test_branches_become_environments(
    tmp_path: Path, first: str, others: list[str], expected: list[str]
) -> None:
    root = repository(tmp_path / "acme", {"a": ""}, branch=first)
    git.create_branches(root, others)
    environments = discover(root).environments
    assert [one.name for one in environments] == ["dev", "staging", "production"]
    assert [one.branch.value for one in environments] == [
        wanted or "release/staging" for wanted in expected
    ]
    for one in environments:
        assert one.there == (one.branch.value in [first, *others])
    assert sorted(git.branches(root)) == sorted([first, *others])


def dvc_config(url: str, *more: str) -> dict[str, str]:
    lines = ["[core]", "    remote = it", "['remote \"it\"']", f"    url = {url}"]
    return {".dvc/config": "\n".join([*lines, *(f"    {line}" for line in more)]) + "\n"}


@pytest.mark.parametrize(
    ("files", "storage", "sure"),
    [
        (dvc_config("s3://bucket/x"), "s3://bucket/x", True),
        (dvc_config("../../dvc-storage"), "../dvc-storage", True),
        (dvc_config("/mnt/dvc"), "/mnt/dvc", True),
        (dvc_config("azure://box/x", "account_name = acmeml"), "azure://box/x", True),
        (dvc_config("gs://bucket/x"), "../acme-storage", False),
        (dvc_config("s3://key:hunter2@bucket/x"), "../acme-storage", False),
        ({".dvc/config": "[core\n"}, "../acme-storage", False),
        ({".dvc/config": ""}, "../acme-storage", False),
        ({"a": ""}, "../acme-storage", False),
    ],
)
def test_the_storage_is_dvc_s(
    tmp_path: Path, files: dict[str, str], storage: str, sure: bool
) -> None:
    proposal = found(tmp_path, files)
    assert (proposal.storage.value, proposal.storage.sure) == (storage, sure)
    assert proposal.has_dvc == (".dvc/config" in files)
    assert "hunter2" not in repr(proposal)


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    proposal = found(tmp_path, {}, branch="main")
    assert proposal.environments[0].branch.value == "main"
    assert not proposal.environments[0].there
