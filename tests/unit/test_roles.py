"""What is inferred from a table, and what an answer changes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gitops.errors import ConfigError
from gitops.scaffold.roles import Roles, infer
from gitops.scaffold.table import Table, read

N = 120


def table_of(folder: Path, columns: Mapping[str, Any]) -> Table:
    """A CSV file of these columns."""
    path = folder / "t.csv"
    rows = zip(*columns.values(), strict=True)
    cells = [[str(cell) for cell in row] for row in [list(columns), *rows]]
    path.write_text("".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in cells))
    return read(path)


def numbers(n: int = N, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [round(rng.gauss(0, 1), 3) for _ in range(n)]


def cycle(*values: object, n: int = N) -> list[object]:
    """`values` over and over, in an order that no other column follows."""
    found = [values[i % len(values)] for i in range(n)]
    random.Random(repr(values)).shuffle(found)
    return found


def roles(folder: Path, target: str, columns: Mapping[str, Any], **overrides: object) -> Roles:
    return infer(table_of(folder, columns), target, overrides=overrides)


def of_target(folder: Path, values: list[object], name: str = "y", **overrides: object) -> Roles:
    return roles(folder, name, {"x": numbers(len(values)), name: values}, **overrides)


def left_out(found: Roles) -> dict[str, str]:
    return {one.name: one.reason for one in found.dropped}


def types(found: Roles) -> dict[str, str]:
    return {one.name: one.type for one in found.features}


@pytest.mark.parametrize(
    ("values", "classes", "positive"),
    [
        (("True", "FALSE"), ("false", "true"), "true"),
        (("Yes", "No"), ("No", "Yes"), "Yes"),
        (("0", "1"), ("0", "1"), "1"),
        (("0.0", "1.0"), ("0", "1"), "1"),
        (("-1", "1", "1"), ("-1", "1"), "1"),
        (("1", "2", "2"), ("2", "1"), "1"),
        (("malignant", "benign"), ("benign", "malignant"), "malignant"),
        (("normal", "weird", "weird"), ("normal", "weird"), "weird"),
        (("<=50K", "<=50K", ">50K"), ("<=50K", ">50K"), ">50K"),
        (("cat", "dog"), ("cat", "dog"), "dog"),
        (("0.5", "1.5"), ("0.5", "1.5"), "1.5"),
    ],
)
def test_binary(
    tmp_path: Path, values: tuple[str, ...], classes: tuple[str, str], positive: str
) -> None:
    found = of_target(tmp_path, cycle(*values))
    assert (found.task, found.classes, found.positive) == ("binary", classes, positive)
    assert any("positive class" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "values", "task"),
    [
        ("quality", tuple(range(3, 10)), "multiclass"),
        ("species", ("setosa", "virginica", "versicolor"), "multiclass"),
        ("quality", (3.0, 4.0, 5.0), "multiclass"),
        ("age", tuple(range(3, 10)), "regression"),
        ("visit_count", (0, 1, 2, 3), "regression"),
        ("y", tuple(range(40)), "regression"),
        ("y", (100, 200, 300), "regression"),
        ("y", (0.5, 1.0, 1.5), "regression"),
    ],
)
def test_task(tmp_path: Path, name: str, values: tuple[object, ...], task: str) -> None:
    found = of_target(tmp_path, cycle(*values), name)
    assert found.task == task and found.positive is None
    assert len(found.classes) == (len(values) if task == "multiclass" else 0)
    assert found.notes[0].startswith("task: ")


def test_numeric_classes_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    found = of_target(tmp_path, cycle(*range(8, 12)))
    assert found.classes == ("8", "9", "10", "11")


def test_answers_change_the_task_and_the_positive_class(tmp_path: Path) -> None:
    assert of_target(tmp_path, cycle(3, 4, 5), task="regression").classes == ()
    assert of_target(tmp_path, cycle(10, 20, 30), task="multiclass").classes == ("10", "20", "30")
    found = of_target(tmp_path, cycle("yes", "no"), positive="no")
    assert found.classes == ("yes", "no")
    assert of_target(tmp_path, cycle("true", "false"), positive=False).positive == "false"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("id", [f"x{i}y" for i in range(N)]),
        ("PassengerId", range(1000, 1000 + 3 * N, 3)),
        ("order_key", [f"{i:032x}" for i in range(N)]),
        ("instant", range(1, N + 1)),
        ("tail", [f"N{i}UW" for i in range(N)]),
    ],
)
def test_id(tmp_path: Path, name: str, values: Iterable[object]) -> None:
    columns = {name: values, "x": numbers(), "y": cycle("a", "b")}
    found = roles(tmp_path, "y", columns)
    assert found.id == name
    assert types(found) == {"x": "number"} and not found.dropped
    assert roles(tmp_path, "y", columns, id="none").id is None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("id", [i / 7 for i in range(N)]),
        ("id", [1, *range(1, N)]),
        ("id", ["", *range(1, N)]),
        ("population", range(1000, 1000 + 3 * N, 3)),
        ("year", range(1900, 1900 + N)),
        ("title", [f"song of {i}" for i in range(N)]),
    ],
)
def test_not_an_id(tmp_path: Path, name: str, values: Iterable[object]) -> None:
    assert roles(tmp_path, "y", {name: values, "x": numbers(), "y": cycle("a", "b")}).id is None


def test_the_best_named_id_wins_and_the_others_are_left_out(tmp_path: Path) -> None:
    columns = {
        "Unnamed: 0": range(N),
        "row_code": [f"c{i}" for i in range(N)],
        "id": range(7, 7 + N),
        "x": numbers(),
        "y": cycle("a", "b"),
    }
    found = roles(tmp_path, "y", columns)
    assert found.id == "id"
    assert left_out(found) == {
        "Unnamed: 0": "it numbers the rows",
        "row_code": "it identifies the row",
    }


def days(step: float, n: int = N, start: datetime = datetime(2013, 1, 1)) -> list[datetime]:
    return [start + timedelta(days=step * i) for i in range(n)]


@pytest.mark.parametrize(
    ("step", "split", "calendar"),
    [
        (0.25, "time", ("hour", "weekday")),
        (1, "time", ("weekday",)),
        (7, "time", None),
        (6.5, "time", ("hour", "weekday", "yearday")),
        (0.005, "random", ("hour",)),
        (0.015, "time", ("hour",)),
    ],
)
def test_time(tmp_path: Path, step: float, split: str, calendar: tuple[str, ...] | None) -> None:
    found = roles(tmp_path, "y", {"when": days(step), "x": numbers(), "y": cycle("a", "b")})
    assert (found.time, found.split) == ("when", split)
    seen = {one.name: one.calendar for one in found.features}
    if step == 7:  # 833 days, always on a Tuesday at midnight
        assert seen["when"] == ("yearday",)
    else:
        assert seen["when"] == calendar


def test_a_time_without_a_calendar_part_is_no_feature(tmp_path: Path) -> None:
    columns = {"at": days(1, 6) * 20, "x": numbers(), "y": cycle("a", "b")}
    found = roles(tmp_path, "y", columns)
    assert found.time == "at" and found.split == "random"
    assert left_out(found) == {"at": "neither its hours nor its weekdays vary"}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("seen", "created_at"), "created_at"),
        (("date", "timestamp"), "timestamp"),
        (("dropoff_datetime", "pickup_datetime"), "pickup_datetime"),
        (("due_date", "order"), "order"),
        (("birth_date", "seen"), "seen"),
        (("one", "two"), "two"),
    ],
)
def test_the_best_time_is_chosen(tmp_path: Path, names: tuple[str, str], chosen: str) -> None:
    columns = {names[0]: days(2, N // 2) * 2, names[1]: days(1), "x": numbers()}
    assert roles(tmp_path, "y", columns | {"y": cycle("a", "b")}).time == chosen


def test_a_time_with_gaps_is_not_the_time(tmp_path: Path) -> None:
    columns = {"seen": ["", *days(1, N - 1)], "x": numbers(), "y": cycle("a", "b")}
    found = roles(tmp_path, "y", columns)
    assert (found.time, found.split) == (None, "random")
    assert types(found)["seen"] == "datetime"


def test_a_birth_date_is_neither_time_nor_feature(tmp_path: Path) -> None:
    columns = {"dob": days(30), "x": numbers(), "y": cycle("a", "b")}
    found = roles(tmp_path, "y", columns)
    assert found.time is None
    assert "birth" in left_out(found)["dob"]


def test_other_dates_are_left_out_and_said(tmp_path: Path) -> None:
    dates = [day.strftime("%d/%m/%Y") for day in days(1)]
    found = roles(tmp_path, "y", {"date": dates, "x": numbers(), "y": cycle("a", "b")})
    assert found.time is None and found.split == "random"
    assert "ISO 8601" in left_out(found)["date"]
    assert any("aren't used; to have them, rewrite" in note for note in found.notes)
    unclear = [f"{i % 12 + 1}/{i // 12 + 1}/2013" for i in range(N)]
    found = roles(tmp_path, "y", {"date": unclear, "x": numbers(), "y": cycle("a", "b")})
    assert "cannot be told apart" in left_out(found)["date"]


@pytest.mark.parametrize("name", ["patient_nbr", "CustomerID", "store", "user_id", "Kunde"])
def test_group(tmp_path: Path, name: str) -> None:
    columns = {name: cycle(*range(30)), "x": numbers(), "y": cycle("a", "b")}
    found = roles(tmp_path, "y", columns)
    assert (found.group, found.split) == (name, "group")
    assert types(found) == {"x": "number"}
    found = roles(tmp_path, "y", columns | {"date": days(1)})
    assert (found.group, found.split) == (name, "time")
    assert roles(tmp_path, "y", columns, group="none").split == "random"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("customer_type", cycle(*range(30))),
        ("user", cycle("yes", "no")),
        ("user_id", range(5, 5 + 3 * N, 3)),
        ("user_id", ["", *cycle(*range(30))[1:]]),
        ("customer", [float(v) + 0.5 for v in range(30)] * 4),
    ],
)
def test_not_a_group(tmp_path: Path, name: str, values: Iterable[object]) -> None:
    assert roles(tmp_path, "y", {name: values, "x": numbers(), "y": cycle("a", "b")}).group is None


def test_types(tmp_path: Path) -> None:
    columns = {
        "smoker": cycle("Yes", "NO", "no", "yes"),
        "flag": cycle("true", "false"),
        "letter": cycle("t", "n"),
        "carrier": cycle("UA", "AA", "B6"),
        "zip_code": cycle(*range(10001, 10031)),
        "size": cycle(1, 2, 3),
        "y": cycle("a", "b"),
    }
    assert types(roles(tmp_path, "y", columns)) == {
        "smoker": "boolean",
        "flag": "boolean",
        "letter": "categorical",
        "carrier": "categorical",
        "zip_code": "categorical",
        "size": "number",
    }


def test_columns_that_teach_nothing_are_left_out(tmp_path: Path) -> None:
    columns = {
        "x": numbers(),
        "name": [f"Smith, Mr. {i}" for i in range(N)],
        "note": cycle(*[f"a long story about number {i} that goes on and on" for i in range(30)]),
        "year": [2013] * N,
        "charges": cycle(*range(100, 129), *[f"{v}.5" for v in range(30)], " "),
        "y": cycle("a", "b"),
    }
    found = left_out(roles(tmp_path, "y", columns))
    assert list(found) == ["name", "note", "year", "charges"]
    assert "nearly every value" in found["name"]
    assert found["note"] == "free text"
    assert found["year"] == "it is '2013' in every row"
    assert "98.3% of its values are numbers" in found["charges"]


def test_too_many_categories(tmp_path: Path) -> None:
    many = cycle(*[f"c{i}" for i in range(1100)], n=4400)
    columns = {"tail": many, "x": numbers(4400), "y": cycle("a", "b", n=4400)}
    assert "too many categories" in left_out(roles(tmp_path, "y", columns))["tail"]
    found = roles(tmp_path, "y", columns, **{"type.tail": "categorical"})
    assert types(found)["tail"] == "categorical"


def test_a_code_of_the_target_leaks(tmp_path: Path) -> None:
    target = cycle("a", "b", "c")
    code = [{"a": 1, "b": 2, "c": 3}[str(value)] for value in target]
    columns = {"code_of_y": code, "x": numbers(), "y": target}
    assert "gives the target away" in left_out(roles(tmp_path, "y", columns))["code_of_y"]
    kept = roles(tmp_path, "y", columns, **{"type.code_of_y": "number"})
    assert "code_of_y" in types(kept)


def test_a_number_that_separates_the_classes_leaks(tmp_path: Path) -> None:
    delay = numbers(1200)
    columns = {"delay": delay, "x": numbers(1200, 2), "late": [value > 0.4 for value in delay]}
    found = roles(tmp_path, "late", columns)
    assert list(left_out(found)) == ["delay"] and list(types(found)) == ["x"]
    noisy = [value + shift for value, shift in zip(delay, numbers(1200, 3), strict=True)]
    assert not roles(tmp_path, "late", columns | {"delay": noisy}).dropped


def test_a_category_that_determines_the_class_leaks(tmp_path: Path) -> None:
    reason = cycle("weather", "crew", "", "", n=1200)
    columns: dict[str, list[Any]] = {"reason": reason, "x": numbers(1200)}
    columns["cancelled"] = [bool(r) for r in reason]
    assert list(left_out(roles(tmp_path, "cancelled", columns))) == ["reason"]
    few = {name: values[:300] for name, values in columns.items()}
    assert not roles(tmp_path, "cancelled", few).dropped


def test_a_copy_of_a_number_leaks_in_a_regression(tmp_path: Path) -> None:
    price = [abs(value) + 0.1 for value in numbers()]
    columns = {"cents": [value * 100 for value in price], "log": [value**3 for value in price]}
    found = roles(tmp_path, "price", columns | {"x": numbers(seed=2), "price": price})
    assert set(left_out(found)) == {"cents", "log"}


def test_small_tables_have_no_leaks(tmp_path: Path) -> None:
    petal = [1.0 + i / 100 for i in range(20)] + [4.0 + i / 100 for i in range(20)]
    columns = {"petal": petal, "big": [p > 2 for p in petal], "y": ["a"] * 20 + ["b"] * 20}
    assert set(types(roles(tmp_path, "y", columns))) == {"petal", "big"}
    longer = {"petal": [1 + i / 100 for i in range(100)] + [4 + i / 100 for i in range(100)]}
    found = roles(tmp_path, "y", {**longer, "y": ["a"] * 100 + ["b"] * 100})
    assert list(types(found)) == ["petal"]


@pytest.mark.parametrize(
    "name", ["Sex", "gender", "age", "AgeGroup", "race", "marital-status", "native_country", "Edad"]
)
def test_sensitive(tmp_path: Path, name: str) -> None:
    columns = {name: cycle("p", "q", "r"), "x": numbers(), "y": cycle("a", "b")}
    found = roles(tmp_path, "y", columns)
    assert found.sensitive == (name,) and name in types(found)
    assert roles(tmp_path, "y", columns, sensitive="none").sensitive == ()


@pytest.mark.parametrize("name", ["HouseAge", "race_time", "page", "average", "Sussex"])
def test_not_sensitive(tmp_path: Path, name: str) -> None:
    columns = {name: cycle("p", "q", "r"), "y": cycle("a", "b")}
    assert roles(tmp_path, "y", columns).sensitive == ()


def test_slices(tmp_path: Path) -> None:
    columns = {
        "rare": cycle(*["p"] * 59, "q"),
        "many": cycle(*[f"c{i}" for i in range(21)]),
        "two": cycle("p", "q"),
        "flag": cycle("yes", "no", "no"),
        "size": cycle(1, 2, 3),
        "sex": cycle("f", "m", "m", "m"),
        "y": cycle("a", "b"),
    }
    assert roles(tmp_path, "y", columns).slices == ("sex", "two", "flag")
    assert roles(tmp_path, "y", columns, slices=["size", "many"]).slices == ("size", "many")
    assert roles(tmp_path, "y", columns, slices="none").slices == ()
    found = roles(tmp_path, "y", columns, drop="sex", slices="sex", sensitive="sex")
    assert (found.slices, found.sensitive) == (("sex",), ("sex",))
    assert left_out(found)["sex"] == "left out as asked"


def test_rows_without_a_target_are_counted(tmp_path: Path) -> None:
    found = of_target(tmp_path, ["", "", *cycle("a", "b")])
    assert "2 rows have no y and cannot be used" in found.notes


def test_lists_of_columns(tmp_path: Path) -> None:
    columns = {"a,b": numbers(), "c": numbers(seed=2), "d": numbers(seed=3), "y": cycle("a", "b")}
    assert list(left_out(roles(tmp_path, "y", columns, drop="a,b"))) == ["a,b"]
    assert list(left_out(roles(tmp_path, "y", columns, drop="c, d"))) == ["c", "d"]
    assert list(left_out(roles(tmp_path, "y", columns, drop=["a,b", "d"]))) == ["a,b", "d"]


def test_answers_choose_id_time_group_and_split(tmp_path: Path) -> None:
    columns = {
        "k": [f"r-{i}" for i in range(N)],
        "when": days(1),
        "other": days(2),
        "team": cycle("p", "q", "r"),
        "x": numbers(),
        "y": cycle("a", "b"),
    }
    found = roles(tmp_path, "y", columns, id="k", time="other", group="team", split="group")
    assert (found.id, found.time, found.group, found.split) == ("k", "other", "team", "group")
    assert set(types(found)) == {"when", "other", "x"}
    found = roles(tmp_path, "y", columns, id=None, time="none", split="random")
    assert (found.id, found.time, found.split) == (None, None, "random")


@pytest.mark.parametrize(
    ("overrides", "said", "fix"),
    [
        ({"positve": "a"}, "no answer named 'positve'", "positive"),
        ({"type.X": "number"}, "no column 'X'", "'x'"),
        ({"type.x": "integer"}, "'integer' is not known", "number"),
        ({"task": "classification"}, "'classification' is not known", "binary"),
        ({"split": "randm"}, "'randm' is not known", "random"),
        ({"id": "wehn"}, "no column 'wehn'", "'when'"),
        ({"drop": "nothing"}, "no column 'nothing'", "when, x, word, y"),
        ({"drop": "y"}, "'y' is the target", "out of drop"),
        ({"slices": "y"}, "'y' is the target", "out of slices"),
        ({"sensitive": 5}, "5 is not a list", "--set"),
        ({"id": "y"}, "'y' is the target", "another"),
        ({"id": "when", "time": "when"}, "time: 'when' is the id", "another"),
        ({"id": "when", "drop": "when"}, "'when' is the id", "out of drop"),
        ({"drop": "x", "type.x": "number"}, "is left out, not a feature", "type.x away"),
        ({"positive": "c"}, "no class 'c'", "'a' or 'b'"),
        ({"task": "multiclass", "positive": "a"}, "in a multiclass", "task=binary"),
        ({"split": "time", "time": None}, "needs a time column", "time=COLUMN"),
        ({"split": "group"}, "needs a group column", "group=COLUMN"),
        ({"type.word": "number"}, "120 values are not numbers, the first 'u", "categorical"),
        ({"type.word": "datetime"}, "not written as ISO 8601", "categorical"),
        ({"type.word": "boolean"}, "other values than two words", "categorical"),
        ({"type.when": "number"}, "it is datetime", "categorical"),
        ({"slices": "x"}, "values; it must have 2 to 50", "another"),
        ({"id": "word"}, "'word' is not unique, for example", "id=none"),
        ({"time": "x"}, "does not hold dates", "time=none"),
        ({"group": "when"}, "120 values in 120 rows", "group=none"),
    ],
)
def test_answers_that_do_not_fit(
    tmp_path: Path, overrides: dict[str, object], said: str, fix: str
) -> None:
    columns = {
        "when": days(1),
        "x": numbers(),
        "word": cycle("u", "v", "w"),
        "y": cycle("a", "b"),
    }
    with pytest.raises(ConfigError) as caught:
        infer(table_of(tmp_path, columns), "y", overrides=overrides)
    assert said in caught.value.message
    assert fix in caught.value.fix


def test_a_type_that_fits_is_taken(tmp_path: Path) -> None:
    columns = {
        "code": cycle("01", "02", "10"),
        "bit": cycle(0, 1),
        "size": cycle(1, 2, 3),
        "y": cycle("a", "b"),
    }
    wanted = {"code": "number", "bit": "boolean", "size": "categorical"}
    answers = {f"type.{name}": kind for name, kind in wanted.items()}
    assert types(roles(tmp_path, "y", columns, **answers)) == wanted


def test_the_line_of_a_value_that_is_no_number(tmp_path: Path) -> None:
    columns = {"x": [*range(N - 2), "?", "-"], "y": cycle("a", "b")}
    with pytest.raises(ConfigError, match=r"2 values are not numbers, the first '\?' \(line 120\)"):
        roles(tmp_path, "y", columns, **{"type.x": "number"})


@pytest.mark.parametrize(
    ("dates", "parts"),
    [
        ([f"{1970 + n // 40}-01-01" for n in range(400)], ()),
        ([f"{2000 + n // 12}-{n % 12 + 1:02d}-01" for n in range(400)], ("yearday",)),
    ],
)
def test_the_grain_of_dates_is_no_calendar(
    tmp_path: Path, dates: list[str], parts: tuple[str, ...]
) -> None:
    values = [str(0.5 + n % 7) for n in range(400)]
    other = [str(n % 13) for n in range(400)]
    rows = "\n".join(map(",".join, zip(dates, other, values, strict=True)))
    path = tmp_path / "t.csv"
    path.write_text(f"when,x,y\n{rows}\n")
    roles = infer(read(path), "y", overrides={})
    when = next(one for one in roles.features if one.name == "when")
    assert when.calendar == (*parts, "elapsed")
    assert roles.split == ("time" if parts else "random")


@pytest.mark.parametrize("written", ["2012/03/{:02d}", "Mar {} 2012", "{} March 2012"])
def test_dates_of_another_form_are_named(tmp_path: Path, written: str) -> None:
    rows = "\n".join(f"{written.format(n % 28 + 1)},{n % 13},{n % 2}" for n in range(100))
    path = tmp_path / "t.csv"
    path.write_text(f"when,x,y\n{rows}\n")
    roles = infer(read(path), "y", overrides={})
    assert "ISO 8601" in next(one.reason for one in roles.dropped if one.name == "when")
    assert any("when" in note and "ISO 8601" in note for note in roles.notes)
