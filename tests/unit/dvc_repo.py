"""A repository that DVC has built and pushed, and a clone of it that has only what git has."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from gitops import dvc, git

_MAKE = "import pathlib; p = pathlib.Path('out'); p.mkdir(); [(p / n).write_text(n) for n in 'xy']"
STAGE = f"""\
stages:
  one:
    cmd: {sys.executable} -c "{_MAKE}"
    deps: [%stable.csv]
    outs: [out]
"""


def make(top: Path, pipeline: str, name: str = "dvc.yaml") -> Path:
    """`repo` and its `storage` in the folder `top`; `pipeline` is the file `name`."""
    folder = top / "repo"
    (top / "storage").mkdir()
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (folder / ".dvc" / "config").write_text(
        "[core]\n    analytics = false\n    remote = storage\n"
        "['remote \"storage\"']\n    url = ../../storage\n    verify = true\n"
    )
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(pipeline)
    (folder / "table.csv").write_text("a,b\n1,2\n")
    git.init(folder, "main")
    dvc.add(folder, "table.csv")
    assert dvc.repro(folder, [name], lambda line: None) == 0
    dvc.push(folder, [name])
    git.commit(folder, "First")
    return top


@pytest.fixture
def repo(made: Path, tmp_path: Path) -> Path:
    """A copy of what `made` gave."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True, symlinks=True)
    return tmp_path / "repo"


@pytest.fixture
def clone(repo: Path, tmp_path: Path) -> Path:
    git.clone(repo, tmp_path / "clone", git.head(repo).commit)
    return tmp_path / "clone"
