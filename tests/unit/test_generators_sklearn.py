"""What the generators `sklearn` and `packaging` write: valid files for any table, a usable lock.

That the generated project builds, and that its own tests pass, is shown by tests/functional.
"""

from __future__ import annotations

import platform
import tomllib
from pathlib import Path

import pytest
import yaml

from gitops import config, proc, uv
from gitops.scaffold.generator import compose
from gitops.scaffold.render import Rendered, render

ODD = [
    'say "hi", ok?',
    "Kunde's [m²]",
    "列1",
    "a:b{c}#d",
    "true",
    "1e5",
    "- x",
    "@{ y }@",
    "😀",
    "{",
]


def context(task: str, rows: int = 1000) -> dict[str, object]:
    kinds = ("number", "boolean", "categorical")
    features = [{"name": n, "type": kinds[i % 3], "calendar": []} for i, n in enumerate(ODD)]
    features.append({"name": "when, UTC", "type": "datetime", "calendar": ["hour", "yearday"]})
    classes = {"binary": ["no", "yes"], "multiclass": ["a", "b", "c"], "regression": []}[task]
    return {
        "project": "odd-table",
        "package": "odd_table",
        "model": "odd",
        "task": task,
        "data": {
            "file": "data/my table.csv",
            "format": "csv",
            "separator": "\t",
            "encoding": "utf-8",
        },
        "target": 'a "b" \\ c',
        "classes": classes,
        "positive": "yes" if task == "binary" else None,
        "id": None,
        "time": "when, UTC",
        "group": None,
        "features": features,
        "slices": ODD[:2],
        "sensitive": [],
        "dropped": [{"name": "x\ty", "reason": "free text"}],
        "split": "time",
        "rows": rows,
        "ci": ["github"],
        "storage": "../storage",
        "python": platform.python_version(),
        "tool_version": "0.1.0",
        "wrapped": False,
    }


def rendered(given: dict[str, object]) -> dict[str, Rendered]:
    own = [one for one in compose(["sklearn"]) if one.name != "core"]
    return {str(file.path): file for file in render(own, given)}


def text(files: dict[str, Rendered], path: str) -> str:
    return files[path].content.decode()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_params_hold_the_answers_whatever_the_columns_are_called(task: str) -> None:
    given = context(task)
    params = yaml.safe_load(text(rendered(given), "params.yaml"))
    assert params["task"] == task
    assert params["data"]["target"] == given["target"]
    assert params["data"]["separator"] == "\t"
    assert params["features"]["number"] == ODD[0::3]
    assert params["features"]["boolean"] == ODD[1::3]
    assert params["features"]["categorical"] == ODD[2::3]
    assert params["features"]["datetime"] == {"when, UTC": ["hour", "yearday"]}
    assert params["slices"] == ODD[:2]
    assert ("threshold" in params) == (task == "binary")


def test_a_larger_table_gets_a_larger_model() -> None:
    small, large = (
        yaml.safe_load(text(rendered(context("binary", rows)), "params.yaml"))["train"]
        for rows in (4999, 5000)
    )
    assert small["max_iter"] < large["max_iter"]
    assert small.keys() == large.keys()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_stage_names_files_and_parameters_that_exist(task: str) -> None:
    files = rendered(context(task))
    params = yaml.safe_load(text(files, "params.yaml"))
    stages = yaml.safe_load(text(files, "dvc.yaml"))["stages"]
    assert list(stages) == ["prepare", "train", "package", "evaluate"]
    made = {"data/my table.csv", "src/odd_table/gitops_package"}
    for name, stage in stages.items():
        assert stage["cmd"] == f"uv run --locked --env-file build.env python -m odd_table.{name}"
        assert set(stage["deps"]) <= made | files.keys()
        assert {"uv.lock", ".python-version", "build.env"} <= set(stage["deps"])
        assert set(stage["params"]) <= params.keys()
        made |= set(stage.get("outs", []))
    assert {"models/package", "evaluation"} <= made


def test_only_the_vendored_module_belongs_to_the_tool() -> None:
    files = rendered(context("binary"))
    owned = {path for path, file in files.items() if file.owner == "tool"}
    assert owned == {path for path in files if path.startswith("src/odd_table/gitops_package/")}
    assert "src/odd_table/gitops_package/package.py" in owned


def test_the_python_files_are_python_and_the_vendored_ones_need_no_tool() -> None:
    for path, file in rendered(context("binary")).items():
        if path.endswith(".py"):
            source = file.content.decode()
            compile(source, path, "exec")
            assert "import gitops\n" not in source
            assert "from gitops" not in source


def test_the_lock_fits_the_project_and_names_the_public_index_only(tmp_path: Path) -> None:
    files = rendered(context("binary"))
    for name in ("pyproject.toml", "uv.lock", ".python-version"):
        (tmp_path / name).write_bytes(files[name].content)
    lock = tomllib.loads(text(files, "uv.lock"))
    for package in lock["package"]:
        source = package["source"]
        own = package["name"] == "odd-table"
        assert source == ({"virtual": "."} if own else {"registry": "https://pypi.org/simple"})
        for file in [*package.get("wheels", []), *filter(None, [package.get("sdist")])]:
            assert file["url"].startswith("https://files.pythonhosted.org/")
    proc.run([uv.binary(), "lock", "--check", "--offline"], cwd=tmp_path)


def test_only_wrapped_code_gets_the_module_that_wraps() -> None:
    place = "src/odd_table/gitops_package/wrap.py"
    assert place not in rendered(context("binary"))
    assert rendered(context("binary") | {"wrapped": True})[place].owner == "tool"


@pytest.mark.parametrize("sensitive", [[], ["sex", "a: b # c"]])
def test_gitops_yaml_declares_sensitive_columns(tmp_path: Path, sensitive: list[str]) -> None:
    storage = {"storage_url": "../storage", "storage_endpoint": None, "storage_account": None}
    given = {**context("binary"), **storage, "sensitive": sensitive}
    core = [one for one in compose(["sklearn"]) if one.name == "core"]
    files = {str(file.path): file for file in render(core, given)}
    for path in ("gitops.yaml", ".gitops/policies/project.yaml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text(files, path))
    assert config.load(tmp_path).models["odd"].sensitive == tuple(sensitive)
