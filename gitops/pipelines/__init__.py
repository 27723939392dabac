"""CI/CD files from one typed pipeline model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitops.config import Config

_WORKFLOWS = ("pull-request",)


def render(config: Config) -> list[tuple[str, bytes]]:
    """The workflow files that `config` asks for: path in the repository, and content."""
    from gitops.pipelines import definition, github

    if "github" not in config.ci:
        return []
    pipelines = [definition.load(name, config) for name in _WORKFLOWS]
    return [(github.path(pipeline), github.emit(pipeline).encode()) for pipeline in pipelines]
