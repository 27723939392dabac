"""How a cluster gets documents: they are applied to it, or something in it fetches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gitops.deploy.kubernetes.kubectl import Kubectl

Json = dict[str, Any]
_ASIDE = ("deployments", "configmaps")
_SERVED = ("deployments", "horizontalpodautoscalers", "poddisruptionbudgets", "services")


class Delivery(Protocol):
    """`name` tells what belongs together: what is served, or what is tested aside."""

    def put(self, name: str, documents: Sequence[Json]) -> None:
        """Let the cluster have these. Raises ToolError, AnswerNo."""

    def remove(self, name: str, labels: Mapping[str, str]) -> bool:
        """Take them away; whether there were any."""


@dataclass(frozen=True)
class Push:
    """By `kubectl apply --server-side`; a namespace stays as it is.

    `more` are the kinds of objects that servers are beside Deployments.
    """

    kubectl: Kubectl
    more: tuple[str, ...] = ()

    def put(self, name: str, documents: Sequence[Json]) -> None:
        self.kubectl.apply([one for one in documents if one["kind"] != "Namespace"])

    def remove(self, name: str, labels: Mapping[str, str]) -> bool:
        kinds = _ASIDE if name == "aside" else _SERVED
        return self.kubectl.delete((*self.more, *kinds), labels)
