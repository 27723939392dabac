"""Findings for other programs: SARIF, and annotations of a CI system's log."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gitops import sarif as form
from gitops.logtext import annotation
from gitops.pipelines.lint.model import Finding, Platform
from gitops.pipelines.lint.rules import RULES


def sarif(found: Sequence[Finding]) -> str:
    """One run; a result is the same one where its line has moved."""
    results = [
        form.result(
            one.rule,
            "error",
            f"{one.message}; {one.fix}",
            file=one.path,
            region={"startLine": one.line, "startColumn": one.column},
            mark="gitopsLint/v1",
            identity=[one.rule, one.path, one.message],
        )
        for one in found
    ]
    rules = [{"id": rule.id, "shortDescription": {"text": rule.about}} for rule in RULES]
    document = form.document("gitops lint", rules, results)
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def annotated(found: Sequence[Finding], platform: Platform) -> list[str]:
    """Lines that the platform shows beside the file's own lines."""
    return [
        annotation(
            platform,
            "error",
            one.rule,
            f"{one.message}; {one.fix}",
            file=one.path,
            line=one.line,
            column=one.column,
        )
        for one in found
    ]
