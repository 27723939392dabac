"""`gitops sync` of the built wheel on a real project: what it says, and its exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository

pytestmark = pytest.mark.functional

WORKFLOW = ".github/workflows/pull-request.yml"


def test_the_life_of_a_scaffold(repository: Repository, gitops: Gitops, git: Command) -> None:
    root = repository.root
    done = gitops(root, "sync", "--check")
    assert (done.code, done.out) == (0, "in sync\n"), done.err

    # What is the tool's, edited and committed.
    (root / WORKFLOW).write_text("mine\n")
    git(root, "commit", "--quiet", "--all", "-m", "Edit")
    done = gitops(root, "sync", "--check")
    assert done.code == 1
    assert re.search(rf"tool +{WORKFLOW} +it was edited +gitops sync", done.out)
    found = json.loads(gitops(root, "sync", "--check", "--json").out)
    assert [(one["path"], one["state"], one["owner"]) for one in found["files"]].count(
        (WORKFLOW, "update", "tool")
    ) == 1
    assert not found["clean"]
    done = gitops(root, "sync")
    assert (done.code, "restored: it was edited" in done.out) == (0, True), done.err
    git(root, "commit", "--quiet", "--all", "-m", "Restore")

    # A change of gitops.yaml, merged into what was edited, on other lines and on the same.
    readme, project = root / "README.md", root / "pyproject.toml"
    readme.write_text(readme.read_text().replace("# churn\n", "# My churn\n") + "mine\n")
    project.write_text(project.read_text() + "\n# mine\n")
    git(root, "commit", "--quiet", "--all", "-m", "Edit")
    config = (root / "gitops.yaml").read_text()
    (root / "gitops.yaml").write_text(config.replace("project: churn", "project: leavers"))
    done = gitops(root, "sync", "--diff")
    assert done.code == 1, "a conflict is to come"
    assert "# conflict: README.md" in done.out
    assert "+<<<<<<< yours" in done.out
    shown = json.loads(gitops(root, "sync", "--diff", "--json").out)
    assert shown["conflicts"] == ["README.md"]
    assert '+name = "leavers"' in shown["diffs"]["pyproject.toml"]
    assert git(root, "status", "--porcelain") == "M gitops.yaml"

    done = gitops(root, "sync")
    assert done.code == 1
    assert "conflict: README.md: you and its template changed the same lines" in done.out
    assert "<<<<<<< yours\n# My churn\n=======\n# leavers\n>>>>>>> gitops\n" in readme.read_text()
    assert 'name = "leavers"' in project.read_text()
    assert project.read_text().endswith("# mine\n")
    done = gitops(root, "sync", "--json")
    assert done.code == 1
    assert "README.md" in json.loads(done.out)["error"]["message"]

    done = gitops(root, "sync", "--abort")
    assert done.code == 0
    assert git(root, "status", "--porcelain") == "M gitops.yaml"
    assert gitops(root, "sync", "--abort").code == 1

    gitops(root, "sync")
    text = readme.read_text()
    readme.write_text(re.sub(r"<<<<<<< yours\n.*?>>>>>>> gitops", "# My leavers", text, flags=re.S))
    done = gitops(root, "sync")
    assert done.code == 0, done.err
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "Sync")
    assert gitops(root, "sync", "--check").code == 0
    assert gitops(root, "build", "--check").code == 1, "the stages see the new name"


def test_a_clone_in_another_place_is_in_sync(
    repository: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", repository.root.as_uri(), "deep/er/clone")
    done = gitops(tmp_path / "deep" / "er" / "clone", "sync", "--check")
    assert done.code == 0, done.out


def test_what_cannot_work_says_so(repository: Repository, gitops: Gitops, tmp_path: Path) -> None:
    root = repository.root
    lock = root / ".gitops" / "lock.yaml"
    text = lock.read_text()
    cases = {
        "newer than this one": text.replace('tool: "0', 'tool: "99'),
        "is not one of": text.replace('"owner": "tool"', '"owner": "you"', 1),
        "git restore": None,
        "is undefined": text.replace('  "task": "binary"\n', ""),
        "can't be a path": text.replace('"README.md"', '"../README.md"'),
    }
    for words, changed in cases.items():
        lock.unlink()
        if changed is not None:
            lock.write_text(changed)
        done = gitops(root, "sync", "--check")
        assert done.code == 3, (words, done)
        assert words.replace("can't", "cannot") in done.err
        assert "Traceback" not in done.err
        assert "fix:" in done.err
        lock.unlink(missing_ok=True)
        lock.write_text(text)
    (root / "gitops.yaml").write_text("version: 1\n")
    done = gitops(root, "sync", "--check")
    assert (done.code, "gitops.yaml:1:1" in done.err) == (3, True)
    done = gitops(tmp_path, "sync")
    assert (done.code, "not in a git repository" in done.err) == (3, True)
    assert gitops(root, "sync", "--abort", "--diff").code == 2
