"""The serving plan (contract `serving`): which releases answer, and how the traffic is split.

The file is replaced as a whole, by renaming; whoever reads it sees one plan or the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gitops import contracts, whole
from gitops.errors import Where

NAME = "serving.json"


@dataclass(frozen=True)
class Code:
    """A release's own code: its checkout, and the script in it."""

    workdir: Path
    script: str | None


@dataclass(frozen=True)
class Variant:
    """One release; `package` is the digest that the bytes in `folder` must have.

    `code` None: that of `Serve` is everybody's.
    """

    release: str
    assignment: str
    folder: Path
    package: str
    code: Code | None = None

    @property
    def version(self) -> str:
        """What a request names it by: `v1.2.0` of `late@v1.2.0`."""
        return self.release.rpartition("@")[2]


@dataclass(frozen=True)
class Log:
    """What is kept of predictions (gitops.yaml, `serve.log`)."""

    sample: float = 1.0
    redact: tuple[str, ...] = ()
    sync_seconds: float = 1.0
    segment_mb: int = 64
    keep_mb: int = 1024


@dataclass(frozen=True)
class Serve:
    """How a model answers; `workdir` is the checkout in which user code runs."""

    unknown_category: str = "accept"
    out_of_range: str = "accept"
    log: Log = Log()
    workdir: Path | None = None
    script: str | None = None


@dataclass(frozen=True)
class Served:
    """One model: `share` percent of the units are the challenger's, None: nobody's.

    `ignore`: columns that requests may have although nothing that is served takes them; an earlier
    version did, or one that was rolled back, and its callers still send them.
    """

    champion: Variant
    challenger: Variant | None = None
    share: float | None = None
    shadow: bool = False
    key: str | None = None
    salt: str = ""
    serve: Serve = field(default_factory=Serve)
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    generation: int
    project: str
    environment: str
    models: Mapping[str, Served]


def read(path: Path) -> Plan:
    """Read a plan.

    Raises:
        EvidenceError: there is none, or it breaks its contract.
    """
    document: Any = contracts.read_json(path)
    contracts.validate("serving", document, Where(path))
    models = {name: _served(item) for name, item in document["models"].items()}
    return Plan(document["generation"], document["project"], document["environment"], models)


def write(path: Path, plan: Plan) -> None:
    """Put a plan in place of the one that is there, whole."""
    document: dict[str, Any] = {"version": 1, **asdict(plan)}
    for served in document["models"].values():
        for variant in (served["champion"], served["challenger"]):
            if variant is not None:
                variant["folder"] = str(variant["folder"])
                if variant["code"] is not None:
                    variant["code"]["workdir"] = str(variant["code"]["workdir"])
        if served["serve"]["workdir"] is not None:
            served["serve"]["workdir"] = str(served["serve"]["workdir"])
    put(path, document)


def _served(item: dict[str, Any]) -> Served:
    serve = item["serve"]
    log = Log(**serve["log"] | {"redact": tuple(serve["log"]["redact"])})
    workdir = None if serve["workdir"] is None else Path(serve["workdir"])
    return Served(
        champion=_variant(item["champion"]),
        challenger=None if item["challenger"] is None else _variant(item["challenger"]),
        share=item["share"],
        shadow=item["shadow"],
        key=item["key"],
        salt=item["salt"],
        serve=Serve(**serve | {"log": log, "workdir": workdir}),
        ignore=tuple(item.get("ignore", ())),
    )


def _variant(item: dict[str, Any]) -> Variant:
    code = item.get("code")
    made = None if code is None else Code(Path(code["workdir"]), code["script"])
    return Variant(**item | {"folder": Path(item["folder"]), "code": made})


def put(path: Path, document: object) -> None:
    """Write JSON under a temporary name, and rename it into place."""
    whole.write(path, json.dumps(document, indent=2) + "\n")
