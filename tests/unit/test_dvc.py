from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path

import pytest

from gitops import dvc, git, proc
from gitops.errors import ConfigError, EvidenceError, ToolError

MAKE = "import pathlib; p = pathlib.Path('out'); p.mkdir(); [(p / n).write_text(n) for n in 'xy']"
PIPELINE = f"""\
stages:
  one:
    cmd: {sys.executable} -c "{MAKE}"
    deps: [table.csv]
    outs: [out]
  two:
    cmd: {sys.executable} -c "import pathlib; pathlib.Path('final.json').write_text('1')"
    deps: [out]
    metrics: [{{final.json: {{cache: false}}}}]
"""


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
    folder, storage = tmp_path / "repo", tmp_path / "storage"
    storage.mkdir()
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (folder / ".dvc" / "config").write_text(
        "[core]\n    analytics = false\n    remote = storage\n"
        f"['remote \"storage\"']\n    url = {storage}\n    verify = true\n"
    )
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "table.csv").write_text("a,b\n1,2\n")
    git.init(folder, "main")
    dvc.add(folder, "table.csv")
    assert dvc.repro(folder, [], lambda line: None) == 0
    dvc.push(folder)
    git.commit(folder, "First")
    return folder


@pytest.fixture
def clone(repo: Path, tmp_path: Path) -> Path:
    git.clone(repo, tmp_path / "clone", git.head(repo).commit)
    return tmp_path / "clone"


def stored(repo: Path, md5: str) -> Path:
    return repo.parent / "storage" / "files" / "md5" / md5[:2] / md5[2:]


def alter(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def test_what_is_tracked(repo: Path) -> None:
    items = {item.path: item for item in dvc.tracked(repo, ["."])}
    assert {path: item.stage for path, item in items.items()} == {
        "final.json": "two",
        "out": "one",
        "table.csv": None,
    }
    assert not items["final.json"].cached
    assert all(dvc.hash_of(repo / path) == item.md5 for path, item in items.items())


def test_a_pulled_clone_is_whole(clone: Path) -> None:
    dvc.pull(clone)
    assert dvc.damaged(clone, dvc.tracked(clone, ["."])) == ()
    assert dvc.stale(clone, []) == {}


def test_a_corrupt_file_in_the_remote_is_never_used(repo: Path, clone: Path) -> None:
    md5 = dvc.hash_of(repo / "table.csv")
    alter(stored(repo, md5), b"a,b\n1,3\n")
    dvc.pull(clone)
    wrong = dvc.damaged(clone, dvc.tracked(clone, ["."]))
    with pytest.raises(
        EvidenceError, match=rf"table\.csv \(object {md5}\): missing in the remote .*corrupt"
    ):
        dvc.refuse_damage(clone, wrong)
    assert not (clone / "table.csv").exists()


def test_a_corrupt_folder_listing_is_never_used(repo: Path, clone: Path) -> None:
    md5 = dvc.hash_of(repo / "out")
    listing = stored(repo, md5)
    alter(listing, listing.read_bytes().replace(b'"x"', b'"z"'))
    dvc.pull(clone)
    wrong = dvc.damaged(clone, dvc.tracked(clone, ["."]))
    with pytest.raises(EvidenceError, match=r"out \(object .*\.dir\): corrupt in the remote"):
        dvc.refuse_damage(clone, wrong)
    assert not (clone / "out").exists()


def test_missing_data_is_refused_and_a_missing_output_is_not(repo: Path, clone: Path) -> None:
    stored(repo, dvc.hash_of(repo / "out")).unlink()
    dvc.pull(clone)
    wrong = dvc.damaged(clone, dvc.tracked(clone, ["."]))
    assert [(item.path, how) for item, how in wrong] == [("out", "missing")]
    dvc.refuse_damage(clone, wrong)
    stored(repo, dvc.hash_of(repo / "table.csv")).unlink()
    shutil.rmtree(clone / ".dvc" / "cache")
    (clone / "table.csv").unlink()
    wrong = dvc.damaged(clone, dvc.tracked(clone, ["."]))
    with pytest.raises(EvidenceError, match=r"table\.csv .*: missing in the remote"):
        dvc.refuse_damage(clone, wrong)


def test_what_would_run_is_told_without_the_data(clone: Path) -> None:
    assert dvc.would_run(clone, []) == ()
    pipeline = clone / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("write_text('1')", "write_text('2')"))
    assert dvc.would_run(clone, []) == ("two",)
    dvc.pull(clone)
    assert dvc.would_run(clone, []) == ("two",)


def test_a_missing_storage_folder_is_said_with_the_fix(repo: Path) -> None:
    shutil.rmtree(repo.parent / "storage")
    with pytest.raises(ToolError, match="isn't there") as error:
        dvc.pull(repo)
    assert "mkdir" in error.value.fix


def test_a_dead_endpoint_is_said_at_once(repo: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    proc.run(
        [sys.executable, "-m", "dvc", "remote", "modify", "storage", "url", "s3://bucket/x"],
        cwd=repo,
    )
    with (repo / ".dvc" / "config").open("a") as file:
        file.write(f"    endpointurl = http://127.0.0.1:{port}\n")
    with pytest.raises(ToolError, match=rf"127\.0\.0\.1:{port} gave no answer"):
        dvc.push(repo)


def test_a_pipeline_that_cannot_be_read_is_said(repo: Path) -> None:
    (repo / "dvc.yaml").write_text("stages: [")
    with pytest.raises(ToolError, match=r"dvc repro --dry"):
        dvc.would_run(repo, [])


def test_no_remote_is_said(repo: Path) -> None:
    (repo / ".dvc" / "config").write_text("")
    with pytest.raises(ConfigError, match="no default remote"):
        dvc.remote(repo)
