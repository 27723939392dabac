"""What is written down of answers: the prediction log, the metrics, and what a shadow would say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import msgspec

from gitops.serve import labels, log, metrics
from gitops.serve.http import encode
from gitops.serve.loaded import Loaded, Route
from gitops.serve.log import Variant
from gitops.serve.model import Answers, Model
from gitops.serve.plan import Log
from gitops.serve.refusal import Refusal
from gitops.serve.rows import Rows
from gitops.serve.say import bug, say
from gitops.serve.writer import Writer

_SHADOWS = 256  # requests that may wait for a shadow
_SHADOW_BYTES = 32 << 20


Decode = Callable[[Model], Rows]


class Line(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What all lines of one request have in common.

    `split`: who answers was drawn. Where the caller named a version, or the champion answers for a
    challenger that failed, nobody may count the answer as the split's.
    """

    route: Route
    id: str
    key: str | None
    started: float
    split: bool


class Journal:
    """Writes lines; asks shadows when there is time."""

    def __init__(self, state: Path, timeout: float) -> None:
        self._state = state
        self._timeout = timeout
        self._writers: dict[str, tuple[Log, Writer]] = {}
        self._labels: Writer | None = None
        self._lost: dict[str, int] = {}
        self._troubles: dict[str, str] = {}
        self._secret = b""
        self._shadows: asyncio.Queue[tuple[Line, Model, Decode, int]] = asyncio.Queue(_SHADOWS)
        self._bytes = 0
        self._thread = ThreadPoolExecutor(1, "shadow")

    def follow(self, loaded: Loaded) -> None:
        """Have a writer for each model of a plan that is logged."""
        for name in self._writers.keys() - loaded.routes.keys():
            self._end(name)
        for name, route_ in loaded.routes.items():
            settings = route_.served.serve.log
            old = self._writers.get(name)
            if old is not None and old[0] == settings:
                continue
            self._end(name)
            if settings.sample:
                self._writers[name] = (settings, log.open(self._state, name, settings))
            if route_.served.key in settings.redact:
                self._secret = log.secret(self._state)

    def _end(self, name: str) -> None:
        """Close a writer beside the event loop: its disk may be slow."""
        if (old := self._writers.pop(name, None)) is not None:
            self._lost.pop(name, None)
            Thread(target=old[1].close, name=f"closing the log of {name}").start()

    def line(
        self, line: Line, model: Model, variant: Variant, rows: Rows | None,
        answers: Answers | None, refusal: Refusal | None = None,
    ) -> bytes | None:  # fmt: skip
        """A line of the contract `prediction`; None if the request isn't in the sample."""
        served = line.route.served
        settings = served.serve.log
        if model.name not in self._writers or not log.sampled(line.id, settings.sample):
            return None
        key, features = line.key, None
        if key is not None and served.key in settings.redact:
            key = log.pseudonym(self._secret, key)
        if rows is not None:
            features = log.features("columns", encode(rows.features(settings.redact)))
        return log.line(
            id=line.id,
            model=model.name,
            release=model.variant.release,
            variant=variant,
            rows=0 if rows is None else rows.height,
            features=features,
            predictions=None if answers is None else answers.predictions,
            scores=None if answers is None else answers.scores,
            ms=(time.monotonic() - line.started) * 1e3,
            key=key,
            share=served.share if line.split else None,
            salt=served.salt if line.split else None,
            status=200 if refusal is None else refusal.status,
            error=None if refusal is None else refusal.place(),
        )

    async def answered(
        self, line: Line, model: Model, variant: Variant, rows: Rows, text: bytes | None
    ) -> None:
        """Write down an answer; waits for the disk where the settings ask for it."""
        self._count(line, model, variant, rows)
        if text is None or (found := self._writers.get(model.name)) is None:
            return
        settings, writer = found
        writer.add(text)
        if settings.sync_seconds == 0:
            await writer.durable()

    def failed(
        self, line: Line, model: Model, variant: Variant, rows: Rows | None, refusal: Refusal
    ) -> None:
        """Write down a model's failure; rows that only a challenger refuses are its failure too."""
        if refusal.status < 500:
            refusal = Refusal(500, f"rows refused: {refusal.place()}")
        metrics.variant(model.name, model.variant.version, variant).failed(refusal.status)
        text = self.line(line, model, variant, rows, None, refusal)
        if text is not None and (found := self._writers.get(model.name)):
            found[1].add(text)

    def _count(self, line: Line, model: Model, variant: Variant, rows: Rows) -> None:
        of = metrics.variant(model.name, model.variant.version, variant)
        of.answered(time.monotonic() - line.started, rows.height)
        for column, kind, number in rows.surprises:
            metrics.add("gitops_surprises", model.name, column, kind, number=number)

    async def label(self, body: bytes) -> int:
        """Keep labels; their number, once they are on the disk. Raises as `labels.take`."""
        if self._labels is None:
            self._labels = labels.open(self._state)
        return await labels.take(self._labels, body)

    def look(self) -> None:
        """Tell of what the logs lost since the last look, and of what ails them."""
        for name, (_, writer) in self._writers.items():
            state = writer.state
            if lost := state.dropped - self._lost.get(name, 0):
                metrics.add("gitops_log_dropped_lines", name, number=lost)
                self._lost[name] = state.dropped
            if state.trouble != self._troubles.get(name, ""):
                self._troubles[name] = state.trouble
                level = "error" if state.trouble else "info"
                say("prediction log", level=level, model=name, trouble=state.trouble or None)

    # ------------------------------------------------------------ shadows

    def shadow(self, line: Line, model: Model, decode: Decode, size: int) -> None:
        """Ask a shadow later; if too many wait already, never."""
        if self._shadows.full() or self._bytes + size > _SHADOW_BYTES:
            metrics.add("gitops_shadow_dropped", model.name)
            return
        self._bytes += size
        self._shadows.put_nowait((line, model, decode, size))

    async def ask_shadows(self) -> None:
        """Works off what `shadow` put down, one by one; runs as long as the server."""
        loop = asyncio.get_running_loop()
        while True:
            line, model, decode, size = await self._shadows.get()
            self._bytes -= size
            line = msgspec.structs.replace(line, started=time.monotonic())
            rows = None
            try:
                async with asyncio.timeout(self._timeout):
                    rows = await loop.run_in_executor(self._thread, decode, model)
                    if model.runner is None:
                        answers = await loop.run_in_executor(self._thread, model.predict, rows)
                    else:
                        answers = await model.runner.answer(rows)
                    text = self.line(line, model, "shadow", rows, answers)
                await self.answered(line, model, "shadow", rows, text)
            except Refusal as refusal:
                self.failed(line, model, "shadow", rows, refusal)
            except TimeoutError:
                self.failed(line, model, "shadow", rows, Refusal(504, "the answer took too long"))
            except Exception as error:
                bug(error)
                self.failed(line, model, "shadow", rows, Refusal(500, "the model failed"))

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        for writer in [writer for _, writer in self._writers.values()]:
            writer.close()
        if self._labels is not None:
            self._labels.close()
