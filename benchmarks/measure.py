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
    """User and system CPU seconds of each round, children of the process included."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def side_by_side(
    commands: Sequence[Command], env: Mapping[str, str], rounds: int
) -> tuple[Taken, ...]:
    """Each round runs every command once (A B C, A B C, ...); an uncounted one warms up."""
    taken: dict[str, list[float]] = {command.name: [] for command in commands}
    for number in range(rounds + 1):
        for command in commands:
            command.reset()
            seconds = cpu_seconds(command, env)
            if number:
                taken[command.name].append(seconds)
    return tuple(Taken(name, tuple(seconds)) for name, seconds in taken.items())


def cpu_seconds(command: Command, env: Mapping[str, str]) -> float:
    """Run once.

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
    return usage.ru_utime + usage.ru_stime
