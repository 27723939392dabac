"""Tables on which no model can be trained."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gitops.errors import ConfigError
from gitops.scaffold.infer import facts
from gitops.scaffold.roles import infer
from gitops.scaffold.table import read

X = [((7 * n) % 31) / 3 for n in range(40)]
Y = ["a", "b"] * 20


def refused(
    folder: Path, columns: dict[str, list[Any]], target: str = "y", **overrides: object
) -> ConfigError:
    path = folder / "t.csv"
    pl.DataFrame(columns, strict=False).write_csv(path, null_value="")
    with pytest.raises(ConfigError) as caught:
        infer(read(path), target, overrides=overrides)
    assert caught.value.fix
    return caught.value


def columns(**more: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {"x": [*X], "y": [*Y]}
    return {**found, **more}


def test_a_target_that_is_not_there(tmp_path: Path) -> None:
    error = refused(tmp_path, columns(Late=[*Y]), target="late")
    assert "no column 'late'" in error.message and "'Late'" in error.fix


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ([None] * 40, "has no value in any row"),
        ([1] * 40, "is '1' in every row"),
        (["yes"] * 20 + [None] * 20, "is 'yes' in every row that has a value"),
        ([f"2013-01-{day % 28 + 1:02d}" for day in range(40)], "holds dates"),
        (["a", "b"] * 4 + [None] * 32, "8 rows have a 'y'; at least 10"),
        (["a"] * 39 + ["c"], "one row only has the 'y' 'c'"),
        ([f"name {n}" for n in range(40)], "40 different values: too many classes"),
        ([*Y[:38], "A", "B"], "one class in two spellings: 'A', 'a'"),
        ([*Y[:38], "b ", "b "], "two spellings: 'b', 'b '"),
        (["3,14", "2,5", "1,25", "7"] * 10, "numbers with a comma, such as '3,14'"),
    ],
)
def test_an_impossible_target(tmp_path: Path, target: list[Any], said: str) -> None:
    assert said in refused(tmp_path, columns(y=target)).message


@pytest.mark.parametrize(
    ("target", "task", "said"),
    [
        ([*Y], "regression", "needs numbers, 'y' is text"),
        (["true", "false"] * 20, "regression", "needs numbers, 'y' is boolean"),
        (["a", "b", "c", "d"] * 10, "binary", "needs two classes, 'y' has 4"),
    ],
)
def test_an_impossible_task(tmp_path: Path, target: list[Any], task: str, said: str) -> None:
    assert said in refused(tmp_path, columns(y=target), task=task).message


def test_too_many_numeric_classes(tmp_path: Path) -> None:
    many = [n for n in range(101) for _ in range(2)]
    error = refused(tmp_path, {"x": [n % 7 for n in range(202)], "y": many}, task="multiclass")
    assert "101 different values" in error.message and "task=regression" in error.fix


def test_a_rare_number_can_be_a_regression(tmp_path: Path) -> None:
    error = refused(tmp_path, columns(y=[3] * 39 + [6]))
    assert "'6'" in error.message and "task=regression" in error.fix


def test_columns_without_values(tmp_path: Path) -> None:
    error = refused(tmp_path, columns(empty=[None] * 40, bare=["NA"] * 40))
    assert "'empty', 'bare'" in error.message and error.fix == "say --set drop=empty,bare"


def test_infinite_numbers(tmp_path: Path) -> None:
    error = refused(tmp_path, columns(x=[*X[:5], "inf", *X[6:39], "-inf"]))
    assert error.message.startswith("2 values of 'x' are infinite")
    assert error.where is not None and error.where.line == 7


@pytest.mark.parametrize("comma", ["1,5", "1.234,5", "1,234,567", "1,234.50", "-0,5"])
def test_numbers_with_a_comma(tmp_path: Path, comma: str) -> None:
    error = refused(tmp_path, columns(price=[*range(30), *[comma] * 10]))
    assert f"'price' has numbers with a comma, such as '{comma}'" in error.message
    assert error.where is not None and error.where.line == 32


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["1,5", "-2,25", "7"], ["1.5", "-2.25", "7"]),
        (["1.234,5", "2,0", ""], ["1234.5", "2.0", ""]),
        (["1,234", "12,345,678", "7"], ["1234", "12345678", "7"]),
        (["1,234.50", "2", "3"], ["1234.50", "2", "3"]),
    ],
)
def test_the_fix_rewrites_numbers_with_a_comma_and_nothing_else(
    tmp_path: Path, written: list[str], meant: list[str]
) -> None:
    path = tmp_path / "t.csv"
    text = pl.DataFrame(columns(price=[*written * 13, ""]), strict=False).with_columns(
        zip=pl.lit("01067"), day=pl.lit("31.01.2024"), said=pl.lit('"a, b", c')
    )
    path.write_text("\ufeff" + text.write_csv(separator=";"), "utf-8")
    with pytest.raises(ConfigError) as raised:
        infer(read(path), "y", overrides={})
    command = shlex.split((raised.value.fix or "").splitlines()[0].partition(": ")[2])
    subprocess.run([sys.executable, "-I", *command[1:]], cwd=tmp_path, check=True)
    got = pl.read_csv(tmp_path / "t-plain.csv", infer_schema=False).fill_null("")
    assert got["price"].to_list() == [*meant * 13, ""]
    assert set(got["day"]) == {"2024-01-31 00:00:00"}
    assert got.drop("price", "day").equals(text.drop("price", "day").cast(pl.String))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("{:02d}/31/2024", "2024-{:02d}-31"),
        ("31.{:d}.2024 7:05", "2024-{:02d}-31T07:05:00Z"),
    ],
)
def test_dates_of_a_country_are_left_out_with_a_command_that_makes_them_a_time(
    tmp_path: Path, written: str, meant: str
) -> None:
    folder = tmp_path / "a folder of O'Hara"
    folder.mkdir()
    months = [(1, 3, 5, 7, 8, 10, 12)[n % 7] for n in range(40)]
    days = [written.format(month) for month in months]
    pl.DataFrame(columns(day=[*days[:-1], "N/A"]), strict=False).write_csv(folder / "t.csv")
    (note,) = [one for one in infer(read(folder / "t.csv"), "y", overrides={}).notes if "-c" in one]
    assert re.match(r"day: dates such as [\d/.]+2024( 07:05)? aren't used; to have them, ", note)
    subprocess.run(["sh", "-c", note.partition("-plain.csv: ")[2]], cwd=tmp_path, check=True)
    made = read(tmp_path / "t-plain.csv")
    assert made.formats == {}
    assert facts(made)["day"].kind == "datetime"
    assert facts(made)["day"].span == (meant.format(1), meant.format(12))
    assert facts(made)["day"].missing == 1


@pytest.mark.parametrize("text", ["1,a", "a,1", "1, 5", "x"])
def test_other_texts_with_a_comma(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    pl.DataFrame(columns(price=[*["1,5"] * 20, *[text] * 20]), strict=False).write_csv(path)
    assert "price" in [one.name for one in infer(read(path), "y", overrides={}).features]


def test_a_comma_can_be_kept_as_a_category(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    pl.DataFrame(columns(price=["1,5", "2,5"] * 20), strict=False).write_csv(path)
    found = infer(read(path), "y", overrides={"type.price": "categorical"})
    assert [one.name for one in found.features] == ["x", "price"]


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    error = refused(tmp_path, {"same": [1] * 40, "y": [*Y]})
    assert "no column is left to learn from (same: it is '1' in every row)" in error.message
    assert "no column is left" in refused(tmp_path, {"id": [*range(40)], "y": [*Y]}).message


@pytest.mark.parametrize(
    ("values", "role", "said"),
    [
        ([None, *range(39)], "id", "1 rows have no 'c'"),
        ([*range(39), 0], "id", "'c' is not unique, for example 0 come more than once"),
        ([None, *[f"2013-01-{n % 28 + 1:02d}" for n in range(39)]], "time", "1 rows have no 'c'"),
        (["2013-01-05"] * 40, "time", "the same in every row"),
        ([f"{n % 28 + 1}/01/2013" for n in range(40)], "time", "ISO 8601"),
        ([None, *range(39)], "group", "1 rows have no 'c'"),
        ([5] * 40, "group", "1 values in 40 rows"),
    ],
)
def test_a_column_that_cannot_play_its_role(
    tmp_path: Path, values: list[Any], role: str, said: str
) -> None:
    assert said in refused(tmp_path, columns(c=values), **{role: "c"}).message
