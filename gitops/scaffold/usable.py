"""Whether the pipelines of a fresh project would work in a repository that was there before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitops.config import Config

# What the steps of workflows/pull-request.yaml run with.
_NEEDED = ("uv.lock", "build.env", "tests")


def lacks(root: Path, declared: Config) -> tuple[str, ...]:
    """What the pipelines need and the repository doesn't have: paths from its top."""
    pipelines = [
        (Path(model.path) / name).as_posix()
        for model in declared.models.values()
        for name in ("dvc.yaml", "dvc.lock")
    ]
    return tuple(
        path for path in dict.fromkeys([*_NEEDED, *pipelines]) if not (root / path).exists()
    )
