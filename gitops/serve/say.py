"""The server's own log: one JSON object a line on stderr, with no row, key or header in it."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from contextlib import suppress

from gitops import utc


def say(event: str, *, level: str = "info", **fields: object) -> None:
    """Log that something happened."""
    now = utc.now("milliseconds")
    line = {"at": now, "level": level, "pid": os.getpid(), "event": event, **fields}
    with suppress(OSError):  # the log's disk may be full: what serves goes on
        sys.stderr.write(json.dumps(line, ensure_ascii=True, default=str) + "\n")
        sys.stderr.flush()


# Of each bug: when it may be told again, and how often it came meanwhile.
_seen: dict[tuple[str, ...], list[float]] = {}


def bug(error: BaseException) -> None:
    """Log an error that nobody expected, with its place but without values; each once a second."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    at = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    seen = _seen.setdefault((type(error).__name__, *at), [0.0, 0])
    seen[1] += 1
    now = time.monotonic()
    if now >= seen[0]:
        say("bug", level="error", error=type(error).__name__, at=at, times=int(seen[1]))
        seen[:] = [now + 1.0, 0]


class Handler(logging.Handler):
    """Errors of the libraries below, in the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            bug(record.exc_info[1])
        else:
            say("library", level=record.levelname.lower(), logger=record.name, text=record.msg)
