"""`gitops build --on`: another process, which knows nothing but the storage, builds a commit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository

pytestmark = pytest.mark.functional

COMPUTE = "compute:\n  here: {process: {}}\n"


@pytest.fixture
def declared(light: Repository, git: Command) -> Repository:
    """The light repository with a compute `here`, and a change to build."""
    with (light.root / "gitops.yaml").open("a") as file:
        file.write(COMPUTE)
    change(light, git, note="second")
    return light


def change(repository: Repository, git: Command, **settings: object) -> None:
    """Change the settings of the light repository, and commit."""
    path = repository.root / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}) + "\n")
    git(repository.root, "commit", "--quiet", "--all", "-m", "Change the settings")


def test_another_process_builds_what_a_build_here_gives(
    declared: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    root = declared.root
    git(tmp_path, "clone", "--quiet", str(root), "twin")
    shutil.rmtree(root / ".dvc" / "cache")
    done = gitops(root, "build", "--on", "here", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer["commit"] == git(root, "rev-parse", "HEAD")
    assert answer["models"][0]["stages"] == {
        "prepare": "unchanged",
        "package": "ran",
        "evaluate": "ran",
    }
    assert "here: left: package" in done.err
    twin = gitops(tmp_path / "twin", "build", "--no-push")
    assert twin.code == 0, twin.err
    assert (root / "dvc.lock").read_bytes() == (tmp_path / "twin" / "dvc.lock").read_bytes()
    assert git(root, "rev-parse", "HEAD^{tree}") == git(
        tmp_path / "twin", "rev-parse", "HEAD^{tree}"
    )
    card = (root / "models" / "package" / "MODEL_CARD.md").read_text()
    assert "second" in card
    again = gitops(root, "build", "--json")
    assert json.loads(again.out)["models"][0]["state"] == "unchanged"
    assert gitops(root, "verify").code == 0
