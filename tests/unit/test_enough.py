"""Whether a table is large enough for a policy that judges groups of its test set."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops.scaffold.enough import too_few
from gitops.scaffold.roles import infer
from gitops.scaffold.table import read


def lacking(folder: Path, rows: int, each: int, task: str = "binary") -> str:
    """Of a table of `rows` rows, of which every `each`-th is positive."""
    path = folder / f"{rows}-{each}.csv"
    lines = [
        f"{n * 37 % 1009},{('a', 'b')[n % 3 == 0]},{('f', 'm')[n // 2 % 2]},{20 + n * 7 % 60},"
        f"{('yes' if n % each == 0 else 'no') if task == 'binary' else n * 31 % 997 / 10}"
        for n in range(rows)
    ]
    path.write_text("x,kind,sex,age,y\n" + "\n".join(lines) + "\n")
    table = read(path)
    return too_few(table, infer(table, "y", overrides={}), 100, 30)


def test_a_small_table_names_what_cannot_be_judged_with_its_rows(tmp_path: Path) -> None:
    assert lacking(tmp_path, 400, 3) == (
        "about 80 test rows, 27 of them 'yes', are too few to judge a slice, groups of sex, groups"
        " of age"
    )
    assert lacking(tmp_path, 400, 3, "regression").startswith("about 80 test rows are too few to")


def test_a_rare_class_lets_no_slice_be_judged_though_groups_have_rows(tmp_path: Path) -> None:
    assert lacking(tmp_path, 4000, 50) == (
        "about 800 test rows, 16 of them 'yes', are too few to judge a slice"
    )


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_table_with_rows_enough_lacks_nothing(tmp_path: Path, task: str) -> None:
    assert lacking(tmp_path, 4000, 3, task) == ""
