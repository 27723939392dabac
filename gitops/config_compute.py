"""The part of `gitops.yaml` that says where a model's stages can run, but on this machine."""

from __future__ import annotations

from gitops.config_base import Frozen


class Compute(Frozen):
    """Machines that `gitops build --on NAME` submits a build to."""
