"""Lines that a CI system turns into annotations: GitHub's workflow commands, Azure's log issues.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions: 10 errors, 10
warnings and 10 notices of a step are shown.
https://learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from gitops.validate.model import Verdict
from gitops.validate.reports import numbers, words
from gitops.validate.reports.text import SENTENCE, clean

Platform = Literal["github", "azure"]
Level = Literal["error", "warning", "notice"]

OF_A_LEVEL = 10
_FILE = "gitops.yaml"


def render(verdicts: Sequence[Verdict], platform: Platform) -> list[str]:
    """Commands for the log, at most ten of a level; what is left out is counted in the tenth."""
    found = [one for verdict in verdicts for one in _annotations(verdict)]
    lines = []
    for level in ("error", "warning", "notice"):
        some = [one for one in found if one[0] == level]
        if len(some) > OF_A_LEVEL:
            left = len(some) - OF_A_LEVEL + 1
            more = (level, "gitops gate", f"{numbers.count(left)} more are in the report")
            some = [*some[: OF_A_LEVEL - 1], more]
        lines += [_github(*one) if platform == "github" else _azure(*one) for one in some]
    return lines


def _annotations(verdict: Verdict) -> Iterator[tuple[str, str, str]]:
    """Level, title and text of everything that doesn't pass."""
    usual = numbers.usual_level(verdict)
    name = f"{clean(verdict.model)} for {clean(verdict.environment)}"
    head = words.headline(verdict)
    level = "notice" if verdict.passed else "error"
    yield level, f"{head.answer}: {name}", head.why
    for check in words.ordered(verdict.checks):
        if words.status(check) not in ("pass", "none"):
            level = "error" if check.stops else "warning"
            yield level, f"{name}: {words.state(check)}", words.sentence(check, usual)
    noted = [note for note in verdict.notes if note.level == "alarm"]
    for note in (*noted, *words.alarms(verdict)):
        yield "warning", f"{name}: {clean(note.kind)}", clean(note.text, SENTENCE)


def _github(level: str, title: str, text: str) -> str:
    return f"::{level} file={_FILE},title={_escaped(title, ':,')}::{_escaped(text)}"


def _azure(level: str, title: str, text: str) -> str:
    if level == "notice":  # Azure has errors and warnings only
        return f"{title}: {text}"
    where = f"type={level};sourcepath={_FILE};linenumber=1"
    return f"##vso[task.logissue {where}]{_escaped(f'{title}: {text}', percent='%AZP25')}"


def _escaped(text: str, more: str = "", percent: str = "%25") -> str:
    """`%`, CR and LF, and what ends a property, by their numbers."""
    text = text.replace("%", percent)
    for char in "\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return text
