"""Recorded rows as traffic: each is asked, and then told what came true. For demonstrations."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from gitops.errors import ToolError

Row = Mapping[str, Any]
_BATCH = 50  # labels of one request
_SECONDS = 10.0


def inputs(address: tuple[str, int], model: str) -> list[str]:
    """The columns that a model which is served takes (Open Inference Protocol, metadata).

    Raises:
        ToolError: nothing answers there.
    """
    connection = http.client.HTTPConnection(*address, timeout=_SECONDS)
    try:
        connection.request("GET", f"/v2/models/{model}")
        document = json.loads(connection.getresponse().read())
        return [str(one["name"]) for one in document["inputs"]]
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        raise ToolError(f"{address[0]}:{address[1]} doesn't answer: {error}") from error
    finally:
        connection.close()


class Replay:
    """Asks for one row after the other, and posts its label, as long as the `with` block runs.

    It ends by itself after the last row. `asked` counts the requests, `failed` those that got no
    answer (a status other than 2xx counts as none), `answers` the answers by release; `last` is the
    last answer.
    """

    def __init__(
        self, address: tuple[str, int], model: str, rows: Sequence[Row], labels: Sequence[object]
    ) -> None:
        """`labels`: what came true of each row; None isn't told."""
        self.asked = 0
        self.failed = 0
        self.answers: dict[str, int] = {}
        self.last: dict[str, Any] = {}
        self._address = address
        self._path = f"/models/{model}/predict"
        self._rows = rows
        self._labels = labels
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def finish(self) -> None:
        """Wait until every row was asked."""
        self._thread.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=_SECONDS)
        told: list[dict[str, object]] = []
        for row, label in zip(self._rows, self._labels, strict=True):
            if self._ended.is_set():
                break
            if (answer := self._post(connection, self._path, {"row": row})) is None:
                continue
            self.last = answer
            release = str(answer["release"])
            self.answers[release] = self.answers.get(release, 0) + 1
            if label is not None:
                told.append({"id": answer["id"], "row": 0, "label": label})
            if len(told) == _BATCH:
                self._post(connection, "/labels", {"labels": told})
                told = []
        connection.close()

    def _post(
        self, connection: http.client.HTTPConnection, path: str, body: Mapping[str, object]
    ) -> dict[str, Any] | None:
        self.asked += 1
        try:
            raw = json.dumps(body)
            connection.request("POST", path, raw, {"content-type": "application/json"})
            answer = connection.getresponse()
            found = json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException):
            connection.close()
            self.failed += 1
            return None
        if answer.status >= 300:
            self.failed += 1
            return None
        return dict(found)
