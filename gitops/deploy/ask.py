"""Questions to an endpoint of ours, over HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gitops import jsontext
from gitops.errors import ToolError

_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """`body` is the JSON document of the answer, or its text."""

    status: int
    body: Any


@dataclass(frozen=True)
class Endpoint:
    """Where a server answers; one that listens everywhere is asked on this machine."""

    host: str
    port: int

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def get(self, path: str, seconds: float = _SECONDS) -> Answer:
        """Raises ToolError if nothing answers."""
        return self._ask("GET", path, None, {}, seconds)

    def post(self, path: str, body: bytes | Mapping[str, Any], **headers: str) -> Answer:
        """Raises ToolError if nothing answers."""
        raw = body if isinstance(body, bytes) else json.dumps(body, allow_nan=False).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._ask("POST", path, raw, {"content-type": "application/json", **named}, _SECONDS)

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], seconds: float
    ) -> Answer:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        connection = http.client.HTTPConnection(host, self.port, timeout=seconds)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ToolError(
                f"{self.url} doesn't answer: {error}", fix="gitops deploy starts what should run"
            ) from error
        finally:
            connection.close()
        try:
            return Answer(answer.status, jsontext.loads(raw))
        except ValueError:
            return Answer(answer.status, raw.decode("utf-8", "replace"))
