"""What each input contributed to one prediction: Shapley values, estimated within a budget.

A draw is a row of the background and an order of the inputs: one input after the other goes from
its background value to the row's, and what the answer moves by is that input's contribution. The
mean over draws estimates the Shapley value without bias (Castro, Gómez and Tejada 2009, Polynomial
calculation of the Shapley value based on sampling; Štrumbelj and Kononenko 2014, Explaining
prediction models and individual predictions with feature contributions). Each draw is walked in its
order and in the reverse, which takes away variance (Mitchell et al. 2022, Sampling permutations for
Shapley value estimation). Contributions add up to the score less the base value, the mean answer
over the draws' background rows, whatever the number of draws.

The background is drawn column by column from the training data's profile: as if inputs were
independent. An explanation tells of the model, also at rows that never occur; not of causes.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gitops.package import Array
from gitops.serve import background
from gitops.serve.model import Model
from gitops.serve.refusal import Refusal
from gitops.serve.rows import Rows

MOST_ROWS = 16
_BATCH = 512  # evaluations at once
Evaluate = Callable[[Sequence[Array]], Array]
Draw = Callable[[int], Sequence[Array]]


@dataclass(frozen=True)
class Budget:
    """For one request: evaluations of the model, and milliseconds after which no batch begins.

    Two draws are made whatever they cost: without them there is no standard error.
    """

    evaluations: int = 4_000
    ms: float = 100.0


@dataclass(frozen=True)
class Shapley:
    """`contributions` and their standard `errors`, in the order of the inputs."""

    score: float
    base: float
    contributions: tuple[float, ...]
    errors: tuple[float, ...]
    draws: int


def of(
    model: Model,
    rows: Rows,
    request_id: str,
    budget: Budget = Budget(),
) -> list[dict[str, Any]]:
    """An explanation of each row, as JSON; the same for the same request unless time runs out.

    `of` is the class whose probability is explained: the positive or the predicted one; null in a
    regression.

    Raises:
        Refusal: 422; too many rows, or a model that doesn't answer in this process.
    """
    if rows.height > MOST_ROWS:
        fix = f"send at most {MOST_ROWS} rows"
        raise Refusal(422, f"{rows.height:,} rows are too many to explain", fix=fix)
    session = model.package.session
    if session is None or model.runner is not None:
        fix = "ask without ?explain=true"
        raise Refusal(422, "only an ONNX model without a script is explained", fix=fix)
    signature = model.signature
    inputs = signature.inputs

    def values(of: int | slice, columns: Sequence[Array]) -> Array:
        feed = {item.tensor: column for item, column in zip(inputs, columns, strict=True)}
        answer: Array = session.run([signature.runtime.output], feed)[0]
        return answer.astype(np.float64)[:, of]

    def draw(count: int) -> list[Array]:
        feed = background.tensors(background.draw(model.package, count, chance), signature)
        return [feed[item.tensor] for item in inputs]

    made = []
    answered = values(slice(None), [rows.feed[item.tensor] for item in inputs])
    share = Budget(budget.evaluations // rows.height, budget.ms / rows.height)
    for row in range(rows.height):
        at = {"binary": 1, "regression": 0}.get(signature.task, int(answered[row].argmax()))
        chance = np.random.default_rng(_seed(request_id, row))
        point = [rows.feed[item.tensor][row : row + 1] for item in inputs]
        found = shapley(partial(values, at), point, draw, chance, share)
        made.append(
            {
                "of": signature.classes[at] if signature.classes else None,
                "score": found.score,
                "base": found.base,
                "contributions": _named(inputs, found.contributions),
                "errors": _named(inputs, found.errors),
                "draws": found.draws,
            }
        )
    return made


def shapley(
    evaluate: Evaluate,
    point: Sequence[Array],
    draw: Draw,
    chance: np.random.Generator,
    budget: Budget,
) -> Shapley:
    """The Shapley values of a row's inputs.

    `evaluate` answers columns of shape (n, 1) with n numbers; `point` has columns of one row;
    `draw` gives columns of so many background rows.
    """
    end = time.monotonic() + budget.ms / 1e3
    width = len(point)
    each = max(1, 2 * width - 1)
    wanted = max(2, budget.evaluations // each)
    score, done = 0.0, 0
    parts: list[Array] = []
    while done < wanted and (done < 2 or time.monotonic() < end):
        count = min(max(2, done), max(2, _BATCH // each), wanted - done)
        score, part = _walk(evaluate, point, draw(count), chance)
        parts.append(part)
        done += count
    all_parts = np.concatenate(parts)
    contributions = tuple(all_parts.mean(axis=0).tolist())
    errors = all_parts.std(axis=0, ddof=1) / math.sqrt(done)
    base_value = score - math.fsum(contributions)
    return Shapley(score, base_value, contributions, tuple(errors.tolist()), done)


def _walk(
    evaluate: Evaluate, point: Sequence[Array], drawn: Sequence[Array], chance: np.random.Generator
) -> tuple[float, Array]:
    """The row's score, and contributions in each draw: the means of an order and its reverse."""
    count, width = len(drawn[0]), len(point)
    order = chance.permuted(np.tile(np.arange(width), (count, 1)), axis=1)
    place = np.argsort(order, axis=1)  # of each input in the order
    # Step s of the walk has the row's value where the place is below s; the reverse where the place
    # is width - s or above. Step 0 is the background row for both, step `width` the row itself.
    steps = np.arange(1, width)
    forward = place[:, None, :] < steps[None, :, None]
    backward = place[:, None, :] >= width - steps[None, :, None]
    start = np.zeros((count, 1, width), dtype=bool)
    mine = np.concatenate([start, forward, backward], axis=1).reshape(-1, width)
    each = 2 * width - 1
    columns = [
        np.where(mine[:, at, None], point[at], np.repeat(drawn[at], each, axis=0))
        for at in range(width)
    ]
    # The row itself within the same batch: a runtime's last bits may depend on the batch's size.
    answers = evaluate([np.vstack([one, end]) for one, end in zip(columns, point, strict=True)])
    found, score = answers[:-1].reshape(count, each), float(answers[-1])
    first, last = found[:, :1], np.full((count, 1), score)
    gains = np.diff(np.hstack([first, found[:, 1:width], last]), axis=1)
    losses = np.diff(np.hstack([first, found[:, width:], last]), axis=1)[:, ::-1]
    both: Array = (np.take_along_axis(gains, place, 1) + np.take_along_axis(losses, place, 1)) / 2
    return score, both


def _named(inputs: Sequence[Any], numbers: Sequence[float]) -> dict[str, float]:
    return {item.name: number for item, number in zip(inputs, numbers, strict=True)}


def _seed(request_id: str, row: int) -> int:
    text = f"{row}\0{request_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest())
