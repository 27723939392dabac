"""The ASGI application: from a path to who answers it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from gitops.serve import http, metrics
from gitops.serve.ask import Answered, Desk
from gitops.serve.http import Gone, Headers, Receive, Scope, Send
from gitops.serve.keys import Keys
from gitops.serve.loaded import Loaded
from gitops.serve.options import Options
from gitops.serve.refusal import Refusal
from gitops.serve.say import bug

if TYPE_CHECKING:
    from gitops.serve.traces import Tracer


class Call:
    """One request under way."""

    __slots__ = ("app", "headers", "id", "noted", "receive", "scope", "send", "started")

    def __init__(self, app: App, scope: Scope, receive: Receive, send: Send, made: str) -> None:
        self.app = app
        self.scope = scope
        self.receive = receive
        self.send = send
        self.started = time.monotonic()
        self.headers: Headers = dict(scope["headers"])
        self.noted: dict[str, str | int] = {}  # for the trace
        given = self.headers.get(b"x-request-id")
        self.id = made if given is None else _text(given, "x-request-id", 128)

    @property
    def key(self) -> str | None:
        """What the caller calls the unit of a rollout."""
        given = self.headers.get(b"x-gitops-key")
        return None if given is None else _text(given, "x-gitops-key", 256)

    async def body(self, most: int) -> bytes:
        """The whole body. While it comes the request isn't under way: slow clients keep nobody out.

        Raises:
            Refusal, Gone: as `http.body_of`; 503 if too many came meanwhile.
        """
        self.app.active -= 1
        try:
            found = await http.body_of(self.headers, self.receive, most, self.app.room)
        finally:
            self.app.active += 1
        self.app.check_active()
        return found

    def took(self) -> float:
        """Milliseconds since it came."""
        return round((time.monotonic() - self.started) * 1e3, 3)

    def note(self, answered: Answered) -> None:
        """Who answered, for the trace."""
        self.noted = {
            "gitops.model": answered.model.name,
            "gitops.release": answered.model.variant.release,
            "gitops.variant": answered.variant,
            "gitops.rows": answered.rows.height,
            "http.response.status_code": 200,
        }

    async def answer(self, document: object, status: int = 200) -> None:
        await http.answer(self.send, status, http.encode(document))


Handler = Callable[[Call], Awaitable[None]]


class Endpoint:
    """What answers a path. `guarded`: needs a key, where the server has keys."""

    __slots__ = ("guarded", "handler", "method")

    def __init__(self, method: str, handler: Handler, *, guarded: bool = True) -> None:
        self.method = method
        self.handler = handler
        self.guarded = guarded


Endpoints = Mapping[str, Endpoint]


class App:
    """Serves what is loaded; `swap` puts something else in its place, between two requests."""

    def __init__(
        self, options: Options, desk: Desk, keys: Keys, make: Callable[[App], Endpoints]
    ) -> None:
        self.options = options
        self.desk = desk
        self.keys = keys
        self.loaded: Loaded | None = None
        self.tracer: Tracer | None = None
        self.draining = False
        self.status: Callable[[], dict[str, Any]] = dict
        self.active = 0
        self.room = http.Room(options.bodies)
        self._make = make
        self._endpoints = make(self)

    def swap(self, loaded: Loaded) -> None:
        """Answer by these models from the next request on."""
        self.loaded = loaded
        self._endpoints = self._make(self)

    def check_active(self) -> None:
        """Raises Refusal, 503, if too many requests are under way."""
        if self.active > self.options.active:
            raise Refusal(503, "the server is busy", fix="try again in a second")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")
        self.active += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self.active -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        call: Call | None = None
        endpoint = self._endpoints.get(scope["path"])
        try:
            call = Call(self, scope, receive, send, secrets.token_hex(10))
            if endpoint is None:
                raise self._unknown(scope["path"])
            if endpoint.method != scope["method"]:
                self._check_method(endpoint.method, scope["method"])
            if endpoint.guarded:
                self.check_active()
                if self.keys.needed:
                    self.keys.check(call.headers)
            if self.tracer is None:
                await endpoint.handler(call)
            else:
                await self._traced(self.tracer, call, endpoint.handler)
        except Refusal as refusal:
            plain = scope["path"].startswith("/v2")
            if refusal.status < 500 or refusal.status == 503:
                metrics.add("gitops_refused", str(refusal.status))
            await self._refuse(send, refusal, call, plain=plain)
        except Gone:
            metrics.add("gitops_refused", "499")
        except asyncio.CancelledError:
            raise
        except Exception as error:
            bug(error)
            failed = Refusal(500, "the server failed", fix="see the server's log")
            metrics.add("gitops_refused", "500")
            await self._refuse(send, failed, call, plain=False)

    async def _refuse(
        self, send: Send, refusal: Refusal, call: Call | None, *, plain: bool
    ) -> None:
        if self.options.in_body and call is not None:
            refusal.at |= {"status": refusal.status, "ms": call.took()}
        await http.refuse(send, refusal, None if call is None else call.id, plain=plain)

    async def _traced(self, tracer: Tracer, call: Call, handler: Handler) -> None:
        with tracer.span(call.scope["method"], call.scope["path"], call.headers) as span:
            try:
                await handler(call)
            except Refusal as refusal:
                call.noted["http.response.status_code"] = refusal.status
                raise
            finally:
                span.set_attributes(call.noted)

    def _check_method(self, right: str, given: str) -> None:
        if not (right == "GET" and given == "HEAD"):
            raise Refusal(405, "the method is not allowed here", fix=f"use {right}", allow=right)

    def _unknown(self, path: str) -> Refusal:
        parts = path.split("/")
        if self.loaded is None:
            return Refusal(503, "no plan is served yet", fix="try again in a second")
        routes = self.loaded.routes
        if "models" in parts[:3]:
            name = parts[parts.index("models") + 1 : parts.index("models") + 2]
            if name and name[0] not in routes:
                fix = f"the models are {', '.join(sorted(routes))}"
                return Refusal(404, "there is no such model", fix=fix, value=name[0])
            if name and "versions" in parts:
                variants = [model.variant.version for _, model in routes[name[0]].variants]
                fix = f"the versions served are {', '.join(variants)}"
                return Refusal(404, "there is no such version", fix=fix, model=name[0])
        return Refusal(404, "there is nothing here", fix="see /docs", value=path)


def _text(given: bytes, name: str, longest: int) -> str:
    text = given.decode("ascii", "replace")
    if not (0 < len(text) <= longest and text.isascii() and text.isprintable()) or " " in text:
        fix = f"send 1 to {longest} printable ASCII characters without spaces"
        raise Refusal(400, f"the header {name} is not usable", fix=fix)
    return text
