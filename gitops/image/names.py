"""What images of models are called, and where they are kept."""

from __future__ import annotations

from gitops import cloudnames
from gitops.config import Config
from gitops.errors import ConfigError

TAG = 32  # hex digits of a package's digest that tell its image
_AZURE = "azurecr.io"  # https://learn.microsoft.com/azure/container-registry: its login server


def repository(config: Config, model: str) -> str:
    """Where the images of a model are: registry/project/model.

    Raises:
        ConfigError: no registry is declared or provisioned.
    """
    return f"{registry(config)}/{config.project}/{model}"


def reference(repository: str, package: str) -> str:
    """The image of a package, by name: its tag is made from the package's digest."""
    return f"{repository}:{package[:TAG]}"


def provisioned(config: Config) -> str | None:
    """The name of the provisioned Azure registry that images are kept in; None: it is another."""
    declared = config.infrastructure
    if config.targets.registry is None and declared and declared.provider == "azure":
        return cloudnames.of(config, cloudnames.SHARED)["registry"]
    return None


def registry(config: Config) -> str:
    """The registry that gitops.yaml names, else the one that is provisioned. Raises as above."""
    if config.targets.registry is not None:
        return config.targets.registry
    if name := provisioned(config):
        return f"{name}.{_AZURE}"
    fix = "write `targets: {registry: ghcr.io/acme/flights}`, or gitops add infrastructure"
    if config.infrastructure and config.infrastructure.provider == "aws":
        # Its address has the account's number in it, which gitops.yaml doesn't know.
        fix = "write `targets: {registry: ...}`: `gitops infra apply shared` shows it as `registry`"
    raise ConfigError("images need a registry, and gitops.yaml names none", fix=fix)
