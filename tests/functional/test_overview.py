"""`gitops status`, `diff`, `log` and `fetch` of the built wheel, on a repository with a remote."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Repository, isolated, run

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops

pytestmark = pytest.mark.functional
SETTINGS = '{{"seed": {}, "note": "{}"}}\n'


@pytest.fixture(scope="session")
def made_promoted(
    made_light: Path, installed: Path, uv_cache: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """v1.0.0 in production, v1.1.0 in staging, and a bare remote: a folder to copy."""
    folder = tmp_path_factory.mktemp("promoted")
    env = isolated(folder / "home", uv_cache)
    root, storage = folder / "churn", folder / "churn-storage"
    shutil.copytree(made_light, root, symlinks=True)
    shutil.copytree(made_light.with_name(storage.name), storage)
    pipeline = root / "dvc.yaml"
    pipeline.write_text(
        f"{pipeline.read_text()}artifacts:\n  left: {{type: model, path: models/package}}\n"
    )
    _move(root, storage)
    run(["git", "commit", "-qam", "Move the storage"], root, env)
    run(["git", "init", "-q", "--bare", "-b", "main", folder / "origin.git"], folder, env)
    run(["git", "remote", "add", "origin", folder / "origin.git"], root, env)
    gitops = installed / "gitops"
    run(["git", "push", "-q", "origin", "main"], root, env)
    for branch in ("release/staging", "release/production"):
        run(["git", "push", "-q", "origin", f"main~1:refs/heads/{branch}"], root, env)
    run([gitops, "build"], root, env)
    run(["git", "push", "-q", "origin", "main"], root, env)
    run([gitops, "promote", "dev", "staging"], root, env)
    run([gitops, "promote", "staging", "production", "--reason", "the first"], root, env)
    (root / "settings.json").write_text(SETTINGS.format(2, "second"))
    run([gitops, "build"], root, env)
    run(["git", "add", "--all"], root, env)
    run(["git", "commit", "-qm", "Second"], root, env)
    run(["git", "push", "-q", "origin", "main"], root, env)
    run([gitops, "promote", "dev", "staging"], root, env)
    return folder


def _move(root: Path, storage: Path) -> None:
    config = root / ".dvc" / "config"
    lines = [
        f"    url = {storage}" if line.strip().startswith("url = ") else line
        for line in config.read_text().splitlines()
    ]
    config.write_text("\n".join(lines) + "\n")


@pytest.fixture
def promoted(made_promoted: Path, tmp_path: Path, git_identity: dict[str, str]) -> Repository:
    """A copy of it, with a remote of its own; the storage is shared, and only read."""
    for name in ("churn", "origin.git"):
        shutil.copytree(made_promoted / name, tmp_path / name, symlinks=True)
    root = tmp_path / "churn"
    run(["git", "remote", "set-url", "origin", tmp_path / "origin.git"], root, git_identity)
    return Repository(root, made_promoted / "churn-storage")


def told(gitops: Gitops, root: Path, *words: str, code: int = 0) -> Any:
    done = gitops(root, *words, "--json")
    assert done.code == code, done.err
    return json.loads(done.out)


def test_status_by_the_remote(promoted: Repository, gitops: Gitops, git: Command) -> None:
    answer = told(gitops, promoted.root, "status")
    rows = {row["environment"]: row for row in answer["rows"]}
    assert {name: row["version"] for name, row in rows.items()} == {
        "work tree": None,
        "dev": "v1.1.0",
        "staging": "v1.1.0",
        "production": "v1.0.0",
    }
    assert (rows["staging"]["versions_behind"], rows["production"]["versions_behind"]) == (0, 1)
    assert rows["production"]["commit"] == git(promoted.root, "rev-parse", "left@v1.0.0^{commit}")
    assert answer["remote"]["name"] == "origin" and answer["local"] is None
    shown = gitops(promoted.root, "status")
    assert shown.code == 0, shown.err
    assert "BEHIND" in shown.out and "1 version" in shown.out
    assert "  production: release/production" in shown.out


def test_a_hold_is_shown_and_a_deleted_branch(
    promoted: Repository, gitops: Gitops, git: Command
) -> None:
    git(promoted.root, "push", "-q", "origin", ":release/staging")
    done = gitops(promoted.root, "rollback", "production", "--reason", "nothing before")
    assert done.code == 1
    answer = told(gitops, promoted.root, "status")
    places = {one["environment"]: one for one in answer["environments"]}
    assert places["staging"]["commit"] is None
    assert "no such branch" in gitops(promoted.root, "status").out


def test_status_where_the_remote_does_not_answer(
    promoted: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    git(promoted.root, "remote", "set-url", "origin", str(tmp_path / "gone"))
    done = gitops(promoted.root, "status")
    assert done.code == 0
    assert "can't be read" in done.err and "as this clone knows them" in done.err
    assert "BEHIND" not in done.out and "built" in done.out
    assert told(gitops, promoted.root, "status")["local"] == "the git remote can't be read"
    for words in (["log"], ["diff", "staging", "production"], ["fetch", "left"]):
        assert told(gitops, promoted.root, *words, code=4)["error"]["code"] == 4


def test_diff(promoted: Repository, gitops: Gitops) -> None:
    (model,) = told(gitops, promoted.root, "diff", "production", "staging")["models"]
    assert (model["state"], model["versions"]) == ("changed", ["v1.0.0", "v1.1.0"])
    assert "settings.json" in model["code"]
    assert {one["source"] for one in model["metrics"]} == {"verdict"}
    shown = gitops(promoted.root, "diff", "left@v1.0.0", "left@v1.1.0")
    assert shown.code == 0, shown.err
    assert "settings.json  +1 -1" in shown.out
    assert "accuracy" in shown.out and "[" in shown.out
    assert told(gitops, promoted.root, "diff", "dev", "staging")["models"] == []
    assert told(gitops, promoted.root, "diff", "dev", "prod", code=2)["error"]["code"] == 2


def test_log_and_its_proof(
    promoted: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    events = told(gitops, promoted.root, "log")["events"]
    assert [one["tag"] for one in events] == [
        "left#staging#3",
        "left@v1.1.0",
        "left#production#2",
        "left#staging#1",
        "left@v1.0.0",
    ]
    assert events[2]["why"] == "the first"
    assert len(told(gitops, promoted.root, "log", "production")["events"]) == 1
    shown = gitops(promoted.root, "log", "-n", "1")
    assert shown.out.startswith("promoted left v1.1.0 to staging")
    proof = told(gitops, promoted.root, "log", "--verify")
    assert proof["verified"] is True
    assert {one["kind"] for one in proof["findings"]} == {"signers"}

    git(promoted.root, "tag", "-a", "-m", "forged", "left#production#4", "left@v1.1.0^{commit}")
    git(promoted.root, "push", "-q", "origin", "refs/tags/left#production#4")
    git(tmp_path, "clone", "-q", "--depth", "1", (tmp_path / "origin.git").as_uri(), "shallow")
    proof = told(gitops, tmp_path / "shallow", "log", "--verify", code=1)
    wrong = [one for one in proof["findings"] if one["wrong"]]
    assert [(one["about"], one["kind"]) for one in wrong] == [("left#production#4", "statement")]
    assert "wrong  left#production#4" in gitops(promoted.root, "log", "--verify").out
    assert gitops(promoted.root, "log", "--rebuild").code == 2


def test_log_rebuilds_what_runs(promoted: Repository, gitops: Gitops) -> None:
    done = gitops(promoted.root, "log", "production", "--verify", "--rebuild")
    assert done.code == 0, done.out + done.err
    assert "verified: 1 events" in done.out


def test_fetch_in_a_shallow_clone_of_one_branch(
    promoted: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    url = (tmp_path / "origin.git").as_uri()
    git(tmp_path, "clone", "-q", "--depth", "1", "--single-branch", url, "app")
    app = tmp_path / "app"
    answer = told(gitops, app, "fetch", "left", "--env", "production", "--out", "../package")
    assert (answer["version"], answer["fetched"]) == ("v1.0.0", True)
    out = tmp_path / "package"
    lines = "".join(
        f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {name}\n"
        for name in sorted(one.relative_to(out).as_posix() for one in out.rglob("*"))
    )
    assert answer["package"] == hashlib.sha256(lines.encode()).hexdigest()
    assert told(gitops, app, "fetch", "left", "--out", "../package")["fetched"] is False
    assert told(gitops, app, "fetch", "left", "--env", "staging", "--out", "../package", code=1)
    assert gitops(app, "fetch", "left", "--env", "staging", "--version", "v1.0.0").code == 2
    assert git(app, "status", "--porcelain") == ""


def test_gto_reads_our_tags_and_we_read_its(
    promoted: Repository, gitops: Gitops, git: Command, installed: Path
) -> None:
    env = isolated(promoted.root.parent / "gto-home", "")
    shown = json.loads(run([installed / "gto", "show", "--json", "left"], promoted.root, env))
    assert [one["version"] for one in shown][:2] == ["v1.1.0", "v1.0.0"]
    got = ["artifacts", "get", str(promoted.root), "left", "--rev", "v1.0.0", "-o", "../got"]
    run([installed / "dvc", *got], promoted.root, env)
    assert (promoted.root.parent / "got" / "signature.json").is_file()
    run([installed / "gto", "assign", "left", "--version", "v1.1.0", "--stage", "production"],
        promoted.root, env)  # fmt: skip
    git(promoted.root, "push", "-q", "origin", "refs/tags/left#production#4")
    first = told(gitops, promoted.root, "log", "production")["events"][0]
    assert (first["tag"], first["ours"], first["version"]) == ("left#production#4", False, "v1.1.0")
    rows = {row["environment"]: row for row in told(gitops, promoted.root, "status")["rows"]}
    assert rows["production"]["version"] == "v1.1.0"
