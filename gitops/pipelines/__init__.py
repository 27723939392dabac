"""CI/CD files from one typed pipeline model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.pipelines.model import Pipeline, Platform


def names(root: Path | None = None) -> tuple[str, ...]:
    """The workflows of a repository: those that are shipped, then its own."""
    from gitops.pipelines import definition

    return definition.names(root)


def load(
    name: str,
    config: Config,
    platform: Platform,
    root: Path | None = None,
    folder: Path | None = None,
) -> Pipeline:
    """The pipeline `name` on a platform; its definition is `root`'s own, or of `folder` (shipped).

    Raises:
        ConfigError: the definition or the pins break their schema, or the definition can't work.
    """
    from gitops.pipelines import checks, definition, resolve

    found = definition.read(name, root, folder)
    checks.check(found, config)
    return resolve.resolve(found, config, platform, definition.pins(folder, root))


def render(
    config: Config, root: Path | None = None, *, ejected: bool = False
) -> list[tuple[str, bytes]]:
    """The workflow files that `config` asks for: path in the repository, and content.

    `root`: the repository, whose own definitions count; `ejected`: without the steps that need
    gitops, and without its mark.

    Raises:
        ConfigError: as `load`.
    """
    from gitops.pipelines import azure, checks, definition, github, resolve, together

    definitions = [definition.read(name, root) for name in names(root)]
    together.runners(config, definitions, root)
    together.sources(config, root)
    for one in definitions:
        checks.check(one, config)
    together.required(definitions)
    pins = definition.pins(root=root)
    files = []
    for platform in config.ci:
        path, emit = {
            "github": (github.path, github.emit),
            "azure": (azure.path, azure.emit),
        }[platform]
        for one in definitions:
            pipeline = resolve.resolve(one, config, platform, pins)
            if ejected:
                pipeline = resolve.ejected(pipeline)
            if pipeline.jobs:
                files.append((path(pipeline), emit(pipeline).encode()))
    return files
