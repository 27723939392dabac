"""What is measured, for Prometheus; right over all workers, dead ones too.

prometheus-client keeps each process's numbers in files of `PROMETHEUS_MULTIPROC_DIR`, which must be
set before this module is imported, and adds them up whichever worker is asked.
"""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_OF = ("model", "version", "variant")

_requests = Counter("gitops_requests", "Requests by their answer's status.", (*_OF, "status"))
_seconds = Histogram("gitops_request_seconds", "Time to the answer.", _OF, buckets=_BUCKETS)
_rows = Counter("gitops_rows", "Rows answered.", _OF)
_surprises = Counter(
    "gitops_surprises",
    "Values that the training data didn't have, and that were accepted.",
    ("model", "column", "kind"),
)
_refused = Counter("gitops_refused", "Requests turned away before a model saw them.", ("status",))
_shadow_dropped = Counter("gitops_shadow_dropped", "Requests a shadow wasn't asked.", ("model",))
_log_dropped = Counter(
    "gitops_log_dropped_lines", "Lines that the prediction log lost.", ("model",)
)
active = Gauge("gitops_active_requests", "Requests under way.", multiprocess_mode="livesum")
queued = Gauge("gitops_queued_requests", "Large requests waiting.", multiprocess_mode="livesum")
connections = Gauge("gitops_connections", "Open connections.", multiprocess_mode="livesum")
generation = Gauge("gitops_generation", "The plan's generation.", multiprocess_mode="livemin")
plan_refused = Gauge(
    "gitops_plan_refused", "1: a newer plan is there, but not served.", multiprocess_mode="livemax"
)
swaps = Counter("gitops_swaps", "Plans that were put in place.")


class Variant:
    """The metrics of one variant, found once."""

    def __init__(self, model: str, version: str, variant: str) -> None:
        self._of = (model, version, variant)
        self.seconds = _seconds.labels(*self._of)
        self.rows = _rows.labels(*self._of)
        self.ok = _requests.labels(*self._of, "200")

    def answered(self, seconds: float, rows: int) -> None:
        self.ok.inc()
        self.seconds.observe(seconds)
        self.rows.inc(rows)

    def failed(self, status: int) -> None:
        _requests.labels(*self._of, str(status)).inc()


@cache
def variant(model: str, version: str, name: str) -> Variant:
    return Variant(model, version, name)


def surprise(model: str, column: str, kind: str, number: int) -> None:
    _surprises.labels(model, column, kind).inc(number)


def refused(status: int) -> None:
    _refused.labels(str(status)).inc()


def shadow_dropped(model: str) -> None:
    _shadow_dropped.labels(model).inc()


def log_dropped(model: str, lines: int) -> None:
    _log_dropped.labels(model).inc(lines)


def text() -> bytes:
    """All workers' metrics in the text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
