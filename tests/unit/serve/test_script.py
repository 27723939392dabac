from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitops.errors import EvidenceError, ToolError
from gitops.serve import background, script
from gitops.serve.model import Answers
from gitops.serve.refusal import Refusal
from gitops.serve.script import Around
from gitops.serve.script_process import Failure, Limits, version
from tests.unit.serve.projects import ROW, body, model, project, serve

BOTH = """
import os, sys
import helper
print("loaded")
os.system("echo from a child")

def before(rows):
    print("before", len(rows))
    return [{**row, "distance": helper.half(row["distance"])} for row in rows]

def after(rows, answers):
    return [
        {**answer, "prediction": "true"} if row["carrier"] == "DL" else answer
        for row, answer in zip(rows, answers)
    ]
"""
HELPER = "def half(number): return number / 2\n"


@asynccontextmanager
async def running(
    workdir: Path, name: str = "scoring.py", task: str = "binary", **more: Any
) -> AsyncIterator[Around]:
    made = await script.start(model(task), serve(workdir, name, more.pop("redact", ())), **more)
    try:
        yield made
    finally:
        await made.close()


def with_script(
    text: str, tmp_path: Path, use: Callable[[Around], Coroutine[Any, Any, Any]], **more: Any
) -> Any:
    root = project(tmp_path / "project", scoring=text)

    async def run() -> Any:
        async with running(root, **more) as made:
            return await use(made)

    return asyncio.run(run())


async def ask(made: Around, *rows: dict[str, Any]) -> Answers:
    return await made.answer(made.model.decode(body(*(rows or (ROW,)))))


def test_before_and_after_go_around_the_model(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = project(tmp_path / "project", src__scoring=BOTH, src__helper=HELPER)

    async def run() -> tuple[Answers, Around]:
        async with running(root, "src/scoring.py") as made:
            assert children()
            return await ask(made, ROW, {**ROW, "carrier": "DL"}), made

    answers, made = asyncio.run(run())
    plain = made.model.predict(
        made.model.decode(body({**ROW, "distance": 250}, {**ROW, "distance": 250, "carrier": "DL"}))
    )
    assert answers.scores == plain.scores
    assert list(answers.predictions) == [plain.predictions[0], "true"]
    assert not children()
    written = capfd.readouterr()
    assert "loaded" in written.err
    assert "from a child" in written.err
    assert written.out == ""


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_script_that_gives_back_what_it_gets_changes_nothing(task: str, tmp_path: Path) -> None:
    text = "def before(rows): return rows\ndef after(rows, answers): return answers\n"

    async def use(made: Around) -> None:
        drawn = background.draw(made.model.package, 1, np.random.default_rng(1))
        row = background.documents(drawn, made.model.signature)[0]
        rows = made.model.decode(body(row))
        assert await made.answer(rows) == made.model.predict(rows)

    with_script(text, tmp_path, use, task=task)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def befor(rows): return rows", r"AttributeError at scoring\.py"),
        ("import nothing_of_the_kind", r"ModuleNotFoundError at scoring\.py:1"),
        ("\ndef before(rows)\n", r"SyntaxError at scoring\.py:2"),
        ("import sys\nsys.exit(3)", r"SystemExit at scoring\.py:2"),
        ("import os\nos._exit(3)", "exit code 3"),
        ("def before(rows): return rows[:-1]", "19 rows for 20"),
        ("def before(rows): return 1/0", r"ZeroDivisionError at scoring\.py:1"),
        ("def before(rows): return [{}] * len(rows)", "before: .*distance"),
        ("def before(rows): return [{**r, 'delay': float('nan')} for r in rows]", "ValueError at"),
        ("def before(rows): return object()", "TypeError at"),
        ("def after(rows, answers): return answers[1:]", "not a list of 20"),
        ("def after(rows, answers): return None", "not a list of 20"),
        ("def after(rows, answers): return [{'prediction': 'true'}] * len(rows)", "has not just"),
        ("def after(rows, a): return [{**x, 'prediction': 'maybe'} for x in a]", "none of the"),
        ("def after(rows, a): return [{**x, 'prediction': True} for x in a]", "none of the"),
        ("def after(rows, a): return [{**x, 'score': 2} for x in a]", "no probability"),
        ("def after(rows, a): return [{**x, 'score': '1'} for x in a]", "no probability"),
    ],
)
def test_a_broken_script_is_not_served(text: str, why: str, tmp_path: Path) -> None:
    async def use(made: Around) -> None:
        raise AssertionError("it started")

    with pytest.raises(EvidenceError, match=why) as caught:
        with_script(text, tmp_path, use)
    assert caught.value.fix
    assert not children()


def children() -> list[str]:
    """Processes below us that run a worker."""
    told = subprocess.run(
        ["ps", "-eww", "-o", "ppid=,args="], capture_output=True, text=True
    ).stdout
    return [
        line
        for line in told.splitlines()
        if "scoring_worker" in line and str(os.getpid()) in line.split()[:1]
    ]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    root = project(tmp_path / "project", scoring="def before(rows): return rows")

    async def start(name: str | None, workdir: Path | None = root) -> None:
        await script.start(model(), serve(workdir, name))  # type: ignore[arg-type]

    with pytest.raises(EvidenceError, match="no scoring script"):
        asyncio.run(start("other.py"))
    with pytest.raises(EvidenceError, match="in which checkout"):
        asyncio.run(start("scoring.py", None))
    (root / "uv.lock").unlink()
    with pytest.raises(ToolError, match="could not set up"):
        asyncio.run(start("scoring.py"))


def test_an_exception_fails_its_request_alone_and_its_text_stays_in_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = """
def before(rows):
    if rows[0]["distance"] == 666:
        raise ValueError(f"no {rows[0]['carrier']}")
    return rows
"""

    async def use(made: Around) -> None:
        with pytest.raises(Failure) as caught:
            await ask(made, {**ROW, "distance": 666})
        assert caught.value.status == 500
        assert "ValueError" not in str(caught.value.document())
        assert caught.value.detail == "before: ValueError at scoring.py:4"
        assert (await ask(made)).predictions

    with_script(text, tmp_path, use)
    assert "ValueError: no AA" in capfd.readouterr().err
    with_script(text, tmp_path, use, redact=("carrier",))
    err = capfd.readouterr().err
    assert "no AA" not in err
    assert "scoring.py" in err


def test_a_crash_fails_one_request_and_the_next_finds_a_new_process(tmp_path: Path) -> None:
    text = """
import os
def before(rows):
    if rows[0]["distance"] == 666:
        os.kill(os.getpid(), 9)
    return rows
"""

    async def use(made: Around) -> None:
        for _ in range(2):
            with pytest.raises(Failure, match="failed"):
                await ask(made, {**ROW, "distance": 666})
            assert (await ask(made)).predictions

    with_script(text, tmp_path, use)


def test_a_call_that_hangs_is_ended_and_waiting_ones_are_turned_away(tmp_path: Path) -> None:
    text = """
import time
def before(rows):
    if rows[0]["distance"] == 666:
        time.sleep(600)
    return rows
"""

    async def use(made: Around) -> None:
        slow = {**ROW, "distance": 666}
        several = await asyncio.gather(*(ask(made, slow) for _ in range(4)), return_exceptions=True)
        statuses = sorted(one.status for one in several if isinstance(one, Refusal))
        assert statuses == [503, 504, 504, 504]
        deadline = time.monotonic() + 60
        while True:
            try:
                assert (await ask(made)).predictions
                return
            except Refusal as refusal:
                assert refusal.status in (503, 504)
                assert time.monotonic() < deadline

    with_script(text, tmp_path, use, limits=Limits(call=1.5, queue=3))


def test_an_answer_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitops.serve.script_process._LONGEST", 100_000)
    text = """
def before(rows):
    return [{**row, "carrier": "A" * 1_000_000} if row["distance"] == 666 else row for row in rows]
"""

    async def use(made: Around) -> None:
        with pytest.raises(Failure):
            await ask(made, {**ROW, "distance": 666})
        assert (await ask(made)).predictions

    with_script(text, tmp_path, use, limits=Limits(call=60.0))  # it is started again


def test_a_script_that_is_not_ready_in_time_is_not_served(tmp_path: Path) -> None:
    async def use(made: Around) -> None:
        raise AssertionError("it started")

    with pytest.raises(EvidenceError, match="isn't ready in time"):
        with_script("import time\ntime.sleep(600)", tmp_path, use, limits=Limits(start=2.0))
    assert not children()


def test_numbers_and_times_of_other_libraries_are_understood(tmp_path: Path) -> None:
    text = """
import datetime
class Number:
    def tolist(self): return 250
def before(rows):
    at = datetime.datetime(2013, 5, 1, 10)
    return [{**row, "distance": Number(), "time": at} for row in rows]
"""

    async def use(made: Around) -> None:
        plain = made.model.predict(made.model.decode(body({**ROW, "distance": 250})))
        assert await ask(made) == plain

    with_script(text, tmp_path, use)


def test_the_version_is_gits_name_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "scoring.py"
    path.write_text("def before(rows): return rows\n")
    wanted = subprocess.run(["git", "hash-object", path], capture_output=True, text=True).stdout
    assert version(path) == wanted.strip()
