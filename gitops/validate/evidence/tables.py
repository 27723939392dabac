"""Evaluations as the gate's table: columnar, rows sorted by id, texts as small integer codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from gitops import package, rows
from gitops.errors import EvidenceError, Where
from gitops.evaluation import INPUTS, Evaluation, rows_at
from gitops.signature import Signature
from gitops.validate.evidence import bands
from gitops.validate.model import Array, Column, Predictions, Table

MOST_VALUES = 10_000  # of a column that rows are cut by
_CHUNK = 250_000  # rows of raw inputs in memory at once
_SAMPLED = 50_000  # rows that are compared with the training rows where none is excluded


@dataclass(frozen=True)
class Judging:
    """The rows that are judged: those of `of`, sorted by id, of which `kept` (n, bool) stay.

    `classes` are the codes of labels and predictions; empty in a regression.
    """

    of: Evaluation
    classes: tuple[str, ...]
    kept: Array | None = field(default=None, repr=False)

    def values(self, column: pl.Expr) -> pl.Series:
        """A column of the predictions table in the judged order."""
        return self._taken(_column(self.of.predictions, column), self.of.order)

    def raw(self, name: str) -> pl.Series:
        """A raw column in the judged order."""
        return self._taken(_column(self.of.inputs, pl.col(name)), self.of.input_order)

    def positions(self) -> Array:
        """Where the judged rows stand in the table of raw inputs."""
        order = self.of.input_order
        return order if self.kept is None else order[self.kept]

    def _taken(self, column: pl.Series, order: Array) -> pl.Series:
        taken = column.gather(pl.Series(order))
        return taken if self.kept is None else taken.filter(pl.Series(self.kept))

    def predictions(self, frame: pl.LazyFrame, order: Array, signature: Signature) -> Predictions:
        """Predictions of a model with `signature`, brought into the judged order by `order`."""
        order = order if self.kept is None else order[self.kept]
        if signature.task == "regression":
            made = _column(frame, pl.col("prediction")).to_numpy()
            return Predictions(made[order], None)
        prediction = _column(frame, coded("prediction", self.classes)).to_numpy()[order]
        if signature.task == "binary":
            score = _column(frame, pl.col("score")).to_numpy()[order]
            if signature.classes != self.classes:  # the other class counts as positive there
                score = 1 - score
            return Predictions(prediction, score)
        scores = np.zeros((len(order), len(self.classes)))
        for at, name in enumerate(self.classes):
            if name in signature.classes:
                scores[:, at] = _column(frame, pl.col(f"score_{name}")).to_numpy()[order]
        return Predictions(prediction, scores)


def classes_of(candidate: Signature, champion: Signature | None) -> tuple[str, ...]:
    """The classes of both, the champion's first: which one is positive is the base's to say.

    Raises:
        EvidenceError: the tasks differ, or two binary models are about other classes.
    """
    if champion is None:
        return candidate.classes
    if candidate.task != champion.task:
        raise EvidenceError(
            f"the candidate's task is {candidate.task}, the champion's {champion.task}:"
            " they can't be compared",
            fix="give a model of another task a name of its own in gitops.yaml",
        )
    both = tuple(dict.fromkeys((*champion.classes, *candidate.classes)))
    if candidate.task == "binary" and len(both) != 2:
        raise EvidenceError(
            f"the candidate's classes are {', '.join(candidate.classes)},"
            f" the champion's {', '.join(champion.classes)}: they can't be compared",
            fix="keep the classes as they were, or give the model another name in gitops.yaml",
        )
    return both


def coded(name: str, values: Sequence[str]) -> pl.Expr:
    """Codes of texts (also an Enum) into `values`, as the smallest integers; -1: another value."""
    kind = pl.Int8 if len(values) < 128 else pl.Int16 if len(values) < 32_768 else pl.Int32
    codes = pl.col(name).cast(pl.Enum(list(values)), strict=False).to_physical()
    return codes.cast(kind).fill_null(-1)


def table(
    judging: Judging, candidate: Predictions, champion: Predictions | None, sensitive: Sequence[str]
) -> tuple[Table, tuple[str, ...]]:
    """The table with its slice and sensitive columns, and the slices with too many values.

    Raises:
        EvidenceError: a sensitive column isn't there, or has too many values.
    """
    signature = judging.of.signature
    present = judging.of.predictions.collect_schema().names()
    regression = signature.task == "regression"
    label = pl.col("label") if regression else coded("label", judging.classes)
    columns, crowded = {}, []
    for name in judging.of.slices:
        column = _slice(judging, f"slice_{name}")
        if column is None:
            crowded.append(name)
        else:
            columns[name] = column
    for name in sensitive:
        columns[name] = _sensitive(judging, name, columns.get(name))
    found = Table(
        task=signature.task,
        classes=judging.classes,
        label=judging.values(label).to_numpy(),
        candidate=candidate,
        champion=champion,
        weight=judging.values(pl.col("weight")).to_numpy() if "weight" in present else None,
        group=_groups(judging) if "group" in present else None,
        time=_times(judging) if "timestamp" in present else None,
        columns=columns,
    )
    return found, tuple(crowded)


@dataclass(frozen=True)
class RowKeys:
    """Row keys of judged rows: of all (`chosen` is None), or of those at `chosen`."""

    chosen: Array | None
    keys: Array
    rows: int


def row_keys(judging: Judging, signature: Signature, project: str, *, all_rows: bool) -> RowKeys:
    """The judged rows as `train_rows.bin` of a model with `signature` would have them.

    Without `all_rows` those of a sample of 50,000 rows, chosen by the test set's identity.

    Raises:
        EvidenceError: a raw column of the model is missing, or has other values than it takes.
    """
    n = len(judging.positions())
    chosen = None
    if not all_rows and n > _SAMPLED:
        draw = np.random.default_rng(int(judging.of.test_set[:16], 16))
        chosen = np.sort(draw.choice(n, _SAMPLED, replace=False))
    found = np.zeros(n if chosen is None else len(chosen), np.uint64)
    label = _label_texts(judging)
    if chosen is not None:
        label = label.gather(pl.Series(chosen))
    for part, frame in _raw_rows(judging, chosen, signature):
        frame = frame.with_columns(label.gather(pl.Series(part)).alias(signature.target))
        found[part] = rows.row_keys(frame, signature, project)
    return RowKeys(chosen, found, n)


def trained_on(keys: RowKeys, model: package.Package) -> Array:
    """Which of the judged rows a model was trained on: int8 (n), -1 is not looked at."""
    known = rows.train_keys(model.folder / "train_rows.bin")
    nearest = np.minimum(np.searchsorted(known, keys.keys), len(known) - 1)
    found = np.full(keys.rows, -1, np.int8)
    found[slice(None) if keys.chosen is None else keys.chosen] = known[nearest] == keys.keys
    return found


def key_shape(signature: Signature, project: str) -> object:
    """What row keys depend on: models that are alike in it share them."""
    inputs = tuple((item.name, item.type) for item in signature.inputs)
    return project, inputs, signature.target, signature.task == "regression"


def scored(model: package.Package, of: Evaluation, command: package.Command | None) -> pl.DataFrame:
    """What a model predicts for the raw inputs of another's evaluation, in the file's order."""
    classes = list(model.signature.classes)
    step = of.rows if command else 4 * _CHUNK  # a command is run once
    parts = []
    for start in range(0, of.rows, step):
        frame = package.score(model, of.inputs.slice(start, step), command=command).frame
        if classes:
            frame = frame.with_columns(pl.col("prediction").cast(pl.Enum(classes)))
        parts.append(frame)
    return pl.concat(parts)


def _raw_rows(
    judging: Judging, chosen: Array | None, signature: Signature
) -> Iterator[tuple[Array, pl.DataFrame]]:
    """The model's raw inputs of judged rows as they stand in the file, in parts.

    With each part the positions of its rows among `chosen` (None: among the judged rows).
    """
    names = [item.name for item in signature.inputs]
    try:
        rows.require_columns(judging.of.inputs.collect_schema().names(), names)
    except EvidenceError as error:
        error.where = Where(judging.of.folder / INPUTS)
        raise
    inputs = judging.of.inputs.select(names)
    places = judging.positions()
    places = places if chosen is None else places[chosen]
    at = np.argsort(places, kind="stable")
    places = places[at]
    if len(places) <= _SAMPLED:
        yield at, rows_at(inputs, places)
        return
    for start in range(0, judging.of.rows, _CHUNK):
        low, high = np.searchsorted(places, [start, start + _CHUNK])
        yield at[low:high], inputs.slice(start, _CHUNK).collect()[places[low:high] - start]


def _label_texts(judging: Judging) -> pl.Series:
    """Labels as the row keys have them; a class that no model knows is missing."""
    if judging.of.signature.task == "regression":
        return judging.values(pl.col("label"))
    known = set(judging.classes)
    return judging.values(pl.col("label").cast(pl.Enum(sorted(known)), strict=False))


def _slice(judging: Judging, name: str) -> Column | None:
    """A slice column; None where it has more than MOST_VALUES values."""
    distinct = _column(judging.of.predictions, pl.col(name).unique())
    if len(distinct) > MOST_VALUES:
        return None
    values = sorted(distinct.drop_nulls().to_list())
    codes = judging.values(coded(name, values)).to_numpy().astype(np.int32)
    return bands.column(codes, values)


def _sensitive(judging: Judging, name: str, of_slice: Column | None) -> Column:
    """A sensitive column: numbers of many values in bands, else the slice or the raw values."""
    where = Where(judging.of.folder / INPUTS)
    have = judging.of.inputs.collect_schema().names()
    if name not in have:
        if of_slice is not None:
            return of_slice
        try:
            rows.require_columns(have, [name])
        except EvidenceError as error:
            raise EvidenceError(
                f"sensitive: {error.message}",
                fix="keep the column among the raw columns of the test set, or correct `sensitive`"
                " in gitops.yaml of the target branch",
                where=where,
            ) from error
    raw = judging.raw(name)
    kinds = {item.name: item.type for item in judging.of.signature.inputs}
    if raw.dtype == pl.String and kinds.get(name) in ("number", "datetime"):
        raw = rows.typed(raw, kinds[name])
    if raw.dtype.is_numeric() and raw.dtype != pl.Boolean:
        numbers = raw.cast(pl.Float64).fill_nan(None)
        if numbers.drop_nulls().n_unique() > bands.DISTINCT:
            return bands.of_numbers(numbers)
    if of_slice is not None:
        return of_slice
    texts = rows.canonical(raw)
    texts = texts.set(texts == "", None)
    values = sorted(texts.drop_nulls().unique().to_list())
    if len(values) > MOST_VALUES:
        raise EvidenceError(
            f"the sensitive column {name!r} has {len(values):,} values: those are no groups",
            fix="name a column with groups under `sensitive` in gitops.yaml",
            where=where,
        )
    codes = texts.to_frame(name).select(coded(name, values)).to_series().to_numpy()
    return bands.column(codes.astype(np.int32), values)


def _groups(judging: Judging) -> Array:
    """Codes of groups by their text; a row without a group is a group of its own."""
    codes = judging.values(pl.col("group").rank("dense").cast(pl.Int64))
    if missing := codes.null_count():
        own = pl.Series(np.arange(missing) + len(codes) + 1)
        codes = codes.scatter(codes.is_null().arg_true(), own)
    return (codes - 1).to_numpy()


def _times(judging: Judging) -> Array | None:
    """Microseconds; None where a row has no time, since rows then have no order."""
    times = judging.values(pl.col("timestamp").dt.timestamp("us"))
    return None if times.null_count() else times.to_numpy()


def _column(frame: pl.LazyFrame, column: pl.Expr) -> pl.Series:
    return frame.select(column).collect(engine="streaming").to_series()
