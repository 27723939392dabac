"""dvc.lock of a commit against what is committed there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gitops import dvc, git
from gitops import dvclock as locks
from gitops.errors import GitopsError
from tests.unit.validate.gate_repo import GateRepo

MD5 = "d" * 32
BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{one + 1}: &a{one + 1} [{', '.join([f'*a{one}'] * 9)}]\n" for one in range(9)
)


@pytest.fixture
def repo(tmp_path: Path) -> GateRepo:
    """A repository with a fresh lock; the folders are as good as any."""
    made = GateRepo(tmp_path / "repo").start()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("x")
    made.built(tmp_path / "out", tmp_path / "out")
    return made


def stale(repo: GateRepo) -> tuple[str, ...]:
    at = git.snapshot(repo.root, repo.commit("Change"))
    found = locks.read(at, ".")
    assert found is not None
    return locks.stale(at, found)


def lock(repo: GateRepo) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repo.root / "dvc.lock").read_text())
    return found


def relock(repo: GateRepo, document: object) -> None:
    repo.write("dvc.lock", json.dumps(document))


def test_a_fresh_lock(repo: GateRepo) -> None:
    assert stale(repo) == ()


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("src/train.py", "# new\n", "package: src/train.py changed"),
        ("params.yaml", "train: {depth: 4}\n", "package: train.depth in params.yaml is 4, not 3"),
        ("params.yaml", "other: 1\n", "package: train.depth in params.yaml is null, not 3"),
        (
            "data.csv.dvc",
            f"outs: [{{md5: {MD5}, size: 1, hash: md5, path: data.csv}}]\n",
            "prepare: data.csv is another than was read",
        ),
    ],
)
def test_what_changed_since_the_build(repo: GateRepo, file: str, text: str, reason: str) -> None:
    repo.write(file, text)
    assert stale(repo) == (reason,)


def test_what_else_may_have_changed(repo: GateRepo) -> None:
    (repo.root / "src" / "prepare.py").unlink()
    text = (repo.root / "dvc.yaml").read_text()
    text = text.replace("cmd: python train.py", "cmd: python train.py --fast")
    text = text.replace("deps: [src/evaluate.py,", "deps: [src/evaluate.py, src/more.py,")
    repo.write("dvc.yaml", text + "  extra: {cmd: 'true', deps: [x], outs: [y]}\n")
    assert stale(repo) == (
        "package: its command changed",
        "evaluate: src/more.py is a new dependency",
        "extra: never ran",
        "prepare: src/prepare.py is not in the commit",
    )


def test_an_evaluation_of_another_package_is_stale(repo: GateRepo) -> None:
    document = lock(repo)
    document["stages"]["package"]["outs"][0]["md5"] = f"{MD5}.dir"
    relock(repo, document)
    assert stale(repo) == ("evaluate: models/package is another than was read",)


def test_a_committed_output_that_was_edited(repo: GateRepo) -> None:
    document = lock(repo)
    repo.write("metrics.json", '{"roc_auc": 0.99}\n')
    out = {"path": "metrics.json", "hash": "md5", "md5": MD5, "size": 1}
    document["stages"]["evaluate"]["outs"].append(out)
    relock(repo, document)
    assert stale(repo) == ("evaluate: metrics.json changed",)


def test_a_folder_of_code(repo: GateRepo) -> None:
    repo.write("src/lib/a.py", "a\n")
    repo.write("src/lib/b/c.py", "c\n")
    document = lock(repo)
    dep = {"path": "src/lib", "hash": "md5", "md5": dvc.hash_of(repo.root / "src" / "lib")}
    document["stages"]["package"]["deps"].append({**dep, "size": 1})
    relock(repo, document)
    repo.write("src/lib/__pycache__/a.pyc", "made later")
    assert stale(repo) == ("package: src/lib changed",)
    repo.write(".dvcignore", "__pycache__\n")
    assert stale(repo) == ()


def test_values_that_dvc_writes_in_its_own_way(repo: GateRepo) -> None:
    document = lock(repo)
    repo.write("params.yaml", "train: {depth: 3, rate: 1e-3, since: 2013-01-01, of: [1, {a: 2}]}\n")
    params = document["stages"]["package"]["params"]["params.yaml"]
    params |= {"train.rate": 0.001, "train.since": "2013-01-01 00:00:00", "train.of.1.a": 2}
    relock(repo, document)
    assert stale(repo) == ()


def test_a_nested_parameter_is_named_to_its_end(repo: GateRepo) -> None:
    document = lock(repo)
    document["stages"]["package"]["params"] = {"params.yaml": {"train": {"depth": 3, "l": [1]}}}
    relock(repo, document)
    repo.write("params.yaml", "train: {depth: 5, l: [1]}\n")
    assert stale(repo) == ("package: train.depth in params.yaml is 5, not 3",)


def test_stages_that_only_dvc_can_judge_are_left_to_it(repo: GateRepo) -> None:
    text = (repo.root / "dvc.yaml").read_text()
    repo.write("dvc.yaml", text + "  many: {foreach: [1], do: {cmd: 'echo ${item}'}}\n")
    document = lock(repo)
    outside = {"path": "s3://bucket/x", "etag": "1", "size": 1}
    document["stages"]["many@1"] = {"cmd": "echo 1", "deps": [outside]}
    relock(repo, document)
    assert stale(repo) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stages: 1\n",
        "stages: {a: 1}\n",
        "stages: {a: {outs: [{path: 1, md5: x}]}}\n",
        "stages: {a: {outs: [{path: p, md5: ../../evil}]}}\n",
        "stages: {a: {outs: [x]}}\n",
        "stages: {a: {params: {p: 1}}}\n",
        "<<<<<<< HEAD\nstages: {}\n",
        BOMB,
        "[" * 5000,
    ],
)
def test_a_lock_that_dvc_never_wrote_is_refused(repo: GateRepo, text: str) -> None:
    repo.write("dvc.lock", text)
    at = git.snapshot(repo.root, repo.commit("Broken"))
    with pytest.raises(GitopsError) as caught:
        locks.read(at, ".")
    assert str(caught.value.where).startswith(f"{at.commit[:12]}:dvc.lock")


def test_no_lock_is_no_build(tmp_path: Path) -> None:
    repo = GateRepo(tmp_path / "repo").start()
    at = git.snapshot(repo.root, repo.git("rev-parse", "HEAD"))
    assert locks.read(at, ".") is None


@pytest.mark.parametrize(
    ("text", "there"),
    [
        (b"    outs:\n    - path: models/package\n      md5: 1.dir\n", True),
        (b"    - path: package\n", True),  # of a stage with wdir
        (b"    - path: 'my models/package'\r\n", True),
        (b"    - path: src/a/gitops_package\n    - path: models/package.txt\n", False),
        (b"", False),
    ],
)
def test_whether_a_lock_names_an_output(text: bytes, there: bool) -> None:
    assert locks.names_output(text, "models/package") == there
