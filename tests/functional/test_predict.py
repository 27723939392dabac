"""`gitops predict`: rows in, predictions out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository

pytestmark = pytest.mark.functional


@pytest.fixture
def rows(light: Repository, tmp_path: Path) -> dict[str, Path]:
    """The same twenty new customers in each format."""
    frame = pl.read_csv(light.root / "data" / "customers.csv").drop("left").head(20)
    paths = {kind: tmp_path / f"rows.{kind}" for kind in ("csv", "parquet", "jsonl")}
    frame.write_csv(paths["csv"])
    frame.write_parquet(paths["parquet"])
    frame.write_ndjson(paths["jsonl"])
    return paths


READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    "csv": pl.read_csv,
    "parquet": pl.read_parquet,
    "jsonl": pl.read_ndjson,
}


def test_every_format_in_and_out_gives_the_same(
    light: Repository, gitops: Gitops, rows: dict[str, Path], tmp_path: Path
) -> None:
    found = []
    for given, wanted in (("csv", "parquet"), ("parquet", "jsonl"), ("jsonl", "csv")):
        out = tmp_path / f"scores.{wanted}"
        done = gitops(light.root, "predict", str(rows[given]), "--out", str(out))
        assert (done.code, done.out) == (0, ""), done.err
        found.append(READERS[wanted](out))
    assert found[0].columns == ["customer", "prediction", "score"]
    assert found[0].height == 20
    assert found[1].equals(found[0])
    assert found[2].equals(found[0])
    assert set(found[0]["prediction"]) <= {"yes", "no"}
    assert ((found[0]["score"] >= 0.5) == (found[0]["prediction"] == "yes")).all()


def test_the_predictions_are_those_of_the_evaluation(light: Repository, gitops: Gitops) -> None:
    recorded = pl.read_parquet(light.root / "evaluation" / "predictions.parquet")
    done = gitops(light.root, "predict", "data/customers.csv", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer["rows"] == 300
    now = pl.DataFrame(answer["predictions"]).rename({"customer": "id"})
    both = recorded.join(now, on="id", suffix="_now")
    assert both.height == recorded.height
    assert (both["score"] - both["score_now"]).abs().max() == pytest.approx(0, abs=1e-6)
    assert both["prediction"].equals(both["prediction_now"].rename("prediction"))


def test_a_package_of_another_revision(
    light: Repository, gitops: Gitops, git: Command, rows: dict[str, Path]
) -> None:
    here = gitops(light.root, "predict", str(rows["csv"]))
    first = git(light.root, "rev-parse", "--short", "HEAD")
    git(light.root, "rm", "--quiet", "-r", "kept", "dvc.yaml", "dvc.lock")
    git(light.root, "commit", "--quiet", "-m", "No model any more")
    git(light.root, "clean", "-qfdx", "models")
    lost = gitops(light.root, "predict", str(rows["csv"]))
    assert lost.code == 3
    assert "gitops build" in lost.err
    then = gitops(light.root, "predict", str(rows["csv"]), "--rev", first)
    assert then.code == 0, then.err
    assert then.out == here.out
    never = gitops(light.root, "predict", str(rows["csv"]), "--rev", "HEAD")
    assert never.code == 3
    assert "never built" in never.err
    assert gitops(light.root, "predict", str(rows["csv"]), "--rev", "nosuch").code == 2


def test_a_missing_column_is_named_with_the_nearest(
    light: Repository, gitops: Gitops, rows: dict[str, Path]
) -> None:
    text = rows["csv"].read_text().replace("months", "month", 1)
    rows["csv"].write_text(text)
    done = gitops(light.root, "predict", str(rows["csv"]))
    assert done.code == 3
    assert "'months'" in done.err
    assert "month'" in done.err.replace("'months'", "")
    assert done.out == ""


def test_a_bad_value_is_named_with_its_row(
    light: Repository, gitops: Gitops, rows: dict[str, Path]
) -> None:
    lines = rows["csv"].read_text().splitlines()
    cells = lines[7].split(",")
    cells[2] = "a year"
    lines[7] = ",".join(cells)
    rows["csv"].write_text("\n".join(lines) + "\n")
    done = gitops(light.root, "predict", str(rows["csv"]))
    assert done.code == 3
    assert "'a year'" in done.err
    assert "months" in done.err
    assert "7" in done.err or "8" in done.err


def test_what_the_model_does_not_know_is_counted(
    light: Repository, gitops: Gitops, rows: dict[str, Path]
) -> None:
    pl.read_parquet(rows["parquet"]).with_columns(
        pl.lit("gold").alias("plan"), pl.lit(1000).alias("months")
    ).write_parquet(rows["parquet"])
    done = gitops(light.root, "predict", str(rows["parquet"]), "--json")
    assert done.code == 0, done.err
    warnings = " ".join(json.loads(done.out)["warnings"])
    assert "gold" in warnings
    assert "20 rows outside of the training range" in warnings


def test_files_that_cannot_be_read_or_written(
    light: Repository, gitops: Gitops, rows: dict[str, Path], tmp_path: Path
) -> None:
    missing = gitops(light.root, "predict", "nosuch.csv")
    assert missing.code == 3, missing.err
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    assert gitops(light.root, "predict", str(tmp_path / "rows.xlsx")).code in (2, 3)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    broken = gitops(light.root, "predict", str(tmp_path / "broken.parquet"))
    assert broken.code == 3, broken.err
    wrong = gitops(light.root, "predict", str(rows["csv"]), "-o", str(tmp_path / "out.xlsx"))
    assert wrong.code == 2
    (tmp_path / "file").write_text("in the way of a folder\n")
    nowhere = gitops(
        light.root, "predict", str(rows["csv"]), "-o", str(tmp_path / "file" / "o.csv")
    )
    assert nowhere.code == 4, nowhere.err
    for done in (missing, broken, wrong, nowhere):
        assert "Traceback" not in done.err
        assert "fix:" in done.err or done is nowhere
    made = gitops(light.root, "predict", str(rows["csv"]), "-o", str(tmp_path / "new" / "o.csv"))
    assert made.code == 0, made.err
    assert (tmp_path / "new" / "o.csv").is_file()
