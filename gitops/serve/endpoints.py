"""Which paths there are."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from gitops.serve import http, metrics, native, openapi, page, supervisor, v2
from gitops.serve.app import App, Call, Endpoint, Endpoints
from gitops.serve.loaded import Route
from gitops.serve.model import Model
from gitops.serve.refusal import Refusal
from gitops.serve.script import Around


def endpoints(app: App) -> Endpoints:
    """All paths of what an application serves now."""
    found = {
        "/v2/health/live": Endpoint("GET", _live, guarded=False),
        "/v2/health/ready": Endpoint("GET", partial(_ready, app), guarded=False),
        "/v2": Endpoint("GET", _server),
        "/metrics": Endpoint("GET", partial(_metrics, app)),
        "/gitops/state": Endpoint("GET", partial(_state, app)),
        "/labels": Endpoint("POST", partial(_labels, app)),
        "/openapi.json": Endpoint("GET", partial(_openapi, app)),
        "/docs": Endpoint("GET", partial(_docs, app)),
    }
    for route in app.loaded.routes.values() if app.loaded else ():
        found |= _of_model(app, route)
    return found


def _of_model(app: App, route: Route) -> dict[str, Endpoint]:
    found = {}
    asked: list[tuple[str, Model | None]] = [("", None)]
    for _, model in route.variants:
        asked.append((f"/versions/{model.variant.version}", model))
    for tail, only in asked:
        predict = partial(native.predict, app, route=route, only=only)
        found[f"/models/{route.name}{tail}/predict"] = Endpoint("POST", predict)
        base = f"/v2/models/{route.name}{tail}"
        infer = partial(v2.infer, app, route=route, only=only)
        described = partial(_metadata, document=v2.metadata(route, only))
        found[f"{base}/infer"] = Endpoint("POST", infer)
        found[base] = Endpoint("GET", described)
        found[f"{base}/ready"] = Endpoint("GET", partial(_ready, app), guarded=False)
    return found


async def _server(call: Call) -> None:
    await call.answer(v2.server())


async def _metadata(call: Call, document: object) -> None:
    await call.answer(document)


async def _live(call: Call) -> None:
    await call.answer({"live": True})


async def _ready(app: App, call: Call) -> None:
    ready = app.loaded is not None and not app.draining
    await call.answer({"ready": ready}, 200 if ready else 503)


async def _metrics(app: App, call: Call) -> None:
    metrics.put("gitops_active_requests", app.active)
    found = metrics.text(supervisor.metrics_folder(app.options.state))
    await http.answer(call.send, 200, found, metrics.CONTENT_TYPE)


async def _labels(app: App, call: Call) -> None:
    http.require_json(call.headers)
    if not app.options.kept:
        fix = "start the server with --state DIR"
        raise Refusal(409, "labels aren't kept here", fix=fix)
    accepted = await app.desk.journal.label(await call.body(app.options.max_body))
    await call.answer({"accepted": accepted}, 202)


async def _openapi(app: App, call: Call) -> None:
    await call.answer(openapi.document(app.loaded, keys=app.keys.needed))


async def _docs(app: App, call: Call) -> None:
    host = call.headers.get(b"host", b"127.0.0.1").decode("ascii", "replace")
    base = f"{call.scope['scheme']}://{host}"
    found = page.html(app.loaded, base, keys=app.keys.needed)
    await http.answer(call.send, 200, found, page.CONTENT_TYPE, page.HEADERS)


async def _state(app: App, call: Call) -> None:
    client = call.scope.get("client")
    if not app.keys.needed and (client is None or client[0] not in ("127.0.0.1", "::1")):
        raise Refusal(403, "only this machine is told", fix="ask from the server's own machine")
    await call.answer({"pid": os.getpid(), **app.status(), **state(app)})


def state(app: App) -> dict[str, Any]:
    """What is served, for programs."""
    if app.loaded is None:
        return {"project": None, "environment": None, "models": {}}
    plan = app.loaded.plan
    models = {
        name: {
            "share": route.served.share,
            "shadow": route.served.shadow,
            "key": route.served.key,
            **{called: _variant(model) for called, model in route.variants},
        }
        for name, route in app.loaded.routes.items()
    }
    return {"project": plan.project, "environment": plan.environment, "models": models}


def _variant(model: Model) -> dict[str, str]:
    script = {"script": model.runner.script.version} if isinstance(model.runner, Around) else {}
    return {
        **script,
        "release": model.variant.release,
        "assignment": model.variant.assignment,
        "package": model.variant.package,
        "version": model.variant.version,
    }
