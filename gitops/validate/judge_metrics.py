"""Checks on metrics: bounds, and comparisons with the champion, on all rows, a slice or each slice.

Three answers (procedure 1 of docs/guides/statistics.md): a one-sided bound on the good side of what
is asked passes, one on the bad side fails, and where the bound lies between the two the rows are
too few.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from gitops import logtext
from gitops.errors import ConfigError
from gitops.validate import expression
from gitops.validate.figures import about, beside
from gitops.validate.judge_words import aim, title, told, why
from gitops.validate.model import Check, Interval, Measure, Slice, State, Table
from gitops.validate.policy import Asked
from gitops.validate.stats import Estimated, Sense, decided, holm, needed_rows

Key = tuple[str, Slice]
_KINDS: Mapping[str, Literal["no_worse", "better", "bound"]] = {
    "no_worse_than_champion": "no_worse",
    "better_than_champion": "better",
    "at_least": "bound",
    "at_most": "bound",
}

_NAME = 60  # characters of a slice in a sentence
# What the interval that is shown would say if its slice were the only one.
_ALONE: Mapping[State, str] = {
    "PASS": "",
    "INCONCLUSIVE": ", which has too few rows to decide by itself",
    "FAIL": ", which would fail by itself, as one of many may by chance",
}


@dataclass(frozen=True)
class Numbers:
    """What was estimated, by metric and slice; `each` are the slices that are large enough.

    `small` counts slices that aren't, and with `enough` test rows the first of them would be (None:
    with no number). `compared`: there's a champion; `same`: its package is the candidate's, byte
    for byte.
    """

    found: Mapping[Key, Estimated]
    each: Sequence[Slice]
    small: int
    compared: bool
    same: bool = False
    enough: int | None = None

    def of(self, metric: str, cut: Slice) -> Estimated:
        return self.found[metric, cut]


def wanted(checks: Iterable[Asked], table: Table, each: Sequence[Slice]) -> list[Key]:
    """The metrics and slices that the checks need.

    Raises:
        ConfigError: a check names a slice that the test set doesn't have.
    """
    keys: dict[Key, None] = {}
    for one in checks:
        cuts = list(each) if one.rule.each_slice else [slice_of(one, table)]
        keys |= {(name, cut): None for name in one.rule.names for cut in cuts}
    return list(keys)


def slice_of(one: Asked, table: Table) -> Slice:
    """The slice of a check, which must be one that the test set has."""
    cut = one.rule.slice or {}
    for column, value in cut.items():
        if column not in table.columns:
            raise _unknown(one, "the test set has no slice column", column, table.columns, column)
        values = table.columns[column].values
        if value not in values:
            text = "(missing)" if value is None else value
            known = [each for each in values if each is not None]
            message = f"the test set has no rows where {column} ="
            raise _unknown(one, message, text, known, column)
    return Slice(tuple(sorted(cut.items())))


def check(one: Asked, numbers: Numbers, table: Table) -> Check:
    """The answer to a check on a metric or an expression."""
    rule = one.rule
    if rule.compares and not numbers.compared:
        return _not_applicable(one, numbers, table)
    if rule.each_slice:
        return _on_each(one, numbers)
    cut = slice_of(one, table)
    if rule.expression is not None:
        return _on_expression(one, numbers, cut)
    found = numbers.of(str(rule.metric), cut)
    bound, sense = aim(one)
    value = _value(one, found)
    return _answered(one, cut, value, bound, sense, found.measure.rows, found.measure)


def level_of(one: Asked) -> float:
    """Of the two-sided interval whose ends are one-sided bounds at the check's confidence."""
    return round(2 * one.confidence - 1, 12)


# ---------------------------------------------------------------- one slice


def _value(one: Asked, found: Estimated) -> Interval:
    """What is compared with the bound, at the check's own confidence."""
    level = level_of(one)
    side = found.oriented if one.rule.compares else found.candidate
    return side.interval(level) if side is not None else Interval(None, level=level)


def _answered(
    one: Asked,
    cut: Slice,
    value: Interval,
    bound: float,
    sense: Sense,
    rows: int,
    measure: Measure | None,
) -> Check:
    state = decided(value, bound, sense, strict=one.rule.better_than_champion is not None)
    undefined = measure.undefined if measure is not None else ""
    if undefined:  # more rows of the same kind wouldn't help, so this isn't undecided
        state = "FAIL"
    needed = None
    if state == "INCONCLUSIVE":
        needed = needed_rows(value, bound, rows, one.confidence)
    return Check(
        id=one.name,
        kind=_KINDS[one.rule.bound],
        title=title(one) + (f", where {cut.text}" if cut.cut else ""),
        state=state,
        blocking=one.rule.blocking,
        value=value,
        bound=bound,
        sense=sense,
        rows=rows,
        why=why(one, state, value, bound, rows, undefined, needed),
        measure=measure,
        needed_rows=needed,
    )


# ---------------------------------------------------------------- each slice


def _on_each(one: Asked, numbers: Numbers) -> Check:
    """Fails where a slice is shown to break the bound: Holm (1979) over all slices."""
    bound, sense = aim(one)
    judged = [
        found
        for cut in numbers.each
        if not (found := numbers.of(str(one.rule.metric), cut)).measure.undefined
    ]
    worse: Sense = "below" if sense == "above" else "above"
    sides = [found.oriented if one.rule.compares else found.candidate for found in judged]
    ps = [side.p_value(bound, worse) if side is not None else 1.0 for side in sides]
    broken = [found for found, hit in zip(judged, holm(ps, 1 - one.confidence), strict=True) if hit]
    if not judged:
        return _no_slices(one, numbers, bound, sense)
    sign = 1 if sense == "above" else -1
    broken.sort(key=lambda found: sign * _nearest(_value(one, found), sense))
    chosen = min(broken or judged, key=lambda found: sign * _nearest(_value(one, found), sense))
    value = _value(one, chosen)
    state: State = "FAIL" if broken else "PASS"
    if not broken and any(end is None for end in (value.estimate, value.lower, value.upper)):
        state = "INCONCLUSIVE"
    left = numbers.small + len(numbers.each) - len(judged)
    sure = f"(Holm's correction, {100 * one.confidence:.4g}% confidence over all)"
    alone = _ALONE[decided(value, bound, sense)]
    text = f"none of {len(judged)} slices is shown to break it {sure}"
    nearest = f"; the nearest to it: {_short(chosen)}{alone}"
    if broken:
        are, nearest = "is" if len(broken) == 1 else "are", ""
        names = "; ".join(_short(each) + _off(one, each, bound) for each in broken[:5])
        names += f" and {len(broken) - 5} more" if len(broken) > 5 else ""
        text = f"{len(broken)} of {len(judged)} slices {are} shown to break it {sure}: {names}"
    small = f"; too small or undefined: {left}" if left else ""
    return Check(
        id=one.name,
        kind=_KINDS[one.rule.bound],
        title=f"{title(one)}, in each slice",
        state=state,
        blocking=one.rule.blocking,
        value=value,
        bound=bound,
        sense=sense,
        rows=chosen.measure.rows,
        why=f"{text}{small}{nearest}",
        measure=chosen.measure,
    )


def _short(found: Estimated) -> str:
    return logtext.shortened(found.measure.slice.text, _NAME)


def _off(one: Asked, found: Estimated, bound: float) -> str:
    """How far a slice is off, as estimated."""
    end = _value(one, found).estimate
    return f" ({told(end, bound) if one.rule.compares else beside(end, bound)})"


def _nearest(value: Interval, sense: Sense) -> float:
    end = value.upper if sense == "above" else value.lower
    return math.inf if end is None else end


def _no_slices(one: Asked, numbers: Numbers, bound: float, sense: Sense) -> Check:
    """No slice column at all is nothing to judge; slices that are all too small are no evidence.

    Nor is any needed of a package that is the champion's own: a promotion of other changes.
    """
    some = bool(numbers.small or numbers.each)
    same = numbers.same and one.rule.no_worse_than_champion is not None
    why = "not applicable: the evaluation has no slice columns"
    if same:
        why = "the package is the champion's, byte for byte, so no slice can be worse"
    elif some:
        rows = f"about {about(numbers.enough)}" if numbers.enough else "more"
        why = (
            "every slice has fewer rows than the policy's minimum_rows or minimum_per_class, or is"
            f" undefined; {rows} test rows, or `slices:` of fewer values, would do for the first"
        )
    return Check(
        id=one.name,
        kind=_KINDS[one.rule.bound],
        title=f"{title(one)}, in each slice",
        state="PASS" if same else "INCONCLUSIVE",
        blocking=one.rule.blocking and some,
        value=Interval(None, level=level_of(one)),
        bound=bound,
        sense=sense,
        rows=0,
        why=why,
        needed_rows=numbers.enough if some and not same else None,
    )


# ---------------------------------------------------------------- expressions, no champion


def _on_expression(one: Asked, numbers: Numbers, cut: Slice) -> Check:
    """Bounds of all metrics together (Bonferroni), then interval arithmetic: wide, never narrow."""
    read = expression.parse(str(one.rule.expression))
    level = 1 - (1 - one.confidence) / len(read.names)
    found = {name: numbers.of(name, cut) for name in read.names}
    rows = min(each.measure.rows for each in found.values())
    weights = read.weights() if one.rule.compares else None
    if weights is not None:
        ends = {name: _ends(each, level, difference=True) for name, each in found.items()}
        parts = [
            sorted((weights[name] * low, weights[name] * high))
            for name, (low, high) in ends.items()
        ]
        low, high = (sum(part[side] for part in parts) for side in (0, 1))
        middle = sum(
            weights[name] * _estimate(each.measure.difference) for name, each in found.items()
        )
    else:
        low, high = read.bounds({name: _ends(each, level) for name, each in found.items()})
        middle = read.value({n: _estimate(each.measure.candidate) for n, each in found.items()})
    value = Interval(None, level=level_of(one))
    undefined = next((e.measure.undefined for e in found.values() if e.measure.undefined), "")
    if all(map(math.isfinite, (low, middle, high))):
        value = Interval(middle, low, high, level_of(one))
    bound, sense = aim(one)
    done = _answered(one, cut, value, bound, sense, rows, None)
    if value.estimate is not None:
        return done
    why = f"not defined: {undefined or 'a division by what may be zero'} ({rows:,} rows)"
    return replace(done, state="FAIL", why=why)


def _ends(found: Estimated, level: float, *, difference: bool = False) -> tuple[float, float]:
    side = found.difference if difference else found.candidate
    if side is None:
        return expression.UNDEFINED
    interval = side.interval(level)
    if interval.lower is None or interval.upper is None:
        return expression.UNDEFINED
    return interval.lower, interval.upper


def _estimate(value: Interval | None) -> float:
    return math.nan if value is None or value.estimate is None else value.estimate


def _not_applicable(one: Asked, numbers: Numbers, table: Table) -> Check:
    bound, sense = aim(one)
    measure, rows, suffix = None, table.rows, ", in each slice" if one.rule.each_slice else ""
    if not one.rule.each_slice:
        cut = slice_of(one, table)
        suffix = f", where {cut.text}" if cut.cut else ""
        if one.rule.metric is not None:
            measure = numbers.of(one.rule.metric, cut).measure
            rows = measure.rows
    return Check(
        id=one.name,
        kind=_KINDS[one.rule.bound],
        title=title(one) + suffix,
        state="INCONCLUSIVE",
        blocking=False,
        value=Interval(None, level=level_of(one)),
        bound=bound,
        sense=sense,
        rows=rows,
        why="not applicable: there is no champion",
        measure=measure,
    )


def _unknown(one: Asked, message: str, name: str, known: Iterable[str], column: str) -> ConfigError:
    names = sorted(str(each) for each in known)
    near = get_close_matches(name, names, 1, 0.4)
    listed = ", ".join(names[:20]) or "none"
    return ConfigError(
        f"{message} {name!r}",
        fix=f"did you mean {near[0]!r}?" if near else f"there are: {listed}",
        where=one.where("slice", column),
    )
