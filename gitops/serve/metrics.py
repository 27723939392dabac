"""What is measured, for Prometheus; right over all workers, killed ones too.

Each worker counts in a file of numbers that is mapped into its memory, so that counting costs next
to nothing and outlives the worker: `<pid>-<token>.values`, float64; what each of them is stands in
`<pid>-<token>.names`, one JSON list a line. Whichever worker is asked adds all of them up. A gauge
counts only while its worker lives: the supervisor puts a `.dead` beside the files of dead ones.
"""

from __future__ import annotations

import json
import mmap
import os
import secrets
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from gitops.latency import BUCKETS

_SLOTS = 65_536
_OF = ("model", "version", "variant")
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

# name: (kind, labels, help); a gauge's kind says how workers' values go together.
_KNOWN = {
    "gitops_requests": ("counter", (*_OF, "status"), "Requests by their answer's status."),
    "gitops_request_seconds": ("histogram", _OF, "Time to the answer."),
    "gitops_rows": ("counter", _OF, "Rows answered."),
    "gitops_surprises": (
        "counter", ("model", "column", "kind"),
        "Values that the training data didn't have, and that were accepted.",
    ),
    "gitops_refused": ("counter", ("status",), "Requests turned away before a model answered."),
    "gitops_shadow_dropped": ("counter", ("model",), "Requests that a shadow wasn't asked."),
    "gitops_log_dropped_lines": ("counter", ("model",), "Lines that the prediction log lost."),
    "gitops_swaps": ("counter", (), "Plans that were put in place."),
    "gitops_active_requests": ("sum", (), "Requests under way."),
    "gitops_queued_requests": ("sum", (), "Large requests waiting or worked on."),
    "gitops_connections": ("sum", (), "Open connections."),
    "gitops_generation": ("min", (), "The generation of the plan that every worker serves."),
    "gitops_plan_refused": ("max", (), "1: a newer plan is there, but not served."),
}  # fmt: skip
_GAUGES: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "min": min, "max": max}


class _Book:
    """This process's numbers."""

    def __init__(self) -> None:
        self._free = 0
        self._names: Path | None = None
        self._untold: list[str] = []  # lines of the names that aren't in their file
        self.values = memoryview(bytearray(8 * _SLOTS)).cast("d")

    def open(self, folder: Path) -> None:
        """Keep the numbers in files of `folder` from now on, before any is taken."""
        stem = f"{os.getpid()}-{secrets.token_hex(4)}"
        with suppress(OSError):  # a full disk: this process counts for itself
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / f"{stem}.values").open("w+b") as file:
                # Room that is promised and not there would end us at the first count (SIGBUS).
                os.posix_fallocate(file.fileno(), 0, 8 * _SLOTS)
                self.values = memoryview(mmap.mmap(file.fileno(), 8 * _SLOTS)).cast("d")
            self._names = folder / f"{stem}.names"
        _child.cache_clear()
        self._free = 0
        self._untold.clear()

    def take(self, name: str, labels: tuple[str, ...], slots: int) -> int:
        """The first of so many numbers, which start at 0; the last ones are shared beyond all."""
        at = self._free
        if at + slots > _SLOTS:
            return _SLOTS - slots
        self._free += slots
        self._untold.append(json.dumps([name, list(labels), at]) + "\n")
        if self._names is not None:
            with suppress(OSError):  # no room, or no folder: told with the next one
                with self._names.open("a", encoding="utf-8") as file:
                    file.write("".join(self._untold))
                self._untold.clear()
        return at


_book = _Book()


def keep(folder: Path) -> None:
    """Count in files of this folder; once, before anything is counted."""
    _book.open(folder)


@cache
def _child(name: str, *labels: str) -> int:
    return _book.take(name, labels, _width(name))


def _width(name: str) -> int:
    """How many numbers a metric has: of a histogram its sum, and the count of each bucket."""
    return len(BUCKETS) + 2 if _KNOWN[name][0] == "histogram" else 1


def _told(names: Path) -> list[tuple[str, list[str], int]]:
    """What stands in a file of names: metric, labels, and the first of its numbers."""
    return [json.loads(line) for line in names.read_text("utf-8").splitlines()]


def add(name: str, *labels: str, number: float = 1) -> None:
    """Count; the labels in their order."""
    _book.values[_child(name, *labels)] += number


def put(name: str, value: float) -> None:
    """Set a gauge."""
    _book.values[_child(name)] = value


class Variant:
    """The metrics of one variant, found once."""

    def __init__(self, model: str, version: str, variant: str) -> None:
        self._of = (model, version, variant)
        self._values = _book.values
        self._seconds = _child("gitops_request_seconds", *self._of)
        self._rows = _child("gitops_rows", *self._of)
        self._ok = _child("gitops_requests", *self._of, "200")

    def answered(self, seconds: float, rows: int) -> None:
        values = self._values
        values[self._ok] += 1
        values[self._rows] += rows
        values[self._seconds] += seconds
        values[self._seconds + 1 + bisect_left(BUCKETS, seconds)] += 1

    def failed(self, status: int) -> None:
        add("gitops_requests", *self._of, str(status))


@cache
def variant(model: str, version: str, name: str) -> Variant:
    return Variant(model, version, name)


def bury(folder: Path, pid: int) -> None:
    """A worker has died: what it counted stays, its gauges and the room for more don't."""
    for file in folder.glob(f"{pid}-*.names"):
        with suppress(OSError):
            used = max((at + _width(name) for name, _, at in _told(file)), default=0)
            os.truncate(file.with_suffix(".values"), 8 * used)
            file.with_suffix(".dead").touch()


def text(folder: Path) -> bytes:
    """All workers' metrics in the text format."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(folder))  # type: ignore[arg-type]
    return generate_latest(registry)


class _Collector:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[object]:
        from prometheus_client import core

        found = _collected(self._folder)
        for name, (kind, labels, what) in _KNOWN.items():
            children = sorted((of, values) for (n, of), values in found.items() if n == name)
            if kind == "counter":
                counter = core.CounterMetricFamily(name, what, labels=labels)
                for of, values in children:
                    counter.add_metric(of, sum(one[0] for one in values))
                yield counter
            elif kind == "histogram":
                histogram = core.HistogramMetricFamily(name, what, labels=labels)
                for of, values in children:
                    added = [sum(column) for column in zip(*values, strict=True)]
                    histogram.add_metric(of, _cumulative(added[1:]), added[0])
                yield histogram
            else:
                gauge = core.GaugeMetricFamily(name, what)
                for of, values in children:
                    gauge.add_metric(of, _GAUGES[kind](one[0] for one in values))
                yield gauge


def _cumulative(counts: list[float]) -> list[tuple[str, float]]:
    total, made = 0.0, []
    for bound, count in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
        total += count
        made.append((bound, total))
    return made


def _collected(folder: Path) -> dict[tuple[str, tuple[str, ...]], list[tuple[float, ...]]]:
    """The values of each child, one tuple for each worker."""
    found: dict[tuple[str, tuple[str, ...]], list[tuple[float, ...]]] = {}
    for names in sorted(folder.glob("*.names")):
        told = _told(names)
        values = memoryview(names.with_suffix(".values").read_bytes()).cast("d")
        dead = names.with_suffix(".dead").exists()
        for name, labels, at in told:
            if dead and _KNOWN[name][0] in _GAUGES:
                continue
            found.setdefault((name, tuple(labels)), []).append(
                tuple(values[at : at + _width(name)])
            )
    return found
