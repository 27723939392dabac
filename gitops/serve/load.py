"""Clients that ask a server on this machine as fast as it answers, or as often as they are told.

With a rate (an open loop) requests come at random, independent of the answers, and each one's time
counts from when it should have gone out: a server that falls behind can't hide that.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_SECONDS = 3600.0
MOST_REQUESTS = 20_000_000
MOST_CONNECTIONS = 1000


@dataclass
class Taken:
    """`seconds` of each answered request; `errors`: other statuses than 200, and connections that
    broke."""

    took: float
    seconds: list[float] = field(default_factory=list)
    errors: int = 0

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.took if self.took else 0.0

    def quantile(self, share: float) -> float:
        """Milliseconds within which so many of the requests were answered."""
        if not self.seconds:
            return math.nan
        ranked = sorted(self.seconds)
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))] * 1e3


def request(host: str, path: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """The bytes of a POST of JSON."""
    more = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        f"{more}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def load(
    host: str,
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int,
    seconds: float,
    rate: float | None = None,
    most: int = MOST_REQUESTS,
) -> Taken:
    """Ask over so many connections for so long, each connection one request after the other."""
    run = _Run(requests, rate, most)
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: _Connection(run), host, port)
        for _ in range(min(connections, MOST_CONNECTIONS))
    ]
    started = time.perf_counter()
    run.begin([protocol for _, protocol in made])
    if rate is None:
        await asyncio.sleep(min(seconds, MOST_SECONDS))
    else:
        await run.arrivals(min(seconds, MOST_SECONDS))
    run.ending = True
    run.taken.took = time.perf_counter() - started
    deadline = time.perf_counter() + 10
    while run.under_way and time.perf_counter() < deadline:
        await asyncio.sleep(0.01)
    for transport, _ in made:
        transport.close()
    return run.taken


class _Run:
    def __init__(self, requests: Sequence[bytes], rate: float | None, most: int) -> None:
        self.requests = requests
        self.rate = rate
        self.left = most
        self.taken = Taken(0.0)
        self.idle: deque[_Connection] = deque()
        self.due: deque[float] = deque()
        self.under_way = 0
        self.ending = False
        self._next = 0

    def begin(self, connections: list[_Connection]) -> None:
        for connection in connections:
            self.free(connection)

    def free(self, connection: _Connection) -> None:
        """A connection that may ask."""
        if self.left <= 0 or (self.ending and not self.due):
            return
        if self.rate is None:
            self._ask(connection, time.perf_counter())
        elif self.due:
            self._ask(connection, self.due.popleft())
        else:
            self.idle.append(connection)

    async def arrivals(self, seconds: float) -> None:
        """Requests of a Poisson process; what finds no free connection waits, and its time runs."""
        assert self.rate  # noqa: S101
        chance = random.Random(7)  # noqa: S311
        at = time.perf_counter()
        end = at + seconds
        while True:
            at += chance.expovariate(self.rate)
            if at > end:
                return
            while (wait := at - time.perf_counter()) > 0:
                await asyncio.sleep(wait if wait > 0.002 else 0)
            if self.idle:
                self._ask(self.idle.popleft(), at)
            elif len(self.due) < 100_000:
                self.due.append(at)

    def _ask(self, connection: _Connection, since: float) -> None:
        self.left -= 1
        self.under_way += 1
        self._next += 1
        connection.ask(self.requests[self._next % len(self.requests)], since)


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._since = 0.0
        self._buffer = b""
        self._asking = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def ask(self, request: bytes, since: float) -> None:
        self._since, self._asking = since, True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.lower().find(b"content-length:", 0, head)
        length = int(self._buffer[at + 15 : self._buffer.find(b"\r", at)])
        if len(self._buffer) < head + 4 + length:
            return
        self._done(self._buffer.startswith(b"HTTP/1.1 200"))

    def _done(self, right: bool) -> None:
        if right:
            self._run.taken.seconds.append(time.perf_counter() - self._since)
        else:
            self._run.taken.errors += 1
        self._run.under_way -= 1
        self._buffer, self._asking = b"", False
        self._run.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._asking:
            self._run.taken.errors += 1
            self._run.under_way -= 1
