"""What the tags say: in-toto statements, kept verbatim, one line of JSON after a subject line.

Version tags carry SLSA provenance (https://slsa.dev/spec/v1.0/provenance), stage tags a
verification summary (https://slsa.dev/spec/v1.0/verification_summary), both in an in-toto Statement
v1 (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gitops import __version__, cirun, contracts, jsontext, utc
from gitops.errors import EvidenceError, Where
from gitops.git import program
from gitops.version import Version

Json = dict[str, Any]
LONGEST = 8000  # bytes of a tag's message: what forges show, and what a reader can take in
_DATA = 20  # data files named one by one in a version tag; the build record has them all
_CLOSURE = re.compile(r'"closure":"([0-9a-f]{64})"')
_SCP = re.compile(r"(?:(?P<user>[^@/\s]+)@)?(?P<host>[^:/\s]+):(?P<path>[^\s]+)")


@dataclass(frozen=True)
class Revision:
    """A commit and its tree."""

    commit: str
    tree: str


def who(root: Path) -> str:
    """Who acts here: the run that CI names, else git's identity."""
    return cirun.url() or program.identity(root)


def actor_uri(root: Path) -> str:
    """`who` as a URI."""
    if url := cirun.url():
        return url
    found = re.search(r"<([^>]+)>", program.identity(root))
    return f"mailto:{quote(found[1] if found else 'unknown', safe='@+')}"


def repository_uri(url: str) -> str:
    """A git remote's address as a URI, as SLSA writes it: `git+https://...`."""
    if "://" in url:
        return f"git+{quote(url, safe=':/?&=%~@+')}"
    found = _SCP.fullmatch(url)
    if found and not url.startswith(("/", ".")):
        user = f"{found['user']}@" if found["user"] else ""
        return f"git+ssh://{user}{found['host']}/{quote(found['path'])}"
    return f"git+{Path(url).absolute().as_uri()}"


def provenance(
    *,
    model: str,
    version: Version,
    at: Revision,
    repository: str,
    build: Mapping[str, Any],
    package: str,
    closure: str,
    schema: str,
    bump: str,
    record: str,
) -> Json:
    """The SLSA provenance of a version: `build` is its build record, `record` that one's place."""
    data = [
        {"name": one["path"], "digest": {"md5": one["md5"].removesuffix(".dir")}}
        for one in build["inputs"][:_DATA]
    ]
    print_of = build["fingerprint"]
    return _checked(
        "provenance",
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": f"{model}@{version}", "digest": {"sha256": package}}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": "gitops:build/v1",
                    "externalParameters": {
                        "repository": repository,
                        "model": model,
                        "revision": at.commit,
                    },
                    "internalParameters": {"fingerprint": dict(print_of)},
                    "resolvedDependencies": [
                        {
                            "uri": f"{repository}@{at.commit}",
                            "digest": {"gitCommit": at.commit, "gitTree": at.tree},
                        },
                        {"name": "dvc.lock", "digest": {"sha256": build["lock"]}},
                        {"name": "uv.lock", "digest": {"sha256": print_of["env_lock"]}},
                        *data,
                    ],
                },
                "runDetails": {
                    "builder": {
                        "id": f"gitops:builder/{build['builder']['kind']}",
                        "version": {"gitops": build["tool"]["version"]},
                    },
                    "metadata": {
                        "invocationId": build["builder"]["id"],
                        "startedOn": build["started"],
                        "finishedOn": build["finished"],
                    },
                },
                "gitops": {
                    "version": 1,
                    "model": model,
                    "closure": closure,
                    "schema": schema,
                    "bump": bump,
                    "metrics": dict(build["metrics"]),
                    "test_set": build["test_set"],
                    "data": len(build["inputs"]),
                    "record": record,
                },
            },
        },
    )


def summary(
    *,
    kind: str,
    model: str,
    version: Version,
    at: Revision,
    tip: Revision,
    source: str | None,
    target: str,
    counter: int,
    repository: str,
    package: str,
    policy: tuple[str, str],
    verdict: str,
    approvers: Sequence[str],
    actor: tuple[str, str],
    why: str,
    builder: str,
) -> Json:
    """The verification summary of an assignment.

    `at` is the versioned commit, `tip` what the environment's branch is then. `policy` is its name
    and digest, `actor` who and their URI, `builder` the kind of builder.
    """
    return _checked(
        "promotion",
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {
                    "name": f"{model}@{version}",
                    "digest": {"gitCommit": at.commit, "gitTree": at.tree},
                }
            ],
            "predicateType": "https://slsa.dev/verification_summary/v1",
            "predicate": {
                "verifier": {"id": actor[1], "version": {"gitops": __version__}},
                "timeVerified": utc.now(),
                "resourceUri": f"{repository}#{quote(f'{model}#{target}#{counter}')}",
                "policy": {
                    "uri": f"gitops:policy/{quote(policy[0])}",
                    "digest": {"sha256": policy[1]},
                },
                "inputAttestations": [
                    {"uri": f"gitops:verdict/{verdict}", "digest": {"sha256": verdict}}
                ],
                "verificationResult": "PASSED",
                # Built by a script that is in version control; signed by nobody but the tag.
                "verifiedLevels": ["SLSA_BUILD_LEVEL_1"] if builder == "ci" else [],
                "gitops": {
                    "version": 1,
                    "kind": kind,
                    "model": model,
                    "source": source,
                    "target": target,
                    "counter": counter,
                    "tip": {"commit": tip.commit, "tree": tip.tree},
                    "package": package,
                    "verdict": verdict,
                    "who": actor[0],
                    "approvers": list(approvers),
                    "why": why,
                },
            },
        },
    )


def mark(kind: str, environment: str, root: Path, why: str, **more: object) -> Json:
    """What a hold, its release or an approval says."""
    return {
        "version": 1,
        "kind": kind,
        "environment": environment,
        "who": who(root),
        "why": why,
        "at": utc.now(),
        **more,
    }


def message(subject: str, document: Mapping[str, Any]) -> str:
    """The message of a tag.

    Raises:
        EvidenceError: it is larger than a tag may be.
    """
    text = f"{subject}\n\n{json.dumps(document, ensure_ascii=False, separators=(',', ':'))}\n"
    if len(text.encode()) > LONGEST:
        raise EvidenceError(
            f"the tag {subject!r} would be {len(text.encode()):,} bytes, more than {LONGEST:,}",
            fix="give a shorter reason; metrics.json may have too many metrics",
        )
    return text


def parse(text: str) -> Json | None:
    """The document in a tag's text (or its whole object); None if there's none, as in GTO's."""
    body = text.split("\n\n", 1)[1] if "\n\n" in text else text
    for line in body.splitlines():
        if line.startswith("{"):
            try:
                found = jsontext.loads(line)
            except ValueError:
                return None
            return found if isinstance(found, dict) else None
    return None


def of_stage(text: str, name: str) -> Json | None:
    """The verification summary of a stage tag; None if the tag has none that fits the contract."""
    return _fitting("promotion", text, name)


def of_version(text: str, name: str) -> Json | None:
    """The provenance of a version tag; None if the tag has none that fits the contract."""
    return _fitting("provenance", text, name)


def closure_in(text: str) -> str:
    """The closure's digest that a version tag claims, whatever else it says; "" if none."""
    found = _CLOSURE.search(text)
    return found[1] if found else ""


def _fitting(contract: str, text: str, name: str) -> Json | None:
    found = parse(text)
    if found is None:
        return None
    try:
        return _checked(contract, found, name)
    except EvidenceError:
        return None


def _checked(contract: str, document: Json, name: str = "statement") -> Json:
    contracts.validate(contract, document, Where(name))
    return document
