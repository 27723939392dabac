"""SARIF 2.1.0 for code scanning: docs.oasis-open.org/sarif/sarif/v2.1.0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from gitops import __version__, sha256

Json = dict[str, Any]
Level = Literal["error", "warning", "note"]
SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def result(
    rule: str,
    level: Level,
    text: str,
    *,
    file: str,
    region: dict[str, int],
    mark: str,
    identity: Sequence[str],
) -> Json:
    """A result. GitHub knows it again by its fingerprint `mark`, made of what is its `identity`."""
    artifact = {"uri": file, "uriBaseId": "SRCROOT"}
    fingerprint = sha256.of("\0".join(identity).encode("utf-8", "backslashreplace"))
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": text},
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}],
        "partialFingerprints": {mark: fingerprint},
    }


def document(tool: str, rules: Sequence[Json], results: Sequence[Json]) -> Json:
    """One run of a tool, whose results are of these rules."""
    places = {rule["id"]: place for place, rule in enumerate(rules)}
    driver = {"name": tool, "semanticVersion": __version__, "rules": list(rules)}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"SRCROOT": {"description": {"text": "The repository."}}},
        "results": [{**one, "ruleIndex": places[one["ruleId"]]} for one in results],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
