"""Build records: what was built from what, on which machine, and what came out.

One JSON file per model and dvc.lock, by the contract `build`, in the git folder: never committed,
shared by the work trees of a clone.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from gitops import __version__, cirun, contracts, dvc, git, jsontext, sha256, utc, whole
from gitops.errors import Where
from gitops.git import program
from gitops.reproduce.fingerprint import Fingerprint
from gitops.reproduce.model import Place

_USED = {"stages", "metrics", "test_set", "fingerprint"}


def write(
    place: Place,
    *,
    started: datetime,
    stages: dict[str, str],
    metrics: dict[str, float],
    test_set: str,
    machine: Fingerprint,
) -> Path:
    """Write the record of a finished build and return its path.

    Raises:
        EvidenceError: the record doesn't fit its contract.
    """
    items = place.tracked()
    here = git.head(place.root)
    document = {
        "version": 1,
        "model": place.name,
        "revision": {
            "commit": here.commit,
            "tree": here.tree,
            "dirty": bool(git.changes(place.root)),
        },
        "lock": place.lock_digest(),
        "builder": _builder(place.root),
        "tool": {"version": __version__},
        "fingerprint": asdict(machine),
        "stages": [{"name": name, "result": result} for name, result in stages.items()],
        "inputs": [_item(place, item) for item in items if item.stage is None],
        "outputs": [_item(place, item) for item in items if item.stage is not None],
        "metrics": metrics,
        "test_set": test_set,
        "started": utc.text(started),
        "finished": utc.now(),
    }
    path = path_of(git.private(place.root), place.name, place.lock_digest())
    contracts.validate("build", document, Where(path))
    whole.write(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return path


def latest(private: Path, model: str, digest: str) -> dict[str, Any] | None:
    """The record of `model` as locked by `digest` (SHA-256 of dvc.lock); None if not built here."""
    path = path_of(private, model, digest)
    try:
        document: dict[str, Any] = jsontext.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    # A record that can't be used is none: the next build writes it anew.
    return document if isinstance(document, dict) and document.keys() >= _USED else None


def path_of(private: Path, model: str, digest: str) -> Path:
    """Where the record of `model` as locked by `digest` is kept."""
    return private / "records" / "builds" / model / f"{digest}.json"


def _item(place: Place, item: dvc.Tracked) -> dict[str, object]:
    path = place.root / item.path
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    entry: dict[str, object] = {
        "path": item.path,
        "md5": item.md5,
        "size": sum(one.stat().st_size for one in files),
    }
    if path == place.package:
        entry["nfiles"] = len(files)
        entry["files"] = sha256.of_files(path)
    return entry


def _builder(root: Path) -> dict[str, str]:
    # `gitops ci` runs a workflow on somebody's machine: that is no builder to rely on.
    if not os.environ.get("CI") or os.environ.get("GITOPS_CI"):
        return {"kind": "laptop", "id": program.identity(root)}
    return {"kind": "ci", "id": cirun.url() or "ci"}
