"""The prediction log's cost, as whole processes."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks.cases import PROJECT, Case
from benchmarks.measure import Command

_LINES = 100_000


def write(folder: Path) -> Case:
    """Build and write lines; the peer is json.dumps and logging, which syncs nothing."""
    commands = [_command(job, name, folder) for job, name in (("log", "gitops"), ("logging",) * 2)]
    return Case(f"prediction log, {_LINES:,} lines", 1.0, tuple(commands))


def join(folder: Path) -> Case:
    """Read them again, and join each with a label."""
    made = folder / "log"
    command = Command("gitops", _line("join", made), PROJECT, partial(_filled, made))
    return Case(f"predictions and labels joined, {_LINES:,}", 4.0, (command,))


def _command(job: str, name: str, folder: Path) -> Command:
    target = folder / job
    return Command(
        name, _line(job, target), PROJECT, partial(shutil.rmtree, target, ignore_errors=True)
    )


def _filled(folder: Path) -> None:
    if not folder.is_dir():
        from benchmarks import predictions_work

        predictions_work.ours(folder, _LINES)


def _line(job: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.predictions_work", job, str(folder), str(_LINES)]
