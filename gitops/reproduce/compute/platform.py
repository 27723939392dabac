"""What a place that runs jobs must do; each kind is a module with one class."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gitops.mailbox import Job, Ticket

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.config.compute import Compute

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

    def command(self) -> str:
        """The line of a shell that starts the job's program, in the folder where it lies."""
        return f"python3 bootstrap.py {shlex.quote(self.ticket.text())}"


def bootstrap() -> bytes:
    """The program that starts the job, as it is handed over."""
    return Path(__file__).with_name("bootstrap.py").read_bytes()


def yaml_text(document: Mapping[str, Any]) -> bytes:
    """A document for another tool; long texts keep their lines."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    Dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]
    dumped: str = yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
    return dumped.encode()


def lay(folder: Path, documents: Mapping[str, bytes]) -> None:
    """Write documents into a folder."""
    for name, content in documents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


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

    def logs(self, handle: Handle) -> str:
        """The command that shows what the job's program has said on its platform."""
