"""Tables that the project was not made for: new, build and verify, and scores that make sense."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

if TYPE_CHECKING:
    from tests.conftest import Gitops

pytestmark = pytest.mark.functional


def progression(path: Path) -> str:
    """A regression on few rows, from Parquet: how diabetes progresses in a year, 442 patients."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    table = {name: data.data[:, at] for at, name in enumerate(data.feature_names)}
    pl.DataFrame({**table, "progression": data.target}).write_parquet(path)
    return "progression"


def crops(path: Path) -> str:
    """Text-like categories, and a rare class: what grows on a field, by soil, region and rain."""
    drawn = random.Random(21)
    soils = ["heavy clay", "loam, sandy", "loam, silty", 'so-called "peat"', "chalk"]
    regions = [f"district {name}" for name in "ABCDEFGHIJ"]
    wet = {region: drawn.gauss(0, 1) for region in regions}
    rows = []
    for _ in range(1500):
        soil, region = drawn.choice(soils), drawn.choice(regions)
        rain = round(drawn.gauss(600 + 80 * wet[region], 90), 1)
        if drawn.random() < 0.012:
            crop = "saffron"
        elif soil in ("heavy clay", 'so-called "peat"'):
            crop = "grassland" if rain + drawn.gauss(0, 40) > 600 else "winter wheat"
        else:
            crop = "potatoes" if rain + drawn.gauss(0, 40) > 600 else "rye"
        if drawn.random() < 0.05:
            crop = drawn.choice(["grassland", "winter wheat", "potatoes", "rye"])
        rows.append((soil, region, rain, round(drawn.uniform(0.5, 40), 2), crop))
    columns = ["soil", "region", "rain_mm", "hectares", "crop"]
    pl.DataFrame(rows, schema=columns, orient="row").write_csv(path)
    return "crop"


def deliveries(path: Path) -> str:
    """Missing values, a date, a BOM, quoted line breaks, mixed types: does a parcel come late."""
    drawn = random.Random(22)
    start = datetime(2024, 1, 1, 6, tzinfo=UTC)
    lines = ["ordered;weight kg;distance;carrier;note;code;late"]
    for number in range(2000):
        when = start + timedelta(minutes=263 * number)
        weight = "" if drawn.random() < 0.15 else f"{drawn.expovariate(0.3):.3f}"
        distance = drawn.randint(3, 900)
        carrier = drawn.choices(["North", "Süd Express", ""], [6, 3, 1])[0]
        note = drawn.choice(["", '"ring twice\nthen leave it; thanks"', "none"])
        code = drawn.choice(["7", "A7", "12.5", "x"])
        tendency = -2.2 + distance / 250 + (1.6 if carrier == "Süd Express" else 0)
        tendency += 1.2 if when.hour >= 16 else 0
        late = drawn.random() < 1 / (1 + math.exp(-tendency))
        cells = [f"{when:%Y-%m-%d %H:%M:%S}", weight, distance, carrier, note, code]
        lines.append(";".join([*map(str, cells), "true" if late else "false"]))
    path.write_text("\n".join(lines) + "\n", "utf-8-sig")
    return "late"


def of_regression(root: Path, metrics: dict[str, float]) -> None:
    """Half of the squared error of the mean is gone; linear models reach about the same."""
    labels = pl.read_parquet(root / "evaluation" / "predictions.parquet")["label"]
    assert metrics["rows"] == labels.len()
    assert metrics["r2"] > 0.3
    spread = labels.std(ddof=0)
    assert isinstance(spread, float)
    assert metrics["rmse"] < 0.85 * spread


def of_crops(root: Path, metrics: dict[str, float]) -> None:
    """The rule behind the table is right about nine times in ten; the commonest crop three."""
    predictions = pl.read_parquet(root / "evaluation" / "predictions.parquet")
    commonest = max(predictions["label"].value_counts()["count"]) / predictions.height
    assert commonest < 0.4
    assert metrics["accuracy"] > 0.75
    assert metrics["log_loss"] < 1.0  # guessing by shares: about 1.4
    assert "score_saffron" in predictions.columns


def of_deliveries(root: Path, metrics: dict[str, float]) -> None:
    """Known signal in distance, carrier and the hour of the order; split by time."""
    predictions = pl.read_parquet(root / "evaluation" / "predictions.parquet")
    share = (predictions["label"] == "true").mean()
    assert isinstance(share, float)
    assert 0.2 < share < 0.8
    assert metrics["roc_auc"] > 0.75
    assert metrics["brier"] < 0.85 * share * (1 - share)
    train = pl.read_parquet(root / "data" / "prepared" / "train.parquet")["ordered"]
    test = pl.read_parquet(root / "data" / "prepared" / "test.parquet")["ordered"]
    assert train.max() < test.min()  # type: ignore[operator]


LONG = pytest.mark.extended("real training of one more task; another table stays")
REGRESSION = ("progression.parquet", "regression", of_regression)
CASES: list[Any] = [
    pytest.param(progression, *REGRESSION, id="regression", marks=LONG),
    pytest.param(crops, "crops.csv", "multiclass", of_crops, id="multiclass", marks=LONG),
    pytest.param(deliveries, "deliveries.csv", "binary", of_deliveries, id="dates-and-gaps"),
]


@pytest.mark.parametrize(("write", "name", "task", "sensible"), CASES)
def test_new_build_and_verify(
    write: Callable[[Path], str],
    name: str,
    task: str,
    sensible: Callable[[Path, dict[str, float]], None],
    gitops: Gitops,
    tmp_path: Path,
) -> None:
    target = write(tmp_path / name)
    words = ["--data", name, "--target", target, "--no-input", "--json"]
    made = gitops(tmp_path, "new", "unseen", *words)
    assert made.code == 0, made.err
    assert json.loads(made.out)["roles"]["task"] == task
    root = tmp_path / "unseen"
    built = gitops(root, "build", "--json")
    assert built.code == 0, built.err
    answer = json.loads(built.out)
    assert answer["commit"]
    sensible(root, answer["models"][0]["metrics"])
    verified = gitops(root, "verify", "--json")
    assert verified.code == 0, verified.err + verified.out
    assert json.loads(verified.out)["models"][0]["level"] == "bytes"
    scored = gitops(root, "predict", str(tmp_path / name), "--json")
    assert scored.code == 0, scored.err
    assert json.loads(scored.out)["rows"] > 400
