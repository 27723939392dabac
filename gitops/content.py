"""The one place that knows where generators, workflows, policies and the vendored tool live."""

from __future__ import annotations

from pathlib import Path

TOOL = ".gitops/tool"  # where a repository keeps the wheel of the tool that its CI installs
_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The content folder: inside the wheel, or the checkout of an editable install."""
    shipped = _PACKAGE / "_content"
    return shipped if shipped.is_dir() else _PACKAGE.parent


def folder(kind: str) -> Path:
    """One kind of content: `generators`, `workflows` or `policies`."""
    return root() / kind
