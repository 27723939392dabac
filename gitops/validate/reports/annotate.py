"""What a CI system shows beside gitops.yaml; GitHub ten errors, warnings and notices of a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gitops.logtext import Level, Platform, annotation
from gitops.validate.model import Verdict
from gitops.validate.reports import numbers, words
from gitops.validate.reports.text import SENTENCE, clean

OF_A_LEVEL = 10
_FILE = "gitops.yaml"


def render(
    verdicts: Sequence[Verdict], platform: Platform, reasons: Mapping[str, str]
) -> list[str]:
    """Commands for the log, at most ten of a level; what is left out is counted in the tenth.

    `reasons`: why there is no verdict, by model.
    """
    levels: tuple[Level, ...] = ("error", "warning", "notice")
    found = [
        (levels[0], f"No verdict: {clean(model)}", clean(reason, SENTENCE))
        for model, reason in reasons.items()
    ]
    found += [one for verdict in verdicts for one in _annotations(verdict)]
    lines = []
    for level in levels:
        some = [one for one in found if one[0] == level]
        if len(some) > OF_A_LEVEL:
            left = len(some) - OF_A_LEVEL + 1
            more = (level, "gitops gate", f"{numbers.count(left)} more are in the report")
            some = [*some[: OF_A_LEVEL - 1], more]
        lines += [annotation(platform, *one, file=_FILE) for one in some]
    return lines


def _annotations(verdict: Verdict) -> Iterator[tuple[Level, str, str]]:
    """Level, title and text of everything that doesn't pass."""
    usual = numbers.usual_level(verdict)
    name = f"{clean(verdict.model)} for {clean(verdict.environment)}"
    head = words.headline(verdict)
    level: Level = "notice" if verdict.passed else "error"
    yield level, f"{head.answer}: {name}", head.why
    for check in words.ordered(verdict.checks):
        if words.status(check) not in ("pass", "none"):
            level = "error" if check.stops else "warning"
            yield level, f"{name}: {words.state(check)}", words.sentence(check, usual)
    noted = [note for note in verdict.notes if note.level == "alarm"]
    for note in (*noted, *words.alarms(verdict)):
        yield "warning", f"{name}: {clean(note.kind)}", clean(note.text, SENTENCE)
