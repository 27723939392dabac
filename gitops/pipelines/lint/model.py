"""Workflow files of either platform as what rules look at, and what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gitops.logtext import Platform as Platform
from gitops.yamlfile import Document, Place

BOTH: tuple[Platform, ...] = ("github", "azure")
Json = dict[str, Any]
_OF_PIPELINES = {"trigger", "pr", "schedules", "pool", "name", "resources"}


@dataclass(frozen=True, order=True)
class Finding:
    """What is wrong where, and what to do; `line` and `column` count from 1."""

    path: str
    line: int
    column: int
    rule: str
    message: str
    fix: str

    def as_json(self) -> dict[str, object]:
        return {
            "rule": self.rule,
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "fix": self.fix,
        }


@dataclass(frozen=True)
class Script:
    """A text that a shell runs, and where it is written."""

    text: str
    place: Place


@dataclass(frozen=True)
class Step:
    data: Json
    place: Place
    scripts: tuple[Script, ...]


@dataclass(frozen=True)
class Job:
    """`name` is its id (GitHub) or its `job` or `deployment` (Azure; "" if it has none).

    `stage`: of Azure. `deploys`: it belongs to an environment.
    """

    name: str
    data: Json
    place: Place
    steps: tuple[Step, ...]
    deploys: bool
    stage: str = ""


@dataclass(frozen=True)
class Source:
    """A workflow file: `path` as it is shown, and its jobs."""

    path: str
    platform: Platform
    text: str
    document: Document
    jobs: tuple[Job, ...]

    @property
    def data(self) -> Json:
        return self.document.data

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def triggers(self) -> Mapping[str, Any]:
        """GitHub: the events under `on`. Azure: `pr`, `trigger` and `schedules` as they are."""
        if self.platform == "azure":
            keys = ("pr", "trigger", "schedules")
            return {key: self.data[key] for key in keys if key in self.data}
        on = self.data.get("on")
        if isinstance(on, dict):
            return on
        events = on if isinstance(on, list) else [on]
        return dict.fromkeys(one for one in events if isinstance(one, str))

    @property
    def is_template(self) -> bool:
        """Of Azure: what other files take in; it has none of what only a pipeline has."""
        return self.platform == "azure" and not _OF_PIPELINES & set(self.data)

    @property
    def on_pull_requests(self) -> bool:
        if self.platform == "azure":
            return bool(self.triggers.get("pr", "none") != "none")
        return bool({"pull_request", "pull_request_target"} & set(self.triggers))

    def line_in(self, script: Script, at: str) -> tuple[int, int]:
        """Line and column of the first place of a script's text that has `at`."""
        where = self.document.where(script.place)
        line, column = where.line or 1, where.column or 1
        first = at.strip().splitlines()[0].strip() if at.strip() else ""
        before = _indent(self.lines[line - 1]) if line <= len(self.lines) else 0
        for number in range(line - 1, len(self.lines)):
            if (
                number >= line
                and self.lines[number].strip()
                and _indent(self.lines[number]) <= before
            ):
                break  # behind its end: a folded text has other lines than the file
            found = self.lines[number].find(first)
            if first and found >= (column - 1 if number == line - 1 else 0):
                return number + 1, found + 1
        return line, column


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


@dataclass(frozen=True)
class Hit:
    """What a rule found: at a value, at a key (`key`), or at a text within a script."""

    place: Place
    message: str
    fix: str
    key: bool = False
    script: Script | None = None
    text: str = ""


@dataclass(frozen=True)
class Pin:
    """An action as `uses` names it: `name` is owner/repo, with a path below it or not."""

    name: str
    ref: str
    place: Place
    comment: str  # behind it on its line, without the #

    @property
    def repository(self) -> str:
        return "/".join(self.name.split("/")[:2])


Tags = Mapping[str, str]


@dataclass(frozen=True)
class Known:
    """What is known beside the files.

    `pins`: of an action (owner/repo) its tag and commit. `tags`: asks an action's repository for
    its tags (tag -> commit); None: don't ask.
    """

    pins: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    tags: Callable[[str], Tags] | None = None


@dataclass(frozen=True)
class Rule:
    """`check` looks at one file; `all`, of a rule about several files, at all of them."""

    id: str
    about: str
    platforms: tuple[Platform, ...]
    check: Callable[[Source, Known], Iterator[Hit]] | None = None
    all: Callable[[tuple[Source, ...]], Iterator[tuple[Source, Hit]]] | None = None
