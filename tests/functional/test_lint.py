"""`gitops lint` and `gitops pins` as they are installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository

BAD = """\
name: train
on: [push]
jobs:
  train:
    runs-on: ubuntu-24.04
    steps:
      - name: Install
        run: pip install dvc
"""


def test_a_generated_repository_has_no_finding_until_somebody_edits(
    repository: Repository, gitops: Gitops
) -> None:
    done = gitops(repository.root, "lint")
    assert done.code == 0
    assert done.out.splitlines()[-1].startswith("no findings in ")
    assert not done.out.endswith("in 0 files\n")
    path = repository.root / ".github" / "workflows" / "pull-request.yml"
    path.write_text(path.read_text().replace("timeout-minutes: 15", "timeout-minutes: 16", 1))
    done = gitops(repository.root, "lint", "--json")
    assert done.code == 1
    (one,) = json.loads(done.out)["findings"]
    assert (one["rule"], one["path"]) == ("drift", ".github/workflows/pull-request.yml")


def test_any_folder_can_be_linted(tmp_path: Path, gitops: Gitops) -> None:
    path = tmp_path / "plain" / ".github" / "workflows" / "train.yml"
    path.parent.mkdir(parents=True)
    path.write_text(BAD)
    root = tmp_path / "plain"
    done = gitops(root, "lint", "--sarif", "lint.sarif", env={"GITHUB_ACTIONS": "true"})
    assert done.code == 1
    assert ".github/workflows/train.yml:8:14: install: pip installs" in done.out
    assert done.out.splitlines()[-1] == "3 findings in 1 file"
    line = "::error file=.github/workflows/train.yml,line=8,col=14,title=install::"
    assert line in done.err
    results = json.loads((root / "lint.sarif").read_text())["runs"][0]["results"]
    assert {one["ruleId"] for one in results} == {"install", "permissions", "timeout"}
    assert gitops(root, "lint", "nowhere").code == 2


def test_pins_are_moved_from_the_repositories_of_the_actions(
    repository: Repository, tmp_path: Path, gitops: Gitops, git: Command
) -> None:
    done = gitops(repository.root, "pins", "--json")
    assert done.code == 0
    pins = {one["action"]: one for one in json.loads(done.out)["pins"]}
    used = {use["path"] for use in pins["actions/checkout"]["uses"]}
    assert ".github/workflows/pull-request.yml" in used
    assert {use["ref"] for use in pins["actions/checkout"]["uses"]} == {
        pins["actions/checkout"]["commit"]
    }
    forge = tmp_path / "forge"
    for action, one in pins.items():
        folder = forge / action
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet")
        git(folder, "commit", "--quiet", "--allow-empty", "-m", "x")
        major, minor, _ = one["tag"].removeprefix("v").split(".")
        git(folder, "tag", f"v{major}.{int(minor) + 1}.0")
        git(folder, "tag", f"v{int(major) + 1}.0.0")
    done = gitops(repository.root, "pins", "--check", "--from", str(forge))
    assert done.code == 1
    assert "is a new major version: --major" in done.out
    assert not (repository.root / ".gitops" / "pins.yaml").exists()
    done = gitops(repository.root, "pins", "--upgrade", "--from", str(forge))
    assert done.code == 0, done.err
    assert "wrote .gitops/pins.yaml; next: gitops sync" in done.out
    assert gitops(repository.root, "sync").code == 0
    commit = git(forge / "actions" / "checkout", "rev-parse", "HEAD").strip()
    text = (repository.root / ".github" / "workflows" / "pull-request.yml").read_text()
    assert f"actions/checkout@{commit}  # v" in text
    assert gitops(repository.root, "lint").code == 0
    done = gitops(repository.root, "pins", "--check", "--major", "--from", str(forge), "--json")
    assert done.code == 1
    assert all(one["major"] for one in json.loads(done.out)["newer"])
