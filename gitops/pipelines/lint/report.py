"""Findings for other programs: SARIF 2.1.0, and annotations of a CI system's log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from gitops import __version__
from gitops.pipelines.lint.model import Finding, Platform
from gitops.pipelines.lint.rules import RULES

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def sarif(found: Sequence[Finding]) -> str:
    """One run; GitHub knows a result again by its fingerprint, whose line may move."""
    places = {rule.id: at for at, rule in enumerate(RULES)}
    results = []
    for one in found:
        identity = "\0".join([one.rule, one.path, one.message])
        region = {"startLine": one.line, "startColumn": one.column}
        artifact = {"uri": one.path, "uriBaseId": "SRCROOT"}
        results.append(
            {
                "ruleId": one.rule,
                "ruleIndex": places[one.rule],
                "level": "error",
                "message": {"text": f"{one.message}; {one.fix}"},
                "locations": [
                    {"physicalLocation": {"artifactLocation": artifact, "region": region}}
                ],
                "partialFingerprints": {
                    "gitopsLint/v1": hashlib.sha256(identity.encode()).hexdigest()
                },
            }
        )
    rules = [{"id": rule.id, "shortDescription": {"text": rule.about}} for rule in RULES]
    driver = {"name": "gitops lint", "semanticVersion": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"SRCROOT": {"description": {"text": "The repository."}}},
        "results": results,
    }
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def annotated(found: Sequence[Finding], platform: Platform) -> list[str]:
    """Lines that the platform shows beside the file's own lines."""
    return [_github(one) if platform == "github" else _azure(one) for one in found]


def _github(one: Finding) -> str:
    where = f"file={_escaped(one.path, ':,')},line={one.line},col={one.column}"
    return f"::error {where},title={one.rule}::{_escaped(f'{one.message}; {one.fix}')}"


def _azure(one: Finding) -> str:
    path = _escaped(one.path, ";]", percent="%AZP25")
    where = f"type=error;sourcepath={path};linenumber={one.line};columnnumber={one.column}"
    text = _escaped(f"{one.rule}: {one.message}; {one.fix}", percent="%AZP25")
    return f"##vso[task.logissue {where}]{text}"


def _escaped(text: str, more: str = "", percent: str = "%25") -> str:
    text = text.replace("%", percent)
    for char in "\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return text
