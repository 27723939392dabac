"""The little of HTTP that an application without a framework needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gitops.serve.refusal import Refusal

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = dict[bytes, bytes]

JSON = b"application/json"
encode = msgspec.json.Encoder().encode


class Gone(Exception):
    """The client hung up."""


class Room:
    """Bytes of memory that bodies may take together while they come in pieces."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, size: int) -> None:
        """Raises Refusal, 503, if there is none left; what was taken is given back all the same."""
        self.left -= size
        if self.left < 0:
            raise Refusal(503, "too many bodies are coming in", fix="try again in a second")


async def body_of(headers: Headers, receive: Receive, most: int, room: Room) -> bytes:
    """A request's whole body.

    Raises:
        Refusal: 413, more than `most` bytes; as soon as it is known. 503, no room for its pieces.
        Gone: the client hung up before all had come.
    """
    length = headers.get(b"content-length", b"")
    if length and int(length) > most:
        raise _too_large(most)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    body: bytes = message["body"]
    if not message["more_body"] and len(body) <= most:
        return body
    parts, size = [body], len(body)
    try:
        room.take(size)
        while message["more_body"]:
            if size > most:
                raise _too_large(most)
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(message["body"])
            size += len(parts[-1])
            room.take(len(parts[-1]))
    finally:
        room.left += size
    if size > most:
        raise _too_large(most)
    return b"".join(parts)


async def answer(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes = JSON,
    more: list[tuple[bytes, bytes]] | None = None,
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    if more:
        headers += more
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, refusal: Refusal, request_id: str | None, *, plain: bool) -> None:
    """Answer with an error; `plain`: one text, as the Open Inference Protocol has it."""
    document = {"error": refusal.text()} if plain else refusal.document(request_id)
    more = [(b"retry-after", b"1")] if refusal.status in (429, 503) else []
    if refusal.status == 401:
        more = [(b"www-authenticate", b"Bearer")]
    if refusal.status == 405:
        more = [(b"allow", str(refusal.at["allow"]).encode())]
    await answer(send, refusal.status, encode(document), more=more)


def require_json(headers: Headers) -> None:
    """Raises Refusal, 415, unless the body calls itself JSON, or nothing."""
    given = headers.get(b"content-type", JSON)
    if given != JSON and given.split(b";")[0].strip().lower() != JSON:
        raise Refusal(
            415,
            "the body is not called JSON",
            fix="send the header content-type: application/json",
            value=given.decode("latin-1"),
        )
    if b"content-encoding" in headers:
        raise Refusal(415, "compressed bodies are not read", fix="send it as it is")


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"the body has more than {most:,} bytes", fix="send fewer rows at a time")
