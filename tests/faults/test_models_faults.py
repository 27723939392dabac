"""`gitops add model`, killed: the repository is as before, or it has the model."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository

pytestmark = pytest.mark.functional

# Kills itself before or after a step, or half-way: tracked, and not pushed.
SCRIPT = """
import os, signal, sys
from gitops import dvc, git
from gitops.scaffold import apply
from gitops.cli import main

module, name, when = sys.argv[1:4]
place = {"dvc": dvc, "git": git, "apply": apply}[module]
step = getattr(place, name)

def struck(*arguments, **more):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    step(*arguments, **({"push": False} if when == "half" else more))
    os.kill(os.getpid(), signal.SIGKILL)

setattr(place, name, struck)
sys.argv = ["gitops", *sys.argv[4:]]
main()
"""

STRIKES = [
    ("dvc", "add", "half", False),
    ("dvc", "add", "after", False),
    ("apply", "apply", "after", True),
    ("git", "commit", "before", True),
]


def test_killed_anywhere_the_model_is_there_or_not(
    repository: Repository,
    gitops: Gitops,
    git: Command,
    installed: Path,
    git_identity: dict[str, str],
    tmp_path: Path,
) -> None:
    root = repository.root
    table = tmp_path / "t.csv"
    table.write_text("a,b,y\n" + "".join(f"{i},{i * 7 % 13},{i * 3 % 17 + i}\n" for i in range(80)))
    line = ["add", "model", "price", "--data", str(table), "--target", "y", "--no-input", "--json"]
    start = git(root, "rev-parse", "HEAD")
    for module, name, when, there in STRIKES:
        done = subprocess.run(
            [installed / "python", "-c", SCRIPT, module, name, when, *line],
            cwd=root,
            env=git_identity,
            capture_output=True,
            text=True,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        names = git(root, "status", "--porcelain", "--untracked-files=all").split("\n")
        left = [one.split(maxsplit=1)[1] for one in names if one]
        assert len(left) == (8 if there else 0), names

        again = gitops(root, *line)
        assert again.code == 0, again.err
        answer = json.loads(again.out)
        assert answer["state"] == ("unchanged" if there else "added")
        assert answer["to_commit"] == left
        assert (root / "models/price/params.yaml").is_file()
        assert gitops(root, "status").code == 0
        assert not list((root / ".git" / "gitops").glob("add/*"))
        git(root, "reset", "--quiet", "--hard", start)
        git(root, "clean", "--quiet", "-fdx", "models/price")
