"""A pipeline as plain typed values: what a platform's emitter writes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Trigger = Literal["pull-request", "merge-queue"]
Action = Literal["checkout", "uv", "tool"]
Concurrency = Literal["cancel", "queue"]


@dataclass(frozen=True)
class Permission:
    """One right of a job, and why it needs it."""

    scope: str
    level: Literal["read", "write"]
    reason: str


@dataclass(frozen=True)
class Step:
    """One named step: a command (`run`), or what each platform does its own way (`use`)."""

    name: str
    run: str = ""
    use: Action | None = None


@dataclass(frozen=True)
class Job:
    """Steps on one fresh machine; `timeout` in minutes."""

    id: str
    timeout: int
    permissions: tuple[Permission, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Pin:
    """An action at an exact commit (40 hex digits), and the tag that people know it by."""

    action: str
    tag: str
    commit: str


@dataclass(frozen=True)
class Pins:
    """What pipelines run on and call."""

    runner: str
    uv: str
    actions: tuple[Pin, ...]

    def action(self, name: str) -> Pin:
        """The pin of `owner/repository`; KeyError if workflows/pins.yaml has none."""
        for pin in self.actions:
            if pin.action == name:
                return pin
        raise KeyError(name)


@dataclass(frozen=True)
class Pipeline:
    """A whole workflow. `branches`: what it guards; `required`: the jobs that must all succeed.

    `marked`: its file says who wrote it.
    """

    name: str
    about: str
    triggers: tuple[Trigger, ...]
    branches: tuple[str, ...]
    concurrency: Concurrency
    jobs: tuple[Job, ...]
    required: tuple[str, ...]
    pins: Pins
    marked: bool = True
