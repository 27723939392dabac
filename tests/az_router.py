"""What stands before the deployments of a stand-in endpoint: it splits, mirrors, and collects.

The events are as the official page shows them (payload logging); what that page leaves open is
decided against us: answers other than 200 aren't collected where `$AZ_STANDIN/wishes.json` has
`"successes_only"`, and a mirrored request has an id of its own.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import sys
import threading
import uuid
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOP = Path(os.environ["AZ_STANDIN"])
NAME, PORT = sys.argv[1], int(sys.argv[2])
TOKEN = hashlib.sha256(str(PORT).encode()).hexdigest()
LOCK = threading.Lock()
CHANCE = random.Random(7)


def wishes() -> dict[str, Any]:
    path = TOP / "wishes.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def endpoint() -> dict[str, Any]:
    found = json.loads((TOP / "state.json").read_text())["endpoints"][NAME]
    assert isinstance(found, dict)
    return found


def drawn(traffic: dict[str, int]) -> str | None:
    at = CHANCE.random() * 100
    for name, share in sorted(traffic.items()):
        at -= share
        if at < 0:
            return name
    return None


def asked(one: dict[str, Any], path: str, body: bytes) -> tuple[int, bytes]:
    """A deployment's answer; what goes in and out is collected."""
    correlation = str(uuid.uuid4())
    collector = one["document"].get("data_collector")
    collect(one, collector, "request", correlation, body, path)
    connection = http.client.HTTPConnection("127.0.0.1", one["port"], timeout=60)
    headers = {"content-type": "application/json", "x-request-id": correlation}
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        status, said = answer.status, answer.read()
    except OSError:
        return 503, b'{"error": {"message": "no container"}}'
    finally:
        connection.close()
    if status == 200 or not wishes().get("successes_only"):
        collect(one, collector, "response", correlation, said, path)
    return status, said


def collect(
    one: dict[str, Any], collector: Any, kind: str, correlation: str, body: bytes, path: str
) -> None:
    named = ((collector or {}).get("collections") or {}).get(kind) or {}
    if str(named.get("enabled")).lower() != "true":
        return
    try:
        data = json.loads(body)
    except ValueError:
        data = body.decode("utf-8", "replace")
    now = datetime.now(UTC)
    event = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": f"/workspaces/w/onlineEndpoints/{NAME}/deployments/{one['name']}",
        "type": f"azureml.inference.{kind}",
        "datacontenttype": "application/json",
        "time": now.isoformat(),
        "data": data,
        **({"path": path, "method": "POST"} if kind == "request" else {}),
        "contentrange": f"bytes 0-{len(body) - 1}/{len(body)}",
        "correlationid": correlation,
        "xrequestid": correlation,
    }
    folder = TOP / "blobs" / "modelDataCollector" / NAME / one["name"] / kind
    file = folder / now.strftime("%Y/%m/%d/%H") / "instance-1.jsonl"
    with LOCK:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as out:
            out.write(json.dumps(event) + "\n")


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self.answer(401, b'{"message": "who are you?"}')
            return
        at = endpoint()
        with LOCK:
            name = self.headers.get("azureml-model-deployment") or drawn(at["traffic"])
            mirrored = drawn(at["mirror_traffic"])
        one = at["deployments"].get(name)
        if one is None or one.get("port") is None:
            self.answer(404, b'{"message": "no valid deployment"}')
            return
        status, said = asked(one, self.path, body)
        if mirrored and not self.headers.get("azureml-model-deployment"):
            copy = at["deployments"][mirrored]
            threading.Thread(target=asked, args=(copy, self.path, body)).start()
        self.answer(status, said)

    def answer(self, status: int, body: bytes) -> None:
        passed = status in (200, 401, 404)
        self.send_response(status if passed else 424)
        if not passed:
            self.send_header("ms-azureml-model-error-statuscode", str(status))
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: stderr is the tests'."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Front).serve_forever()
