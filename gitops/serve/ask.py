"""Asking a model: who answers, how long one waits for it, and what is written down of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from gitops.serve import explain, metrics, route
from gitops.serve.journal import Journal, Line
from gitops.serve.loaded import Route
from gitops.serve.log import Variant
from gitops.serve.model import Answers, Model
from gitops.serve.options import Options
from gitops.serve.refusal import Refusal
from gitops.serve.rows import Rows
from gitops.serve.say import bug

T = TypeVar("T")
Decode = Callable[[Model], Rows]


class Request(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What a request says of itself apart from its rows.

    `size`: of its body in bytes; `started`: by the monotonic clock; `only`: the variant that is
    asked whatever the split.
    """

    id: str
    key: str | None
    size: int
    started: float
    only: Model | None = None


class Answered(msgspec.Struct, frozen=True, eq=False, gc=False):
    id: str
    model: Model
    variant: Variant
    rows: Rows
    answers: Answers


class Desk:
    """Asks models, for all protocols.

    Small requests are worked on by the event loop itself. Large ones go to one thread, which ONNX
    and numpy let run beside the loop; so many may wait there, and no more.
    """

    def __init__(self, options: Options, journal: Journal) -> None:
        self.options = options
        self.journal = journal
        self._thread = ThreadPoolExecutor(1, "large")
        self._waiting = 0

    async def ask(self, to: Route, request: Request, decode: Decode) -> Answered:
        """The answer of the variant that is the unit's.

        The champion reads the rows first: what it refuses is refused. A challenger that then fails
        is written down as failed, and the champion answers.

        Raises:
            Refusal: the rows are wrong, the server is too busy or too slow, or the model failed.
        """
        if request.size <= self.options.small:
            return await self._ask(to, request, decode)
        with self._queued():
            return await self._ask(to, request, decode)

    async def explain(self, answered: Answered, request: Request) -> list[dict[str, Any]]:
        """What made the answer. Raises as `explain.of`, or Refusal 503 if too many wait."""
        large = msgspec.structs.replace(request, size=self.options.small + 1)  # as long as one
        with self._queued():
            return await self._here(large, explain.of, answered.model, answered.rows, answered.id)

    @contextmanager
    def _queued(self) -> Iterator[None]:
        """A place among the large requests. Raises Refusal, 503, if there is none."""
        if self._waiting >= self.options.queue:
            raise Refusal(503, "too many large requests are waiting", fix="try again in a second")
        self._waiting += 1
        metrics.put("gitops_queued_requests", self._waiting)
        try:
            yield
        finally:
            self._waiting -= 1
            metrics.put("gitops_queued_requests", self._waiting)

    async def _ask(self, to: Route, request: Request, decode: Decode) -> Answered:
        model = request.only or to.champion
        rows = await self._here(request, decode, model)
        challenger = to.challenger
        line = Line(
            to,
            rows.id or request.id,
            request.key or rows.key,
            request.started,
            split=request.only is None and challenger is not None,
        )
        if (
            line.split
            and challenger is not None
            and to.share
            and route.is_challengers(to.served.salt, line.key or line.id, to.share)
        ):
            tried = await self._try(challenger, request, decode, line)
            if tried is not None:
                return tried
            line = msgspec.structs.replace(line, split=False)
        variant: Variant = "challenger" if model is challenger else "champion"
        answered = await self._answered(model, variant, rows, request, line)
        if request.only is None and to.shadow is not None:
            self.journal.shadow(line, to.shadow, decode, request.size)
        return answered

    async def _try(
        self, model: Model, request: Request, decode: Decode, line: Line
    ) -> Answered | None:
        """The challenger's answer; None if it failed."""
        try:
            rows = await self._here(request, decode, model)
        except Refusal as refusal:
            self.journal.failed(line, model, "challenger", None, refusal)
            return None
        try:
            return await self._answered(model, "challenger", rows, request, line)
        except Refusal:
            return None

    async def _answered(
        self, model: Model, variant: Variant, rows: Rows, request: Request, line: Line
    ) -> Answered:
        """The answer of one variant, written down; so is its failure."""
        try:
            if model.runner is None:
                answers = await self._here(request, model.predict, rows)
            else:
                answers = await self._there(request, model, rows)
        except Refusal as refusal:
            if refusal.status >= 500:
                self.journal.failed(line, model, variant, rows, refusal)
            raise
        text = await self._here(request, self.journal.line, line, model, variant, rows, answers)
        await self.journal.answered(line, model, variant, rows, text)
        return Answered(line.id, model, variant, rows, answers)

    async def _here(self, request: Request, work: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401
        """Work of this process: by the loop itself if the request is small."""
        if request.size <= self.options.small:
            return _careful(work, *arguments)
        future: Future[T] = self._thread.submit(_careful, work, *arguments)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._left(request))
        except TimeoutError:
            raise _too_slow() from None

    async def _there(self, request: Request, model: Model, rows: Rows) -> Answers:
        assert model.runner is not None  # noqa: S101
        try:
            async with asyncio.timeout(self._left(request)):
                return await model.runner.answer(rows)
        except TimeoutError:
            raise _too_slow() from None
        except (Refusal, asyncio.CancelledError):
            raise
        except Exception as error:
            bug(error)
            raise _failed() from error

    def _left(self, request: Request) -> float:
        return max(0.0, request.started + self.options.timeout - time.monotonic())

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def _careful(work: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401
    """Whatever breaks in a model is the model's failure, and not the request's."""
    try:
        return work(*arguments)
    except Refusal:
        raise
    except Exception as error:
        bug(error)
        raise _failed() from error


def _failed() -> Refusal:
    return Refusal(500, "the model failed", fix="see the server's log")


def _too_slow() -> Refusal:
    return Refusal(504, "the answer took too long", fix="send fewer rows at a time")
