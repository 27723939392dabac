"""The gate against scikit-learn, fairlearn and evidently, as whole processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.cases import BIN, PROJECT, Case
from benchmarks.measure import Command

EVIDENTLY = "GITOPS_BENCH_EVIDENTLY"  # a Python that has it: it doesn't import with our pandas


def million(folder: Path) -> Case:
    """The peers take half a minute, so one round counts."""
    return _judged(folder, "1M", 1_000_000, 2.0)


def ten_million(folder: Path) -> Case:
    return _judged(folder, "10M", 10_000_000, 20.0)


def command(folder: Path) -> Case:
    """The whole command: evidence proven, leaks, drift, importance and cost looked at too."""
    return _command(folder, "1M", 1_000_000)


def ten_million_command(folder: Path) -> Case:
    return _command(folder, "10M", 10_000_000)


def _judged(folder: Path, size: str, rows: int, budget: float) -> Case:
    table = folder / f"gate-{size}.npz"
    _made("gate_work", "write", str(table), str(rows))
    pythons = dict.fromkeys(("gitops", "gitops:load", "sklearn", "fairlearn"), sys.executable)
    if python := os.environ.get(EVIDENTLY):
        pythons["evidently"] = python
    else:
        print(f"evidently is skipped: {EVIDENTLY} names no Python that has it", file=sys.stderr)
    commands = [
        Command(tool, [python, "-m", "benchmarks.gate_work", tool, str(table)], PROJECT)
        for tool, python in pythons.items()
    ]
    work = f"gate, {size} rows: 28 slices, policy, reports (peers: points)"
    return Case(work, budget, tuple(commands), rounds=1)


def _made(module: str, *arguments: str) -> None:
    """By a process of its own: a child's peak would count what this one had when it started it."""
    line = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    subprocess.run(line, cwd=PROJECT, check=True)


def _command(folder: Path, size: str, rows: int) -> Case:
    home = folder / f"gate-{size}"
    home.mkdir()
    _made("evidence", str(rows), "--make", str(home))
    line = [str(BIN / "gitops"), "gate", "--base", "main", "--report", str(home / "report")]
    return Case(
        f"`gitops gate`, {size} rows, all of it", None, (Command("gitops", line, home / "repo"),), 1
    )
