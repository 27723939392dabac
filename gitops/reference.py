"""reference.json: the drift profile of the training data."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from gitops import contracts
from gitops.errors import EvidenceError, Where
from gitops.signature import Signature


def read(path: Path, signature: Signature) -> dict[str, Any]:
    """The document, proven against its contract and the signature.

    Raises:
        EvidenceError: it breaks the contract `reference`, profiles other columns than the
            signature's inputs, or has bins and counts that can't be.
    """
    document: Any = contracts.read_json(path)
    contracts.validate("reference", document, Where(path))
    profiles = dict(document["columns"])
    wanted = {item.name: item.type for item in signature.inputs}
    found = {name: profile["type"] for name, profile in profiles.items()}
    fault = ""
    if found != wanted:
        names = sorted(
            name for name in found.keys() | wanted if found.get(name) != wanted.get(name)
        )
        fault = f"columns differ from the signature's inputs: {', '.join(names)}"
    key = "score" if signature.task == "binary" else "prediction"
    if key not in document or ("edges" in document[key]) == (signature.task == "multiclass"):
        fault = fault or f"a {signature.task} model needs its profile under {key!r}"
    else:
        profiles[key] = document[key]
    for name, profile in profiles.items():
        fault = fault or _bad_profile(name, profile, document["rows"])
    if fault:
        raise EvidenceError(fault, fix="build the package again", where=Where(path))
    checked: dict[str, Any] = document
    return checked


def _bad_profile(name: str, profile: dict[str, Any], total: int) -> str:
    edges, counts = profile.get("edges"), profile["counts"]
    if edges is not None and any(high <= low for low, high in pairwise(edges)):
        return f"{name!r}: edges are not ascending"
    if edges is not None and len(edges) != len(counts) + 1:
        return f"{name!r}: {len(counts)} counts for {len(edges) - 1} bins"
    numbers = counts if edges is not None else counts.values()
    counted = sum(numbers) + profile.get("missing", 0) + profile.get("other", 0)
    return f"{name!r}: counts {counted:,} rows of {total:,}" if counted > total else ""
