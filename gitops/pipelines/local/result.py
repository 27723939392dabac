"""How a run, its jobs and their steps ended, as people and programs read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Literal

from gitops import logtext

State = Literal["passed", "failed", "skipped"]
_ANNOTATION = re.compile(r"::error(?: (?:.*,)?title=(?:[^,:]*%3A )?([^,:]*))?[^:]*::(.*)")
_ERROR = re.compile(r"(?:remote: )?(?:error|bug|fatal): (.*)")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_BYTES = 1 << 20  # of a log that is looked at from its end


@dataclass(frozen=True)
class StepResult:
    """One step; `why` it failed or was skipped."""

    name: str
    state: State
    why: str
    seconds: float


@dataclass(frozen=True)
class JobResult:
    """One job of a workflow, or one of a matrix: `name` tells them apart. `log`: its file.

    `advice`: the workflow has a required check, and this job isn't part of it.
    """

    id: str
    name: str
    state: State
    why: str
    seconds: float
    steps: tuple[StepResult, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    log: str = ""
    advice: bool = False

    def as_json(self) -> dict[str, object]:
        return {
            "job": self.id,
            "name": self.name,
            "state": self.state,
            "why": self.why,
            "advice": self.advice,
            "seconds": round(self.seconds, 1),
            "log": self.log,
            "steps": [
                {
                    "name": one.name,
                    "state": one.state,
                    "why": one.why,
                    "seconds": round(one.seconds, 1),
                }
                for one in self.steps
            ],
        }


def why_failed(log: bytes) -> str:
    """The first error that a log has, as a platform's annotation or as our own message.

    Else its last line.
    """
    text = _ESCAPES.sub("", log[-_BYTES:].decode("utf-8", "replace"))
    raw = [line for line in text.splitlines() if re.search(r"\w", line)]
    lines = [line.strip(" │") for line in raw]
    for pattern in (_ANNOTATION, _ERROR):
        for at, line in enumerate(lines):
            if found := pattern.match(line):
                said = ": ".join(_plain(one) for one in found.groups() if one)
                return logtext.lines(" ".join([said, *_more(said, raw[at + 1 :])]))
    return logtext.lines(lines[-1]) if lines else "it said nothing"


def _more(said: str, after: Sequence[str]) -> list[str]:
    """What a message goes on with that ends in a colon, as our errors have it: indented lines."""
    if not said.endswith(":"):
        return []
    own = takewhile(lambda line: line.startswith("  ") and not line.startswith("  fix:"), after)
    return ["; ".join(line.strip() for line in islice(own, 3))]


def _plain(text: str) -> str:
    """The text of an annotation: `%0A` and the like by their characters."""
    for code, char in (("%0D", ""), ("%0A", " "), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, char)
    return text


def state_of(results: Sequence[JobResult]) -> State:
    """How a job ended of which there may be several: one that failed decides."""
    states = {one.state for one in results}
    return "failed" if "failed" in states else "passed" if "passed" in states else "skipped"


def headline(workflow: str, results: Sequence[JobResult]) -> str:
    """The result and why, in one line."""
    advice = [one.name for one in results if one.state == "failed" and one.advice]
    failed = [one for one in results if one.state == "failed" and not one.advice]
    # The check over all required jobs only repeats what failed.
    if first := next((one for one in failed if one.steps), failed[0] if failed else None):
        others = len([one for one in failed if one.steps]) - 1
        more = f" (and {others} more)" if others > 0 else ""
        return f"{workflow} failed: {first.name}: {first.why}{more}"
    if all(one.state == "skipped" for one in results):
        return f"{workflow}: nothing had to run"
    left = ", ".join(dict.fromkeys(_left_out(results)))
    more = f", but not {', '.join(advice)}, which isn't required" if advice else ""
    more += f"{';' if advice else ','} but this can't be done here: {left}" if left else ""
    return f"{workflow} passed{more}"


def _left_out(results: Sequence[JobResult]) -> Iterator[str]:
    """Jobs, and steps of others, that are only for a forge, or not for a rehearsal."""
    for one in results:
        steps = [step.name for step in one.steps if step.why]
        yield from [one.name] if one.state == "skipped" and steps else steps


def markdown(title: str, results: Sequence[JobResult]) -> str:
    """The summary of a run: a table of its jobs, then what their steps wrote into theirs."""
    lines = [f"# {title}", "", "| job | result | seconds | |", "| --- | --- | ---: | --- |"]
    for one in results:
        why = one.why.replace("|", "\\|")
        lines.append(f"| {one.name} | {one.state} | {one.seconds:.0f} | {why} |")
    for one in results:
        if one.summary.strip():
            lines += ["", f"## {one.name}", "", one.summary.strip()]
    return "\n".join(lines) + "\n"
