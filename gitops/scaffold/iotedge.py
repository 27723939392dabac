"""What the templates of the generator `iotedge` see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitops.config import Config, Environment

PORT = 8080  # on the device, of gitops.yaml's first model; each further one has the next


def contexts(declared: Config, environment: Environment) -> Iterator[Mapping[str, object]]:
    """One context for each model, in the order of gitops.yaml.

    Models of other targets count, too: where one of them comes to devices, no other's port changes.
    """
    for at, (model, one) in enumerate(declared.models.items()):
        if one.deploy.target == "iotedge":
            yield {"model": model, "port": PORT + at}
