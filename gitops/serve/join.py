"""Predictions and labels brought together, as one table.

The result doesn't depend on the order of lines: of what is there twice, the one that came first (by
`at`) stays. So a unit whose challenger failed before the champion answered it is the challenger's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Self

import msgspec
import polars as pl

from gitops.errors import EvidenceError
from gitops.rows import label_text
from gitops.serve.label_file import Named
from gitops.serve.labels import Label, Value
from gitops.serve.log import Prediction
from gitops.signature import Signature

_ENCODE = msgspec.json.Encoder().encode
_FAILED = 500


@dataclass
class Report:
    """What was joined, and what couldn't be.

    Lines: `requests` taken; `repeated` of an id that was answered before; `other` of releases that
    weren't asked for; `unusable` with answers that the release's signature doesn't have.
    Labels: `labelled` rows; `unknown` of a request or row that isn't in the log, or not yet;
    `repeated_labels` said again; `conflicts` said otherwise before, and not taken; `strange` are
    none of the classes, or no number.
    """

    requests: int = 0
    repeated: int = 0
    other: int = 0
    unusable: int = 0
    labelled: int = 0
    repeated_labels: int = 0
    unknown: Named = field(default_factory=Named)
    conflicts: Named = field(default_factory=Named)
    strange: Named = field(default_factory=Named)


def join(
    predictions: Iterable[Prediction],
    labels: Iterable[Label],
    releases: Mapping[str, Signature],
) -> tuple[pl.DataFrame, Report]:
    """One row for each row of each request that one of `releases` answered, a shadow's too.

    Columns: id, row, at, arm (champion, challenger, shadow), release, share, salt, key, prediction,
    the scores (`score`, or `score_<class>`; none in a regression), label, value, ms, status. A
    failed request is one row, without a prediction. Predictions and labels are canonical texts, in
    a regression float64. Sorted by at, id, arm, row.

    Raises:
        EvidenceError: the releases are of different tasks, or none is given.
    """
    tasks = {signature.task for signature in releases.values()}
    if len(tasks) != 1:
        raise EvidenceError(
            f"releases of {', '.join(sorted(tasks)) or 'no task'} can't be judged together",
            fix="compare releases of one task",
        )
    shape = _Shape.of(releases)
    report = Report()
    lines, others = _lines(predictions, releases, report)
    said = _said(labels, next(iter(releases.values())).model, shape, report)
    columns: dict[str, list[Any]] = {name: [] for name in shape.columns}
    used: set[tuple[str, int]] = set()
    for line in lines:
        for row, (prediction, scores) in enumerate(_answers(line)):
            label, value = said.get((line.id, row), (None, None))
            used.add((line.id, row))
            cells = (
                line.id, row, line.at, line.variant, line.release, line.share, line.salt, line.key,
                prediction, label, value, line.ms, line.status,
            )  # fmt: skip
            for name, cell in zip(_PLAIN, cells, strict=True):
                columns[name].append(cell)
            named = dict(zip(releases[line.release].score_columns, scores, strict=False))
            for name in shape.scores:
                columns[name].append(named.get(name))
    for id, row in sorted(said.keys() - used):
        if id not in others:
            report.unknown.add(id, row)
    frame = pl.DataFrame(columns, schema=shape.columns).sort("at", "id", "arm", "row")
    report.labelled = frame.filter(pl.any_horizontal(pl.col("label", "value").is_not_null())).height
    return frame, report


_PLAIN = (
    "id", "row", "at", "arm", "release", "share", "salt", "key", "prediction", "label", "value",
    "ms", "status",
)  # fmt: skip


@dataclass(frozen=True)
class _Shape:
    """What the releases have in common: `classes` and `scores` are those of any of them."""

    regression: bool
    classes: tuple[str, ...]
    scores: tuple[str, ...]

    @classmethod
    def of(cls, releases: Mapping[str, Signature]) -> Self:
        every = list(releases.values())
        classes = dict.fromkeys(name for one in every for name in one.classes)
        scores = dict.fromkeys(name for one in every for name in one.score_columns)
        return cls(every[0].task == "regression", tuple(classes), tuple(scores))

    @property
    def columns(self) -> dict[str, Any]:
        """Names and types of the table's columns, in their order."""
        answer = pl.Float64 if self.regression else pl.String
        return {
            "id": pl.String, "row": pl.Int64, "at": pl.Float64, "arm": pl.String,
            "release": pl.String, "share": pl.Float64, "salt": pl.String, "key": pl.String,
            "prediction": answer, **dict.fromkeys(self.scores, pl.Float64), "label": answer,
            "value": pl.Float64, "ms": pl.Float64, "status": pl.Int64,
        }  # fmt: skip

    def label(self, given: Value) -> str | float | None:
        """A label in the words of the package; None if it can't be one.

        A text file writes 1 as 1.0 and true as True: these are meant.
        """
        if given is None:
            return None
        text = label_text(given)
        with suppress(ValueError, OverflowError):
            number = float(text)
            if self.regression:
                return number if math.isfinite(number) else None
            text = text if text in self.classes else label_text(number)
        words = (text, text.lower())
        return None if self.regression else next((w for w in words if w in self.classes), None)


def _lines(
    predictions: Iterable[Prediction], releases: Mapping[str, Signature], report: Report
) -> tuple[list[Prediction], set[str]]:
    """The line that stays of each answer and each shadow; the ids of other releases."""
    found: dict[tuple[str, bool], Prediction] = {}
    others: set[str] = set()
    for line in predictions:
        signature = releases.get(line.release)
        if signature is None:
            report.other += 1
            others.add(line.id)
        elif not _fits(line, signature):
            report.unusable += 1
        else:
            at = (line.id, line.variant == "shadow")
            before = found.setdefault(at, line)
            if before is not line:
                report.repeated += 1
                found[at] = min(before, line, key=lambda one: (one.at, _ENCODE(one)))
    report.requests = len(found)
    return list(found.values()), others


def _fits(line: Prediction, signature: Signature) -> bool:
    """Whether the answers of a line can be those of a package."""
    if line.status >= _FAILED:
        return not line.predictions
    if not line.predictions or len(line.predictions) != line.rows:
        return False
    if signature.task == "regression":
        return line.scores is None and all(isinstance(one, float) for one in line.predictions)
    if line.scores is None or len(line.scores) != line.rows:
        return False
    if not set(line.predictions) <= set(signature.classes):
        return False
    if signature.task == "binary":
        return all(isinstance(one, float) for one in line.scores)
    width = len(signature.classes)
    return all(isinstance(one, list) and len(one) == width for one in line.scores)


def _answers(line: Prediction) -> Iterator[tuple[str | float | None, Sequence[float]]]:
    """Prediction and scores of each row."""
    if not line.predictions:
        yield None, ()
        return
    for row, prediction in enumerate(line.predictions):
        scores = line.scores[row] if line.scores else ()
        yield prediction, (scores,) if isinstance(scores, float) else scores


def _said(
    labels: Iterable[Label], model: str, shape: _Shape, report: Report
) -> dict[tuple[str, int], tuple[str | float | None, float | None]]:
    """Label and value of each row, of each the first that came."""
    every: dict[tuple[str, int], list[Label]] = {}
    for one in labels:
        if one.model in (None, model):
            every.setdefault((one.id, one.row), []).append(one)
    found: dict[tuple[str, int], tuple[str | float | None, float | None]] = {}
    for at, several in sorted(every.items(), key=itemgetter(0)):
        label: str | float | None = None
        value: float | None = None
        if len(several) > 1:
            several.sort(key=lambda one: (one.at, _ENCODE(one)))
        for count, one in enumerate(several):
            given = shape.label(one.label)
            if one.label is not None and given is None:
                report.strange.add(*at)
                continue
            if _otherwise(label, given) or _otherwise(value, one.value):
                report.conflicts.add(*at)
                continue
            report.repeated_labels += count > 0
            label = given if label is None else label
            value = one.value if value is None else value
        if (label, value) != (None, None):
            found[at] = (label, value)
    return found


def _otherwise(before: object, now: object) -> bool:
    return before is not None and now is not None and before != now
