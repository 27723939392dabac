"""Which class speaks to which kind of place."""

from __future__ import annotations

from gitops.reproduce.compute.platform import Order, Platform
from gitops.reproduce.compute.process import Process


def platform_of(order: Order) -> Platform:
    """The platform of a job."""
    return Process(order)
