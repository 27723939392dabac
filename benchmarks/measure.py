"""CPU seconds of whole processes, taken in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Command:
    """A process that must exit with 0; `reset` runs before it, unmeasured."""

    name: str
    arguments: Sequence[str]
    cwd: Path
    reset: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Taken:
    """User and system CPU seconds of each round, children included; the largest peak in MB."""

    name: str
    seconds: tuple[float, ...]
    memory: int


@dataclass(frozen=True)
class Row:
    """A line of the table: what one tool took for a piece of work.

    CPU seconds unless `work` says otherwise; `budget` is for ours, None: only measured.
    """

    case: str
    work: str
    tool: str
    median: float
    minimum: float
    maximum: float
    rounds: int
    memory_mb: int
    budget: float | None

    @property
    def within(self) -> bool:
        return self.budget is None or self.median <= self.budget


@dataclass(frozen=True)
class Failed:
    """A case that ended before its time, and why."""

    case: str
    why: str


def row_of(
    case: str, work: str, tool: str, values: Sequence[float], memory: int, budget: float | None
) -> Row:
    """The budget counts for `gitops` only."""
    ours = budget if tool == "gitops" else None
    median = statistics.median(values)
    return Row(case, work, tool, median, min(values), max(values), len(values), memory, ours)


def side_by_side(
    commands: Sequence[Command], env: Mapping[str, str], rounds: int, *, warm: bool = True
) -> tuple[Taken, ...]:
    """Each round runs every command once (A B C, A B C, ...); `warm`: an uncounted one first."""
    taken: dict[str, list[float]] = {command.name: [] for command in commands}
    peaks = dict.fromkeys(taken, 0)
    for number in range(0 if warm else 1, rounds + 1):
        for command in commands:
            command.reset()
            seconds, peak = run(command, env)
            peaks[command.name] = max(peaks[command.name], peak)
            if number:
                taken[command.name].append(seconds)
    return tuple(Taken(name, tuple(each), peaks[name]) for name, each in taken.items())


def run(command: Command, env: Mapping[str, str]) -> tuple[float, int]:
    """Run once: CPU seconds, and the peak memory of the process in MB.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    process = subprocess.Popen(
        command.arguments,
        cwd=command.cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        line = " ".join(command.arguments)
        raise RuntimeError(f"`{line}` exited with {process.returncode}:\n{said}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1000
