from __future__ import annotations

from pathlib import Path

import pytest

from gitops import git, proc
from gitops.errors import ConfigError, EvidenceError, ToolError, UsageError
from gitops.git import merging, program, remote


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n\tname = Test\n\temail = test@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = tmp_path / "repo"
    folder.mkdir()
    git.init(folder, "main")
    (folder / "a b.txt").write_text("one\n")
    git.commit(folder, "First")
    return folder


def test_a_new_repository_is_clean_and_on_its_branch(repo: Path) -> None:
    here = git.head(repo)
    assert here.branch == "main"
    assert len(here.commit) == len(here.tree) == 40
    assert git.changes(repo) == ()


def test_changes_are_named_with_odd_characters(repo: Path) -> None:
    (repo / "a b.txt").write_text("two\n")
    (repo / "ü\n.txt").write_text("")
    assert set(git.changes(repo)) == {"a b.txt", "ü\n.txt"}


def test_commit_takes_only_the_named_paths(repo: Path) -> None:
    (repo / "a b.txt").write_text("two\n")
    (repo / "other").write_text("")
    git.commit(repo, "Second", ["a b.txt"])
    assert git.changes(repo) == ("other",)
    assert git.describe(repo, "HEAD")[1] == "Second"


def test_a_detached_head_has_no_branch(repo: Path) -> None:
    proc.run(["git", "checkout", "--detach"], cwd=repo)
    assert git.head(repo).branch is None


def test_no_commit_yet_is_said(tmp_path: Path) -> None:
    git.init(tmp_path, "main")
    with pytest.raises(EvidenceError, match="no commit yet"):
        git.head(tmp_path)


def test_outside_of_a_repository(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not in a git repository"):
        git.root(tmp_path)


@pytest.mark.parametrize("revision", ["nowhere", "--all", ""])
def test_an_unknown_revision_is_refused(repo: Path, revision: str) -> None:
    with pytest.raises(UsageError, match="no revision"):
        git.resolve(repo, revision)


def test_a_shallow_clone_says_how_to_get_the_rest(repo: Path, tmp_path: Path) -> None:
    (repo / "b").write_text("")
    first = git.head(repo).commit
    git.commit(repo, "Second")
    proc.run(["git", "clone", "--depth=1", f"file://{repo}", str(tmp_path / "shallow")])
    with pytest.raises(UsageError) as error:
        git.resolve(tmp_path / "shallow", first)
    assert "--unshallow" in error.value.fix


def test_missing_identity_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in (
        "GIT_AUTHOR_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_NAME",
        "GIT_COMMITTER_EMAIL",
    ):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError) as error:
        program.require_identity(tmp_path)
    assert "git config --global user.name" in error.value.fix


def test_a_clone_of_an_unreachable_commit(repo: Path, tmp_path: Path) -> None:
    (repo / "b").write_text("")
    lost = git.commit(repo, "Second")
    proc.run(["git", "reset", "--hard", "HEAD~1"], cwd=repo)
    git.clone(repo, tmp_path / "clone", lost)
    assert git.head(tmp_path / "clone").commit == lost
    assert git.head(tmp_path / "clone").branch is None


def test_git_s_refusal_is_an_error_with_its_words(repo: Path) -> None:
    with pytest.raises(ToolError, match="git refused"):
        git.switch_new(repo, "a..b")


def test_a_work_tree_shares_our_private_folder(repo: Path, tmp_path: Path) -> None:
    proc.run(["git", "worktree", "add", str(tmp_path / "tree")], cwd=repo)
    assert git.private(tmp_path / "tree") == git.private(repo)


def test_blobs_by_their_ids(tmp_path: Path) -> None:
    git.init(tmp_path, "main")
    (tmp_path / "a").write_bytes(b"a\r\n\0")
    (tmp_path / "empty").write_bytes(b"")
    merging.keep_blobs(tmp_path, ["a", "empty"])
    ids = ["4fbdc5a5f6ff8c2c9aa6d4f1b1a9c3c7d0b1b2a3", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"]
    assert git.blobs(tmp_path, ids) == {ids[1]: b""}
    assert git.blobs(tmp_path, []) == {}
    made = proc.run(["git", "hash-object", "--no-filters", "a"], cwd=tmp_path).out.strip()
    assert git.blobs(tmp_path, [made, *ids]) == {made: b"a\r\n\0", ids[1]: b""}
    assert merging.blob_at(tmp_path, "HEAD", "a") is None


def test_a_merge_of_three_files(tmp_path: Path) -> None:
    git.init(tmp_path, "main")
    files = [tmp_path / name for name in ("yours", "base", "new")]
    for contents, clean in (
        ((b"a\nb\nc\nd\ne!\n", b"a\nb\nc\nd\ne\n", b"a!\nb\nc\nd\ne\n"), True),
        ((b"x\n", b"y\n", b"z\n"), False),
    ):
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        assert merging.merge_file(tmp_path, *files) is clean
    assert files[0].read_bytes() == b"<<<<<<< yours\nx\n=======\nz\n>>>>>>> gitops\n"
    files[0].write_bytes(b"\0")
    with pytest.raises(ToolError, match="merge-file"):
        merging.merge_file(tmp_path, *files)


def test_where_a_remote_is_from_every_clone(tmp_path: Path) -> None:
    proc.run(["git", "init", "-q", "--bare", str(tmp_path / "origin.git")])
    for name, url in (("one", "../origin.git"), ("other", str(tmp_path / "origin.git"))):
        proc.run(["git", "init", "-q", str(tmp_path / name)])
        command = ["git", "remote", "add", "origin", url]
        proc.run(command, cwd=tmp_path / name)
        assert remote.place(tmp_path / name, "origin") == str(tmp_path / "origin.git")
    command = ["git", "remote", "set-url", "origin", "https://me:hush@example.org/x"]
    proc.run(command, cwd=tmp_path / "one")
    assert remote.place(tmp_path / "one", "origin") == "https://example.org/x"
    proc.run(["git", "remote", "set-url", "origin", "../gone.git"], cwd=tmp_path / "one")
    assert remote.place(tmp_path / "one", "origin") == str(tmp_path / "gone.git")
    proc.run(["git", "remote", "set-url", "origin", "git@example.org:x/y"], cwd=tmp_path / "one")
    assert remote.place(tmp_path / "one", "origin") == "git@example.org:x/y"
