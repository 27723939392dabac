"""Data follows the branch: a build never takes another branch's table as its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command, Gitops, Repository, Table


def table_of(root: Path) -> Path:
    return next(path.with_suffix("") for path in (root / "data").glob("*.dvc"))


def test_a_branch_s_data_comes_back(
    repository: Repository, gitops: Gitops, git: Command, churn: Table
) -> None:
    root = repository.root
    table = table_of(root)
    ours = table.read_bytes()
    (root.parent / "more.csv").write_text(churn(rows=340))
    updated = gitops(root, "data", "update", "../more.csv", "--branch", "more")
    assert updated.code == 0, updated.err
    git(root, "switch", "--quiet", "main")
    assert table.read_bytes() != ours
    built = gitops(root, "build")
    assert built.code == 0, built.err
    assert "bringing the data of this revision" in built.err
    assert table.read_bytes() == ours
    assert git(root, "status", "--porcelain") == ""
    assert gitops(root, "build", "--check").code == 0


def test_an_edit_in_place_is_neither_taken_nor_lost(
    repository: Repository, gitops: Gitops, git: Command
) -> None:
    root = repository.root
    table = table_of(root)
    edited = table.read_text() + table.read_text().splitlines()[-1] + "\n"
    table.write_text(edited)
    built = gitops(root, "build")
    assert built.code == 3
    assert "changed in place" in built.err and "dvc add" in built.err
    assert table.read_text() == edited
    assert git(root, "status", "--porcelain") == ""
