"""Bodies to tensors: the same as `gitops predict` makes of the same rows."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops import package
from gitops.serve.decode import Decoder
from gitops.serve.refusal import Refusal
from gitops.serve.rows import Policy, Tensors, instant
from gitops.signature import Input, Signature
from gitops.signature import read as read_signature
from tests.serving import PACKAGES, ROW

SIGNATURE = read_signature(PACKAGES / "binary" / "package" / "signature.json")
DECODE = Decoder(SIGNATURE)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
VALUES = {
    "distance": FINITE | st.integers(-(2**60), 2**60) | st.floats(114, 3000),
    "delay": st.none() | FINITE | st.floats(-41, 45),
    "holiday": st.booleans(),
    "carrier": st.none() | st.text(st.characters(codec="utf-8"), max_size=5) | st.just("AA"),
    "time": MOMENTS.map(datetime.isoformat) | st.just("2013-05-24T06:44:00Z"),
}
ROWS = st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=4)


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    kinds = {"distance": pl.Float64, "delay": pl.Float64, "holiday": pl.Boolean}
    texts = {"carrier": pl.String, "time": pl.String}
    return pl.DataFrame(
        {
            name: pl.Series([None if row[name] is None else row[name] for row in rows],
                            dtype=kind, strict=False)
            for name, kind in {**kinds, **texts}.items()
        }
    )  # fmt: skip


@given(ROWS)
def test_tensors_are_those_of_predict(rows: list[dict[str, Any]]) -> None:
    expected = package.tensors(frame(rows), SIGNATURE)
    bodies: list[Any] = [
        {"rows": rows},
        {"columns": {name: [row[name] for row in rows] for name in rows[0]}},
    ]
    if len(rows) == 1:
        bodies.append({"row": rows[0]})
    for body in bodies:
        found = DECODE(json.dumps(body).encode())
        assert found.height == len(rows)
        for name, array in expected.items():
            assert found.feed[name].dtype == array.dtype
            np.testing.assert_array_equal(found.feed[name], array)


@given(ROWS)
def test_the_short_way_of_a_usual_row_is_the_long_way(rows: list[dict[str, Any]]) -> None:
    made = Tensors(SIGNATURE, Policy())
    for row in rows:
        values = [row[item.name] for item in SIGNATURE.inputs]
        short = made._plain_row(values)
        long = made.rows(tuple((value, value) for value in values), 2)
        if short is None:
            continue
        assert long.surprises == ()
        for name, array in long.feed.items():
            assert short[name].dtype == array.dtype
            np.testing.assert_array_equal(short[name], array[:1])


def test_a_usual_row_takes_the_short_way_and_no_other() -> None:
    made = Tensors(SIGNATURE, Policy())
    usual = [ROW[item.name] for item in SIGNATURE.inputs]
    assert made._plain_row(usual) is not None
    for at, value in ((0, 3000.5), (1, None), (3, "ZZ"), (3, None), (3, ""), (4, "2014-01-01")):
        odd = [*usual[:at], value, *usual[at + 1 :]]
        assert made._plain_row(odd) is None


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["row", "rows", "columns", "id", *VALUES, "x"]), inner, max_size=6
    ),
    max_leaves=30,
))  # fmt: skip
def test_whatever_comes_is_rows_or_a_refusal(document: object) -> None:
    try:
        found = DECODE(json.dumps(document).encode())
    except Refusal as refusal:
        assert refusal.status in (400, 422)
        assert refusal.message
        assert json.dumps(refusal.document())
    else:
        assert found.height >= 1


@given(st.binary(max_size=50))
def test_bytes_that_are_no_json_are_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        DECODE(body)
    assert caught.value.status in (400, 422)


def with_inputs(*inputs: Input) -> Signature:
    return Signature(**{**vars(SIGNATURE), "inputs": inputs, "id": None})


def test_categories_that_are_numbers_may_be_written_as_numbers() -> None:
    item = Input("month", "month", "categorical", False, categories=("1", "2", "12"))
    decode = Decoder(with_inputs(item))
    for value in (1, 1.0, "1"):
        found = decode(json.dumps({"row": {"month": value}}).encode())
        assert found.feed["month"].tolist() == [["1"]]
        assert found.surprises == ()
    flags = Decoder(with_inputs(Input("x", "x", "categorical", True, categories=("true", "no"))))
    assert flags(b'{"rows": [{"x": true}, {"x": null}]}').feed["x"].tolist() == [["true"], [""]]
    with pytest.raises(Refusal, match="missing value"):
        decode(b'{"row": {"month": ""}}')
    with pytest.raises(Refusal, match="not text"):
        decode(b'{"row": {"month": []}}')


def test_a_column_that_was_always_missing_has_no_range() -> None:
    decode = Decoder(with_inputs(Input("x", "x", "number", True)), policy=Policy(True, True))
    found = decode(b'{"rows": [{"x": 5}, {"x": null}]}')
    assert found.surprises == ()
    assert found.feed["x"][0, 0] == 5
    assert math.isnan(found.feed["x"][1, 0])
    assert decode(b'{"row": {"x": 5}}').feed["x"].tolist() == [[5]]


def test_other_variants_columns_and_the_key_are_let_in_and_not_seen() -> None:
    decode = Decoder(SIGNATURE, extras=frozenset({"weather", "carrier"}), key="customer")
    assert decode.extras == ["customer", "id", "weather"]
    body = {"rows": [{**ROW, "weather": "rain", "customer": 7}, {**ROW, "customer": 8}]}
    found = decode(json.dumps(body).encode())
    assert found.key == "7"
    assert set(found.features()) == set(ROW)
    with pytest.raises(Refusal, match="not a plain value"):
        decode(json.dumps({"row": {**ROW, "weather": {}}}).encode())
    columns = {name: [value] for name, value in ROW.items()}
    assert decode(json.dumps({"columns": columns}).encode()).key is None


@pytest.mark.parametrize("text", [
    "2013-01-31T10:00:00Z", "2013-01-31T10:00:00", "2013-01-31 10:00", "2013-01-31",
    "2013-01-31T10:00:00.123456789+02:00", "20130131T100000Z",
])  # fmt: skip
def test_times_are_those_of_predict(text: str) -> None:
    from gitops import rows

    assert instant(text) == rows.typed(pl.Series([text]), "datetime")[0]


def test_the_wall_clock_is_asked_for_stamps_alone() -> None:
    """A clock that jumps moves no timeout."""
    import ast

    stamps = {"log.py", "labels.py", "label_file.py", "segments.py", "join.py"}
    folder = Path(package.__file__).parent / "serve"
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("time", "time_ns"):
                assert path.name in stamps or ast.unparse(node) != "time.time", path.name
