from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gitops.scaffold import merge
from gitops.scaffold.lock import blob


@pytest.fixture
def evened_out(tmp_path: Path, git_identity: dict[str, str]) -> Path:
    r"""A repository that commits `\r\n` as `\n`."""

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=tmp_path, env=git_identity, check=True)

    (tmp_path / ".gitattributes").write_text("* text=auto eol=lf\n")
    (tmp_path / "notes.txt").write_bytes(b"one\r\ntwo\r\n")
    git("init", "--quiet")
    git("add", ".gitattributes", "notes.txt")
    git("commit", "--quiet", "--message", "first")
    (tmp_path / "notes.txt").write_bytes(b"mine\r\ntwo\r\n")
    git("commit", "--quiet", "--all", "--message", "edited")
    return tmp_path


def test_a_base_whose_line_ends_git_has_evened_out_is_found(evened_out: Path) -> None:
    base = b"one\r\ntwo\r\n"
    assert merge.Bases(evened_out, fetch=False).get(blob(base)) is None
    places = {blob(base): "notes.txt"}
    assert merge.Bases(evened_out, fetch=False, places=places).get(blob(base)) == base


def test_what_never_was_there_is_not_made_up(evened_out: Path) -> None:
    other = blob(b"other\r\n")
    bases = merge.Bases(evened_out, fetch=False, places={other: "notes.txt"})
    assert bases.get(other) is None
