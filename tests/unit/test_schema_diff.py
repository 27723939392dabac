"""How a new table differs from the old one, and what would break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gitops.scaffold.schema_diff import Categories, Range, Retyped, SchemaDiff, compare
from gitops.scaffold.table import Table, read

N = 60
FEATURES = {
    "carrier": "categorical",
    "distance": "number",
    "holiday": "boolean",
    "at": "datetime",
}


def old() -> dict[str, list[Any]]:
    return {
        "carrier": [("UA", "AA", "B6")[n % 3] for n in range(N)],
        "distance": [10.5 + n for n in range(N)],
        "holiday": [("yes", "no")[n % 2] for n in range(N)],
        "at": [f"2013-01-{n % 28 + 1:02d}" for n in range(N)],
        "note": [f"n{n}" for n in range(N)],
        "late": [("true", "false")[n // 2 % 2] for n in range(N)],
    }


def saved(folder: Path, name: str, columns: dict[str, list[Any]]) -> Table:
    path = folder / name
    pl.DataFrame(columns, strict=False).write_csv(path, null_value="NA")
    return read(path)


def diff(folder: Path, new: dict[str, list[Any]], target: str | None = "late") -> SchemaDiff:
    before, after = saved(folder, "old.csv", old()), saved(folder, "new.csv", new)
    return compare(before, after, target=target, features=FEATURES)


def test_the_same_table(tmp_path: Path) -> None:
    found = diff(tmp_path, old())
    assert found == SchemaDiff((N, N), N, (), (), (), (), (), (), ())
    assert found.text() == "rows: 60 -> 60, 60 of them in the old table too"


def test_a_table_of_less_than_half_the_rows_is_said_to_replace_all(tmp_path: Path) -> None:
    text = diff(tmp_path, {name: values[:29] for name, values in old().items()}).text()
    assert "less than half of the rows: the file replaces all 60, adds nothing" in text
    half = diff(tmp_path, {name: values[:30] for name, values in old().items()}).text()
    assert "replaces" not in half


def test_more_rows_in_another_order_and_with_other_columns(tmp_path: Path) -> None:
    more = {name: values[30:] + values[:30] + values[:5] for name, values in old().items()}
    more["distance"] = [*more["distance"][:-5], 20, 21, 22, 23, 24]
    more["extra"] = [1] * 65
    del more["note"]
    found = diff(tmp_path, more)
    assert found.rows == (60, 65) and found.known == 60
    assert (found.added, found.removed, found.breaks) == (("extra",), ("note",), ())


def test_integers_are_the_numbers_that_they_were(tmp_path: Path) -> None:
    whole = {"a": [1, 2, 3], "b": [1, 1, 1]}
    before = saved(tmp_path, "old.csv", {**whole, "a": [1.0, 2.0, 3.5]})
    after = saved(tmp_path, "new.csv", {name: values[:2] for name, values in whole.items()})
    assert compare(before, after, target=None, features={}).known == 2


@pytest.mark.parametrize("name", list(FEATURES))
def test_a_feature_that_is_gone_or_empty_breaks(tmp_path: Path, name: str) -> None:
    gone = {key: values for key, values in old().items() if key != name}
    found = diff(tmp_path, gone)
    assert found.breaks == (f"the feature {name} is gone",) and found.removed == (name,)
    found = diff(tmp_path, old() | {name: [None] * N})
    assert found.breaks == (f"the feature {name} has no value in any row",)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("distance", [*range(N - 1), "far"], "1 values are not numbers, the first 'far' (line 61)"),
        ("distance", ["true", "false"] * 30, "it is boolean"),
        ("holiday", ["yes", "no", "maybe"] * 20, "it has other values than two words"),
        ("holiday", [0, 2] * 30, "it has other values than two words"),
        ("at", ["soon"] * N, "not written as ISO 8601"),
        ("at", ["31/01/2013"] * N, "not written as ISO 8601"),
    ],
)
def test_a_feature_of_another_type_breaks(
    tmp_path: Path, name: str, values: list[Any], said: str
) -> None:
    (sentence,) = diff(tmp_path, old() | {name: values}).breaks
    assert sentence.startswith(f"the feature {name} is no longer {FEATURES[name]}: ")
    assert said in sentence


@pytest.mark.parametrize(
    ("name", "values", "kinds"),
    [
        ("carrier", [1, 2, 3] * 20, ("text", "number")),
        ("holiday", ["true", "false"] * 30, ("text", "boolean")),
        ("holiday", [0, 1] * 30, ("text", "number")),
        ("holiday", ["Y"] * N, None),
        ("distance", ["007", "010"] * 30, ("number", "text")),
    ],
)
def test_what_can_still_be_read_breaks_nothing(
    tmp_path: Path, name: str, values: list[Any], kinds: tuple[str, str] | None
) -> None:
    found = diff(tmp_path, old() | {name: values})
    assert found.breaks == ()
    assert found.retyped == ((Retyped(name, *kinds),) if kinds else ())


def test_categories_and_ranges_and_gaps(tmp_path: Path) -> None:
    changed = old() | {
        "carrier": ["UA", "DL"] * 30,
        "distance": [None, None, *range(58)],
        "at": [f"2013-02-{n % 28 + 1:02d} 06:00:00" for n in range(N)],
    }
    found = diff(tmp_path, changed)
    assert found.categories == (Categories("carrier", ("DL",), ("AA", "B6")),)
    assert found.ranges == (
        Range("distance", (10.5, 69.5), (0.0, 57.0)),
        Range("at", ("2013-01-01", "2013-01-28"), ("2013-02-01T06:00:00Z", "2013-02-28T06:00:00Z")),
    )
    assert [(one.name, one.old, round(one.new, 3)) for one in found.missing] == [
        ("distance", 0.0, 0.033)
    ]
    assert found.breaks == ()
    assert found.text().splitlines()[1:] == [
        "carrier: new DL",
        "carrier: no longer AA, B6",
        "distance: missing 0.0% -> 3.3%",
        "distance: 10.5 .. 69.5 -> 0 .. 57",
        "at: 2013-01-01 .. 2013-01-28 -> 2013-02-01T06:00:00Z .. 2013-02-28T06:00:00Z",
    ]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(0, 1, True), (1, 0, True), (1, 2, False), (10, 19, False), (10, 20, True)],
)
def test_gaps_that_are_new_or_grew_by_a_hundredth(
    tmp_path: Path, before: int, after: int, said: bool
) -> None:
    tables = [
        saved(tmp_path, f"{n}.csv", {"x": [None] * n + [5] * (1000 - n), "y": [*range(1000)]})
        for n in (before, after)
    ]
    assert bool(compare(*tables, target="y", features={}).missing) is said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["true"] * N, "has lost classes: false"),
        ([None] * N, "has no value in any row"),
        (["true", "false", "maybe"] * 20, "was boolean, is text"),
        ([0, 1] * 30, "was boolean, is number"),
    ],
)
def test_a_target_that_changed_breaks(tmp_path: Path, values: list[Any], said: str) -> None:
    assert diff(tmp_path, old() | {"late": values}).breaks == (f"the target late {said}",)


def test_a_target_that_is_gone_breaks(tmp_path: Path) -> None:
    gone = {key: values for key, values in old().items() if key != "late"}
    found = diff(tmp_path, gone)
    assert found.breaks == ("the target late is gone",)
    assert "breaks the training: the target late is gone" in found.text()
    assert diff(tmp_path, gone, target=None).breaks == ()


def test_classes_that_the_model_has_not_seen(tmp_path: Path) -> None:
    before = saved(tmp_path, "old.csv", {"x": [*range(60)], "y": ["a", "b", "c"] * 20})
    after = saved(tmp_path, "new.csv", {"x": [*range(60)], "y": ["a", "b", "d"] * 20})
    found = compare(before, after, target="y", features={"x": "number"})
    assert found.breaks == ("the target y has new classes: d", "the target y has lost classes: c")
    given = compare(before, after, target="y", features={}, classes=("a", "b", "d", "e"))
    assert given.breaks == ("the target y has lost classes: e",)


def test_a_regression_on_few_numbers_has_no_classes(tmp_path: Path) -> None:
    before = saved(tmp_path, "old.csv", {"x": [*range(60)], "y": [3, 4, 5] * 20})
    after = saved(tmp_path, "new.csv", {"x": [*range(60)], "y": [3, 4, 6] * 20})
    assert compare(before, after, target="y", features={}).breaks
    found = compare(before, after, target="y", features={}, classes=())
    assert found.breaks == () and found.ranges == (Range("y", (3.0, 5.0), (3.0, 6.0)),)


def test_json_is_plain(tmp_path: Path) -> None:
    found = diff(tmp_path, old() | {"carrier": ["UA", "DL"] * 30})
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert document["rows"] == [60, 60] and document["categories"][0]["appeared"] == ["DL"]
