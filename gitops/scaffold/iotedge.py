"""What the templates of the generator `iotedge` see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitops.config import Config, Environment

PORT = 8080  # on the device, of the first model; each further one has the next


def contexts(declared: Config, environment: Environment) -> Iterator[Mapping[str, object]]:
    """One context for each model, in the order of gitops.yaml."""
    models = [name for name, one in declared.models.items() if one.deploy.target == "iotedge"]
    for at, model in enumerate(models):
        yield {"model": model, "port": PORT + at}
