"""Arithmetic over metrics, as `0.5 * roc_auc - brier`: read by a whitelist, never evaluated.

Numbers, names, + - * /, brackets, `min`, `max` and `abs`. Python's own parser builds the tree;
every node that isn't one of these is refused.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product

LONGEST = 200
_DEPTH = 20
_WORDS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_CALLS: dict[str, Callable[..., float]] = {"min": min, "max": max, "abs": abs}

Bounds = tuple[float, float]
"""A lower and an upper bound; (nan, nan) where the value isn't defined."""

UNDEFINED: Bounds = (math.nan, math.nan)


class Refused(ValueError):
    """Why a text is no expression; `fix` says what to write."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix


@dataclass(frozen=True)
class Expression:
    """A text that was read; `names` in the order of their first use."""

    text: str
    names: tuple[str, ...]
    _tree: ast.expr = field(repr=False, compare=False)

    def value(self, values: Mapping[str, float]) -> float:
        """The expression's value; NaN where it isn't defined (a division by zero, say)."""
        low, high = self.bounds({name: (values[name], values[name]) for name in self.names})
        return low if low == high else math.nan

    def bounds(self, values: Mapping[str, Bounds]) -> Bounds:
        """Bounds that hold whenever those of all names do (interval arithmetic).

        Moore, Kearfott and Cloud: Introduction to Interval Analysis, SIAM 2009, ch. 2. A name that
        stands twice counts as two, so the bounds may be wider than need be, never narrower.
        """
        return _bounds(self._tree, values)

    def weights(self) -> Mapping[str, float] | None:
        """The factor of each name if the expression is linear in all of them, else None."""
        found = _linear(self._tree)
        return None if found is None else {name: found[0].get(name, 0.0) for name in self.names}


def parse(text: str) -> Expression:
    """Read an expression; what its names mean is for the caller to check.

    Raises:
        Refused: it is too long or too deep, has no name, or is written with anything else.
    """
    if len(text) > LONGEST:
        raise Refused(f"has {len(text)} characters", f"keep it within {LONGEST}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Refused("is no arithmetic", "write as in 0.5 * roc_auc - brier") from error
    names: dict[str, None] = {}
    _check(tree, names, 0)
    if not names:
        raise Refused("has no metric in it", "write as in 0.5 * roc_auc - brier")
    return Expression(text.strip(), tuple(names), tree)


def _check(node: ast.expr, names: dict[str, None], depth: int) -> None:
    if depth > _DEPTH:
        raise Refused(f"is nested deeper than {_DEPTH} levels", "write it shorter")
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        if not math.isfinite(_number(node)):
            raise Refused(f"has a number that is not finite: {ast.unparse(node)}", "write a number")
    elif isinstance(node, ast.Name):
        names[node.id] = None
    elif isinstance(node, ast.BinOp) and type(node.op) in _WORDS:
        _check(node.left, names, depth + 1)
        _check(node.right, names, depth + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        _check(node.operand, names, depth + 1)
    elif isinstance(node, ast.Call):
        _check_call(node, names, depth)
    else:
        raise Refused(
            f"has {ast.unparse(node)[:40]!r} in it",
            "use numbers, metrics, + - * / ( ), min, max and abs only",
        )


def _check_call(node: ast.Call, names: dict[str, None], depth: int) -> None:
    called = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)[:40]
    if called not in _CALLS or node.keywords:
        raise Refused(f"calls {called!r}", "call min, max or abs only")
    if len(node.args) != 1 if called == "abs" else len(node.args) < 2:
        wanted = "one value" if called == "abs" else "two values or more"
        raise Refused(f"calls {called} with {len(node.args)} values", f"give it {wanted}")
    for argument in node.args:
        _check(argument, names, depth + 1)


def _number(node: ast.Constant) -> float:
    try:
        return float(node.value)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf


def _bounds(node: ast.expr, values: Mapping[str, Bounds]) -> Bounds:
    if isinstance(node, ast.Constant):
        return _number(node), _number(node)
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.UnaryOp):
        low, high = _bounds(node.operand, values)
        return (-high, -low) if isinstance(node.op, ast.USub) else (low, high)
    if isinstance(node, ast.Call):
        return _called(ast.unparse(node.func), [_bounds(one, values) for one in node.args])
    if isinstance(node, ast.BinOp):
        return _combined(node.op, _bounds(node.left, values), _bounds(node.right, values))
    raise TypeError(node)  # `_check` lets nothing else through


def _called(name: str, given: list[Bounds]) -> Bounds:
    if any(math.isnan(end) for one in given for end in one):
        return UNDEFINED
    if name == "abs":
        low, high = given[0]
        ends = (abs(low), abs(high))
        return (0.0 if low <= 0 <= high else min(ends)), max(ends)
    pick = _CALLS[name]
    return pick(low for low, _ in given), pick(high for _, high in given)


def _combined(op: ast.operator, left: Bounds, right: Bounds) -> Bounds:
    if isinstance(op, ast.Add):
        ends = [left[0] + right[0], left[1] + right[1]]
    elif isinstance(op, ast.Sub):
        ends = [left[0] - right[1], left[1] - right[0]]
    elif isinstance(op, ast.Mult):
        ends = [one * two for one, two in product(left, right)]
    elif right[0] <= 0 <= right[1]:
        return UNDEFINED
    else:
        ends = [one / two for one, two in product(left, right)]
    return (min(ends), max(ends)) if all(map(math.isfinite, ends)) else UNDEFINED


def _linear(node: ast.expr) -> tuple[dict[str, float], float] | None:
    """Factors and constant; None if the value isn't linear in the names."""
    if isinstance(node, ast.Constant):
        return {}, _number(node)
    if isinstance(node, ast.Name):
        return {node.id: 1.0}, 0.0
    if isinstance(node, ast.UnaryOp):
        inner = _linear(node.operand)
        sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
        return inner and _scaled(inner, sign)
    if not isinstance(node, ast.BinOp):
        return None
    left, right = _linear(node.left), _linear(node.right)
    if left is None or right is None:
        return None
    if isinstance(node.op, ast.Add | ast.Sub):
        right = _scaled(right, -1.0 if isinstance(node.op, ast.Sub) else 1.0)
        factors = {n: left[0].get(n, 0.0) + right[0].get(n, 0.0) for n in {**left[0], **right[0]}}
        return factors, left[1] + right[1]
    if isinstance(node.op, ast.Mult) and not (left[0] and right[0]):
        return _scaled(left, right[1]) if left[0] else _scaled(right, left[1])
    if isinstance(node.op, ast.Div) and not right[0] and right[1]:
        return _scaled(left, 1 / right[1])
    return None


def _scaled(linear: tuple[dict[str, float], float], by: float) -> tuple[dict[str, float], float]:
    return {name: factor * by for name, factor in linear[0].items()}, linear[1] * by
