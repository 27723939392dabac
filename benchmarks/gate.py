"""The statistics of the gate against scikit-learn, fairlearn and evidently, as whole processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks import gate_work
from benchmarks.cases import PROJECT, Case
from benchmarks.measure import Command

EVIDENTLY = "GITOPS_BENCH_EVIDENTLY"  # a Python that has it: its pins don't fit ours


def million(folder: Path) -> Case:
    """Peers too: they take half a minute, so one round counts."""
    table = folder / "gate.npz"
    gate_work.write(str(table), 1_000_000)
    pythons = dict.fromkeys(("gitops", "gitops:load", "sklearn", "fairlearn"), sys.executable)
    if python := os.environ.get(EVIDENTLY):
        pythons["evidently"] = python
    else:
        print(f"evidently is skipped: {EVIDENTLY} names no Python that has it", file=sys.stderr)
    commands = [_command(tool, python, table) for tool, python in pythons.items()]
    work = "gate statistics, 1M rows (fairlearn, sklearn, evidently: points only)"
    return Case(work, 1.5, tuple(commands), rounds=1)


def ten_million(folder: Path) -> Case:
    table = folder / "gate.npz"
    gate_work.write(str(table), 10_000_000)
    commands = [_command(tool, sys.executable, table) for tool in ("gitops", "gitops:load")]
    return Case("gate statistics, 10M rows", 15.0, tuple(commands), rounds=1)


def _command(tool: str, python: str, table: Path) -> Command:
    line = [python, str(PROJECT / "benchmarks" / "gate_work.py"), tool, str(table)]
    return Command(tool, line, PROJECT)
