"""Packages that answer over HTTP, and the log of what was answered: `gitops serve`."""

from __future__ import annotations

from importlib import util

from gitops.errors import ToolError

EXTRA = ("uvicorn", "uvloop", "httptools", "msgspec", "prometheus_client")


def require_extra() -> None:
    """Raise ToolError if what serving needs beside the rest isn't installed."""
    if absent := [name for name in EXTRA if util.find_spec(name) is None]:
        raise ToolError(
            f"serving needs {', '.join(absent)}, which is not installed",
            fix="install gitops-ml[serve]",
        )
