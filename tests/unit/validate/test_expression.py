"""Expressions over metrics: what is read, what is refused, and bounds that hold."""

from __future__ import annotations

import ast
import math
import random

import pytest

from gitops.validate import expression
from gitops.validate.expression import Refused, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5 * a - b", 0.5 * 3 - 2),
        ("a - b - 1", 0),
        ("a / b / 2", 0.75),
        ("-(a + b) * 2", -10),
        ("min(a, b, 1) + max(a, b)", 4),
        ("abs(b - a)", 1),
        (" +a ", 3),
    ],
)
def test_the_value_is_that_of_arithmetic(text: str, value: float) -> None:
    assert parse(text).value({"a": 3.0, "b": 2.0}) == value


def test_a_division_by_zero_is_undefined_and_so_is_all_above_it() -> None:
    assert math.isnan(parse("max(1, a / (b - 2))").value({"a": 3.0, "b": 2.0}))
    assert math.isnan(parse("a * b").value({"a": 1e300, "b": 1e300}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no arithmetic"),
        ("a +", "is no arithmetic"),
        ("a; b", "is no arithmetic"),
        ("1 + 2", "has no metric"),
        ("a ** 9", "a \\*\\* 9"),
        ("a if b else 1", "if b else"),
        ("a.real", "a.real"),
        ("a[0]", r"a\[0\]"),
        ("'a'", "'a'"),
        ("a > b", "a > b"),
        ("True * a", "True"),
        ("1j * a", "1j"),
        ("1e999 * a", "not finite"),
        ("9" * 190 + "* a", None),
        ("__import__('os')", "calls '__import__'"),
        ("min(a)", "with 1 values"),
        ("abs(a, b)", "with 2 values"),
        ("min(*a, b)", r"\*a"),
        ("min(a, key=b)", "calls 'min'"),
        ("a.b(1)", "calls 'a.b'"),
        ("(" * 150 + "a" + ")" * 30, "has|is no"),
        ("-" * 100 + "a", "nested deeper"),
        ("a + " * 40 + "a", "nested deeper"),
        ("a" * 201, "201 characters"),
        ("a\0", "is no arithmetic"),
    ],
)
def test_what_is_not_plain_arithmetic_is_refused_with_a_fix(text: str, message: str | None) -> None:
    if message is None:
        assert parse(text).names == ("a",)
        return
    with pytest.raises(Refused, match=message) as caught:
        parse(text)
    assert caught.value.fix


def test_bounds_hold_for_every_value_within_those_of_the_names() -> None:
    chance = random.Random(1)
    for text in ("a * b - c", "a / (3 + b)", "abs(a) + min(b, c)", "max(a, -b) * -c", "a - a"):
        read = parse(text)
        ends = {name: sorted(chance.uniform(-2, 2) for _ in "lh") for name in read.names}
        low, high = read.bounds({name: (one[0], one[1]) for name, one in ends.items()})
        for _ in range(200):
            value = read.value({name: chance.uniform(*one) for name, one in ends.items()})
            assert low - 1e-12 <= value <= high + 1e-12


def test_a_divisor_that_may_be_zero_leaves_no_bounds() -> None:
    low, high = parse("1 / a").bounds({"a": (-0.1, 0.2)})
    assert math.isnan(low)
    assert math.isnan(high)


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("0.5 * a - b / 4 + 3", {"a": 0.5, "b": -0.25}),
        ("-(a - 2 * b) * 3", {"a": -3, "b": 6}),
        ("a - a", {"a": 0}),
        ("a * b", None),
        ("1 / a", None),
        ("abs(a)", None),
        ("a / 0", None),
    ],
)
def test_linear_expressions_tell_their_factors(text: str, weights: object) -> None:
    assert parse(text).weights() == weights


def test_nothing_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.eval", None)
    monkeypatch.setattr("builtins.exec", None)
    assert parse("a + 1").value({"a": 1.0}) == 2
    source = ast.parse(open(expression.__file__).read())  # noqa: PTH123, SIM115
    called = {
        n.func.id
        for n in ast.walk(source)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    assert not called & {"eval", "exec", "compile", "__import__"}
