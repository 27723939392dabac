"""`gitops status` and `gitops doctor`: what they show, and that every finding fires."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository

pytestmark = pytest.mark.functional


def test_status_shows_where_each_model_stands(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    head = git(light.root, "rev-parse", "HEAD")
    git(light.root, "branch", "--force", "release/staging")
    git(light.root, "branch", "-D", "release/production")
    done = gitops(light.root, "status", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert (answer["project"], answer["branch"], answer["changes"]) == ("churn", "main", [])
    rows = {row["environment"]: row for row in answer["rows"]}
    assert list(rows) == ["work tree", "dev", "staging", "production"]
    assert {name: row["state"] for name, row in rows.items()} == {
        "work tree": "built",
        "dev": "built",
        "staging": "built",
        "production": "no branch",
    }
    assert rows["staging"]["revision"] == head[:10]
    assert rows["staging"]["metrics"] == {"rows": 60, "accuracy": 0.75}

    (light.root / "settings.json").write_text('{"seed": 2, "note": "second"}\n')
    done = gitops(light.root, "status")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "churn: on main, 1 changed file"
    assert done.out.splitlines()[1].split() == [
        *("MODEL", "WHERE", "REVISION", "DATE", "STATE", "ACCURACY")
    ]
    assert "stale: package" in done.out
    assert "\x1b" not in done.out


def test_status_of_a_branch_that_only_a_remote_has(
    light: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "--quiet", str(light.root), "clone")
    git(tmp_path / "clone", "switch", "--quiet", "--detach")
    answer = json.loads(gitops(tmp_path / "clone", "status", "--json").out)
    assert answer["branch"] is None
    states = {row["environment"]: row["state"] for row in answer["rows"]}
    assert states["staging"] == "not built"
    assert states["dev"] == "built"


def findings(gitops: Gitops, root: Path, **env: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what isn't ok by what it is about; this machine's disk is left out."""
    done = gitops(root, "doctor", "--json", env=env)
    assert done.out, done.err
    all_ = json.loads(done.out)["findings"]
    assert all(one["fix"] for one in all_ if one["state"] != "ok")
    return done.code, {
        one["check"]: one for one in all_ if one["state"] != "ok" and one["check"] != "disk"
    }


def test_doctor_finds_nothing_in_a_new_project(repository: Repository, gitops: Gitops) -> None:
    code, found = findings(gitops, repository.root)
    assert (code, found) == (0, {})
    shown = gitops(repository.root, "doctor")
    assert shown.code == 0
    assert "ok    storage: " in shown.out


def test_doctor_outside_of_a_repository(gitops: Gitops, tmp_path: Path) -> None:
    code, found = findings(gitops, tmp_path)
    assert (code, list(found)) == (0, ["repository"])


def test_doctor_on_an_untrusting_remote(light: Repository, gitops: Gitops, dvc: Command) -> None:
    dvc(light.root, "remote", "modify", "storage", "verify", "false")
    code, found = findings(gitops, light.root)
    assert code == 1
    assert found["storage"]["fix"] == "dvc remote modify storage verify true"
    shown = gitops(light.root, "doctor")
    assert shown.code == 1
    assert "fail  storage" in shown.out
    assert "fix: dvc remote modify storage verify true" in shown.out


def test_doctor_on_a_storage_that_moved(
    light: Repository, gitops: Gitops, dvc: Command, tmp_path: Path
) -> None:
    light.storage.rename(tmp_path / "moved")
    code, found = findings(gitops, light.root)
    assert (code, found["storage"]["state"]) == (1, "fail")
    assert str(light.storage) in found["storage"]["detail"]
    dvc(light.root, "remote", "modify", "storage", "url", str(tmp_path / "moved"))
    assert "storage" not in findings(gitops, light.root)[1]
    path = light.root / "gitops.yaml"
    path.write_text(path.read_text().replace("../churn-storage", "s3://models/churn"))
    code, found = findings(gitops, light.root)
    assert (code, found["storage"]["state"]) == (0, "warn")
    assert "gitops.yaml says s3://models/churn" in found["storage"]["detail"]


def test_doctor_on_branches_and_checkout(
    light: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    git(light.root, "branch", "-D", "release/production")
    code, found = findings(gitops, light.root)
    assert code == 1
    assert found["branches"]["fix"] == "git branch release/production"
    git(light.root, "switch", "--quiet", "--detach")
    assert findings(gitops, light.root)[1]["checkout"]["state"] == "warn"
    git(tmp_path, "clone", "--quiet", "--depth", "1", light.root.as_uri(), "shallow")
    assert "git fetch --unshallow" in findings(gitops, tmp_path / "shallow")[1]["history"]["fix"]


def test_doctor_on_targets_that_nobody_names(light: Repository, gitops: Gitops) -> None:
    path = light.root / "gitops.yaml"
    text = path.read_text().replace("task: binary", "task: binary, deploy: {target: kubernetes}")
    path.write_text(text)
    code, found = findings(gitops, light.root)
    assert (code, found["targets"]["state"]) == (0, "warn")
    assert "no cluster is known for production" in found["targets"]["detail"]
    path.write_text(text + "targets: {kubernetes: {contexts: {staging: a, production: b}}}\n")
    assert "images need a registry" in findings(gitops, light.root)[1]["targets"]["detail"]
    named = "targets: {registry: ghcr.io/acme, kubernetes: {contexts: {staging: a, production: b}}}"
    path.write_text(text + named + "\n")
    assert "workflows log in to" in findings(gitops, light.root)[1]["targets"]["detail"]
    path.write_text(f"{text}{named}\nrunners: {{default: {{labels: [self-hosted]}}}}\n")
    assert "targets" not in findings(gitops, light.root)[1]


def test_doctor_on_models_and_files(light: Repository, gitops: Gitops) -> None:
    (light.root / "dvc.lock").unlink()
    assert findings(gitops, light.root)[1]["model left"]["fix"] == "gitops build left"
    (light.root / "dvc.yaml").unlink()
    code, found = findings(gitops, light.root)
    assert (code, found["model left"]["state"]) == (1, "fail")
    text = (light.root / "gitops.yaml").read_text()
    (light.root / "gitops.yaml").write_text(text.replace("task: binary", "tsk: binary"))
    code, found = findings(gitops, light.root)
    assert code == 1
    assert "gitops.yaml:5" in found["gitops.yaml"]["detail"]


def test_doctor_on_a_pipeline_that_is_not_ours_yet(light: Repository, gitops: Gitops) -> None:
    (light.root / "requirements.txt").write_text("six\n")
    assert "uv add -r requirements.txt" in findings(gitops, light.root)[1]["environment"]["fix"]
    (light.root / "uv.lock").touch()
    (light.root / "pyproject.toml").touch()
    code, found = findings(gitops, light.root)
    assert "prepare, package, evaluate: runs the Python on PATH" in found["model left"]["detail"]
    path = light.root / "gitops.yaml"
    path.write_text(path.read_text().replace("task: binary", "task: binary, package: other"))
    (light.root / "uv.lock").unlink()
    code, found = findings(gitops, light.root)
    assert (code, found["model left"]["fix"]) == (1, "gitops add packaging left")


def test_doctor_on_branches_without_gitops_yaml(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    nothing = git(light.root, "hash-object", "-w", "-t", "tree", "/dev/null")
    young = git(light.root, "commit-tree", nothing, "-m", "Start")
    git(light.root, "branch", "--force", "release/staging", young)
    code, found = findings(gitops, light.root)
    assert (code, found["branches"]["state"]) == (0, "warn")
    assert "no gitops.yaml on release/staging:" in found["branches"]["detail"]


def test_doctor_on_an_artifact_that_is_another_folder(light: Repository, gitops: Gitops) -> None:
    path = light.root / "dvc.yaml"
    text = path.read_text()
    for wrong in ("models/other", "[models/package]"):
        path.write_text(f"{text}artifacts:\n  left: {{type: model, path: {wrong}}}\n")
        code, found = findings(gitops, light.root)
        assert (code, found["artifact left"]["state"]) == (0, "warn")
        assert "write `path: models/package`" in found["artifact left"]["fix"]
    path.write_text(f"{text}artifacts:\n  left: {{type: model, path: ./models/package}}\n")
    assert "artifact left" not in findings(gitops, light.root)[1]


def test_doctor_on_the_environment(repository: Repository, gitops: Gitops) -> None:
    path = repository.root / "pyproject.toml"
    path.write_text(path.read_text().replace("dependencies = [", 'dependencies = [\n  "six",', 1))
    code, found = findings(gitops, repository.root)
    assert (code, found["environment"]["fix"]) == (1, "uv lock")


def test_doctor_on_the_machine(
    light: Repository, gitops: Gitops, git_identity: dict[str, str], tmp_path: Path
) -> None:
    nobody = tmp_path / "nobody"
    nobody.write_text("[user]\n\tuseConfigOnly = true\n")
    code, found = findings(gitops, light.root, GIT_CONFIG_GLOBAL=str(nobody))
    assert code == 1
    assert "git config --global user.name" in found["git identity"]["fix"]
    empty = tmp_path / "bin"
    empty.mkdir()
    done = gitops(tmp_path, "doctor", "--json", env={"PATH": str(empty)})
    assert done.code == 1
    state = {one["check"]: one["state"] for one in json.loads(done.out)["findings"]}
    assert (state["git"], state["uv"]) == ("fail", "ok")


def test_doctor_in_a_repository_without_a_commit(
    gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    git(tmp_path, "init", "--quiet", "young")
    code, found = findings(gitops, tmp_path / "young")
    assert code == 1
    assert set(found) == {"checkout", "gitops.yaml"}
