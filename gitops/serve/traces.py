"""Traces of requests (OpenTelemetry), sent where `--otlp` says; the caller's trace goes on in ours.

Nobody is told anything unless that is asked for. A span has names, numbers and the status; no row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from gitops import __version__
from gitops.errors import ToolError

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from gitops.serve.http import Headers


def require() -> None:
    """Raises ToolError unless the extra is installed."""
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
        raise ToolError("traces need the extra otel", fix="install gitops-ml[otel]")


class Tracer:
    """Makes spans, and sends them from a thread of its own; what can't be sent is dropped."""

    def __init__(self, url: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        named = {"service.name": "gitops-serve", "service.version": __version__}
        self._provider = TracerProvider(resource=Resource(named), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=url, timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        self._tracer = self._provider.get_tracer("gitops.serve", __version__)

    @contextmanager
    def span(self, method: str, path: str, headers: Headers) -> Iterator[Span]:
        """A request, within the caller's trace if its header `traceparent` names one."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        wanted = ("traceparent", "tracestate")
        given = {n: headers[n.encode()].decode("latin-1") for n in wanted if n.encode() in headers}
        with self._tracer.start_as_current_span(
            f"{method} {path}",
            context=TraceContextTextMapPropagator().extract(given),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "url.path": path},
        ) as span:
            yield span

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()
