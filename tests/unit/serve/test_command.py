from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gitops import package
from gitops.errors import EvidenceError
from gitops.serve import command
from gitops.serve import runner as runners
from gitops.serve.command import Command, Limits
from gitops.serve.model import Answers, Model
from gitops.serve.plan import Serve
from gitops.serve.refusal import Refusal
from tests.unit.serve.projects import (
    PACKAGES,
    ROW,
    as_command,
    body,
    model,
    project,
    serve,
    with_our_libraries,
)

WORDS = ["python", "predict.py", "{input}", "{output}"]
# Notes each run, and answers by the distance.
BINARY = """
import os, sys
import polars as pl
frame = pl.read_parquet(sys.argv[1])
with open("runs.txt", "a") as file:
    print(frame.height, frame["distance"].dtype, frame["time"].dtype, file=file)
if frame["distance"].max() == 666:
    os.system("sleep 600")
if frame["distance"].max() == 667:
    sys.exit(3)
if frame["distance"].max() == 668:
    sys.exit(0)
rows = frame.height - (frame["distance"].max() == 669)
frame.select((pl.col("distance") / 8192).alias("score")).head(rows).write_parquet(sys.argv[2])
"""


def with_command(
    tmp_path: Path,
    use: Callable[[Command, Model], Coroutine[Any, Any, Any]],
    text: str = BINARY,
    task: str = "binary",
    limits: Limits = Limits(),  # noqa: B008
) -> Any:
    root = with_our_libraries(project(tmp_path / "project", predict=text))
    made = model(task, as_command(tmp_path / "package", task, WORDS))

    async def run() -> Any:
        runner = await command.start(made, serve(root), limits)
        try:
            return await use(runner, made)
        finally:
            await runner.close()

    return asyncio.run(run())


def runs(tmp_path: Path) -> list[str]:
    return (tmp_path / "project" / "runs.txt").read_text().splitlines()


async def begun(tmp_path: Path) -> None:
    """Until a run has told of itself."""
    async with asyncio.timeout(60):
        while not (tmp_path / "project" / "runs.txt").exists():
            await asyncio.sleep(0.01)


async def ask(runner: Command, made: Model, *distances: float) -> Answers:
    return await runner.answer(made.decode(body(*({**ROW, "distance": d} for d in distances))))


def test_requests_that_wait_are_answered_by_one_run(tmp_path: Path) -> None:
    async def use(runner: Command, made: Model) -> None:
        first = asyncio.create_task(ask(runner, made, 1024))
        await begun(tmp_path)
        several = await asyncio.gather(*(ask(runner, made, n, 2 * n) for n in range(2000, 2010)))
        assert (await first).scores == [0.125]
        assert [one.scores for one in several] == [
            [n / 8192, 2 * n / 8192] for n in range(2000, 2010)
        ]
        assert (await ask(runner, made, 6000)).predictions == ["true"]

    with_command(tmp_path, use)
    time_type = "Datetime(time_unit='us', time_zone='UTC')"
    assert runs(tmp_path) == [
        f"1 Int64 {time_type}",
        f"20 Int64 {time_type}",
        f"1 Int64 {time_type}",
    ]


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_answers_are_those_of_predict(task: str, tmp_path: Path) -> None:
    onnx = package.read(PACKAGES / task / "package")
    rows = package.read_rows(PACKAGES / task / "test.csv").head(5)
    scored = package.score(onnx, rows).frame
    wanted = scored if task == "regression" else scored.drop("prediction")
    answers = tmp_path / "answers.parquet"
    wanted.write_parquet(answers)
    text = f"import shutil, sys\nshutil.copy({str(answers)!r}, sys.argv[2])\n"
    plain = model(task)
    columns = {
        name: series.to_list() for name, series in package.typed(rows, onnx.signature).items()
    }
    given = plain.decode(json.dumps({"columns": as_sent(columns, plain)}).encode())

    async def use(runner: Command, made: Model) -> Answers:
        return await runner.answer(given)

    assert with_command(tmp_path, use, text, task) == plain.predict(given)


def as_sent(columns: dict[str, list[Any]], made: Model) -> dict[str, list[Any]]:
    kinds = {item.name: item.type for item in made.signature.inputs}
    sent = dict(columns)
    for name, kind in kinds.items():
        if kind == "boolean":
            sent[name] = [None if value is None else bool(value) for value in columns[name]]
        if kind == "datetime":
            moments = (pl.Series(columns[name]) * 1e6).cast(pl.Datetime("us"))
            sent[name] = [None if one is None else one.isoformat() for one in moments]
    return sent


@pytest.mark.parametrize("distance", [667, 668, 669])
def test_a_command_that_fails_fails_its_requests_alone(
    tmp_path: Path, distance: float, capfd: pytest.CaptureFixture[str]
) -> None:
    async def use(runner: Command, made: Model) -> None:
        with pytest.raises(Refusal, match="the model failed") as caught:
            await ask(runner, made, distance)
        assert caught.value.status == 500
        assert (await ask(runner, made, 1024)).scores == [0.125]

    with_command(tmp_path, use)
    assert '"event": "command' in capfd.readouterr().err


def test_one_request_does_not_fail_those_that_waited_with_it(tmp_path: Path) -> None:
    async def use(runner: Command, made: Model) -> None:
        first = asyncio.create_task(ask(runner, made, 1024))
        await begun(tmp_path)
        several = await asyncio.gather(
            *(ask(runner, made, distance) for distance in (2048, 667, 4096)), return_exceptions=True
        )
        await first
        assert [one.scores if isinstance(one, Answers) else str(one) for one in several] == [
            [0.25], "the model failed", [0.5],
        ]  # fmt: skip

    text = BINARY.replace('frame["distance"].max() == 667', '667 in frame["distance"]')
    with_command(tmp_path, use, text)
    assert [line.split()[0] for line in runs(tmp_path)] == ["1", "3", "1", "1", "1"]


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def use(runner: Command, made: Model) -> None:
        with pytest.raises(Refusal, match="took too long") as caught:
            await ask(runner, made, 666)
        assert caught.value.status == 504

    began = time.monotonic()
    with_command(tmp_path, use, limits=Limits(run=3))
    assert time.monotonic() - began < 60


def test_the_queue_is_bounded_and_who_gave_up_is_not_run(tmp_path: Path) -> None:
    async def use(runner: Command, made: Model) -> None:
        first = asyncio.create_task(ask(runner, made, 666))
        await begun(tmp_path)
        second, third = (asyncio.create_task(ask(runner, made, n)) for n in (1024, 2048))
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="too many") as caught:
            await ask(runner, made, 3000)
        assert caught.value.status == 503
        second.cancel()
        with pytest.raises(Refusal, match="too long"):
            await first
        assert (await third).scores == [0.25]

    with_command(tmp_path, use, limits=Limits(run=10, requests=2))
    assert [line.split()[0] for line in runs(tmp_path)] == ["1", "1"]


def test_a_checkout_is_needed(tmp_path: Path) -> None:
    made = model("binary", as_command(tmp_path / "package", "binary", WORDS))
    with pytest.raises(EvidenceError, match="which checkout"):
        asyncio.run(command.start(made, Serve()))


def test_a_script_goes_around_a_command(tmp_path: Path) -> None:
    text = "def before(rows): return [{**row, 'distance': 2048} for row in rows]\n"
    root = with_our_libraries(project(tmp_path / "project", predict=BINARY, scoring=text))
    made = model("binary", as_command(tmp_path / "package", "binary", WORDS))

    async def run() -> Answers:
        runner = await runners.start(made, serve(root, "scoring.py"))
        assert runner is not None
        try:
            return await runner.answer(made.decode(body(ROW)))
        finally:
            await runner.close()

    assert asyncio.run(run()).scores == [0.25]
    assert asyncio.run(runners.start(model(), serve(root))) is None
