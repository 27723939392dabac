"""Known answers are computed with nothing but hashlib and struct: hold any writer against them."""

import hashlib
import json
import math
import random
import struct
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops import rows, testset
from gitops import signature as signatures
from gitops.errors import EvidenceError
from gitops.package import read_rows

PACKAGES = Path(__file__).parents[1] / "contracts" / "packages"
EXAMPLES = Path(__file__).parents[1] / "contracts" / "signature" / "valid"
FLIGHTS = signatures.read(EXAMPLES / "binary.json")
KNOWN_FIRST, KNOWN_SECOND = 0x3B2D4D2F6C567C66, 0xD7427B4EE151A7FD
KNOWN_IDENTITY = "5a58361bbe077e0f55f57fe1d7760148f7348995f9d5b09a613cf87ea5ec3a38"
NAN = struct.pack("<Q", 0x7FF8000000000000)


def text_cell(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def flights() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "carrier": ["AA", None],
            "distance": [2475, 17],
            "time_hour": ["2013-01-01T10:00:00Z", "2013-01-01 12:30:00+02:00"],
            "holiday": [True, None],
            "late": [True, False],
        }
    )


def test_row_keys_known_answer() -> None:
    first = (
        text_cell("AA") + struct.pack("<d", 2475) + struct.pack("<d", 1357034400)
        + struct.pack("<d", 1) + text_cell("true")
    )  # fmt: skip
    second = (
        bytes(8) + struct.pack("<d", 17) + struct.pack("<d", 1357036200)
        + NAN + text_cell("false")
    )  # fmt: skip
    expected = [
        int.from_bytes(
            hashlib.blake2b(row, digest_size=8, key=b"gitops:flights").digest(), "little"
        )
        for row in (first, second)
    ]
    assert expected == [KNOWN_FIRST, KNOWN_SECOND]
    assert rows.row_keys(flights(), FLIGHTS, "flights").tolist() == expected


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_row_keys_equal_those_that_another_implementation_wrote(task: str) -> None:
    signature = signatures.read(PACKAGES / task / "package/signature.json")
    keys = rows.row_keys(read_rows(PACKAGES / task / "train.csv"), signature, "examples")
    stored = rows.train_keys(PACKAGES / task / "package/train_rows.bin")
    assert np.unique(keys).tolist() == stored.tolist()
    other = rows.row_keys(read_rows(PACKAGES / task / "train.csv"), signature, "elsewhere")
    assert not np.isin(other, stored).any()


def test_row_keys_do_not_depend_on_how_a_value_was_stored() -> None:
    table = flights()
    times = pl.Series("time_hour", [datetime.fromisoformat(text) for text in table["time_hour"]])
    stored_otherwise = table.with_columns(
        pl.col("distance").cast(pl.String),
        times.dt.cast_time_unit("ns"),
        pl.Series("holiday", ["Yes", ""]),
        pl.col("carrier").cast(pl.Categorical),
        pl.Series("late", ["true", "false"]),
    )
    one, two = (rows.row_keys(frame, FLIGHTS, "flights") for frame in (table, stored_otherwise))
    assert one.tolist() == two.tolist()


def test_row_keys_of_many_rows_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pl.concat([flights()] * 5)
    whole = rows.row_keys(table, FLIGHTS, "flights").tolist()
    monkeypatch.setattr(rows, "CHUNK", 3)
    assert rows.row_keys(table, FLIGHTS, "flights").tolist() == whole


def test_row_keys_name_the_nearest_column() -> None:
    with pytest.raises(EvidenceError, match=r"'distance'; did you mean 'distances'\?"):
        rows.row_keys(flights().rename({"distance": "distances"}), FLIGHTS, "flights")


def test_key_of_a_long_project_is_cut_to_64_bytes() -> None:
    one, two = (rows.row_keys(flights(), FLIGHTS, "p" * length) for length in (57, 99))
    assert one.tolist() == two.tolist()


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (1, "1"), (-3, "-3"), (1.0, "1"), (-0.0, "0"),
     (0.1, "0.1"), (1e300, str(int(1e300))), (1e-7, "1e-07"),
     ("1.0", "1.0"), ("Yes", "Yes"), (math.inf, "inf")],
)  # fmt: skip
def test_label_text(value: bool | int | float | str, text: str) -> None:
    assert rows.label_text(value) == text


@given(st.lists(st.floats(allow_nan=False) | st.none(), min_size=1))
def test_canonical_column_is_label_text_of_each(values: list[float | None]) -> None:
    column = rows.canonical(pl.Series(values, dtype=pl.Float64))
    assert column.to_list() == [None if v is None else rows.label_text(v) for v in values]


def test_canonical_of_each_type() -> None:
    day = datetime(2013, 1, 31, 10, tzinfo=UTC)
    columns = {
        "true": pl.Series([True]),
        "7": pl.Series([7], dtype=pl.UInt8),
        "a": pl.Series(["a"], dtype=pl.Enum(["a", "b"])),
        "2013-01-31": pl.Series([day.date()]),
        "2013-01-31T10:00:00+00:00": pl.Series([day]),
    }
    for text, column in columns.items():
        assert rows.canonical(column).to_list() == [text]
    assert rows.canonical(pl.Series([None, None])).to_list() == [None, None]
    assert rows.canonical(pl.Series([math.nan])).to_list() == [None]
    with pytest.raises(EvidenceError, match="no canonical text"):
        rows.canonical(pl.Series([[1]]))


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([" 12 ", "1e3", "-.5", "", None, "nan"], "number", [12, 1000, -0.5, None, None, None]),
        ([1, None], "number", [1, None]),
        ([True], "number", [1]),
        ([1.5, math.nan], "number", [1.5, None]),
        (["True", "no", "1", "0.0", "", None], "boolean", [1, 0, 1, 0, None, None]),
        ([1, 0, None], "boolean", [1, 0, None]),
        ([1.0, math.nan], "boolean", [1, None]),
        (["1970-01-02", "1970-01-01T00:00:01.5Z", "", None], "datetime", [86400, 1.5, None, None]),
        (["1970-01-01 02:00:00+02:00"], "datetime", [0]),
        ([datetime(1970, 1, 1, 0, 1)], "datetime", [60]),
        ([datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=1)))], "datetime", [3600]),
        ([datetime(1970, 1, 3).date(), None], "datetime", [172800, None]),
        ([None, None], "datetime", [None, None]),
        (["a", "", None], "categorical", ["a", None, None]),
        ([1.0, 2.5], "categorical", ["1", "2.5"]),
    ],
)
def test_typed(values: list[object], kind: str, expected: list[object]) -> None:
    assert rows.typed(pl.Series(values), kind).to_list() == expected


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (["1", "1,5", "x"], "number", "2 values are not a number, the first '1,5' in row 12"),
        ([datetime(2013, 1, 1)], "number", "1 values are not a number"),
        (
            ["true", "maybe"],
            "boolean",
            "1 values are not true or false, the first 'maybe' in row 12",
        ),
        ([0, 2], "boolean", "the first 2 in row 12"),
        (["", "31/01/2013"], "datetime", "not a time in ISO 8601.*'31/01/2013' in row 12"),
        ([1357034400], "datetime", "not a time"),
    ],
)
def test_typed_names_what_is_not_of_the_type(values: list[object], kind: str, message: str) -> None:
    with pytest.raises(EvidenceError, match=message):
        rows.typed(pl.Series("x", values), kind, first_row=11)


def test_cells() -> None:
    numbers = rows.cells(pl.Series([1.0, -0.0, None, math.nan]))
    assert numbers.tobytes() == struct.pack("<dd", 1, 0) + NAN + NAN
    texts = rows.cells(pl.Series(["é", "", None]))
    assert texts.tobytes() == text_cell("é") + bytes(16)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GTRAIN2\n", "begins with"),
        (b"", "begins with"),
        (b"GTRAIN1\n" + bytes(7), "cut off: 7 bytes"),
        (b"GTRAIN1\n" + struct.pack("<QQ", 2, 1), "not sorted and unique: key 1 is 1, after 2"),
        (b"GTRAIN1\n" + struct.pack("<QQQ", 1, 2, 2), "key 2 is 2, after 2"),
    ],
)
def test_train_keys_are_validated(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "train_rows.bin").write_bytes(data)
    with pytest.raises(EvidenceError, match=message):
        rows.train_keys(tmp_path / "train_rows.bin")


def test_train_keys_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="no such file"):
        rows.train_keys(tmp_path / "train_rows.bin")


def tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    predictions = pl.DataFrame(
        {
            "id": ["b", "a"],
            "label": ["true", "false"],
            "prediction": ["true", "true"],
            "score": [0.7, 0.6],
        }
    )
    inputs = pl.DataFrame(
        {"__id__": ["b", "a"], "x": [1, 2], "carrier": ["AA", None], "on": [True, False]}
    )
    return predictions, inputs


def test_identity_known_answer() -> None:
    head = json.dumps({"columns": ["carrier", "on", "x"], "rows": 2}, separators=(",", ":"))
    packed = b"GTEST1\n" + head.encode() + b"\n"
    packed += struct.pack("<II", 1, 1) + b"ab"
    packed += text_cell("false") + text_cell("true")
    packed += struct.pack("<dd", 1, 1)
    packed += bytes(8) + text_cell("AA")
    packed += struct.pack("<dd", 0, 1)
    packed += struct.pack("<dd", 2, 1)
    expected = hashlib.sha256(packed).hexdigest()
    assert expected == KNOWN_IDENTITY
    assert testset.identify(*tables(), FLIGHTS)[0] == expected


def test_identity_depends_on_nothing_but_ids_labels_weights_and_inputs() -> None:
    predictions, inputs = tables()
    first = testset.identify(predictions, inputs, FLIGHTS)[0]
    same = (
        (predictions.reverse(), inputs),
        (predictions, inputs.reverse()),
        (predictions.sort("id"), inputs.sort("__id__")),
        (predictions.with_columns(score=pl.lit(0.1), prediction=pl.lit("false")), inputs),
        (predictions.with_columns(weight=pl.lit(1.0)), inputs),
        (predictions, inputs.select("on", "x", "carrier", "__id__")),
        (predictions, inputs.with_columns(pl.col("x").cast(pl.Float32))),
    )
    assert {testset.identify(*pair, FLIGHTS)[0] for pair in same} == {first}
    other = (
        (predictions.with_columns(label=pl.lit("true")), inputs),
        (predictions.with_columns(weight=pl.lit(2.0)), inputs),
        (predictions, inputs.with_columns(x=pl.lit(1))),
        (predictions, inputs.rename({"x": "y"})),
        (predictions, inputs.drop("x")),
        (predictions, inputs.with_columns(carrier=pl.Series(["AA", "DL"]))),
        (
            predictions.with_columns(id=pl.Series(["b", "c"])),
            inputs.with_columns(__id__=pl.Series(["b", "c"])),
        ),
    )
    found = {testset.identify(*pair, FLIGHTS)[0] for pair in other}
    assert len(found) == len(other)
    assert first not in found


@pytest.mark.parametrize("width", [1, 7, 8, 9])
@pytest.mark.parametrize("letters", ["ab", "aé", "a\x00", "a \x7f", "", "0123456789"])
def test_ids_are_sorted_by_their_bytes(width: int, letters: str) -> None:
    draw = random.Random(width)
    texts = ["".join(draw.choices(letters or "z", k=draw.randint(0, width))) for _ in range(300)]
    ids = pl.Series("id", texts)
    found, places = testset._sorted(ids)
    assert found.to_list() == sorted(texts, key=str.encode)
    assert ids.gather(places).equals(found)


@pytest.mark.parametrize(
    ("ids", "others", "message"),
    [
        (["a", "a"], ["a", "a"], "predictions: 1 rows repeat the id of another: 'a'"),
        (["a", "b"], ["b", "b"], "inputs: 1 rows repeat the id of another: 'b'"),
        (["a", None], ["a", "b"], r"predictions: 1 rows have no id \(rows 2\)"),
        (["a", "b"], [None, "b"], r"inputs: 1 rows have no __id__ \(rows 1\)"),
        (["a", "b"], ["b", "c"], "1 ids of predictions are not in inputs, 1 of inputs.*: 'a', 'c'"),
        (["a", "b"], ["a", "b", "c"], "0 ids of predictions are not in inputs, 1 of inputs"),
    ],
)
def test_identity_refuses_ids(
    ids: list[str | None], others: list[str | None], message: str
) -> None:
    predictions = pl.DataFrame({"id": ids, "label": ["true"] * len(ids)})
    inputs = pl.DataFrame({"__id__": others, "x": [1] * len(others)})
    with pytest.raises(EvidenceError, match=message):
        testset.identify(predictions, inputs, FLIGHTS)[0]
