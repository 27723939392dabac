"""Does a version answer as its package does? Tests that its signature and profile write themselves.

Rows are drawn from the profile of the training data, always the same for one package: what the
endpoint answers must be what the package gives here. What breaks the signature must be refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

from gitops import utc
from gitops.deploy.ask import Answer
from gitops.errors import EvidenceError
from gitops.signature import Input, Signature

Ask = Callable[[bytes | Mapping[str, Any]], Answer]
Row = dict[str, Any]
ROWS = 25
_CLOSE = 1e-5  # relative: another batch size may change a float32's last bits


def require(
    ask: Ask, signature: Signature, rows: list[Row], expected: Mapping[str, list[Any]] | None
) -> None:
    """Ask one version, and compare.

    `expected` are the columns that scoring the package gives for `rows`; None where a script of
    the user's has the last word: then only the shape is looked at.

    Raises:
        EvidenceError: it answers otherwise, or takes what it must refuse.
    """
    faults = [*_answers(ask({"rows": rows}), signature, rows, expected)]
    for what, body in refused(signature, rows[0]):
        answer = ask(body)
        if not 400 <= answer.status < 500:
            faults.append(f"{what} is answered with {answer.status}, not refused")
    if faults:
        raise EvidenceError(
            "it doesn't pass its contract tests: " + "; ".join(faults[:5]),
            fix="what ran goes on running; build the package again, or roll back",
        )


def _answers(
    answer: Answer,
    signature: Signature,
    rows: list[Row],
    expected: Mapping[str, list[Any]] | None,
) -> Iterator[str]:
    if answer.status != 200 or not isinstance(answer.body, dict):
        yield f"valid rows are answered with {answer.status}: {str(answer.body)[:200]}"
        return
    predictions, scores = answer.body.get("predictions"), answer.body.get("scores")
    if not isinstance(predictions, list) or len(predictions) != len(rows):
        yield f"{len(rows)} rows get no {len(rows)} predictions"
        return
    if expected is None:
        return
    wanted = expected["prediction"]
    if signature.task == "regression":
        wrong = [at for at, one in enumerate(wanted) if not _close(predictions[at], one)]
    else:
        wrong = [at for at, one in enumerate(wanted) if predictions[at] != one]
        columns = [expected[name] for name in signature.score_columns]
        each = [list(several) for several in zip(*columns, strict=True)]
        if not isinstance(scores, list) or len(scores) != len(rows):
            yield f"{len(rows)} rows get no {len(rows)} scores"
            return
        given = [one if isinstance(one, list) else [one] for one in scores]
        wrong += [
            at
            for at, one in enumerate(each)
            if len(given[at]) != len(one) or not all(map(_close, given[at], one))
        ]
    if wrong:
        at = min(wrong)
        shown = f"{predictions[at]!r}" + (f" {scores[at]}" if isinstance(scores, list) else "")
        yield f"of {len(rows)} rows {len(set(wrong))} get other answers: {shown} not {wanted[at]!r}"


def _close(one: object, other: object) -> bool:
    if not isinstance(one, int | float) or not isinstance(other, int | float):
        return False
    return math.isclose(one, other, rel_tol=_CLOSE, abs_tol=_CLOSE)


# ---------------------------------------------------------------- the rows


def drawn(signature: Signature, profile: Mapping[str, Any], seed: str) -> list[Row]:
    """Valid rows as the training data had them, and one of each end of every range."""
    draw = Random(seed)  # noqa: S311
    columns = profile["columns"]
    rows = [
        {one.name: _value(one, columns[one.name], draw) for one in signature.inputs}
        for _ in range(ROWS)
    ]
    for end in ("minimum", "maximum"):
        row = dict(rows[0])
        row |= {
            one.name: _typed(one, getattr(one, end))
            for one in signature.inputs
            if getattr(one, end) is not None
        }
        rows.append(row)
    if any(one.nullable for one in signature.inputs):
        rows.append({**rows[0], **{one.name: None for one in signature.inputs if one.nullable}})
    return rows


def _value(one: Input, profile: Mapping[str, Any], draw: Random) -> object:
    missing = profile.get("missing", 0)
    counts = profile["counts"]
    numbers = list(counts.values()) if isinstance(counts, dict) else counts
    if one.nullable and draw.random() * (missing + sum(numbers)) < missing:
        return None
    if one.type == "categorical":
        known = [name for name in counts if name in one.categories]
        weights = [counts[name] for name in known]
        return draw.choices(known, weights)[0] if sum(weights) else next(iter(one.categories), None)
    if not sum(numbers):
        return None
    at = draw.choices(range(len(numbers)), numbers)[0]
    low, high = profile["edges"][at], profile["edges"][at + 1]
    return _typed(one, draw.uniform(low, high))


def _typed(one: Input, value: float) -> object:
    """A number as the JSON value of the column, inside of the signature's range."""
    if one.minimum is not None and one.maximum is not None:
        value = min(max(value, one.minimum), one.maximum)
    if one.type == "boolean":
        return value >= 0.5
    if one.type == "datetime":
        whole = math.floor(value)
        value = value if one.minimum is not None and whole < one.minimum else whole
        return utc.text(datetime.fromtimestamp(value, UTC), "auto")
    return round(value) if one.integer else value


def refused(signature: Signature, row: Row) -> Iterator[tuple[str, bytes | Row]]:
    """Requests that break the signature, and what each is in words."""
    yield "what is no JSON", b"{"
    yield "a request without rows", {}
    first = signature.inputs[0]
    lacking = {name: value for name, value in row.items() if name != first.name}
    yield f"a row without {first.name}", {"rows": [lacking]}
    for one in signature.inputs:
        wrong: Any = [] if one.type == "categorical" else "no such value"
        yield f"{one.name}: {wrong!r}", {"rows": [{**row, one.name: wrong}]}
        if not one.nullable:
            yield f"{one.name}: null", {"rows": [{**row, one.name: None}]}
