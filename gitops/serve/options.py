"""How a server runs, as its workers are told it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_PATHS = ("plan", "state", "api_keys", "tls_cert", "tls_key", "client_ca")


@dataclass(frozen=True)
class Options:
    """Sizes are bytes, times seconds; limits hold for each worker.

    `kept`: the state folder outlives the server. `small`: bodies up to here are answered by the
    event loop itself, larger ones by a thread. `active`: requests under way beyond which new ones
    are turned away; `queue`: the same of large ones; `bodies`: what may be there of bodies that
    are still coming. `head_timeout` and `body_timeout`: how long a
    request's head and body may take to come. `in_body`: status and milliseconds stand in the
    answers' bodies, too.
    """

    plan: Path
    state: Path
    kept: bool = True
    workers: int = 1
    max_body: int = 8 << 20
    max_rows: int = 10_000
    max_head: int = 64 << 10
    small: int = 32 << 10
    active: int = 512
    bodies: int = 256 << 20
    queue: int = 16
    connections: int = 12_000
    timeout: float = 30.0
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    drain_timeout: float = 30.0
    api_keys: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    otlp: str | None = None
    in_body: bool = False

    def text(self) -> str:
        """For a worker's command line; `parse` reads it."""
        return json.dumps(asdict(self), default=str)


def parse(text: str) -> Options:
    """What `Options.text` wrote."""
    found: dict[str, Any] = json.loads(text)
    paths: dict[str, Any] = {name: Path(found[name]) for name in _PATHS if found[name]}
    return Options(**found | paths)
