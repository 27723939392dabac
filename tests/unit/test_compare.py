from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from gitops import dvc
from gitops.reproduce.compare import compare

PACKAGE = Path(__file__).parents[1] / "contracts" / "packages" / "binary" / "package"


def predictions(scores: list[float]) -> pl.DataFrame:
    decided = ["yes" if score >= 0.5 else "no" for score in scores]
    ids = [str(number) for number in range(len(scores))]
    return pl.DataFrame(
        {"id": ids, "label": ["no"] * len(ids), "prediction": decided, "score": scores}
    )


def build(folder: Path, scores: list[float]) -> Path:
    shutil.copytree(PACKAGE, folder / "package")
    (folder / "evaluation").mkdir()
    predictions(scores).write_parquet(folder / "evaluation" / "predictions.parquet")
    return folder


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    return build(tmp_path / "recorded", [0.1, 0.9]), build(tmp_path / "rebuilt", [0.1, 0.9])


def compared(recorded: Path, rebuilt: Path) -> tuple[str, list[str]]:
    items = tuple(
        dvc.Tracked(name, dvc.hash_of(recorded / name), None, "stage")
        for name in ("package", "evaluation")
    )
    found = compare(items, rebuilt, recorded, ("package", "evaluation"), 1e-3)
    return found.level, [item.path for item in found.differences]


def test_equal_bytes(both: tuple[Path, Path]) -> None:
    assert compared(*both) == ("bytes", [])


def test_another_card_is_another_file_but_the_same_parameters(both: tuple[Path, Path]) -> None:
    (both[1] / "package" / "MODEL_CARD.md").write_text("another")
    assert compared(*both) == ("parameters", ["package/MODEL_CARD.md"])


@pytest.mark.parametrize(
    ("scores", "level"),
    [
        ([0.1, 0.9005], "predictions"),
        ([0.1, 0.91], "none"),
        ([0.6, 0.9], "none"),
        ([0.1], "none"),
    ],
)
def test_predictions_within_the_tolerance(
    both: tuple[Path, Path], scores: list[float], level: str
) -> None:
    predictions(scores).write_parquet(both[1] / "evaluation" / "predictions.parquet")
    assert compared(*both) == (level, ["evaluation/predictions.parquet"])


def test_a_missing_output_differs(both: tuple[Path, Path]) -> None:
    shutil.rmtree(both[1] / "evaluation")
    items = (dvc.Tracked("evaluation", "0" * 32 + ".dir", None, "stage"),)
    shutil.rmtree(both[0] / "package")
    found = compare(items, both[1], both[0], ("package", "evaluation"), 1e-3)
    assert (found.level, found.differences[0].rebuilt) == ("none", "missing")


@pytest.mark.parametrize(
    ("level", "held"), [("bytes", 3), ("parameters", 2), ("predictions", 1), ("none", 0)]
)
def test_a_stronger_level_holds_what_a_weaker_one_wants(level: str, held: int) -> None:
    from gitops.reproduce.compare import LEVELS, Comparison

    found = Comparison(level, (), "")
    assert [found.holds(wanted) for wanted in LEVELS] == [at >= 3 - held for at in range(3)]
