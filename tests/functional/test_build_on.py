"""`gitops build --on`: another process, which knows nothing but the storage, builds a commit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import elsewhere, stores
from tests.elsewhere import Elsewhere, fresh, git

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository

__all__ = ["fresh"]

pytestmark = pytest.mark.functional


def test_another_process_builds_what_a_build_here_gives(
    fresh: Elsewhere, gitops: Gitops, tmp_path: Path
) -> None:
    root, twin = fresh.root, tmp_path / "twin"
    git(tmp_path, "clone", "--quiet", str(root), "twin")
    shutil.rmtree(root / ".dvc" / "cache")
    done = gitops(root, "build", "--on", "here", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer["commit"] == git(root, "rev-parse", "HEAD")
    stages = {"prepare": "unchanged", "package": "ran", "evaluate": "ran"}
    assert answer["models"][0]["stages"] == stages
    assert "here: left: package" in done.err
    local = gitops(twin, "build", "--no-push")
    assert local.code == 0, local.err
    assert (root / "dvc.lock").read_bytes() == (twin / "dvc.lock").read_bytes()
    assert git(root, "rev-parse", "HEAD^{tree}") == git(twin, "rev-parse", "HEAD^{tree}")
    assert "second" in (root / "models" / "package" / "MODEL_CARD.md").read_text()
    again = gitops(root, "build", "--json")
    assert json.loads(again.out)["models"][0]["state"] == "unchanged"
    assert gitops(root, "verify").code == 0
    nothing = gitops(root, "build", "--on", "here")
    assert nothing.code == 0
    assert "nothing would run" in nothing.err
    assert len(fresh.boxes) == 1


@pytest.mark.extended("real training twice over; a folder's mailbox takes the same steps")
@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_over_a_storage_that_is_a_service(
    kind: str, fresh: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stores.s3() if kind == "s3" else stores.azure() as address:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        if kind == "s3":
            for name, value in stores.AWS.items():
                monkeypatch.setenv(name, value)
            elsewhere.at(fresh.root, {"url": "s3://models/churn", "endpointurl": address})
        else:
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", address)
            elsewhere.at(fresh.root, {"url": "azure://models/churn"})
        shutil.rmtree(fresh.storage)
        outcome = fresh.build()
        assert outcome.commit == git(fresh.root, "rev-parse", "HEAD")
        assert outcome.pushed == f"{kind}://models/churn"
        head = git(fresh.root, "log", "-1", "--format=%s")
        assert head == "Build left (accuracy 0.75)"
        git(fresh.root, "reset", "--quiet", "--hard", "HEAD~1")
        fresh.said.clear()
        assert fresh.build().models == outcome.models  # by the mailbox alone
        assert not [line for line in fresh.said if line.startswith("submitting")]


def test_submit_and_cancel(fresh: Elsewhere, gitops: Gitops, tmp_path: Path) -> None:
    pause = tmp_path / "pause"
    pause.mkdir()
    root = fresh.root
    done = gitops(root, "build", "--on", "here", "--detach", "--json", env={"PAUSE": str(pause)})
    assert done.code == 0, done.err
    job = json.loads(done.out)["job"]
    assert json.loads(gitops(root, "build", "--on", "here", "--cancel", "--json").out) == {
        "cancelled": job
    }
    said = gitops(root, "build", "--on", "here", "--cancel")
    assert said.out == "no job of this commit runs on here\n"


@pytest.mark.parametrize(
    ("words", "code", "found"),
    [
        (["--on", "there"], 2, "there are here"),
        (["--detach"], 2, "--detach is for --on"),
        (["--on", "here", "--push"], 2, "always stores"),
        (["--on", "here", "--check"], 2, "--check"),
        (["--on", "here", "--cancel", "--detach"], 2, "exclude each other"),
        (["--job", "{}"], 3, "not the ticket of a job"),
    ],
)
def test_words_that_cannot_work(
    fresh: Elsewhere, gitops: Gitops, words: list[str], code: int, found: str
) -> None:
    done = gitops(fresh.root, "build", *words)
    assert done.code == code
    assert found in done.err


def test_without_any_compute_it_says_what_to_write(light: Repository, gitops: Gitops) -> None:
    done = gitops(light.root, "build", "--on", "gpu")
    assert done.code == 3
    assert "compute: {gpu: {azureml: {cluster: cpu}}}" in done.err


def test_a_dry_run_shows_what_would_be_handed_over(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    with (light.root / "gitops.yaml").open("a") as file:
        file.write("compute: {pods: {kubernetes: {gpus: 1}}}\n")
    git(light.root, "commit", "--quiet", "--all", "-m", "Declare a compute")
    done = gitops(light.root, "build", "--on", "pods", "--dry-run")
    assert done.code == 0, done.err
    assert "--- job.yaml" in done.out
    assert "nvidia.com/gpu: '1'" in done.out
    assert not (light.storage / "jobs").exists()


def test_commit_rules_are_those_of_a_build(
    fresh: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    before = git(fresh.root, "rev-parse", "HEAD")
    outcome = fresh.build()
    assert outcome.commit is None
    assert outcome.to_commit == ("dvc.lock",)
    assert "in CI" in outcome.note
    assert git(fresh.root, "rev-parse", "HEAD") == before
