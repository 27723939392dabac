"""Processes that outlive us: started, told apart, found again, ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gitops import proc
from gitops.errors import ToolError
from gitops.proc import GRACE_SECONDS

_children: list[proc.Process] = []  # looked at, so that none is a zombie


@dataclass(frozen=True)
class Started:
    """A process that outlives us. `since` tells it from another one that has got its number."""

    pid: int
    since: str


def start(
    command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str | None] | None = None
) -> Started:
    """Start a process in a session of its own, which goes on when we end; it writes to `log`.

    Raises:
        ToolError: the program is missing, or ended at once.
    """
    process = proc.detached(command, log, cwd=cwd, env=env)
    _children.append(process)
    began = since(process.pid)
    if began is None:
        raise ToolError(f"{proc.shown(command)} ended at once", fix=f"see {log}")
    return Started(process.pid, began)


def since(pid: int) -> str | None:
    """When a process started, in words that no other process of that number ever has; None: gone.

    Linux counts clock ticks since the boot (proc(5), field 22 of stat), other systems say a date.
    """
    _children[:] = [one for one in _children if one.poll() is None]
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        if Path("/proc/self").exists():
            return None
        told = proc.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], check=False).out.strip()
        return None if not told or told.startswith("Z") else told.partition(" ")[2].strip()
    return None if stat[0] in "ZX" else f"{boot} {stat[19]}"


def is_alive(one: Started) -> bool:
    """Whether it is still this process."""
    return since(one.pid) == one.since


def find(*words: str, text: str = "") -> list[Started]:
    """The processes whose command line has these words in a row, and this text; not this one."""
    lines: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            raw = path.read_bytes().decode("utf-8", "replace")
            lines[int(path.parent.name)] = raw.rstrip("\0").split("\0")
    if not lines:
        listed = proc.run(["ps", "-axo", "pid=,command="], check=False).out.splitlines()
        lines = {int(line.split()[0]): line.split()[1:] for line in listed if line.strip()}
    size, found = len(words), []
    for pid, line in lines.items():
        if pid == os.getpid():
            continue
        named = any(tuple(line[at : at + size]) == words for at in range(len(line)))
        named = named and text in " ".join(line)
        if named and (began := since(pid)) is not None:
            found.append(Started(pid, began))
    return found


def end(one: Started, seconds: float = GRACE_SECONDS) -> None:
    """End it: it is asked to, and after so many seconds made to, with all of its session."""
    if not is_alive(one):
        return
    with suppress(ProcessLookupError):
        os.kill(one.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while is_alive(one):
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.02)
