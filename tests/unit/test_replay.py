"""Replayed rows: each asked once, its label told, failures counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gitops import replay
from gitops.errors import ToolError
from gitops.replay import Replay

ROWS = [{"distance": at} for at in range(120)]


@contextmanager
def endpoint(seen: list[tuple[str, Any]], broken: int = -1) -> Iterator[tuple[str, int]]:
    """A server that answers, except for the row `broken`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen.append((self.path, body))
            fails = body.get("row") == {"distance": broken}
            self._say(500 if fails else 200, {"id": f"r{len(seen)}", "release": "late@v1.0.0"})

        def do_GET(self) -> None:
            self._say(200, {"inputs": [{"name": "distance"}, {"name": "carrier"}]})

        def _say(self, status: int, document: object) -> None:
            raw = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield "127.0.0.1", server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_rows_are_asked_in_turn_and_labels_told() -> None:
    seen: list[tuple[str, Any]] = []
    labels = [at % 2 == 0 for at in range(120)]
    with endpoint(seen) as address, Replay(address, "late", ROWS, labels) as asked:
        asked.finish()
    assert [body["row"] for path, body in seen if path == "/models/late/predict"] == ROWS
    told = [one for path, body in seen if path == "/labels" for one in body["labels"]]
    assert [one["label"] for one in told] == labels[:100]  # in batches of 50
    assert (asked.failed, asked.answers) == (0, {"late@v1.0.0": 120})
    assert asked.asked == 122


def test_what_fails_is_counted_and_gets_no_label() -> None:
    seen: list[tuple[str, Any]] = []
    with endpoint(seen, broken=7) as address, Replay(address, "late", ROWS, [1] * 120) as asked:
        asked.finish()
    assert (asked.failed, sum(asked.answers.values())) == (1, 119)


def test_it_ends_with_the_block() -> None:
    seen: list[tuple[str, Any]] = []
    with endpoint(seen) as address, Replay(address, "late", ROWS * 1000, [1] * 120_000) as asked:
        while not asked.answers:
            pass
    assert 0 < asked.asked < 120_000


def test_nobody_there_fails() -> None:
    with endpoint([]) as address:
        assert replay.inputs(address, "late") == ["distance", "carrier"]
    with Replay(address, "late", ROWS[:3], [1] * 3) as asked:
        asked.finish()
    assert (asked.asked, asked.failed) == (3, 3)
    with pytest.raises(ToolError, match="doesn't answer"):
        replay.inputs(address, "late")
