"""An evaluation: what a package predicted for its test set, read by column and distrusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gitops import contracts, rows, testset
from gitops.errors import EvidenceError, GitopsError, Where
from gitops.package import Command, Package, score
from gitops.signature import Signature
from gitops.testset import Positions

PREDICTIONS, INPUTS = "predictions.parquet", "inputs.parquet"
SUM_TOLERANCE = 1e-4  # of the probabilities of a row
RANGE_TOLERANCE = 1e-6  # probabilities are computed in float32
SCORE_TOLERANCE = 1e-5  # of a score when the package is asked again
AUC_TOLERANCE = 1e-4  # of how all scores together rank the rows

_DTYPES = {
    pl.String(): "string",
    pl.Float64(): "float64",
    pl.Datetime("us", "UTC"): "datetime[us, UTC]",
}
FIX = "mend the stage that writes the evaluation, and build again"


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that was checked.

    `predictions` and `inputs` are lazy: nothing is in memory before it's asked for. `description`
    is a document of the contract `evaluation`. `unseen` counts rows by label outside the classes.
    `order` and `input_order` (n) are the positions that sort predictions and inputs by id.
    """

    folder: Path
    signature: Signature
    rows: int
    slices: tuple[str, ...]
    test_set: str
    unseen: Mapping[str, int]
    description: Mapping[str, Any]
    predictions: pl.LazyFrame = field(repr=False, compare=False)
    inputs: pl.LazyFrame = field(repr=False, compare=False)
    order: Positions = field(repr=False, compare=False)
    input_order: Positions = field(repr=False, compare=False)


def read(folder: Path, signature: Signature, like: Evaluation | None = None) -> Evaluation:
    """Read the evaluation of the package with `signature`, and check every row of it.

    `like` is one that was read before: where its inputs are the very same file, and ids, labels and
    weights are equal, its identity is taken rather than computed anew.

    Raises:
        EvidenceError: a table is missing, damaged or empty; a column is missing, unknown or of
            another type; ids are missing, twice, or not the same in both tables; labels are missing
            or not canonical; scores are no probabilities; a prediction contradicts its score; a
            weight isn't a finite number above 0. With the number of rows and the first ids.
    """
    with _readable(folder):
        return _read(folder, signature, like)


def _read(folder: Path, signature: Signature, like: Evaluation | None) -> Evaluation:
    predictions, inputs = _scan(folder / PREDICTIONS), _scan(folder / INPUTS)
    where = Where(folder / PREDICTIONS)
    columns = _columns(predictions, signature, where)
    kinds = inputs.collect_schema()
    if kinds.get("__id__") != pl.String:
        message = f"column '__id__' must be string, it is {kinds.get('__id__', 'missing')}"
        raise EvidenceError(message, fix=FIX, where=Where(folder / INPUTS))
    count = int(predictions.select(pl.len()).collect().item())
    if not count:
        raise EvidenceError("there are no rows", fix=FIX, where=where)
    slices = tuple(name.removeprefix("slice_") for name in columns if name.startswith("slice_"))
    if like is not None and _alike(folder, predictions, signature, like):
        found = like.test_set, like.order, like.input_order
    else:
        try:
            found = testset.identify(predictions, inputs, signature)
        except GitopsError as error:
            raise EvidenceError(error.message, fix=error.fix, where=Where(folder)) from error
    identity, order, input_order = found
    _check_rows(predictions, signature, tuple(columns), where)
    description: dict[str, Any] = {
        "version": 1,
        "model": signature.model,
        "task": signature.task,
        "rows": count,
        "columns": columns,
        "inputs": {name: _DTYPES.get(kind, str(kind).lower()) for name, kind in kinds.items()},
        "slices": list(slices),
        "test_set": identity,
    }
    if signature.classes:
        description["classes"] = list(signature.classes)
    contracts.validate("evaluation", description, Where(folder))
    return Evaluation(
        folder=folder,
        signature=signature,
        rows=count,
        slices=slices,
        test_set=identity,
        unseen=_unseen(predictions, signature, where),
        description=description,
        predictions=predictions,
        inputs=inputs,
        order=order,
        input_order=input_order,
    )


def ask(
    package: Package,
    evaluation: Evaluation,
    *,
    rows: int,
    inputs: Evaluation | None = None,
    command: Command | None = None,
) -> pl.DataFrame | None:
    """Ask the package again about all rows, or about `rows` of them where there are more.

    Which ones is drawn anew each time: whoever could compute the draw would try forgeries until it
    misses them. `inputs` is an evaluation of the same test set whose raw columns are trusted more.

    Scores (and a regression's predictions, relative to their size above 1) may differ by
    SCORE_TOLERANCE; decisions may not differ.

    Returns:
        What the package answers, rows sorted by id; None if it wasn't asked about all.

    Raises:
        EvidenceError: the package answers otherwise; with the number of rows and the first ids.
    """
    source = inputs or evaluation
    count = min(rows, evaluation.rows)
    chosen = np.random.default_rng().choice(evaluation.rows, count, replace=False)
    with _readable(evaluation.folder):
        claimed = rows_at(evaluation.predictions, evaluation.order[chosen]).sort("id")
        raw = rows_at(source.inputs, source.input_order[chosen]).sort("__id__")
    try:
        answered = score(package, raw, command=command).frame
    except EvidenceError as error:
        error.where = error.where or Where(source.folder / INPUTS)
        raise
    differs = pl.repeat(False, claimed.height, eager=True)
    for name in answered.columns:
        if answered[name].dtype == pl.Float64:
            scale = pl.select(pl.max_horizontal(answered[name].abs(), pl.lit(1.0))).to_series()
            differs |= ~((answered[name] - claimed[name]).abs() <= SCORE_TOLERANCE * scale)
        else:
            differs |= answered[name] != claimed[name]
    if differs.any():
        first = ", ".join(repr(text) for text in claimed["id"].filter(differs).head(5))
        of = "" if count == evaluation.rows else "sampled "
        raise EvidenceError(
            f"{differs.sum():,} of {claimed.height:,} {of}rows have other predictions"
            f" than the package gives: {first}",
            fix="build again: predictions must be made by the package itself",
            where=Where(evaluation.folder / PREDICTIONS),
        )
    if count == evaluation.rows:
        return answered
    if (moved := _reordered(claimed, answered, package.signature)) > AUC_TOLERANCE:
        raise EvidenceError(
            f"the scores of {count:,} sampled rows differ little from those that the package gives,"
            f" but rank the rows otherwise: the AUC differs by {moved:.4f}",
            fix="build again: predictions must be made by the package itself",
            where=Where(evaluation.folder / PREDICTIONS),
        )
    return None


def _reordered(claimed: pl.DataFrame, answered: pl.DataFrame, signature: Signature) -> float:
    """The largest difference between the AUCs of a class by two tables of scores."""
    classes = signature.classes if signature.threshold is None else signature.classes[1:]
    moved = 0.0
    for name, text in zip(signature.score_columns, classes, strict=True):
        positive = (claimed["label"] == text).to_numpy()
        many = int(positive.sum()) * int((~positive).sum())
        if many and not claimed[name].equals(answered[name]):
            old, new = (one[name].rank().to_numpy()[positive].sum() for one in (claimed, answered))
            moved = max(moved, float(abs(old - new)) / many)
    return moved


def rows_at(table: pl.LazyFrame, places: Positions) -> pl.DataFrame:
    """The rows at these positions, in the table's order; the rest isn't kept in memory."""
    here = pl.col("__row__").is_in(pl.Series(np.asarray(places, np.uint32)).implode())
    numbered = table.with_row_index("__row__").filter(here)
    return numbered.drop("__row__").collect(engine="streaming")


@dataclass(frozen=True)
class RawRows:
    """Raw columns of rows that stand in `table` at the positions `order`: read by column and row.

    To bring all of them into that order takes as long as all else that is asked of them.
    """

    table: pl.LazyFrame
    order: Positions

    def __len__(self) -> int:
        return len(self.order)

    def collect_schema(self) -> pl.Schema:
        return self.table.collect_schema()

    def take(self, rows: Positions, names: Sequence[str] | None = None) -> pl.DataFrame:
        """These rows (numbers), in this order, of all columns or of `names`."""
        places, back = np.unique(self.order[rows], return_inverse=True)
        table = self.table if names is None else self.table.select(names)
        return rows_at(table, places)[back]


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Damage inside of a table is found when its pages are read."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        message = f"a table can't be read: {str(error).splitlines()[0]}"
        raise EvidenceError(message, fix=FIX, where=Where(folder)) from error


def _alike(folder: Path, table: pl.LazyFrame, signature: Signature, like: Evaluation) -> bool:
    """Whether ids, labels, weights and inputs are those of `like`, row by row."""
    if signature.task != like.signature.task:
        return False
    if not (folder / INPUTS).samefile(like.folder / INPUTS):
        return False
    other = like.predictions
    weighted = "weight" in table.collect_schema()
    if weighted != ("weight" in other.collect_schema()):
        return False
    names = ["id", "label", *(["weight"] if weighted else [])]
    return all(table.select(name).collect().equals(other.select(name).collect()) for name in names)


def _scan(path: Path) -> pl.LazyFrame:
    if not path.is_file():
        fix = "run `gitops build`, or `gitops fetch` what somebody else built"
        raise EvidenceError("there is no such file", fix=fix, where=Where(path))
    try:
        table = pl.scan_parquet(path, glob=False)
        table.collect_schema()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        message = f"not a Parquet file that can be read: {str(error).splitlines()[0]}"
        raise EvidenceError(message, fix=FIX, where=Where(path)) from error
    return table


def _columns(table: pl.LazyFrame, signature: Signature, where: Where) -> dict[str, str]:
    """The columns of predictions.parquet with their types, which must be those of the contract."""
    text, number, time = _DTYPES
    label = number if signature.task == "regression" else text
    required = {"id": text, "label": label, "prediction": label}
    required |= dict.fromkeys(signature.score_columns, number)
    allowed = required | {"weight": number, "group": text, "timestamp": time}
    present = table.collect_schema()
    faults = [f"column {name!r} is missing" for name in required if name not in present]
    for name, kind in present.items():
        wanted = allowed.get(name, text if name.startswith("slice_") else None)
        if wanted is None:
            near = get_close_matches(name, allowed, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            faults.append(f"column {name!r} is none of the contract's{hint}")
        elif kind != wanted:
            faults.append(f"column {name!r} is {kind}, not {_DTYPES[wanted]}")
    if faults:
        raise EvidenceError("; ".join(faults[:5]), fix=FIX, where=where)
    return {name: _DTYPES[kind] for name, kind in present.items()}


def _check_rows(
    table: pl.LazyFrame, signature: Signature, columns: tuple[str, ...], where: Where
) -> None:
    """Count the rows that break each rule in one pass; name the first of those that do."""
    rules = _rules(signature, columns)
    counts = table.select(
        [rule.fill_null(False).sum().alias(text) for text, rule in rules.items()]
    ).collect(engine="streaming")
    for text, rule in rules.items():
        if number := int(counts[text].item()):
            found = table.filter(rule).head(5).select("id").collect().to_series()
            first = ", ".join(repr(one) for one in found)
            message = f"{number:,} rows {text}: {first}"
            raise EvidenceError(message, fix=FIX, where=where)


def _rules(signature: Signature, columns: tuple[str, ...]) -> dict[str, pl.Expr]:
    """What no row may be, in words, and the expression that is true for such a row."""
    scores = [pl.col(name) for name in signature.score_columns]
    rules = {"have no label": pl.col("label").is_null()}
    if signature.task == "regression":
        rules["have a label that is not finite"] = ~pl.col("label").is_finite()
        missing = pl.col("prediction").is_null()
        rules["have a prediction that is not finite"] = missing | ~pl.col("prediction").is_finite()
    else:
        known = list(signature.classes)
        shown = ", ".join(known[:10])
        wrong = pl.col("prediction").is_null() | ~pl.col("prediction").is_in(known)
        rules[f"have a prediction that is none of the classes ({shown})"] = wrong
        bad = [one.is_null() | ~one.is_finite() for one in scores]
        rules["have a score that is not finite"] = pl.any_horizontal(bad)
        outside = [(one < -RANGE_TOLERANCE) | (one > 1 + RANGE_TOLERANCE) for one in scores]
        rules["have a score outside of 0 to 1"] = pl.any_horizontal(outside)
        if signature.task == "multiclass":
            total = (pl.sum_horizontal(scores) - 1).abs()
            rules["have scores that don't add up to 1"] = total > SUM_TOLERANCE
        contradiction = pl.col("prediction") != _decision(signature)
        basis = "the threshold" if signature.threshold is not None else "the largest score"
        rules[f"have a prediction that contradicts {basis}"] = contradiction
    if "weight" in columns:
        weight = pl.col("weight")
        bad_weight = weight.is_null() | ~weight.is_finite() | (weight <= 0)
        rules["have a weight that is not a finite number above 0"] = bad_weight
    return rules


def _decision(signature: Signature) -> pl.Expr:
    """The class that the scores stand for, as `package.decide` takes it."""
    if signature.threshold is not None:
        positive = pl.col("score") >= signature.threshold
        return (
            pl.when(positive)
            .then(pl.lit(signature.classes[1]))
            .otherwise(pl.lit(signature.classes[0]))
        )
    names = signature.score_columns
    best = pl.max_horizontal(names)
    # From the last class to the first, so that the first of equals stands outermost.
    pairs = list(zip(signature.classes, names, strict=True))[::-1]
    none = pl.lit(None, dtype=pl.String)
    return reduce(
        lambda rest, pair: pl.when(pl.col(pair[1]) == best).then(pl.lit(pair[0])).otherwise(rest),
        pairs,
        none,
    )


def _unseen(table: pl.LazyFrame, signature: Signature, where: Where) -> dict[str, int]:
    """Rows by label outside the classes; it must not be a class that is only written otherwise."""
    if not signature.classes:
        return {}
    strange = table.filter(~pl.col("label").is_in(list(signature.classes)))
    counts = strange.group_by("label").len().sort("label").collect(engine="streaming")
    found = dict(counts.iter_rows())
    folded = {name.casefold(): name for name in signature.classes}
    for text, number in found.items():
        meant = _normal(text)
        meant = meant if meant in signature.classes else folded.get(meant.casefold(), "")
        if meant:
            raise EvidenceError(
                f"{number:,} rows have the label {text!r}, which the model knows as {meant!r}",
                fix="write labels as the classes are written (true, 1)",
                where=where,
            )
    return found


def _normal(text: str) -> str:
    """The canonical text of what `text` seems to mean."""
    word = text.strip()
    if word.lower() in {"true", "false"}:
        return word.lower()
    try:
        return rows.label_text(float(word))
    except (ValueError, OverflowError):
        return word
