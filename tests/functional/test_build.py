"""What `gitops build` runs, restores, commits and refuses, on real repositories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository

pytestmark = pytest.mark.functional


def built(gitops: Gitops, root: Path, *options: str, **env: str) -> dict[str, Any]:
    """The JSON answer of a build that succeeds; with one model, so `models` is its answer."""
    done = gitops(root, "build", "--json", *options, env=env)
    assert done.code == 0, done.err
    answer: dict[str, Any] = json.loads(done.out)
    (answer["model"],) = answer.pop("models")
    return answer


def settle(light: Repository, **settings: object) -> None:
    """Change settings of the light repository."""
    path = light.root / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}) + "\n")


def test_clean_after_new_and_build_and_then_unchanged(
    repository: Repository, gitops: Gitops, git: Command, dvc: Command
) -> None:
    assert git(repository.root, "status", "--porcelain") == ""
    assert dvc(repository.root, "status") == "Data and pipelines are up to date."
    assert "didn't change" in dvc(repository.root, "repro")
    assert git(repository.root, "status", "--porcelain") == ""
    lock = (repository.root / "dvc.lock").read_bytes()
    for _ in range(2):  # the second by the fast path
        answer = built(gitops, repository.root)
        assert answer["model"]["state"] == "unchanged"
        assert answer["commit"] is None
    assert (repository.root / "dvc.lock").read_bytes() == lock


def test_an_unchanged_build_starts_no_dvc(
    light: Repository, gitops: Gitops, tmp_path: Path
) -> None:
    first = built(gitops, light.root)
    broken = light.root / ".dvc" / "cache" / "files" / "version"  # where DVC would look
    assert not broken.exists()
    (light.root / ".dvc" / "tmp").rename(tmp_path / "tmp")
    (light.root / ".dvc" / "tmp").write_text("no folder: any DVC command fails on it")
    assert built(gitops, light.root)["model"] == {**first["model"], "state": "unchanged"}
    settle(light, note="second")
    assert gitops(light.root, "build").code == 4


def test_an_edited_parameter_runs_what_depends_on_it_and_no_more(
    repository: Repository, gitops: Gitops, git: Command
) -> None:
    path = repository.root / "params.yaml"
    text = path.read_text()
    assert "threshold: 0.5" in text
    path.write_text(text.replace("threshold: 0.5", "threshold: 0.4"))
    answer = built(gitops, repository.root)
    assert answer["model"]["stages"] == {
        "prepare": "unchanged",
        "train": "unchanged",
        "package": "ran",
        "evaluate": "ran",
    }
    assert answer["commit"] is None
    assert answer["to_commit"] == ["dvc.lock", "metrics.json", "params.yaml"]
    assert "other changes" in answer["note"]
    assert git(repository.root, "log", "-1", "--format=%s") == "Move the storage"


def test_a_clean_tree_is_committed_and_a_dirty_one_is_not(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    settle(light, note="second")
    git(light.root, "commit", "--quiet", "-am", "Second note")
    answer = built(gitops, light.root)
    assert answer["commit"] == git(light.root, "rev-parse", "HEAD")
    assert git(light.root, "log", "-1", "--format=%s") == "Build left (accuracy 0.75)"
    assert git(light.root, "show", "--name-only", "--format=", "HEAD") == "dvc.lock"
    assert git(light.root, "status", "--porcelain") == ""

    settle(light, note="third")
    (light.root / "notes.txt").write_text("mine")
    answer = built(gitops, light.root)
    assert answer["commit"] is None
    assert answer["to_commit"] == ["dvc.lock", "notes.txt", "settings.json"]
    assert "other changes" in answer["note"]
    assert git(light.root, "diff", "--cached", "--name-only") == ""


def test_outputs_that_git_keeps_are_committed_and_others_named(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    pipeline = light.root / "dvc.yaml"
    stage = "  count:\n    cmd: cp settings.json count.json{}\n    deps: [settings.json]\n"
    stage += "    metrics: [count.json: {{cache: false}}]\n"
    start = pipeline.read_text()
    pipeline.write_text(start + stage.format(""))
    settle(light, note="second")
    git(light.root, "commit", "--quiet", "-am", "Count")
    assert built(gitops, light.root)["commit"]
    assert git(light.root, "show", "--name-only", "--format=", "HEAD") == "count.json\ndvc.lock"

    pipeline.write_text(start + stage.format(" && cp settings.json left.json"))
    git(light.root, "commit", "--quiet", "-am", "Leave something")
    answer = built(gitops, light.root)
    assert answer["commit"] is None
    assert "the build changed left.json, which no stage has as output" in answer["note"]


@pytest.mark.parametrize(
    ("options", "env", "note"),
    [
        (["--no-commit"], {}, "as asked"),
        ([], {"CI": "true"}, "in CI nothing is committed"),
    ],
)
def test_not_committed_as_asked_and_in_ci(
    light: Repository,
    gitops: Gitops,
    git: Command,
    options: list[str],
    env: dict[str, str],
    note: str,
) -> None:
    settle(light, note="second")
    git(light.root, "commit", "--quiet", "-am", "Second note")
    before = git(light.root, "rev-parse", "HEAD")
    answer = built(gitops, light.root, *options, **env)
    assert (answer["commit"], answer["to_commit"]) == (None, ["dvc.lock"])
    assert note in answer["note"]
    assert git(light.root, "rev-parse", "HEAD") == before


def test_a_detached_head_builds_and_commits_nothing(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    settle(light, note="second")
    git(light.root, "commit", "--quiet", "-am", "Second note")
    git(light.root, "switch", "--quiet", "--detach")
    answer = built(gitops, light.root)
    assert answer["model"]["state"] == "built"
    assert answer["commit"] is None
    assert "detached" in answer["note"]


def test_without_an_identity_a_build_says_so_and_keeps_its_work(
    light: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    settle(light, note="second")
    git(light.root, "commit", "--quiet", "-am", "Second note")
    nobody = tmp_path / "nobody"
    nobody.write_text("[user]\n\tuseConfigOnly = true\n")
    done = gitops(light.root, "build", "--json", env={"GIT_CONFIG_GLOBAL": str(nobody)})
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert (answer["commit"], answer["to_commit"]) == (None, ["dvc.lock"])
    assert "git config --global user.name" in answer["note"]
    git(light.root, "commit", "--quiet", "-am", "Build")
    assert built(gitops, light.root)["model"]["state"] == "unchanged"


def test_a_shallow_clone_builds(
    light: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "--quiet", "--depth", "1", light.root.as_uri(), "shallow")
    root = tmp_path / "shallow"
    assert git(root, "rev-parse", "--is-shallow-repository") == "true"
    assert set(built(gitops, root)["model"]["stages"].values()) == {"unchanged"}
    assert gitops(root, "verify").code == 0
    unknown = gitops(root, "verify", "v1")
    assert unknown.code == 2
    assert "git fetch --unshallow" in unknown.err


def test_a_clone_elsewhere_gets_the_same_bytes_and_runs_nothing(
    repository: Repository, gitops: Gitops, git: Command, dvc: Command, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "some" / "where"
    elsewhere.mkdir(parents=True)
    git(elsewhere, "clone", "--quiet", str(repository.root), "pulled")
    dvc(elsewhere / "pulled", "pull", "--quiet")
    assert contents(elsewhere / "pulled") == contents(repository.root)

    git(elsewhere, "clone", "--quiet", str(repository.root), "built")
    done = gitops(elsewhere / "built", "build", "--json")
    assert done.code == 0, done.err
    (model,) = json.loads(done.out)["models"]
    assert "ran" not in model["stages"].values()
    assert contents(elsewhere / "built") == contents(repository.root)
    assert git(elsewhere / "built", "status", "--porcelain") == ""


def contents(root: Path) -> dict[str, bytes]:
    """Every file of data, package and evaluation."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in ("data", "models", "evaluation")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def test_deleted_outputs_come_back_without_a_stage(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    before = contents(light.root)
    for path in ("models/package", "evaluation"):
        git(light.root, "clean", "-qfdx", path)
    (light.root / "data" / "prepared.csv").unlink()
    assert contents(light.root) != before
    assert "ran" not in built(gitops, light.root)["model"]["stages"].values()
    assert contents(light.root) == before

    (light.root / "models" / "package" / "model.onnx").unlink()
    assert "ran" not in built(gitops, light.root)["model"]["stages"].values()
    assert contents(light.root) == before


def test_check_says_whether_the_lock_is_stale(
    light: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    fresh = gitops(light.root, "build", "--check", "--json")
    assert (fresh.code, json.loads(fresh.out)) == (0, {"stale": {}})

    git(tmp_path, "clone", "--quiet", str(light.root), "empty")
    assert gitops(tmp_path / "empty", "build", "--check").code == 0
    assert not (tmp_path / "empty" / "models").exists()

    settle(light, note="second")
    stale = gitops(light.root, "build", "--check")
    assert stale.code == 1
    assert "left: package" in stale.err
    git(light.root, "commit", "--quiet", "-am", "Second note, not built")
    git(tmp_path / "empty", "pull", "--quiet")
    assert gitops(tmp_path / "empty", "build", "--check").code == 1
    assert not (tmp_path / "empty" / "models").exists()


def test_a_repository_without_a_pipeline_or_a_folder_without_git(
    light: Repository, gitops: Gitops, tmp_path: Path
) -> None:
    (light.root / "dvc.yaml").unlink()
    (light.root / "dvc.lock").unlink()
    lost = gitops(light.root, "build")
    assert lost.code == 3
    assert "has no pipeline" in lost.err
    assert gitops(light.root, "build", "nosuch").code == 2
    outside = gitops(tmp_path, "build")
    assert outside.code == 3
    assert "not in a git repository" in outside.err
