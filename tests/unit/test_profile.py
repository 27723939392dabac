"""The profile of a table, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gitops.scaffold.builtin import builtin
from gitops.scaffold.profile import Profile, profile
from gitops.scaffold.roles import infer
from gitops.scaffold.table import read

N = 200


def profiled(folder: Path, columns: dict[str, list[Any]], target: str = "late") -> Profile:
    path = folder / "flights.csv"
    pl.DataFrame(columns, strict=False).write_csv(path, null_value="NA")
    table = read(path)
    return profile(table, infer(table, target, overrides={}))


def flights() -> dict[str, list[Any]]:
    return {
        "carrier": [("UA", "AA", "UA", "B6", "UA")[n % 5] for n in range(N)],
        "distance": [17 + (n * 37) % 4000 for n in range(N)],
        "gate": [f" {'AB'[n // 7 % 2]}" for n in range(N)],
        "year": [2013] * N,
        "wind": [n * 7 % 11 if n % 3 == 0 else None for n in range(N)],
        "rain": ["none" if n else "some" for n in range(N)],
        "late": ["yes" if n % 4 == 1 else "no" for n in range(N)],
        "at": [f"2013-01-{n % 28 + 1:02d} {n % 24:02d}:00:00" for n in range(N)],
        "flight_id": [f"F{n:04d}" for n in range(N)],
    }


def test_the_columns_of_a_table(tmp_path: Path) -> None:
    found = profiled(tmp_path, flights())
    assert (found.rows, found.task, found.balance) == (N, "binary", (("no", 150), ("yes", 50)))
    by_name = {one.name: one for one in found.columns}
    assert list(by_name)[:3] == ["late", "flight_id", "at"]
    assert [by_name[name].role for name in ("late", "flight_id", "at", "carrier", "year")] == [
        *("target", "id", "time", "feature", "left out")
    ]
    assert by_name["carrier"].top == (("UA", 120), ("AA", 40), ("B6", 40))
    assert (by_name["distance"].low, by_name["distance"].high) == (17.0, 4013.0)
    assert by_name["at"].low == "2013-01-01"
    assert by_name["wind"].missing == pytest.approx(133 / 200)
    assert by_name["wind"].remark == "mostly missing"
    assert by_name["gate"].remark == "values begin or end with spaces"
    assert by_name["rain"].remark == "nearly constant"
    assert by_name["year"].remark == "it is '2013' in every row"
    assert by_name["carrier"].remark == ""


def test_text_for_a_terminal(tmp_path: Path) -> None:
    lines = profiled(tmp_path, flights()).text(100).splitlines()
    assert lines[0] == "flights.csv: 200 rows, 9 columns"
    assert lines[1] == "binary of late: no 75%, yes 25%"
    cells = [line.split() for line in lines[3:]]
    assert cells[0] == ["column", "role", "type", "missing", "distinct", "values"]
    carrier = next(line for line in lines if line.startswith("carrier"))
    assert carrier.split() == [
        *("carrier", "feature", "categorical", "3", "UA", "(120),", "AA", "(40),", "B6", "(40)")
    ]
    wind = next(line for line in lines if line.startswith("wind"))
    assert wind.split() == [
        *("wind", "feature", "number", "66.5%", "11", "mostly", "missing:", "0", "..", "10")
    ]
    assert len({line.index("categorical") for line in lines if "categorical" in line}) == 1


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, width: int) -> None:
    columns = flights() | {"n" * 60: [(n * 13) % 97 for n in range(N)]}
    text = profiled(tmp_path, columns).text(width)
    assert max(map(len, text.splitlines())) <= width


def test_two_hundred_columns_fit_25_lines(tmp_path: Path) -> None:
    wide: dict[str, list[Any]] = {
        f"c{k}": [(n * (k + 3)) % 101 for n in range(N)] for k in range(200)
    }
    wide |= {f"same{k}": [k] * N for k in range(30)}
    text = profiled(tmp_path, flights() | wide).text(100)
    lines = text.splitlines()
    assert len(lines) == 25
    assert lines[-1].startswith("... and 219 more: ") and "number" in lines[-1]
    assert all(any(line.startswith(name) for line in lines) for name in ("late", "at", "wind"))
    assert sum(" feature " in line for line in lines) >= 6


def test_duplicates_leave_the_id_out(tmp_path: Path) -> None:
    half = {name: values[:100] * 2 for name, values in flights().items()}
    half["flight_id"] = flights()["flight_id"]
    found = profiled(tmp_path, half)
    assert found.duplicates == 100
    assert "100 duplicate rows" in found.text(100)


def test_a_regression_shows_its_range(tmp_path: Path) -> None:
    found = profiled(
        tmp_path, {"x": [n % 7 for n in range(N)], "y": [n * 1.5 for n in range(N)]}, "y"
    )
    assert found.balance == ()
    assert found.text(100).splitlines()[1] == "regression of y: 0 .. 298.5"


def test_json_is_plain(tmp_path: Path) -> None:
    found = profiled(tmp_path, flights())
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert document["rows"] == N and document["file"] == "flights.csv"
    assert document["columns"][0]["name"] == "late"
    assert document["balance"] == [["no", 150], ["yes", 50]]


def test_the_built_in_table(tmp_path: Path) -> None:
    frame, target = builtin()
    frame.write_csv(tmp_path / "t.csv")
    roles = infer(read(tmp_path / "t.csv"), target, overrides={})
    assert frame.shape == (569, 32)
    assert (roles.task, roles.classes) == ("binary", ("benign", "malignant"))
    assert roles.id == "tumour_id" and len(roles.features) == 30 and not roles.dropped
