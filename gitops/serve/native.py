"""The native protocol: rows as objects, answers beside them."""

from __future__ import annotations

import msgspec

from gitops.serve import http
from gitops.serve.app import App, Call
from gitops.serve.ask import Answered, Request
from gitops.serve.loaded import Route
from gitops.serve.model import Model
from gitops.serve.refusal import Refusal


class Answer(msgspec.Struct, omit_defaults=True):
    """What a prediction is answered with; `scores` is absent in a regression."""

    id: str
    model: str
    release: str
    variant: str
    predictions: object
    scores: object = None
    warnings: tuple[str, ...] = ()
    explanations: object = None
    ms: float | None = None


async def predict(app: App, call: Call, route: Route, only: Model | None) -> None:
    """Answer rows; `only`: by this variant; with `?explain=true` say what made the answers."""
    http.require_json(call.headers)
    body = await call.body(app.options.max_body)
    request = Request(call.id, call.key, len(body), call.started, only)
    try:
        answered = await app.desk.ask(route, request, lambda model: model.decode(body))
        if app.tracer is not None:
            call.note(answered)
        made = _document(answered)
        if app.options.in_body:
            made.ms = call.took()
        if b"explain=true" in call.scope["query_string"].split(b"&"):
            made.explanations = await app.desk.explain(answered, request)
    except Refusal as refusal:
        refusal.at.setdefault("model", route.name)
        raise
    await http.answer(call.send, 200, http.encode(made))


def _document(answered: Answered) -> Answer:
    return Answer(
        answered.id,
        answered.model.name,
        answered.model.variant.release,
        answered.variant,
        answered.answers.predictions,
        answered.answers.scores,
        answered.rows.warnings,
    )
