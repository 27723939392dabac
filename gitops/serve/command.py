"""Packages of a declared command (docs/formats.md, "Model package"), asked by requests.

The command runs in the project's locked environment, one process at a time. While it runs,
requests wait; the next run answers all of them from one Parquet file. Its columns are typed by the
signature: number float64 (int64 if training and these rows have whole numbers only), boolean,
categorical string, datetime in UTC.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops import package as packages
from gitops import proc, uv
from gitops.errors import EvidenceError, GitopsError, ToolError, Where
from gitops.rows import label_text, typed
from gitops.serve.model import Answers, Model
from gitops.serve.plan import Serve
from gitops.serve.refusal import Refusal
from gitops.serve.rows import Rows
from gitops.serve.say import bug, say

if TYPE_CHECKING:
    import polars as pl

    from gitops.signature import Signature


@dataclass(frozen=True)
class Limits:
    """`run`: seconds that a run may take; `requests` and `rows`: how many may wait, and are
    answered by one run at most (one request always)."""

    run: float = 60.0
    requests: int = 256
    rows: int = 20_000


@dataclass(frozen=True, eq=False)
class _Waiting:
    rows: Rows
    answer: asyncio.Future[Answers]


class Command:
    """A `Runner`."""

    def __init__(self, model: Model, workdir: Path, limits: Limits) -> None:
        self._model = model
        self._workdir = workdir
        self._limits = limits
        self._waiting: list[_Waiting] = []
        self._come = asyncio.Event()
        self._task = asyncio.create_task(self._work())

    async def answer(self, rows: Rows) -> Answers:
        waiting = sum(one.rows.height for one in self._waiting)
        full = len(self._waiting) >= self._limits.requests
        if full or (self._waiting and waiting + rows.height > self._limits.rows):
            raise Refusal(503, "too many requests wait for the model", fix="try again later")
        mine = _Waiting(rows, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        self._come.set()
        try:
            return await mine.answer
        finally:
            with suppress(ValueError):  # who doesn't wait any more isn't answered
                self._waiting.remove(mine)

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        for one in self._waiting:
            one.answer.cancel()

    async def _work(self) -> None:
        while True:
            await self._come.wait()
            self._come.clear()
            batch, self._waiting = self._waiting, []
            try:
                await self._answer(batch)
            except asyncio.CancelledError:
                for one in batch:
                    one.answer.cancel()
                raise
            except Exception as error:
                bug(error)
                _fail(batch, _failed())

    async def _answer(self, several: Sequence[_Waiting]) -> None:
        """Answer those who still wait: together, and each alone if that fails."""
        batch = [one for one in several if not one.answer.done()]
        if not batch:
            return
        try:
            answers = await self._run([one.rows for one in batch])
        except Refusal as refusal:
            if len(batch) == 1 or refusal.status != 500:
                _fail(batch, refusal)
                return
            for one in batch:
                await self._answer([one])
        else:
            for one, answer in zip(batch, answers, strict=True):
                if not one.answer.done():
                    one.answer.set_result(answer)

    async def _run(self, batch: Sequence[Rows]) -> list[Answers]:
        """The answers to several requests, by one run.

        Raises:
            Refusal: 500 the command failed, or gave no answers; 504 it took too long.
        """
        with tempfile.TemporaryDirectory(prefix="gitops-serve-") as temporary:
            source, target = Path(temporary) / "input.parquet", Path(temporary) / "output.parquet"
            frame = await asyncio.to_thread(_write, batch, self._model.signature, source)
            command = self._model.signature.runtime.command
            await self._process([word.format(input=source, output=target) for word in command])
            try:
                scored = await asyncio.to_thread(_scored, self._model.package, frame, target)
            except GitopsError as error:
                say("command", level="error", model=self._model.name, error=str(error))
                raise _failed() from error
        return _split(scored, batch, self._model.signature)

    async def _process(self, words: list[str]) -> None:
        line, env = uv.within(self._workdir, words)
        try:
            process = await proc.connected(line, cwd=self._workdir, env=env)
        except ToolError as error:
            say("command", level="error", model=self._model.name, error=str(error))
            raise _failed() from error
        try:
            async with asyncio.timeout(self._limits.run):
                await process.communicate(b"")
        except TimeoutError:
            say("command took too long", level="error", model=self._model.name)
            raise Refusal(504, "the model took too long", fix="send fewer rows") from None
        finally:
            proc.end_session(process.pid)
            await process.wait()
        if process.returncode:
            say("command failed", level="error", model=self._model.name, code=process.returncode)
            raise _failed()


async def start(model: Model, serve: Serve, limits: Limits = Limits()) -> Command:
    """The runner of a declared command.

    Raises:
        EvidenceError: nobody says in which checkout it is run.
        ToolError: the project's environment can't be made.
    """
    if serve.workdir is None:
        raise EvidenceError(
            f"{model.name} is a declared command, but nobody says in which checkout it runs",
            fix="the serving plan names it as `workdir`",
            where=Where(model.package.folder / "signature.json"),
        )
    await asyncio.to_thread(uv.sync, serve.workdir)  # may take as long as a download
    return Command(model, serve.workdir, limits)


def _failed() -> Refusal:
    return Refusal(500, "the model failed", fix="see the server's log")


def _fail(batch: Sequence[_Waiting], refusal: Refusal) -> None:
    for one in batch:
        if not one.answer.done():
            one.answer.set_exception(
                Refusal(refusal.status, refusal.message, fix=refusal.fix, **refusal.at)
            )


def _write(batch: Sequence[Rows], signature: Signature, path: Path) -> pl.DataFrame:
    import polars as pl

    columns = []
    for at, item in enumerate(signature.inputs):
        values: list[Any] = [value for rows in batch for value in rows.columns[at]]
        if item.type == "datetime":
            seconds = typed(pl.Series(item.name, values, dtype=pl.String), "datetime")
            column = (seconds * 1e6).round().cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
        elif item.type == "categorical":
            texts = [v if v is None else label_text(v) for v in values]
            column = pl.Series(item.name, texts, dtype=pl.String)
        elif item.type == "boolean":
            column = pl.Series(item.name, values, dtype=pl.Boolean)
        else:
            column = pl.Series(item.name, values, dtype=pl.Float64, strict=False)
            whole = item.integer and (column == column.floor()).all()
            column = column.cast(pl.Int64) if whole else column
        columns.append(column.alias(item.name))
    frame = pl.DataFrame(columns)
    frame.write_parquet(path)
    return frame


def _scored(package: packages.Package, frame: pl.DataFrame, target: Path) -> pl.DataFrame:
    if not target.is_file():
        fix = "write a Parquet file at {output}"
        raise EvidenceError("the command wrote no answers", fix=fix, where=Where(target))
    answered = packages.read_rows(target)
    return packages.score(package, frame, command=lambda _: answered).frame


def _split(scored: pl.DataFrame, batch: Sequence[Rows], signature: Signature) -> list[Answers]:
    made, start = [], 0
    for rows in batch:
        part = scored.slice(start, rows.height)
        start += rows.height
        scores: Any = None
        if signature.task == "binary":
            scores = part["score"].to_list()
        elif signature.task == "multiclass":
            scores = [list(row) for row in part.select(signature.score_columns).iter_rows()]
        made.append(Answers(part["prediction"].to_list(), scores))
    return made
