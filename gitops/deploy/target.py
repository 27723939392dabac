"""What a place that models are deployed to must be able to do.

The reconciler knows targets only by this; each kind of place has a class of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from gitops.deploy.ask import Answer
from gitops.deploy.model import Desired, Observed, Plan, Variant
from gitops.deploy.state import State

Json = dict[str, Any]

# The image of a variant, as registry/name@sha256:...; where the registry hasn't it yet, it is built
# from the proven package and pushed. Raises EvidenceError (it can't be built) or ToolError.
Images = Callable[[Variant], str]


class Target(Protocol):
    """A place that serves a plan. Every method can be called again after whatever killed it.

    A place that isn't this machine keeps the state's documents itself: whoever deploys next may do
    so from another machine, whose folder is empty. `recall` brings them, `State.keep` takes them
    there.
    """

    @property
    def kind(self) -> str:
        """The kind of place, as gitops.yaml and records name it."""

    @property
    def state(self) -> State:
        """The state folder that goes with it, its `keep` set where the place keeps documents."""

    def recall(self) -> None:
        """Bring the documents that the place keeps into the state folder, before anything else.

        Raises:
            ToolError: the place can't be reached.
        """

    def place(self, desired: Desired) -> None:
        """Be what gitops.yaml on the branch says (its address, its settings) from the next `apply`
        on."""

    def listening(self) -> str:
        """The address (a URL) that it answers at, or is to answer at."""

    def observe(self) -> Observed:
        """What runs now; changes nothing."""

    def ready(self) -> bool:
        """Whether it answers that it is ready."""

    def documents(self, plan: Plan) -> Mapping[str, str]:
        """What `apply` would hand to the place, by name, for people to read; changes nothing."""

    def apply(self, plan: Plan) -> None:
        """Serve the plan (shift the traffic to what it says), and return when all of it is.

        The plan is in the state folder before anything of it is served. Requests are answered all
        the while, by the plan before until this one is loaded.

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

    def collect(self, model: str) -> None:
        """Bring what the place has logged of a model, and labels, into the state folder.

        Bytes are only ever added to a file that was brought before, so that `mark` stays right.

        Raises:
            ToolError: the place can't be reached.
        """

    def stop(self) -> bool:
        """Stop serving; whether anything was."""
