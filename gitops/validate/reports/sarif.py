"""SARIF 2.1.0 for code scanning: what failed, is undecided or raised an alarm.

GitHub takes 25,000 results of a run and shows 5,000.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gitops import sarif
from gitops.sarif import Level
from gitops.validate.model import Check, Verdict
from gitops.validate.reports import numbers, words
from gitops.validate.reports.text import LONG, SENTENCE, clean

RESULTS = 25_000
FILE = (
    "gitops.yaml"  # a result must lie in a file: where models, environments and policies are named
)


def render(verdicts: Sequence[Verdict]) -> str:
    """One run of all verdicts, the worst results first."""
    found = [result for verdict in verdicts for result in _results(verdict)]
    order = {"error": 0, "warning": 1, "note": 2}
    found.sort(key=lambda result: order[result["level"]])
    found = found[:RESULTS]
    rules = _rules(verdicts, {result["ruleId"] for result in found})
    document = sarif.document("gitops gate", rules, found)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.replace("<", "\\u003c")  # the same text, and no markup for a careless viewer


def _results(verdict: Verdict) -> list[dict[str, Any]]:
    usual = numbers.usual_level(verdict)
    found = []
    for check in verdict.checks:
        if words.status(check) not in ("pass", "none"):
            text = words.sentence(check, usual)
            found.append(_result(verdict, _rule(check), _level(check), text, clean(check.id)))
    noted = [one for one in verdict.notes if one.level == "alarm"]
    for one in (*noted, *words.alarms(verdict)):
        subject = f"{one.kind} {one.column}"
        text = f"{clean(one.kind)}: {clean(one.text, SENTENCE)}"
        found.append(_result(verdict, clean(one.kind), "warning", text, subject))
    return found


def _level(check: Check) -> Level:
    if check.stops:
        return "error"
    return "note" if check.waived else "warning"


def _result(verdict: Verdict, rule: str, level: Level, text: str, subject: str) -> dict[str, Any]:
    return sarif.result(
        rule,
        level,
        f"{clean(verdict.model)} for {clean(verdict.environment)}: {text}".strip(),
        file=FILE,
        region={"startLine": 1},
        mark="gitopsGate/v1",
        identity=[verdict.model, verdict.environment, rule, subject],
    )


def _rules(verdicts: Sequence[Verdict], used: set[str]) -> list[dict[str, Any]]:
    rules: dict[str, dict[str, Any]] = {}
    for verdict in verdicts:
        for check in verdict.checks:
            rules.setdefault(_rule(check), _described(_rule(check), clean(check.title or check.id)))
        for one in (*verdict.notes, *verdict.findings):
            kind = clean(one.kind)
            rules.setdefault(kind, _described(kind, f"An alarm of the gate: {kind}"))
    return [rules[name] for name in sorted(used)]


def _described(name: str, text: str) -> dict[str, Any]:
    return {"id": name, "shortDescription": {"text": text}, "properties": {"tags": ["ml", "gate"]}}


def _rule(check: Check) -> str:
    return clean(check.id, LONG)
