"""CI/CD files from one typed pipeline model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitops.config import Config

_WORKFLOWS = ("pull-request",)


def render(config: Config, *, ejected: bool = False) -> list[tuple[str, bytes]]:
    """The workflow files that `config` asks for: path in the repository, and content.

    `ejected`: without the steps that need gitops, and without its mark.
    """
    from gitops.pipelines import definition, github

    if "github" not in config.ci:
        return []
    pipelines = [definition.load(name, config) for name in _WORKFLOWS]
    if ejected:
        pipelines = [definition.ejected(pipeline) for pipeline in pipelines]
    return [(github.path(pipeline), github.emit(pipeline).encode()) for pipeline in pipelines]
