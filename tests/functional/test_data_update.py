"""`gitops data update`: compared, tracked, pushed, committed when asked; or nothing at all."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
import yaml

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository, Table

pytestmark = pytest.mark.functional


@pytest.fixture
def fresh(tmp_path: Path, churn: Table) -> Path:
    """More customers, with the same columns."""
    path = tmp_path / "october.csv"
    path.write_text(churn(rows=340, seed=11))
    return path


def tracked(light: Repository) -> str:
    """The MD5 that the data's .dvc file names."""
    (out,) = yaml.safe_load((light.root / "data" / "customers.csv.dvc").read_text())["outs"]
    return str(out["md5"])


def test_rows_of_the_same_schema(
    light: Repository, gitops: Gitops, git: Command, fresh: Path
) -> None:
    before = tracked(light)
    done = gitops(light.root, "data", "update", str(fresh))
    assert done.code == 0, done.err
    assert "next: gitops build left" in done.out
    assert (light.root / "data" / "customers.csv").read_bytes() == fresh.read_bytes()
    assert tracked(light) != before
    assert light.stored(tracked(light)).read_bytes() == fresh.read_bytes()
    assert git(light.root, "status", "--porcelain") == "M data/customers.csv.dvc"
    stale = gitops(light.root, "build", "--check")
    assert stale.code == 1
    assert "prepare" in stale.err
    assert gitops(light.root, "build").code == 0

    again = gitops(light.root, "data", "update", str(fresh))
    assert (again.code, "nothing to do" in again.out) == (0, True)


def test_on_a_branch_the_commit_holds_the_data_alone(
    light: Repository, gitops: Gitops, git: Command, fresh: Path
) -> None:
    main = git(light.root, "rev-parse", "main")
    done = gitops(light.root, "data", "update", str(fresh), "--branch", "data/october", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer["branch"] == "data/october"
    assert answer["commit"] == git(light.root, "rev-parse", "data/october")
    assert git(light.root, "branch", "--show-current") == "data/october"
    shown = git(light.root, "show", "--format=%s", "--name-only", "HEAD").split("\n\n")
    assert shown == ["Update the data of left: 340 rows", "data/customers.csv.dvc"]
    assert git(light.root, "rev-parse", "main") == main
    assert git(light.root, "status", "--porcelain") == ""


def test_a_table_as_a_country_writes_it_is_refused_with_the_command_that_mends_it(
    light: Repository, gitops: Gitops, fresh: Path
) -> None:
    plain = pl.read_csv(fresh)
    number = plain.select(pl.selectors.float()).columns[0]
    comma = pl.col(number).cast(pl.String).str.replace(".", ",", literal=True)
    plain.with_columns(comma).write_csv(fresh, separator=";")
    done = gitops(light.root, "data", "update", str(fresh))
    assert done.code == 1
    command = done.err.partition("take october-plain.csv: ")[2].strip()
    subprocess.run(["sh", "-c", command], cwd=fresh.parent, check=True)
    mended = fresh.with_name("october-plain.csv")
    assert pl.read_csv(mended).equals(plain)
    assert gitops(light.root, "data", "update", str(mended)).code == 0


def test_a_new_category_is_told_and_taken(light: Repository, gitops: Gitops, fresh: Path) -> None:
    fresh.write_text(fresh.read_text().replace(",family,", ",gold,"))
    done = gitops(light.root, "data", "update", str(fresh))
    assert done.code == 0, done.err
    assert "gold" in done.out
    assert "plan" in done.out


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("months", "tenure", "months"),
        (",left\n", ",gone\n", "left"),
        (",yes\n", ",no\n", "left"),
    ],
)
def test_what_would_break_the_training_is_refused_and_nothing_changes(
    light: Repository,
    gitops: Gitops,
    git: Command,
    fresh: Path,
    old: str,
    new: str,
    named: str,
) -> None:
    before = (light.root / "data" / "customers.csv").read_bytes(), tracked(light)
    stored = sorted(light.storage.rglob("*"))
    fresh.write_text(fresh.read_text().replace(old, new))
    done = gitops(light.root, "data", "update", str(fresh), "--branch", "data/broken")
    assert done.code == 1, done.err
    assert named in done.err
    assert ((light.root / "data" / "customers.csv").read_bytes(), tracked(light)) == before
    assert sorted(light.storage.rglob("*")) == stored
    assert git(light.root, "status", "--porcelain") == ""
    assert "data/broken" not in git(light.root, "branch")

    forced = gitops(light.root, "data", "update", str(fresh), "--force")
    assert forced.code == 0, forced.err
    assert tracked(light) != before[1]


def test_a_commit_is_refused_beside_other_changes_and_on_a_taken_branch(
    light: Repository, gitops: Gitops, git: Command, fresh: Path
) -> None:
    before = tracked(light)
    taken = gitops(light.root, "data", "update", str(fresh), "--branch", "release/staging")
    assert taken.code in (2, 4), taken.err
    assert "release/staging" in taken.err
    (light.root / "notes.txt").write_text("mine")
    dirty = gitops(light.root, "data", "update", str(fresh), "--commit")
    assert dirty.code == 2
    assert "notes.txt" in dirty.err
    assert tracked(light) == before
    assert git(light.root, "branch", "--show-current") == "main"


def test_files_that_cannot_be(light: Repository, gitops: Gitops, fresh: Path) -> None:
    assert gitops(light.root, "data", "update", "nosuch.csv").code == 3
    other = fresh.with_suffix(".parquet")
    other.write_bytes(b"PAR1")
    assert gitops(light.root, "data", "update", str(other)).code == 2
    itself = gitops(light.root, "data", "update", "data/customers.csv")
    assert itself.code == 2


def test_in_a_clone_without_the_old_data_it_is_fetched_to_compare(
    light: Repository, gitops: Gitops, git: Command, fresh: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "--quiet", str(light.root), "clone")
    fresh.write_text(fresh.read_text().replace("months", "tenure"))
    done = gitops(tmp_path / "clone", "data", "update", str(fresh))
    assert done.code == 1, done.err
    assert "months" in done.err


def test_what_a_killed_run_has_laid_there_is_compared_with_the_old_and_tracked(
    light: Repository, gitops: Gitops, git: Command, fresh: Path
) -> None:
    before = tracked(light)
    fresh.write_text(fresh.read_text().replace(",family,", ",gold,"))
    (light.root / "data" / "customers.csv").unlink()  # a link of DVC's
    (light.root / "data" / "customers.csv").write_bytes(fresh.read_bytes())
    (light.root / "data" / ".customers.csv.part").write_text("half")
    done = gitops(light.root, "data", "update", str(fresh), "--commit")
    assert done.code == 0, done.err
    assert "gold" in done.out
    assert tracked(light) != before
    assert git(light.root, "status", "--porcelain") == ""
    assert light.stored(tracked(light)).read_bytes() == fresh.read_bytes()
