"""`gitops serve --bench`: how fast a server here answers rows like the training data's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from gitops import loopback, package
from gitops.errors import ToolError, UsageError
from gitops.package import Package
from gitops.serve import background
from gitops.serve.load import Taken, load, request

_ROWS = 1000  # distinct ones


@dataclass(frozen=True)
class Measured:
    """Milliseconds; `rate` is answered requests per second, `wanted` what was asked for."""

    requests: int
    errors: int
    rate: float
    wanted: float | None
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Report:
    """`full`: each connection asks without pause; `steady`: at 80 % of that rate, at random.

    `cpu_us`: CPU microseconds of the workers for each request of `full`; `memory_mb`: what they
    hold at the end. Both None if the server isn't ours.
    """

    model: str
    rows: int
    connections: int
    seconds: float
    full: Measured
    steady: Measured
    cpu_us: float | None
    memory_mb: float | None

    def document(self) -> dict[str, Any]:
        return asdict(self)


def bodies(found: Package, file: Path | None, each: int) -> list[bytes]:
    """Requests of `each` rows: of a file, or drawn from the training data's profile.

    Raises:
        GitopsError: the file can't be read, or doesn't fit.
    """
    if file is None:
        chance = np.random.default_rng(7)
        columns = background.draw(found, max(_ROWS, each), chance)
    else:
        typed = package.typed(package.read_rows(file), found.signature)
        columns = {
            name: column.fill_null("").to_numpy().astype(object)
            if column.dtype.is_(pl.String)
            else column.fill_null(np.nan).to_numpy()
            for name, column in typed.items()
        }
    rows = background.documents(columns, found.signature)
    starts = range(0, max(1, len(rows) - each + 1), each)
    return [msgspec.json.encode({"rows": rows[start : start + each]}) for start in starts]


def measure(
    host: str,
    port: int,
    found: Package,
    sent: Sequence[bytes],
    *,
    each: int,
    connections: int,
    seconds: float,
    pids: Callable[[], list[int]] | None,
    say: Callable[[str], None],
) -> Report:
    """Measure a server that answers already; `pids` are its processes if it is ours.

    Raises:
        UsageError: the server isn't on this machine.
        ToolError: it doesn't answer these rows.
    """
    if host not in loopback.HOSTS:
        fix = f"measure a server on {' or '.join(loopback.HOSTS)}"
        raise UsageError(f"{host} is another machine: it is never sent load", fix=fix)
    path = f"/models/{found.signature.model}/predict"
    requests = [request(f"{host}:{port}", path, body) for body in sent]

    def run(seconds: float, rate: float | None = None) -> Taken:
        return _looped(
            load(host, port, requests, connections=connections, seconds=seconds, rate=rate)
        )

    try:
        warm = run(min(1.0, seconds / 4))
    except OSError as error:
        raise ToolError(f"{host}:{port} doesn't answer: {error}", fix="start the server") from error
    if not warm.seconds:
        raise ToolError(
            f"{host}:{port} answers none of these rows at {path}", fix="see what it answers to one"
        )
    say(f"{connections} connections without pause, {seconds:g} s")
    before = _cpu(pids() if pids else [])
    full = run(seconds)
    spent = _cpu(pids() if pids else []) - before
    rate = 0.8 * full.rate
    say(f"{rate:,.0f} requests/s at random, {seconds:g} s")
    steady = run(seconds, rate)
    answered = len(full.seconds) + full.errors
    return Report(
        model=found.signature.model,
        rows=each,
        connections=connections,
        seconds=seconds,
        full=_measured(full, None),
        steady=_measured(steady, rate),
        cpu_us=round(spent * 1e6 / max(1, answered), 1) if pids else None,
        memory_mb=round(memory(pids()) / 1e6, 1) if pids else None,
    )


def _looped(work: Any) -> Taken:  # noqa: ANN401
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        taken: Taken = runner.run(work)
        return taken


def _measured(taken: Taken, wanted: float | None) -> Measured:
    p50, p95, p99 = (round(taken.quantile(share), 3) for share in (0.5, 0.95, 0.99))
    return Measured(len(taken.seconds), taken.errors, round(taken.rate, 1), wanted, p50, p95, p99)


def _cpu(pids: Sequence[int]) -> float:
    """User and system CPU seconds that processes have taken (proc(5), stat)."""
    import os

    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pids: Sequence[int]) -> int:
    """Bytes that processes hold; of what they share each has its part (PSS; proc(5))."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total
