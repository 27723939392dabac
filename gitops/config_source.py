"""The part of `gitops.yaml` that says where a model's table comes from."""

from __future__ import annotations

from gitops.config_base import Frozen


class Source(Frozen):
    """Where `gitops data ingest` takes a snapshot of a model's table from."""
