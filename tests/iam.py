"""What generated roles trust and may do: evaluated by Terraform itself, and judged as IAM does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ACCOUNT = "123456789012"  # moto's
REGION = "eu-west-1"
SUBJECT = "repo:OWNER/NAME"
CONNECTIONS = "sc://ORG/PROJECT"
ORGANISATION = "0a0a0a0a-0000-0000-0000-0123456789ab"
# What main.tf and versions.tf learn from the cloud.
_CLOUD = f"""\
locals {{
  region    = "{REGION}"
  account   = "{ACCOUNT}"
  partition = "aws"
}}
"""
Statement = Mapping[str, Any]


@dataclass(frozen=True)
class Roles:
    """Statements by role: `rights` (what it may do) and `trust` (who may be it).

    A role is `ci`, `read`, `deploy/ENVIRONMENT`, or of what runs in one, as `serving/ENVIRONMENT`.
    """

    trust: Mapping[str, Sequence[Statement]]
    rights: Mapping[str, Sequence[Statement]]


def evaluated(shared: Path, scratch: Path, *, connections: bool = True) -> Roles:
    """The documents of infrastructure/shared: its own files, evaluated without a provider.

    `connections`: whether an organisation of Azure DevOps is given.
    """
    if shutil.which("terraform") is None:
        pytest.skip("terraform isn't installed, which evaluates the policies")
    text = ""
    for name in ("trust.tf", "policies.tf"):
        text += (shared / name).read_text()
        shutil.copy(shared / name, scratch / name)
    named = ("deploy", "workload", "autoscaler", "jobs", "serving")
    there = [
        one for one in named if re.search(rf"^  {one} += {{ for name, one", text, re.MULTILINE)
    ]
    output = "\n".join(f"{one} = local.{one}" for one in ("ci", "read", "trust", *there))
    (scratch / "cloud.tf").write_text(f'{_CLOUD}output "all" {{\n  value = {{\n{output}\n}}\n}}\n')
    variables = {
        "github_subject": SUBJECT,
        "azure_devops": {"organisation": ORGANISATION, "subject": CONNECTIONS},
    }
    given = {name: one for name, one in variables.items() if f'variable "{name}"' in text}
    if not connections:
        del given["azure_devops"]
    (scratch / "terraform.tfvars.json").write_text(json.dumps(given))
    for words in (["init"], ["apply", "-auto-approve"]):
        _terraform(scratch, *words, "-input=false")
    found = json.loads(_terraform(scratch, "output", "-json", "all"))
    trust = {who: one["Statement"] for who, one in found.pop("trust").items()}
    rights: dict[str, Sequence[Statement]] = {one: found.pop(one) for one in ("ci", "read")}
    for role, by_environment in found.items():
        rights |= {f"{role}/{name}": one for name, one in by_environment.items()}
    return Roles(trust, rights)


def _terraform(folder: Path, *words: str) -> str:
    done = subprocess.run(["terraform", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def listed(value: object) -> list[str]:
    """Texts of a document, where one stands for a list of itself."""
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def allows(
    statements: Sequence[Statement], action: str, resource: str = "*", **context: str
) -> bool:
    """Whether IAM would let that be done: https://docs.aws.amazon.com/IAM/latest/UserGuide/

    reference_policies_evaluation-logic.html, for statements that allow, equal or alike texts.
    `context`: values of condition keys, `__` for what keys have between their words.
    """
    return any(
        _any(one["Action"], action, fold=True)
        and _any(one["Resource"], resource)
        and _holds(one.get("Condition", {}), context)
        for one in statements
    )


def _any(patterns: object, text: str, *, fold: bool = False) -> bool:
    for pattern in listed(patterns):
        words = "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in pattern)
        if re.fullmatch(words, text, re.IGNORECASE if fold else 0):
            return True
    return False


def _holds(condition: Mapping[str, Mapping[str, object]], context: Mapping[str, str]) -> bool:
    assert condition.keys() <= {"StringEquals", "StringLike"}
    given = {re.sub(r"\W", "_", key): value for key, value in context.items()}
    for kind, wanted in condition.items():
        for key, values in wanted.items():
            value = given.get(re.sub(r"\W", "_", key))
            if value is None:
                return False
            if kind == "StringEquals" and value not in listed(values):
                return False
            if kind == "StringLike" and not _any(values, value):
                return False
    return True
