"""The edge to an IoT hub: its deployments, by `az iot edge deployment`.

https://learn.microsoft.com/cli/azure/iot/edge/deployment
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops import az
from gitops.deploy.iotedge.documents import Deployment
from gitops.errors import ToolError


@dataclass(frozen=True)
class Found:
    """A deployment that the hub has."""

    id: str
    priority: int
    labels: Mapping[str, str]

    @property
    def part(self) -> str:
        return self.labels.get("part", "")


@dataclass(frozen=True)
class Hub:
    """An IoT hub; `key`: the label (project/environment) by which deployments of ours are told."""

    name: str
    key: str

    def deployments(self) -> list[Found]:
        """Ours. Raises ToolError: the hub can't be asked."""
        listed = self._ask("list")
        try:
            return [
                Found(one["id"], int(one["priority"]), one["labels"])
                for one in listed or ()
                if (one.get("labels") or {}).get("gitops") == self.key
            ]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ToolError(
                f"az iot edge deployment list said what isn't known: {error}"
            ) from error

    def create(self, one: Deployment, image: str, priority: int) -> None:
        """Make a deployment. Raises ToolError; ConfigError as `Deployment.filled`."""
        metrics = {name: query.replace("{image}", image) for name, query in one.metrics.items()}
        with tempfile.TemporaryDirectory(prefix="gitops-iot-") as folder:
            content, counted = Path(folder) / "content.json", Path(folder) / "metrics.json"
            content.write_text(json.dumps(one.filled(image)), "utf-8")
            counted.write_text(json.dumps({"queries": metrics}), "utf-8")
            words = ["--content", str(content), "--metrics", str(counted)]
            words += ["--target-condition", one.condition, "--priority", str(priority)]
            words += ["--labels", json.dumps(dict(one.labels))]
            layered = ["--layered"] if one.image else []
            self._ask("create", "--deployment-id", one.id, *words, *layered)

    def raise_to(self, id: str, priority: int) -> None:
        """Let a deployment win over those of a lower priority."""
        self._ask("update", "--deployment-id", id, "--set", f"priority={priority}")

    def label(self, found: Found, labels: Mapping[str, str]) -> None:
        """Put labels beside those that it has."""
        text = json.dumps({**found.labels, **labels})
        self._ask("update", "--deployment-id", found.id, "--set", f"labels={text}")

    def remove(self, id: str) -> None:
        """Take a deployment away, if it is there."""
        with suppress(az.Missing):
            self._ask("delete", "--deployment-id", id)

    def devices(self, id: str, metric: str, *, system: bool = False) -> set[str]:
        """The devices that a metric of a deployment counts now."""
        kind = "system" if system else "user"
        words = ["--deployment-id", id, "--metric-id", metric, "--metric-type", kind]
        answer = self._ask("show-metric", *words)
        try:
            return {str(one["deviceId"]) for one in answer["result"]}
        except (KeyError, TypeError) as error:
            raise ToolError(f"the metric {metric} of {id} has no devices: {answer!r}") from error

    def _ask(self, what: str, *words: str) -> Any:  # noqa: ANN401
        return az.ask("iot", "edge", "deployment", what, "--hub-name", self.name, *words)
