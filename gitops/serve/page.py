"""The page /docs: how to ask what is served. It loads nothing from elsewhere, and runs nothing."""

from __future__ import annotations

import json
from html import escape
from shlex import quote

from gitops.serve.loaded import Loaded, Route
from gitops.serve.model import example
from gitops.serve.rows import moment
from gitops.signature import Input

CONTENT_TYPE = b"text/html; charset=utf-8"
HEADERS = [(b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'")]
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222}
pre{background:#f4f4f4;padding:.8rem;overflow-x:auto}
td,th{text-align:left;padding:.1rem 1rem .1rem 0}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}pre{background:#262626}}
"""


def html(loaded: Loaded | None, base: str, *, keys: bool) -> bytes:
    """The page; `base` is the address it was asked at."""
    routes = loaded.routes.values() if loaded else ()
    title = f"{loaded.plan.project}, {loaded.plan.environment}" if loaded else "gitops serve"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>",
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>",
        "<p>Described for programs in <a href=/openapi.json>/openapi.json</a>."
        " The Open Inference Protocol is at <code>/v2</code>, metrics at <code>/metrics</code>.",
        *(_model(route, base, keys) for route in routes),
    ]
    return "\n".join(parts).encode()


def _model(route: Route, base: str, keys: bool) -> str:
    model = route.champion
    url = f"{base}/models/{route.name}/predict"
    body = json.dumps({"rows": [example(model.signature)]}, ensure_ascii=False)
    key = ["  -H 'authorization: Bearer KEY' \\"] if keys else []
    shell = [
        f"curl {url} \\",
        "  -H 'content-type: application/json' \\",
        *key,
        f"  -d {quote(body)}",
    ]
    rows = "".join(
        f"<tr><td><code>{escape(item.name)}</code><td>{item.type}"
        f"<td>{'may be null' if item.nullable else ''}<td>{escape(_range(item))}"
        for item in model.signature.inputs
    )
    releases = ", ".join(
        f"{escape(found.variant.release)} ({called})" for called, found in route.variants
    )
    return (
        f"<h2>{escape(route.name)}</h2><p>{model.signature.task},"
        f" predicts <code>{escape(model.signature.target)}</code>; {releases}"
        f"<pre>{escape(chr(10).join(shell))}</pre>"
        f"<table><tr><th>column<th>type<th><th>training data{rows}</table>"
    )


def _range(item: Input) -> str:
    if item.categories:
        more = f" and {len(item.categories) - 12} more" if len(item.categories) > 12 else ""
        return ", ".join(item.categories[:12]) + more
    if item.minimum is None or item.maximum is None:
        return ""
    return f"{moment(item.minimum, item)} to {moment(item.maximum, item)}"
