"""A loaded variant: bodies to rows, rows to answers.

An ONNX model answers in this process. What runs elsewhere (the user's scoring script, a declared
command) is a `Runner`, which the server awaits instead; `runner.start` says which a model has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np

from gitops import package as packages
from gitops.errors import EvidenceError, Where
from gitops.package import Array, Package
from gitops.serve.decode import Decoder
from gitops.serve.plan import Served, Variant
from gitops.serve.refusal import Refusal
from gitops.serve.rows import Policy, Rows, moment
from gitops.signature import Signature

if TYPE_CHECKING:
    from collections.abc import Sequence

Scores = list[float] | list[list[float]] | None


class Answers(msgspec.Struct, frozen=True):
    """What a model says about each row.

    `predictions` are canonical texts (classification) or numbers; `scores` the probability of the
    positive class (binary), of each class (multiclass), None in a regression.
    """

    predictions: Sequence[str] | Sequence[float]
    scores: Scores


class Runner(Protocol):
    """Answers in another process."""

    async def answer(self, rows: Rows) -> Answers:
        """Answer; cancelled when the request takes too long.

        Raises:
            Refusal: the rows are wrong (4xx) or the other side failed (5xx).
        """
        ...

    async def close(self) -> None:
        """End the other process; called once, after the last answer."""
        ...


@dataclass(frozen=True)
class Model:
    """One variant of a model, loaded and proven.

    `runner` None: `predict` answers, and holds the caller for as long as it takes.
    """

    name: str
    variant: Variant
    package: Package
    decode: Decoder
    runner: Runner | None = None

    @property
    def signature(self) -> Signature:
        return self.package.signature

    def predict(self, rows: Rows) -> Answers:
        """Answer rows in this process, by the ONNX runtime; safe in several threads at once.

        Raises:
            Refusal: 500; the model's answer isn't one.
        """
        return decide(self.values(rows), self.signature)

    def values(self, rows: Rows) -> Array:
        """The model's bare output for rows: float32 (n, classes) or (n, 1)."""
        assert self.package.session is not None  # noqa: S101
        made: Array = self.package.session.run([self.signature.runtime.output], rows.feed)[0]
        return made


def decide(values: Array, signature: Signature) -> Answers:
    """A model's output as answers, by the same rules as `package.decide`.

    Raises:
        Refusal: 500; another shape, or a number that isn't finite.
    """
    width = len(signature.classes) or 1
    if values.ndim != 2 or values.shape[1] != width:
        raise Refusal(500, f"the model answered with the shape {values.shape}, not (n, {width})")
    if len(values) == 1:
        finite = all(map(math.isfinite, values[0].tolist()))
    else:
        finite = bool(np.isfinite(values).all())
    if not finite:
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise Refusal(500, "the model's answer is not a finite number", row=row)
    if signature.task == "regression":
        return Answers(values[:, 0].tolist(), None)
    classes = signature.classes
    if signature.threshold is not None:
        scores = values[:, 1].tolist()
        least = signature.threshold
        return Answers([classes[score >= least] for score in scores], scores)
    return Answers([classes[at] for at in values.argmax(axis=1).tolist()], values.tolist())


def prove(variant: Variant) -> Package:
    """Read a variant's package, and prove that its bytes are those that were meant.

    Raises:
        EvidenceError: it is broken, or other bytes than the plan says.
    """
    package = packages.read(variant.folder)
    if package.digest != variant.package:
        raise EvidenceError(
            f"the package of {variant.release} has the digest {package.digest[:12]},"
            f" not {variant.package[:12]}",
            fix="fetch the package again; nobody may change one",
            where=Where(variant.folder),
        )
    return package


def decoder(
    package: Package, served: Served, others: frozenset[str] = frozenset(), most_rows: int = 10_000
) -> Decoder:
    """How requests for a package are read; `others`: the inputs of the other variant."""
    return Decoder(
        package.signature,
        policy=Policy(
            reject_unknown=served.serve.unknown_category == "reject",
            reject_range=served.serve.out_of_range == "reject",
        ),
        extras=others,
        key=served.key,
        most_rows=most_rows,
    )


def example(signature: Signature) -> dict[str, Any]:
    """A row that the model takes: for the warm-up, and to show people."""
    row: dict[str, Any] = {}
    for item in signature.inputs:
        if item.type == "categorical":
            row[item.name] = item.categories[0] if item.categories else "text"
        elif item.type == "boolean":
            row[item.name] = True
        elif item.type == "datetime":
            row[item.name] = moment(item.minimum or 0.0, item)
        else:
            row[item.name] = item.minimum if item.minimum is not None else 0
    return row
