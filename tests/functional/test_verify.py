"""What `gitops verify` proves, and what it doesn't let pass."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository

pytestmark = pytest.mark.functional


def verified(gitops: Gitops, root: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON answer about the one model."""
    done = gitops(root, "verify", "--json", *options)
    assert done.out, done.err
    answer = json.loads(done.out)
    (model,) = answer["models"]
    return done.code, {**model, "commit": answer["commit"]}


def settle(light: Repository, git: Command, **settings: object) -> None:
    """Change settings of the light repository, and commit."""
    path = light.root / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}) + "\n")
    git(light.root, "commit", "--quiet", "-am", "Change settings")


def lock(repository: Repository) -> dict[str, str]:
    """MD5 by path, of everything that dvc.lock and the data's .dvc file track."""
    stages = yaml.safe_load((repository.root / "dvc.lock").read_text())["stages"]
    tracked = yaml.safe_load((repository.root / "data" / "customers.csv.dvc").read_text())["outs"]
    outs = [out for stage in stages.values() for out in stage["outs"]]
    return {out["path"]: out["md5"] for out in [*outs, *tracked]}


def spoil(path: Path) -> None:
    """One byte of a stored object becomes another; its mode, which DVC trusts, stays."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    path.chmod(mode)


@pytest.mark.extended("real training five times over; the tests below verify stages that copy")
def test_a_real_project_verifies_twice_and_fails_once_its_seed_is_gone(
    repository: Repository, gitops: Gitops, git: Command
) -> None:
    for _ in range(2):
        code, answer = verified(gitops, repository.root)
        assert (code, answer["level"], answer["wanted"]) == (0, "bytes", "bytes"), answer
        assert answer["machine"] == "same machine fingerprint as the build"
        assert git(repository.root, "status", "--porcelain") == ""

    (source,) = repository.root.glob("src/*/model.py")
    text = source.read_text()
    assert text.count('random_state=params["seed"]') == 2
    source.write_text(text.replace('random_state=params["seed"]', "random_state=None"))
    git(repository.root, "commit", "--quiet", "-am", "Remove the seed")
    assert gitops(repository.root, "build").code == 0
    code, answer = verified(gitops, repository.root)
    assert (code, answer["reproducible"]) == (1, False)
    assert answer["level"] == "none"
    assert {one["path"] for one in answer["differences"]} >= {
        "models/model.joblib",
        "models/package/model.onnx",
    }
    assert "predictions differ" in answer["detail"]


def test_a_file_that_comes_out_different_is_named(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    settle(light, git, seed=None)
    assert gitops(light.root, "build").code == 0
    done = gitops(light.root, "verify")
    assert done.code == 1
    assert "NOT reproducible" in done.out
    assert re.findall(r"differs: (\S+)", done.out) == ["models/package/MODEL_CARD.md"]
    assert "level parameters, wanted bytes" in done.out

    text = (light.root / "gitops.yaml").read_text()
    declared = text.replace("task: binary,", "task: binary, reproduce: {level: predictions},")
    (light.root / "gitops.yaml").write_text(declared)
    git(light.root, "commit", "--quiet", "-am", "Promise the predictions only")
    assert verified(gitops, light.root)[0] == 0


def test_a_stale_lock_is_no(light: Repository, gitops: Gitops, git: Command) -> None:
    settle(light, git, note="second")
    done = gitops(light.root, "verify")
    assert done.code == 1
    assert "left: package would run" in done.err
    assert gitops(light.root, "verify", "HEAD~1").code == 0


@pytest.mark.parametrize("path", ["models/package", "evaluation", "data/prepared.csv"])
def test_an_output_altered_in_the_remote_is_named(
    light: Repository, gitops: Gitops, path: str
) -> None:
    md5 = lock(light)[path]
    spoil(light.stored(md5))
    done = gitops(light.root, "verify")
    assert done.code == 1, done.err
    assert path in done.err
    assert md5 in done.err


def test_a_file_of_the_package_altered_in_the_remote_is_named(
    light: Repository, gitops: Gitops
) -> None:
    listing = json.loads(light.stored(lock(light)["models/package"]).read_text())
    (onnx,) = [entry["md5"] for entry in listing if entry["relpath"] == "model.onnx"]
    spoil(light.stored(onnx))
    done = gitops(light.root, "verify")
    assert done.code == 1, done.err
    assert "models/package" in done.err
    assert onnx in done.err


def test_altered_data_is_named(light: Repository, gitops: Gitops) -> None:
    md5 = lock(light)["customers.csv"]
    spoil(light.stored(md5))
    done = gitops(light.root, "verify")
    assert done.code == 1, done.err
    assert "data/customers.csv" in done.err
    assert md5 in done.err


def test_without_its_data_nothing_can_be_said(light: Repository, gitops: Gitops) -> None:
    light.stored(lock(light)["customers.csv"]).unlink()
    done = gitops(light.root, "verify")
    assert done.code == 3
    assert "data/customers.csv" in done.err
    assert "missing" in done.err


def test_without_the_recorded_outputs_the_hashes_are_compared(
    light: Repository, gitops: Gitops
) -> None:
    light.stored(lock(light)["models/package"]).unlink()
    code, answer = verified(gitops, light.root)
    assert (code, answer["level"]) == (0, "bytes")


def test_a_forged_run_cache_entry_is_noticed(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    forged = lock(light)["models/package"]  # of the first note; it is to pass for the second
    settle(light, git, note="second")
    assert gitops(light.root, "build").code == 0
    honest = lock(light)["models/package"]
    settle(light, git, note="first")
    assert gitops(light.root, "build").code == 0
    runs = light.root / ".dvc" / "cache" / "runs"
    entries = [path for path in runs.rglob("*") if path.is_file() and honest in path.read_text()]
    (entry,) = [path for path in entries if "stages.py package" in path.read_text()]
    entry.chmod(0o644)
    entry.write_text(entry.read_text().replace(honest, forged))

    settle(light, git, note="second")
    done = gitops(light.root, "build", "--json")
    assert done.code == 0, done.err
    (model,) = json.loads(done.out)["models"]
    assert model["stages"]["package"] == "restored"
    assert lock(light)["models/package"] == forged
    code, answer = verified(gitops, light.root)
    assert code == 1
    assert [one["path"] for one in answer["differences"]] == ["models/package/MODEL_CARD.md"]


def test_on_another_machine_the_predictions_are_held(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    settle(light, git, seed=None)
    assert gitops(light.root, "build").code == 0
    assert verified(gitops, light.root)[0] == 1
    for record in (light.root / ".git" / "gitops" / "records" / "builds" / "left").iterdir():
        document = json.loads(record.read_text())
        document["fingerprint"]["cpu_features"] = "0" * 64
        record.write_text(json.dumps(document))
    code, answer = verified(gitops, light.root)
    assert (code, answer["wanted"], answer["level"]) == (0, "predictions", "parameters")
    assert "cpu_features" in answer["machine"]


def test_a_revision_by_tag_branch_and_abbreviation(
    light: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    first = git(light.root, "rev-parse", "HEAD")
    git(light.root, "tag", "-a", "-m", "first", "v1")
    git(light.root, "branch", "--force", "release/staging")
    settle(light, git, note="second")
    assert verified(gitops, light.root, "v1")[1]["commit"] == first
    assert verified(gitops, light.root, "release/staging")[1]["commit"] == first
    keep = tmp_path / "kept"
    assert verified(gitops, light.root, first[:9], "--keep", str(keep))[0] == 0
    assert (keep / "clone" / "models" / "package" / "model.onnx").is_file()
    assert gitops(light.root, "verify", first, "--keep", str(keep)).code == 2

    unknown = gitops(light.root, "verify", "v2")
    assert unknown.code == 2
    assert "'v2'" in unknown.err
    assert gitops(light.root, "verify", "v1", "--model", "rigth").code == 2


def test_a_stage_that_fails_elsewhere_does_not_rebuild(
    light: Repository, gitops: Gitops, git: Command
) -> None:
    stages = (light.root / "stages.py").read_text()
    needs = stages.replace("def prepare():", "def prepare():\n    open('only-here.txt').close()")
    assert needs != stages
    (light.root / "stages.py").write_text(needs)
    (light.root / "only-here.txt").write_text("unknown to git")
    (light.root / ".gitignore").open("a").write("/only-here.txt\n")
    git(light.root, "commit", "--quiet", "-am", "Depend on a file of mine")
    assert gitops(light.root, "build").code == 0
    done = gitops(light.root, "verify")
    assert done.code == 1
    assert "it doesn't rebuild" in done.err
    assert "only-here.txt" in done.err
