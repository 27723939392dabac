"""HTTP connections with the limits that uvicorn doesn't have: time and size of a request's head,
time of its body, clients that don't read, and the number of connections."""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gitops.serve import metrics
from gitops.serve.options import Options


class Protocol(HttpToolsProtocol):
    """One connection.

    A request that comes in one piece, as nearly all do, costs no timer.
    """

    options: ClassVar[Options]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline: TimerHandle | None = None
        self._stalled: TimerHandle | None = None
        self._coming = self._in_head = False
        self._head = self._piece = 0
        metrics.put("gitops_connections", len(self.connections))
        if len(self.connections) > self.options.connections:
            self._end(503, "too many connections")
            return
        self._wait_for_more()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()
        metrics.put("gitops_connections", len(self.connections))

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if not self._coming:
            self._head, self._in_head = 0, True
        self._piece = len(data)
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > self.options.max_head:
                self._end(431, "the head of the request is too large")
                return
        if self._coming:
            if self._deadline is None:
                self._arm(self.options.head_timeout if self._in_head else self.options.body_timeout)
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        # A line break before a request is none: whoever sends nothing else has still not asked.
        if self.timeout_keep_alive_task is None and self._is_idle():
            self._wait_for_more()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_more(self) -> None:
        """Whoever asks nothing for long is sent away."""
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._coming = self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._deadline is not None:
            self._arm(self.options.body_timeout)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._coming = False
        self._head = -self._piece  # the next head's size doesn't count what came before it
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.options.body_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():  # a client that doesn't read its answer
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _arm(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._deadline = None
        self._end(408, "the request took too long to come")

    def _end(self, status: int, message: str) -> None:
        """Answer without the application, unless it has begun to, and hang up."""
        metrics.add("gitops_refused", str(status))
        in_body = self._coming and not self._in_head
        if not self.cycle.response_started if in_body else self._is_idle():
            body = b'{"error":{"message":"%s"}}' % message.encode()
            head = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
            retry = b"retry-after: 1\r\n" if status == 503 else b""
            self.transport.write(
                b"".join((STATUS_LINE[status], head, retry, b"connection: close\r\n\r\n", body))
            )
        self.transport.close()


def configured(options: Options) -> type[Protocol]:
    """The protocol with these limits."""
    attributes: dict[str, Any] = {"options": options}
    return type("Configured", (Protocol,), attributes)
