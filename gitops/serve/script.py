"""The user's code around a model: `before(rows) -> rows` and `after(rows, answers) -> answers`.

Callers send rows of the model's signature; `before` gives the rows that the model gets, just as
many and of the same signature. `after` gets the caller's rows and the model's answers and gives the
answers that the caller gets, of the same form: `{"prediction": ...}` with `score` (binary) or
`scores` by class (multiclass). What either gives is checked as strictly as a request.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from gitops import uv
from gitops.errors import EvidenceError, Where
from gitops.serve import background
from gitops.serve.model import Answers, Model, Runner
from gitops.serve.plan import Serve
from gitops.serve.refusal import Refusal
from gitops.serve.rows import Rows
from gitops.serve.say import say
from gitops.serve.script_process import Failure, Limits, Script
from gitops.signature import Signature

_AT_ONCE = 64  # rows that the event loop may score itself


@dataclass(frozen=True, eq=False)
class Around:
    """A `Runner`: the script, around the model itself or around another runner."""

    model: Model
    script: Script
    inner: Runner | None = None

    async def answer(self, rows: Rows) -> Answers:
        signature = self.model.signature
        given = None if "after" not in self.script.steps else _table(rows)
        scored = rows
        if "before" in self.script.steps:
            made = await self.script.call("before", _table(rows) if given is None else given)
            scored = _rows(made, rows.height, self.model)
        answers = await self._answered(scored)
        if given is None:
            return answers
        made = await self.script.call("after", given, documents(answers, signature))
        return _answers(made, rows.height, signature)

    async def close(self) -> None:
        await self.script.close()
        if self.inner is not None:
            await self.inner.close()

    async def _answered(self, rows: Rows) -> Answers:
        if self.inner is not None:
            return await self.inner.answer(rows)
        if rows.height <= _AT_ONCE:
            return self.model.predict(rows)
        return await asyncio.to_thread(self.model.predict, rows)


async def start(
    model: Model, serve: Serve, inner: Runner | None = None, limits: Limits | None = None
) -> Around:
    """The model with its script around it, started, and proven with rows like the training data's.

    Raises:
        EvidenceError: the script can't be loaded, or what it gives isn't right.
        ToolError: the project's environment can't be made.
    """
    if serve.workdir is None or serve.script is None:
        raise EvidenceError(
            f"{model.name} has a scoring script, but nobody says in which checkout",
            fix="the serving plan names it as `workdir`",
        )
    await asyncio.to_thread(uv.sync, serve.workdir)  # may take as long as a download
    script = Script(serve.workdir, serve.script, quiet=bool(serve.log.redact), limits=limits)
    await script.start()
    runner = Around(model, script, inner)
    try:
        await check(model, runner, Where(serve.workdir / serve.script))
    except BaseException:
        await script.close()
        raise
    return runner


async def check(model: Model, runner: Runner, where: Where, rows: int = 20) -> None:
    """Ask for answers to rows drawn from the training data's profile, together and one by one.

    Raises:
        EvidenceError: a row gets no valid answer.
    """
    chance = np.random.default_rng(0)
    drawn = background.documents(background.draw(model.package, rows, chance), model.signature)
    try:
        for some in ({"rows": drawn}, *({"row": row} for row in drawn[:3])):
            await runner.answer(model.decode(msgspec.json.encode(some)))
    except Refusal as refusal:
        raise EvidenceError(
            "rows like those of the training data get no answer:"
            f" {refusal.detail if isinstance(refusal, Failure) else refusal.text()}",
            fix="mend the scoring script; what ran goes on running",
            where=where,
        ) from refusal


def documents(answers: Answers, signature: Signature) -> list[dict[str, Any]]:
    """Answers as a script gets and gives them."""
    scores: Sequence[Any] = answers.scores or [None] * len(answers.predictions)
    made = []
    for prediction, score in zip(answers.predictions, scores, strict=True):
        one: dict[str, Any] = {"prediction": prediction}
        if isinstance(score, list):
            one["scores"] = dict(zip(signature.classes, score, strict=True))
        elif score is not None:
            one["score"] = score
        made.append(one)
    return made


def _table(rows: Rows) -> list[dict[str, Any]]:
    """A request's rows as callers write them."""
    names = [item.name for item in rows.signature.inputs]
    return [dict(zip(names, row, strict=True)) for row in zip(*rows.columns, strict=True)]


def _rows(made: object, height: int, model: Model) -> Rows:
    """What `before` gave, as rows of the model.

    Raises:
        Failure: another number of rows, or none that the model takes.
    """
    try:
        rows = model.decode(msgspec.json.encode({"rows": made}))
    except Refusal as refusal:
        raise _wrong("before", refusal.text()) from None
    if rows.height != height:
        raise _wrong("before", f"{rows.height:,} rows for {height:,}")
    return rows


def _answers(made: object, height: int, signature: Signature) -> Answers:
    """What `after` gave, as answers.

    Raises:
        Failure: no answer for each row, or one that the signature doesn't have.
    """
    if not isinstance(made, list) or len(made) != height:
        raise _wrong("after", f"not a list of {height:,} answers")
    form = {"regression": set[str](), "binary": {"score"}, "multiclass": {"scores"}}
    keys = form[signature.task] | {"prediction"}
    predictions: list[Any] = []
    scores: list[Any] = []
    for row, one in enumerate(made):
        if not isinstance(one, dict) or one.keys() != keys:
            raise _wrong("after", f"row {row} has not just {', '.join(sorted(keys))}")
        prediction = one["prediction"]
        if signature.task == "regression":
            if not _is_number(prediction):
                raise _wrong("after", f"the prediction of row {row} is no finite number")
            predictions.append(float(prediction))
            continue
        if prediction not in signature.classes:
            raise _wrong("after", f"the prediction of row {row} is none of the classes")
        predictions.append(prediction)
        scores.append(_scores(one, signature, row))
    return Answers(predictions, scores or None)


def _scores(one: dict[str, Any], signature: Signature, row: int) -> float | list[float]:
    given = one.get("scores", {"": one.get("score")})
    names = signature.classes if signature.task == "multiclass" else ("",)
    if not isinstance(given, dict) or given.keys() != set(names):
        raise _wrong("after", f"the scores of row {row} are not those of the classes")
    if not all(_is_number(value) and 0 <= value <= 1 for value in given.values()):
        raise _wrong("after", f"a score of row {row} is no probability")
    found = [float(given[name]) for name in names]
    return found if signature.task == "multiclass" else found[0]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _wrong(step: str, what: str) -> Failure:
    say("scoring script gave something wrong", level="error", step=step, what=what)
    return Failure("the scoring script gave something wrong", f"{step}: {what}")
