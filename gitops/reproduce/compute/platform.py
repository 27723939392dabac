"""What a place that runs jobs must do; each kind is a module with one class."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from gitops.mailbox import Job, Ticket

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.config_compute import Compute

Handle = Mapping[str, str]


@dataclass(frozen=True)
class Order:
    """What is handed over: the job, the word that it is told, and what it needs to start.

    `name` is that of its entry under `compute:`, `python` the project's version of Python, and
    `requirements` the tool's pinned list of packages.
    """

    job: Job
    ticket: Ticket
    name: str
    config: Config
    python: str
    requirements: bytes

    @property
    def compute(self) -> Compute:
        """The entry under `compute:`."""
        return self.config.compute[self.name]

    @property
    def job_name(self) -> str:
        """The name on the platform: the same for whoever submits this job, so it runs once."""
        return f"gitops-{self.job.id}"

    @property
    def env(self) -> dict[str, str]:
        """Variables that the job is given."""
        return dict(sorted(self.compute.env.items()))

    @property
    def image(self) -> str:
        """What the job runs in."""
        return self.compute.image or f"docker.io/library/python:{self.python}"

    def command(self, folder: str) -> str:
        """The line of a shell that starts the job's program, which lies in `folder`."""
        return f"python3 {folder}bootstrap.py {shlex.quote(self.ticket.text())}"


@dataclass(frozen=True)
class Seen:
    """A job as its platform sees it. `says`: the platform's own word for its state."""

    state: Literal["waiting", "running", "ended", "absent"]
    says: str


class Platform(Protocol):
    """One job at a kind of place."""

    def documents(self) -> dict[str, bytes]:
        """The files that are handed over, by name; there's no secret in them."""

    def submit(self, folder: Path) -> Handle:
        """Hand over the documents, which lie in `folder`; what finds the job again.

        A second time is no second job.

        Raises:
            ToolError: the platform refuses, or its command-line tool is missing.
        """

    def look(self, handle: Handle) -> Seen:
        """How it is.

        Raises:
            ToolError: the platform gives no answer.
        """

    def cancel(self, handle: Handle) -> None:
        """End it; that it has ended already is no error.

        Raises:
            ToolError: the platform gives no answer.
        """

    def tidy(self, handle: Handle) -> None:
        """Remove what an ended job has left on the platform, where that costs or clutters."""
