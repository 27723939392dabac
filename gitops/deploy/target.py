"""What a place that models are deployed to must be able to do.

The reconciler knows targets only by this. There is one so far, this machine (`local.py`); others
fulfil the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from gitops.deploy.ask import Answer
from gitops.deploy.model import Desired, Observed, Plan
from gitops.errors import ConfigError

Json = dict[str, Any]
KINDS = ("local",)


class Target(Protocol):
    """A place that serves a plan. Every method can be called again after whatever killed it."""

    def place(self, listen: tuple[str, int]) -> None:
        """Answer at this address from the next `apply` on."""

    def listening(self) -> str:
        """The address (a URL) that it answers at, or is to answer at."""

    def observe(self) -> Observed:
        """What runs now; changes nothing."""

    def apply(self, plan: Plan) -> None:
        """Serve the plan (shift the traffic to what it says), and return when all of it is.

        Requests are answered all the while, by the plan before until this one is loaded.

        Raises:
            EvidenceError: something of it can't be served; whatever was served before still is.
            ToolError: the place itself fails.
        """

    def ask(self, model: str, version: str, body: bytes | Mapping[str, Any]) -> Answer:
        """Ask one version of a model for predictions, whatever traffic it has.

        Raises:
            ToolError: nothing answers.
        """

    def aside(self, plan: Plan) -> AbstractContextManager[Target]:
        """The plan served where no traffic comes, for tests. Raises as `apply`."""

    def mark(self, model: str) -> Json:
        """Where the log of predictions stands now: what a rollout's evidence starts from."""

    def stop(self) -> bool:
        """Stop serving; whether anything was."""


def require_known(desired: Desired) -> None:
    """Raise ConfigError if a model is for a kind of target that isn't there yet."""
    for model, kind in desired.kinds.items():
        if kind not in KINDS:
            raise ConfigError(
                f"models.{model}.deploy.target is {kind}: `gitops deploy` can't deploy there yet",
                fix=f"write `deploy: {{target: {KINDS[0]}}}`, or fetch the package and deploy it"
                f" there yourself: gitops fetch {model} --env {desired.environment}",
            )
