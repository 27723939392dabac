"""Rows of a request on their way to the model: checked columns, and the tensors made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from gitops import utc
from gitops.rows import label_text
from gitops.serve.refusal import Refusal, shown
from gitops.signature import Input, Signature

if TYPE_CHECKING:
    from gitops.package import Array

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME = "a time in ISO 8601, such as 2013-01-31T10:00:00Z"


class Rows(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The rows of one request, valid by the signature.

    `columns`: the values of each input, in the order of the signature, as JSON has them (a missing
    value is None); `feed`: the same as the model's tensors; `key`: what the caller calls the unit
    of a rollout, if the request says it; `id`: the request's id, if its body has one;
    `surprises`: values that the training data didn't have, accepted, as (column, kind, number).
    """

    signature: Signature
    columns: tuple[Sequence[Any], ...]
    height: int
    feed: dict[str, Array]
    key: str | None = None
    id: str | None = None
    surprises: tuple[tuple[str, str, int], ...] = ()
    warnings: tuple[str, ...] = ()

    def features(self, redact: Sequence[str] = ()) -> dict[str, Sequence[Any]]:
        """The columns by name, without those of `redact`."""
        named = zip(self.signature.inputs, self.columns, strict=True)
        return {item.name: values for item, values in named if item.name not in redact}


@dataclass(frozen=True)
class Policy:
    """Whether values that the training data didn't have are refused."""

    reject_unknown: bool = False
    reject_range: bool = False


class Tensors:
    """Makes the tensors of one signature, as `package.tensors` does of a table."""

    def __init__(self, signature: Signature, policy: Policy) -> None:
        self.signature = signature
        self.policy = policy
        inputs = list(enumerate(signature.inputs))
        self.numbers = [(at, item) for at, item in inputs if item.type in ("number", "boolean")]
        self.texts = [
            (at, item, frozenset([*item.categories, None, ""]), not speaks_text(item))
            for at, item in inputs
            if item.type == "categorical"
        ]
        self.times = [(at, item) for at, item in inputs if item.type == "datetime"]
        self.number_names = [item.tensor for _, item in self.numbers]
        self.ranged = [(at, *_ends(item)) for at, item in self.numbers if item.type == "number"]
        self.low, self.high = _limits([item for _, item in self.numbers])

    def rows(
        self,
        columns: tuple[Sequence[Any], ...],
        height: int,
        key: str | None = None,
        request_id: str | None = None,
    ) -> Rows:
        """Rows of columns whose types are right.

        Raises:
            Refusal: 422; no time where one must be, or a value that the policy refuses.
        """
        if (
            height == 1
            and (plain := self._plain_row([values[0] for values in columns])) is not None
        ):
            return Rows(self.signature, columns, 1, plain, key, request_id)
        feed: dict[str, Array] = {}
        strange: list[_Strange] = []
        if self.numbers:
            values = np.array([columns[at] for at, _ in self.numbers], dtype=np.float64)
            outside = (values < self.low) | (values > self.high)
            if outside.any():
                strange += self._outside(outside, columns)
            with np.errstate(over="ignore"):  # beyond float32 is infinite, as in `gitops predict`
                single = values.astype(np.float32).reshape(len(self.numbers), height, 1)
            feed.update(zip(self.number_names, single, strict=True))
        for at, item in self.times:
            seconds = np.array([_seconds(columns, at, row, item) for row in range(height)])
            feed[item.tensor] = seconds.reshape(-1, 1)
            if item.minimum is not None:
                outside = (seconds < item.minimum) | (seconds > item.maximum)
                if outside.any():
                    strange.append(_Strange(item, at, "out_of_range", np.flatnonzero(outside)))
        for at, item, known, mixed in self.texts:
            texts = columns[at]
            if mixed:
                texts = [v if v is None or isinstance(v, str) else label_text(v) for v in texts]
            if unknown := set(texts) - known:
                found = [row for row, value in enumerate(texts) if value in unknown]
                strange.append(_Strange(item, at, "unknown_category", found))
            made = np.empty((height, 1), dtype=object)
            made[:, 0] = [value or "" for value in texts]
            feed[item.tensor] = made
        if not strange:
            return Rows(self.signature, columns, height, feed, key, request_id)
        self._refuse(strange, columns)
        return Rows(
            self.signature, columns, height, feed, key, request_id,
            tuple((one.item.name, one.kind, len(one.found)) for one in strange),
            tuple(one.told(columns) for one in strange),
        )  # fmt: skip

    def _plain_row(self, row: list[Any]) -> dict[str, Array] | None:
        """The tensors of one row as the training data had them, in a third of the time; None if
        anything is missing, strange or wrong: then the long way says what."""
        feed: dict[str, Array] = {}
        for at, low, high in self.ranged:
            value = row[at]
            if value is None or not low <= value <= high:
                return None
        if self.numbers:
            values = np.array([row[at] for at, _ in self.numbers], dtype=np.float32)
            feed.update(zip(self.number_names, values.reshape(-1, 1, 1), strict=True))
        for at, item in self.times:
            low, high = _ends(item)
            seconds = instant(row[at]) if row[at] else None
            if seconds is None or not low <= seconds <= high:
                return None
            feed[item.tensor] = np.array([[seconds]])
        for at, item, known, _ in self.texts:
            text = row[at]
            if not text or text not in known:
                return None
            feed[item.tensor] = np.array([[text]], dtype=object)
        return feed

    def _outside(self, outside: Array, columns: tuple[Sequence[Any], ...]) -> list[_Strange]:
        return [
            _Strange(item, at, "out_of_range", np.flatnonzero(outside[place]))
            for place, (at, item) in enumerate(self.numbers)
            if outside[place].any()
        ]

    def _refuse(self, strange: list[_Strange], columns: tuple[Sequence[Any], ...]) -> None:
        for one in strange:
            refused = (
                self.policy.reject_range
                if one.kind == "out_of_range"
                else self.policy.reject_unknown
            )
            if refused:
                row = int(one.found[0])
                raise Refusal(
                    422,
                    f"{one.what}, which this model is told to refuse",
                    fix=f"give {one.right}",
                    row=row,
                    column=one.item.name,
                    value=columns[one.at][row],
                )


@dataclass(frozen=True)
class _Strange:
    """Values of one column that the training data didn't have; `found` are their rows."""

    item: Input
    at: int
    kind: str
    found: Sequence[int] | Array

    @property
    def what(self) -> str:
        if self.kind == "out_of_range":
            return "a value outside of the training range"
        return "a category unknown to the model"

    @property
    def right(self) -> str:
        if self.kind == "out_of_range":
            low, high = (moment(value, self.item) for value in _ends(self.item))
            return f"{low} to {high}"
        return f"one of {', '.join(repr(name) for name in self.item.categories[:10])}" + (
            f" and {len(self.item.categories) - 10} more" if len(self.item.categories) > 10 else ""
        )

    def told(self, columns: tuple[Sequence[Any], ...]) -> str:
        first = shown(columns[self.at][int(self.found[0])])
        return f"{self.item.name}: {self.what} in {len(self.found):,} rows: {first}"


def speaks_text(item: Input) -> bool:
    """Whether a categorical input's categories are words: none is the text of a number or boolean.

    Where one is, callers may write it as JSON's number or boolean: `1` is the category `"1"`.
    """
    return not any(name in ("true", "false") or _is_number(name) for name in item.categories)


def missing(item: Input, value: object) -> bool:
    """Whether `value` stands for a missing one; an empty text does, in a text or a time."""
    return value is None or (value == "" and item.type in ("categorical", "datetime"))


def instant(text: str) -> float | None:
    """Seconds since 1970-01-01T00:00:00Z of ISO 8601, a naive time taken as UTC; None: no time."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH).total_seconds()


def _seconds(columns: tuple[Sequence[Any], ...], at: int, row: int, item: Input) -> float:
    value = columns[at][row]
    if value is None or (value == "" and item.nullable):
        return float("nan")
    found = instant(value)
    if found is None:
        what = "a missing value, and the model takes none" if value == "" else "no time"
        raise Refusal(422, what, fix=f"give {TIME}", row=row, column=item.name, value=value)
    return found


def _limits(items: list[Input]) -> tuple[Array, Array]:
    low = [-np.inf if item.minimum is None else item.minimum for item in items]
    high = [np.inf if item.maximum is None else item.maximum for item in items]
    return np.array(low).reshape(-1, 1), np.array(high).reshape(-1, 1)


def _ends(item: Input) -> tuple[float, float]:
    """The training range; where every value was missing nothing is within it."""
    if item.minimum is None or item.maximum is None:
        return np.inf, -np.inf
    return item.minimum, item.maximum


def moment(value: float, item: Input) -> str:
    """A limit of an input as callers write it."""
    if item.type == "datetime":
        return utc.text(datetime.fromtimestamp(value, UTC), "auto")
    return f"{value:.12g}"


def _is_number(text: str) -> bool:
    try:
        return label_text(float(text)) == text or label_text(int(text)) == text
    except (ValueError, OverflowError):
        return False
