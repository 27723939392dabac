"""One value, three languages: each reads back what was written."""

import ast
import json
import math
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gitops.scaffold import literals

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
DATA = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(DATA)
def test_every_language_reads_it_back(value: object) -> None:
    assert json.loads(literals.as_json(value)) == value
    assert ast.literal_eval(literals.as_python(value)) == value
    text = literals.as_yaml(value)
    assert "\n" not in text
    assert yaml.safe_load(f"x: {text}") == {"x": value}
    assert YAML(typ="safe").load(f"x: {text}") == {"x": value}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("late", "late"),
        ("a b", '"a b"'),
        ("true", '"true"'),
        ("No", '"No"'),
        ("1e5", '"1e5"'),
        ("", '""'),
        ('say "hi"\n', '"say \\"hi\\"\\n"'),
        (["a", 1, None, True], "[a, 1, null, true]"),
        ({"name": "x", "of": []}, "{name: x, of: []}"),
        (1e-05, "1.0e-05"),
    ],
)
def test_yaml_quotes_only_where_it_must(value: object, text: str) -> None:
    assert literals.as_yaml(value) == text


def test_python_is_written_as_formatters_do() -> None:
    value = ["a", "it's", 'a "b"', None, True, {"k": 1.5}]
    assert literals.as_python(value) == """["a", "it's", 'a "b"', None, True, {"k": 1.5}]"""


@pytest.mark.parametrize("write", [literals.as_yaml, literals.as_json, literals.as_python])
def test_only_plain_finite_data(write: Callable[[object], str]) -> None:
    for value in (object(), {1: "x"}, [b"x"], {"x": {2}}):
        with pytest.raises(TypeError, match=r"not plain data|cannot be a key"):
            write(value)
    for number in (math.nan, math.inf, [-math.inf]):
        with pytest.raises(ValueError, match="no spelling in every language"):
            write(number)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ValueError, match="half of a character"):
        literals.as_yaml("\ud800")
