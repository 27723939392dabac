"""What surely is the same: never said of a model that isn't."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from gitops import config, git
from gitops.promote import untouched
from gitops.promote.closure import of as closure_of

LOCK = """\
schema: '2.0'
stages:
  train:
    cmd: python -m train
    deps:
    - path: ../../src/shared
      md5: 0123456789abcdef0123456789abcdef.dir
      size: 1
    - path: ../../data/table.csv
      md5: 0123456789abcdef0123456789abcdef
      size: 1
    params:
      ../../settings.yaml:
        seed: 1
        columns: []
        names:
        - 'yes'
        - a: b
    outs:
    - path: package
      md5: 0123456789abcdef0123456789abcdef.dir
      size: 1
"""
FILES = {
    "gitops.yaml": "version: 1\nproject: two\nmodels:\n"
    "  one: {path: models/one, task: binary}\n  other: {path: models/other, task: binary}\n",
    "models/one/dvc.lock": LOCK,
    "models/one/dvc.yaml": "stages: {}\n",
    "models/other/dvc.lock": LOCK.replace("../../src/shared", "src").replace("../../data/", ""),
    "models/other/dvc.yaml": "stages: {}\n",
    "src/shared/code.py": "",
    "src/apart.py": "",
    "settings.yaml": "seed: 1\n",
    "data/table.csv.dvc": f"outs:\n- md5: {'a' * 32}\n  path: table.csv\n",
    "README.md": "",
}


def same(root: Path, before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """The models that are said to be the same, which are so by their closures."""
    root.mkdir()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    commits = []
    for files in (before, {**before, **after}):
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        commits.append(git.commit(root, "Files"))
    base, at = (git.snapshot(root, one) for one in commits)
    old, new = (config.load_at(root, one) for one in commits)
    found = untouched.models(at, new, base, old)
    for model in found:
        assert closure_of(at, new, model).digest == closure_of(base, old, model).digest
    return set(found)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("README.md", {"one", "other"}),
        ("models/one/dvc.lock", {"other"}),
        ("models/one/new.py", {"other"}),
        ("models/other/dvc.yaml", {"one"}),
        ("src/shared/code.py", set()),  # `other` has a folder `src` of its own: not certain
        ("src/shared/new.py", set()),
        ("settings.yaml", set()),
        ("data/table.csv.dvc", set()),
        ("src/apart.py", {"one"}),
    ],
)
def test_what_a_change_leaves(tmp_path: Path, path: str, kept: set[str]) -> None:
    assert same(tmp_path / "repo", FILES, {path: FILES.get(path, "") + "# more\n"}) == kept


def test_another_section(tmp_path: Path) -> None:
    text = FILES["gitops.yaml"].replace("models/one, task: binary", "models/one, task: regression")
    assert same(tmp_path / "repo", FILES, {"gitops.yaml": text}) == {"other"}


@pytest.mark.parametrize(
    "lock",
    [
        '{"stages": {"a": {"cmd": "x", "deps": [{"path": "x"}]}}}',
        "schema: '2.0'\nstages:\n  a:\n    deps:\n    - path: 'quoted'\n",
        LOCK.replace("    deps:\n", "    deps: [{path: x}]\n    more:\n", 1),
        LOCK.replace("../../src/shared", "../../src/a long\n      name"),
    ],
)
def test_a_lock_that_dvc_did_not_write_is_read(tmp_path: Path, lock: str) -> None:
    files = {**FILES, "models/one/dvc.lock": lock}
    assert "one" not in same(tmp_path / "repo", files, {"README.md": "more\n"})


def test_the_same_tree_has_the_same_models(tmp_path: Path) -> None:
    assert same(tmp_path / "repo", FILES, {"README.md": "more\n"}) == {"one", "other"}
