"""The model package: reading and proving it, and scoring rows with it.

A package is a folder (docs/formats.md, "Model package"). Nothing in it is ever unpickled: a
model is run by the ONNX runtime, or by a command that the caller runs in the project's environment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from gitops import csvtext, onnxfile, rows, sha256, utc
from gitops.errors import EvidenceError, UsageError, Where
from gitops.reference import read as read_reference
from gitops.signature import Input, Signature, package_digest
from gitops.signature import read as read_signature

if TYPE_CHECKING:
    import onnxruntime

Command = Callable[[pl.DataFrame], pl.DataFrame]
Array = np.ndarray[Any, Any]

FILES = ("signature.json", "reference.json", "train_rows.bin", "MODEL_CARD.md")
_TENSORS = {
    "number": "tensor(float)",
    "boolean": "tensor(float)",
    "datetime": "tensor(double)",
    "categorical": "tensor(string)",
}
_REBUILD = "build the package again"


@dataclass(frozen=True)
class Package:
    """A package that was proven; `files` maps relative paths to SHA-256 (hex)."""

    folder: Path
    signature: Signature
    reference: Mapping[str, Any]
    files: Mapping[str, str]
    train_rows: int
    session: onnxruntime.InferenceSession | None = field(repr=False, compare=False, default=None)

    @property
    def digest(self) -> str:
        """SHA-256 over what `sha256sum` prints for the files, sorted by path."""
        return package_digest(self.files)


@dataclass(frozen=True)
class Scored:
    """Predictions in the order of the rows, and what the model hadn't seen in training, counted."""

    frame: pl.DataFrame
    warnings: tuple[str, ...]


def read(folder: Path) -> Package:
    """Read a package and prove that its parts are whole and agree.

    Raises:
        EvidenceError: a file is missing or breaks its contract, the files contradict each other, or
            the model doesn't load, needs code or files from elsewhere, or has other inputs.
    """
    if not folder.is_dir():
        fix = "run `gitops build`, or `gitops fetch` what somebody else built"
        raise EvidenceError("there is no package", fix=fix, where=Where(folder))
    signature = read_signature(folder / "signature.json")
    model = [signature.runtime.file] if signature.runtime.kind == "onnx" else []
    for name in [*FILES, *model]:
        if not (folder / name).is_file():
            where = Where(folder / name)
            raise EvidenceError("the package lacks this file", fix=_REBUILD, where=where)
    profile = read_reference(folder / "reference.json", signature)
    keys = rows.train_keys(folder / "train_rows.bin")
    if not 0 < len(keys) <= profile["rows"]:
        raise EvidenceError(
            f"{len(keys):,} keys for the {profile['rows']:,} training rows of reference.json",
            fix=_REBUILD,
            where=Where(folder / "train_rows.bin"),
        )
    session = _session(folder / signature.runtime.file, signature) if model else None
    return Package(folder, signature, profile, sha256.of_files(folder), len(keys), session)


def read_rows(path: Path) -> pl.DataFrame:
    """Read raw rows of a .csv, .parquet or .jsonl file; a CSV file's columns are all text.

    A CSV file has a header and is separated by comma, semicolon, tab or |, whichever is most
    frequent in its first line; what stands for missing there is `NULL_MARKERS`.

    Raises:
        UsageError: another ending.
        EvidenceError: missing, unreadable, no rows, or a column name twice.
    """
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".csv": _read_csv,
        ".parquet": lambda path: pl.read_parquet(path, glob=False),
        ".jsonl": lambda path: pl.read_ndjson(path.read_bytes(), infer_schema_length=None),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path.suffix or 'no ending'} is not a format that we read",
            fix=f"give a file that ends in {', '.join(readers)}",
            where=Where(path),
        )
    try:
        frame = reader(path)
    except FileNotFoundError as error:
        fix = "check the path"
        raise EvidenceError("there is no such file", fix=fix, where=Where(path)) from error
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        OSError,
        UnicodeError,
    ) as error:
        message = f"can't be read: {str(error).splitlines()[0]}"
        raise EvidenceError(message, fix="write the file again", where=Where(path)) from error
    if not frame.height:
        raise EvidenceError("there are no rows", fix="give rows to score", where=Where(path))
    return frame


def tensors(frame: pl.DataFrame, signature: Signature, first_row: int = 1) -> dict[str, Array]:
    """Raw columns as the model's input tensors, by tensor name, each of shape (n, 1).

    Numbers and booleans float32 (missing NaN, booleans 0/1), datetimes float64 seconds since
    1970-01-01T00:00:00Z (missing NaN), categories objects (missing ""). Columns that aren't inputs
    are ignored.

    Raises:
        EvidenceError: a column is missing, a value isn't of its type, or is missing where the
            signature has no missing values; with its row, the first being `first_row`.
    """
    columns = typed(frame, signature, first_row)
    return {item.tensor: _tensor(columns[item.name], item) for item in signature.inputs}


def typed(frame: pl.DataFrame, signature: Signature, first_row: int = 1) -> dict[str, pl.Series]:
    """The inputs by name in full precision (`rows.typed`); raises as `tensors` does."""
    rows.require_columns(frame.columns, [item.name for item in signature.inputs])
    columns = {}
    for item in signature.inputs:
        column = rows.typed(frame[item.name], item.type, first_row)
        if not item.nullable and column.null_count():
            first = column.is_null().arg_true().head(5)
            raise EvidenceError(
                f"column {item.name!r}: {column.null_count():,} values are missing, but the model"
                f" takes none missing; rows {', '.join(str(row + first_row) for row in first)}",
                fix="fill them in, or leave out these rows",
            )
        columns[item.name] = column
    return columns


def score(
    package: Package,
    frame: pl.DataFrame | pl.LazyFrame,
    *,
    batch: int = 100_000,
    command: Command | None = None,
) -> Scored:
    """Predict for raw rows, `batch` at a time; a lazy table is read in batches, too.

    A declared command is run by `command`: it gets the raw input columns of all rows and gives the
    columns that docs/formats.md asks of it, in the same order.

    Raises:
        EvidenceError: no rows, rows that don't fit the signature (see `tensors`), or answers of
            another shape or that aren't finite numbers.
    """
    signature = package.signature
    table = frame.lazy()
    height = int(table.select(pl.len()).collect().item())
    if not height:
        raise EvidenceError("there are no rows", fix="give rows to score")
    names = [item.name for item in signature.inputs]
    rows.require_columns(table.collect_schema().names(), names)
    surprises = [Surprise(item) for item in signature.inputs]
    answers = []
    for start in range(0, height, batch):
        columns = typed(table.slice(start, batch).select(names).collect(), signature, start + 1)
        for surprise in surprises:
            surprise.count(columns[surprise.item.name])
        if package.session is not None:
            feed = {item.tensor: _tensor(columns[item.name], item) for item in signature.inputs}
            answers.append(answer(package, feed))
    if package.session is None:
        if command is None:
            raise ValueError("a declared command needs the caller to run it")
        answered = command(table.select(names).collect())
        answers.append(_answers_of(answered, signature, height))
    values = np.concatenate(answers).astype(np.float64)
    _check_answers(values, signature, height)
    texts = [text for surprise in surprises if (text := str(surprise))]
    return Scored(decide(values, signature), tuple(texts))


def answer(package: Package, feed: Mapping[str, Array]) -> Array:
    """The model's output for these tensors, as it is.

    Raises:
        EvidenceError: the model fails: it wants more memory than there is, say.
    """
    assert package.session is not None  # noqa: S101
    try:
        made: Array = package.session.run([package.signature.runtime.output], dict(feed))[0]
    except Exception as error:  # the runtime's own exceptions have no common base
        raise EvidenceError(
            f"the model fails on these rows: {str(error).splitlines()[0][:300]}",
            fix=_REBUILD,
            where=Where(package.folder / package.signature.runtime.file),
        ) from error
    return made


def decide(values: Array, signature: Signature) -> pl.DataFrame:
    """Answers, float64 of shape (n, classes) or (n, 1), as the columns of predictions.parquet.

    Binary: positive where the float64 of the probability is >= threshold. Multiclass: the largest
    probability, the first of equals.
    """
    if signature.task == "regression":
        return pl.DataFrame({"prediction": values[:, 0]})
    if signature.threshold is not None:
        chosen = (values[:, 1] >= signature.threshold).astype(np.int64)
        scores = {"score": values[:, 1]}
    else:
        chosen = values.argmax(axis=1)
        scores = {name: values[:, at] for at, name in enumerate(signature.score_columns)}
    prediction = pl.Series(signature.classes, dtype=pl.String).gather(chosen)
    return pl.DataFrame({"prediction": prediction, **scores})


def _session(path: Path, signature: Signature) -> onnxruntime.InferenceSession:
    """The loaded model. One thread: sums over threads would depend on their number."""
    import onnxruntime as ort

    onnxfile.check(path)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exceptions have no common base
        message = f"the model can't be loaded: {str(error).splitlines()[0]}"
        raise EvidenceError(message, fix=_REBUILD, where=Where(path)) from error
    if fault := _disagreement(session, signature):
        raise EvidenceError(fault, fix=_REBUILD, where=Where(path))
    return session


def _disagreement(session: onnxruntime.InferenceSession, signature: Signature) -> str:
    """Where the model's inputs and outputs aren't those of the signature; empty if they are."""
    given = {item.name: item for item in session.get_inputs()}
    wanted = {item.tensor: item for item in signature.inputs}
    if given.keys() != wanted.keys():
        return f"tensors differ from the signature's: {', '.join(sorted(given.keys() ^ wanted))}"
    for name, tensor in given.items():
        if tensor.type != (kind := _TENSORS[wanted[name].type]):
            return f"tensor {name!r} is {tensor.type}; {wanted[name].type} must be {kind}"
        if len(tensor.shape) != 2 or tensor.shape[1] != 1 or isinstance(tensor.shape[0], int):
            return f"tensor {name!r} has the shape {tensor.shape}, not (n, 1)"
    outputs = {item.name: item for item in session.get_outputs()}
    output = outputs.get(signature.runtime.output)
    if output is None:
        return f"there is no output {signature.runtime.output!r}, only {', '.join(outputs)}"
    width = len(signature.classes) or 1
    known = [size for size in output.shape[1:] if isinstance(size, int)]
    if output.type != "tensor(float)" or len(output.shape) != 2 or known not in ([], [width]):
        return f"output {output.name!r} is {output.type} {output.shape}, not float (n, {width})"
    return ""


@dataclass
class Surprise:
    """Counts values of one input that the training data didn't have."""

    item: Input
    rows: int = 0
    examples: list[object] = field(default_factory=list)

    def count(self, column: pl.Series) -> None:
        """Add the values of a typed column."""
        if self.item.type == "categorical":
            strange = ~column.is_in(self.item.categories) & column.is_not_null()
        elif self.item.minimum is None:
            return
        else:
            strange = (column < self.item.minimum) | (column > self.item.maximum)
        if number := int(strange.sum() or 0):
            self.rows += number
            if len(self.examples) < 3:
                found = column.filter(strange).unique(maintain_order=True).head(3)
                self.examples += found.to_list()[: 3 - len(self.examples)]

    def __str__(self) -> str:
        if not self.rows:
            return ""
        shown = ", ".join(str(_shown(value, self.item)) for value in self.examples)
        if self.item.type == "categorical":
            return (
                f"{self.item.name}: {self.rows:,} rows of categories unknown to the model: {shown}"
            )
        low, high = (_shown(value, self.item) for value in (self.item.minimum, self.item.maximum))
        where = f"outside of the training range {low} to {high}"
        return f"{self.item.name}: {self.rows:,} rows {where}: {shown}"


def _shown(value: object, item: Input) -> str:
    if item.type == "datetime" and isinstance(value, float):
        with contextlib.suppress(OverflowError, ValueError, OSError):
            return utc.text(datetime.fromtimestamp(value, UTC), "auto")
    return f"{value:.12g}" if isinstance(value, float) else repr(value)


def _tensor(column: pl.Series, item: Input) -> Array:
    if item.type == "categorical":
        return column.fill_null("").to_numpy().astype(object).reshape(-1, 1)
    numbers = column.fill_null(np.nan).to_numpy()
    if item.type != "datetime":
        with np.errstate(over="ignore"):  # beyond float32 is infinite: an order that trees keep
            numbers = numbers.astype(np.float32)
    return numbers.reshape(-1, 1)


def _answers_of(answered: pl.DataFrame, signature: Signature, height: int) -> Array:
    """What a declared command wrote, as `decide` takes it."""
    wanted = signature.score_columns or ("prediction",)
    if answered.height != height:
        message = f"the command answered {answered.height:,} rows for {height:,}"
        raise EvidenceError(message, fix="answer every row, in the same order")
    rows.require_columns(answered.columns, list(wanted))
    columns = [rows.typed(answered[name], "number").fill_null(np.nan).to_numpy() for name in wanted]
    return np.column_stack([1 - columns[0], *columns] if signature.task == "binary" else columns)


def _check_answers(values: Array, signature: Signature, height: int) -> None:
    expected = (height, len(signature.classes) or 1)
    if values.shape != expected:
        message = f"the model answered with the shape {values.shape}, not {expected}"
        raise EvidenceError(message, fix=_REBUILD)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise EvidenceError(
            f"the model's answers for {len(bad):,} rows are not finite numbers;"
            f" rows {', '.join(str(row + 1) for row in bad[:5])}",
            fix="look at the inputs of these rows; the model must answer every row that it takes",
        )


def _read_csv(path: Path) -> pl.DataFrame:
    text = csvtext.read_text(path, path.read_bytes()).frame
    return text.with_columns(
        pl.when(pl.all().is_in(rows.NULL_MARKERS)).then(None).otherwise(pl.all()).name.keep()
    )
