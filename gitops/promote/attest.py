"""What version tags state, as files that a forge signs: the same statement, vouched for by more.

GitHub's actions/attest takes a checksums file with the subjects and the predicate as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitops.errors import EvidenceError, ToolError, Where
from gitops.git.write import tag_texts
from gitops.promote import statement
from gitops.promote.world import World
from gitops.version import Version

Json = Mapping[str, Any]
SUBJECTS, PREDICATE = "subjects.txt", "predicate.json"


def statements(world: World, versions: Mapping[str, str]) -> dict[str, Json]:
    """The provenance in the tags of these versions, by model.

    Raises:
        EvidenceError: a tag has none, as one that gitops didn't write.
    """
    entries = {
        model: world.registry.versions(model)[Version.parse(version)]
        for model, version in versions.items()
    }
    texts = tag_texts(world.root, [one.object for one in entries.values()])
    found: dict[str, Json] = {}
    for model, one in entries.items():
        told = statement.of_version(texts.get(one.object, ""), one.tag.name)
        if told is None:
            raise EvidenceError(
                f"the tag {one.tag.name} states no provenance, so there is nothing to attest",
                fix=f"gitops build {model} --register --as VERSION gives it a version that does",
            )
        found[model] = told
    return found


def write(told: Mapping[str, Json], folder: Path) -> None:
    """Write the provenance statements, by model, into `folder`.

    `<model>.json` is a model's own; `subjects.txt` (as sha256sum writes it) and `predicate.json`
    are what is attested: of one model the predicate of its tag; of several, the same kind of
    predicate with those of the tags in it.

    Raises:
        ToolError: the folder can't be written.
    """
    lines = [
        f"{subject['digest']['sha256']}  {subject['name']}\n"
        for one in told.values()
        for subject in one["subject"]
    ]
    texts = {SUBJECTS: "".join(lines), PREDICATE: _text(predicate(told))}
    texts |= {f"{model}.json": _text(one) for model, one in told.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, "utf-8")
    except OSError as error:
        raise ToolError(
            f"the statement can't be written: {error.strerror or error}",
            fix="name a folder that can be written with --statement",
            where=Where(folder),
        ) from error


def predicate(told: Mapping[str, Json]) -> Json:
    """One SLSA provenance predicate for all of them."""
    first = next(iter(told.values()))["predicate"]
    if len(told) == 1:
        found: Json = first
        return found
    definition, run = first["buildDefinition"], first["runDetails"]
    outer = {key: definition["externalParameters"][key] for key in ("repository", "revision")}
    return {
        "buildDefinition": {
            "buildType": definition["buildType"],
            "externalParameters": {**outer, "models": sorted(told)},
            "resolvedDependencies": definition["resolvedDependencies"][:1],
        },
        "runDetails": {"builder": run["builder"]},
        "gitops": {
            "version": 1,
            "models": {model: one["predicate"] for model, one in told.items()},
        },
    }


def _text(document: Json) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
