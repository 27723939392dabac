"""Checks on what isn't a metric: fairness, leakage, data, importance and cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from gitops.errors import ConfigError
from gitops.validate.figures import beside, plain
from gitops.validate.judge_words import confidence, too_few
from gitops.validate.model import (
    Check,
    Cost,
    Fairness,
    Finding,
    Importance,
    Interval,
    State,
    Table,
)
from gitops.validate.policy import Asked
from gitops.validate.stats import decided, needed_rows

OVERLAP = "leakage-train-test-overlap"
# Keys of a check and the kinds of findings that break it.
_LEAKAGE = {
    "single_feature": ("leakage-single-feature", "no column predicts the label alone"),
    "target_like": ("leakage-target-like", "no column is the label under another name"),
    "id_like": ("leakage-id-like", "no column only names rows"),
    "time_order": ("leakage-time-order", "no test row is from before the end of training"),
}
_DATA = {
    "inputs": ("data-schema", "every input is there, and of its type"),
    "drift": ("drift", "no column has drifted since training"),
    "drift_base": ("drift-base", "no column has drifted since the base's test set"),
    "missing": ("data-missing", "no column misses more values than in training"),
    "range": ("data-range", "no column leaves the range of training"),
    "unseen": ("data-unseen", "no column has categories that training hadn't"),
}
_COSTS = {
    "package_bytes": "package size",
    "single_row_ms": "time for one row",
    "batch_ms": "time for 1,000 rows",
    "memory_mib": "memory",
}
# Differences below these are within what the clock and the system's memory pages can tell.
_NOISE = {"package_bytes": 0.0, "single_row_ms": 0.1, "batch_ms": 1.0, "memory_mib": 10.0}


@dataclass(frozen=True)
class Signs:
    """What the analyses found.

    `overlap`: share of test rows that the candidate was trained on, of `looked_at` rows.
    `unexplained`: why there are no importances, else "".
    """

    fairness: Sequence[Fairness]
    findings: Sequence[Finding]
    importance: Sequence[Importance]
    unexplained: str
    explained_rows: int
    costs: Sequence[Cost]
    overlap: float
    looked_at: int
    compared: bool


def columns_of(one: Asked, table: Table, sensitive: Sequence[str]) -> tuple[str, ...]:
    """The columns of a fairness check.

    Raises:
        ConfigError: one isn't there.
    """
    asked = one.rule.fairness.columns if one.rule.fairness else ()
    for at, name in enumerate(asked):
        if name not in table.columns:
            near = get_close_matches(name, list(table.columns), 1, 0.4)
            known = ", ".join(table.columns) or "none"
            raise ConfigError(
                f"there's no slice or sensitive column {name!r}",
                fix=f"did you mean {near[0]!r}?" if near else f"there are: {known}",
                where=one.where("fairness", "columns", at),
            )
    return asked or tuple(sensitive)


def checks(one: Asked, signs: Signs, table: Table, sensitive: Sequence[str]) -> Iterator[Check]:
    """The answers to a check: one for each column, sign or cost that it names."""
    rule = one.rule
    if rule.fairness is not None:
        for column in columns_of(one, table, sensitive):
            yield _fairness(one, column, signs, table)
    elif rule.leakage is not None:
        given = rule.leakage.model_dump(exclude={"overlap"})
        yield from _signs(one, given, _LEAKAGE, signs, table)
        if rule.leakage.overlap is not None:
            yield _overlap(one, rule.leakage.overlap, signs)
    elif rule.data is not None:
        yield from _signs(one, rule.data.model_dump(), _DATA, signs, table)
    elif rule.importance is not None:
        yield _importance(one, rule.importance.change, signs)
    elif rule.cost is not None:
        for name, limit in rule.cost:
            if limit is not None:
                yield _cost(one, name, limit.at_most, limit.ratio_to_champion, signs)


# ---------------------------------------------------------------- fairness


def _fairness(one: Asked, column: str, signs: Signs, table: Table) -> Check:
    asked = one.rule.fairness
    if asked is None:
        raise TypeError(one)
    found = next(
        each
        for each in signs.fairness
        if each.column == column and each.criterion == asked.criterion
    )
    rows = sum(group.rows for group in found.groups if group.group not in found.left_out)
    gap = Interval(None) if found.why else found.gap
    state = decided(gap, asked.at_most, "below")
    words = asked.criterion.replace("_", " ")
    left = f"; too small to judge: {', '.join(found.left_out[:5])}" if found.left_out else ""
    needed = None
    if found.why or gap.estimate is None:
        why = f"not assessable: {found.why or 'no number'}"
    elif state == "PASS":
        why = f"the largest gap is at most {beside(gap.upper, asked.at_most)} {confidence(one)}"
    elif state == "FAIL":
        why = f"the largest gap is at least {beside(gap.lower, asked.at_most)} {confidence(one)}"
        why += _between(found)
    else:
        needed = needed_rows(gap, asked.at_most, rows, one.confidence)
        low, high = beside(gap.lower, asked.at_most), beside(gap.upper, asked.at_most)
        why = f"the largest gap is between {low} and {high} {confidence(one)}{_between(found)}; "
        why += too_few(gap, asked.at_most, "below", rows, needed)
    return Check(
        id=f"{one.name}:{column}",
        kind="fairness",
        title=f"{words} gap between groups of {column} at most {plain(asked.at_most)}",
        state=state,
        blocking=one.rule.blocking,
        value=gap,
        bound=asked.at_most,
        sense="below",
        rows=rows or table.rows,
        why=why + left,
        needed_rows=needed,
    )


def _between(found: Fairness) -> str:
    """The groups with the lowest and the highest rate."""
    known = [
        (one.rate.estimate, one.group) for one in found.groups if one.rate.estimate is not None
    ]
    if len(known) < 2:
        return ""
    (low, least), (high, most) = min(known), max(known)
    return f": {least} {beside(low, 0)}, {most} {beside(high, 0)}"


# ---------------------------------------------------------------- leakage and data


def _signs(
    one: Asked,
    given: Mapping[str, float | bool | None],
    kinds: Mapping[str, tuple[str, str]],
    signs: Signs,
    table: Table,
) -> Iterator[Check]:
    for key, bound in given.items():
        if bound is None or bound is False:
            continue
        kind, absent = kinds[key]
        number_ = None if isinstance(bound, bool) else float(bound)
        alarms = [f for f in signs.findings if f.kind == kind and _breaks(f, number_)]
        found = max(alarms, key=lambda f: -math.inf if f.value is None else f.value, default=None)
        more = f" (and {len(alarms) - 1} more)" if len(alarms) > 1 else ""
        yield Check(
            id=f"{one.name}:{key.replace('_', '-')}",
            kind="leakage" if one.rule.leakage is not None else "data",
            title=absent,
            state="FAIL" if alarms else "PASS",
            blocking=one.rule.blocking,
            value=Interval(found.value if found else None),
            bound=number_,
            sense="below",
            rows=table.rows,
            why=f"{found.text}{more}" if found else "no such sign",
        )


def _breaks(found: Finding, bound: float | None) -> bool:
    """Analyses run once, with the lowest bound that any check asks for."""
    return found.level == "alarm" and (bound is None or found.value is None or found.value >= bound)


def _overlap(one: Asked, bound: float, signs: Signs) -> Check:
    """Judged on what was counted: doubles of rows aren't drawn by chance."""
    hits = (each for each in signs.findings if each.kind == OVERLAP and each.level == "alarm")
    found = next(hits, None)
    why = found.text if found else "none of the rows was in the candidate's training"
    state: State = "PASS" if signs.overlap <= bound else "FAIL"
    if not signs.looked_at or not math.isfinite(signs.overlap):
        state = "INCONCLUSIVE"
    return Check(
        id=f"{one.name}:overlap",
        kind="leakage",
        title=f"at most {100 * bound:g} % of the test rows are training rows",
        state=state,
        blocking=one.rule.blocking,
        value=Interval(signs.overlap if signs.looked_at else None),
        bound=bound,
        sense="below",
        rows=signs.looked_at,
        why=why if signs.looked_at else "no row could be looked up",
    )


# ---------------------------------------------------------------- importance


def _importance(one: Asked, bound: float, signs: Signs) -> Check:
    """A column's share of all importance, candidate against champion on the same rows.

    It fails where the share moved by more and the change itself is more than chance.
    """
    state: State = "PASS"
    value, why, blocking = Interval(None), "", one.rule.blocking
    if not signs.compared:
        state, blocking = "INCONCLUSIVE", False
        why = "not applicable: there is no champion"
    elif signs.unexplained or not signs.importance:
        state, why = "INCONCLUSIVE", signs.unexplained or "there are no importances"
    else:
        moved = {each.column: move for each, move in _moves(signs.importance)}
        certain = {each.column for each in signs.importance if _is_real(each.change)}
        column, most = max(moved.items(), key=lambda pair: abs(pair[1]))
        broken = [name for name, move in moved.items() if abs(move) > bound]
        if broken:
            state = "FAIL" if certain & set(broken) else "INCONCLUSIVE"
            column = next((name for name in broken if name in certain), broken[0])
            most = moved[column]
        value = Interval(abs(most))
        why = f"the share of {column!r} changed by {most:+.0%}, more than any other"
        if broken:
            why = f"the share of {column!r} changed by {most:+.0%}"
            why += "" if state == "FAIL" else ", which may be chance"
    return Check(
        id=one.name,
        kind="importance",
        title=f"no column's share of importance changes by more than {bound:.0%}",
        state=state,
        blocking=blocking,
        value=value,
        bound=bound,
        sense="below",
        rows=signs.explained_rows,
        why=why,
    )


def _moves(importances: Sequence[Importance]) -> Iterator[tuple[Importance, float]]:
    ours = [max(each.candidate.estimate or 0.0, 0.0) for each in importances]
    theirs = [max((each.champion and each.champion.estimate) or 0.0, 0.0) for each in importances]
    all_ours, all_theirs = sum(ours) or math.inf, sum(theirs) or math.inf
    for each, one, other in zip(importances, ours, theirs, strict=True):
        yield each, one / all_ours - other / all_theirs


def _is_real(change: Interval | None) -> bool:
    if change is None or change.lower is None or change.upper is None:
        return False
    return change.lower > 0 or change.upper < 0


# ---------------------------------------------------------------- cost


def _cost(one: Asked, name: str, at_most: float | None, ratio: float | None, signs: Signs) -> Check:
    found = next((each for each in signs.costs if each.name == name), None)
    bound = at_most if at_most is not None else float(ratio or 0)
    title = f"{_COSTS[name]} at most {bound:g} times the champion's"
    if at_most is not None:
        title = f"{_COSTS[name]} at most {_amount(name, at_most)}"
    state: State = "INCONCLUSIVE"
    value, blocking = Interval(None), one.rule.blocking
    if found is None:
        why = "it can't be measured for this model"
    elif at_most is not None:
        state = "PASS" if found.candidate <= at_most else "FAIL"
        value, why = Interval(found.candidate), f"it is {_amount(name, found.candidate)}"
    elif found.champion is None:
        blocking = blocking and signs.compared
        why = "not applicable: there's no champion that can be measured"
    else:
        times = found.candidate / found.champion if found.champion else math.inf
        near = found.candidate - found.champion <= _NOISE[name]
        state = "PASS" if times <= bound or near else "FAIL"
        value = Interval(times if math.isfinite(times) else None)
        why = f"{_amount(name, found.candidate)}, the champion's {_amount(name, found.champion)}"
        why += "; the difference is within noise" if near and times > bound else ""
    return Check(
        id=f"{one.name}:{name}",
        kind="cost",
        title=title,
        state=state,
        blocking=blocking,
        value=value,
        bound=bound,
        sense="below",
        rows=0 if found is None or name == "package_bytes" else 1000,
        why=why,
        measured=name != "package_bytes",
    )


def _amount(name: str, value: float) -> str:
    if name == "package_bytes":
        return f"{value:,.0f} bytes"
    return f"{value:,.4g} {'ms' if name.endswith('_ms') else 'MiB'}"
