"""Nothing that generators hold or write is a secret, a key, an account or a subscription."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gitops import config, pipelines
from gitops.scaffold import infrastructure, targets
from tests.unit.test_infra_bicep import ROLES
from tests.unit.test_infra_parity import as_bicep
from tests.unit.test_infrastructure import COMBINATIONS as ON_AZURE
from tests.unit.test_infrastructure import DEVOPS, GUID
from tests.unit.test_infrastructure_aws import COMBINATIONS as ON_AWS

ROOT = Path(__file__).resolve().parents[2]
# What public secret scanners look for, and what tells whose cloud it is.
RULES: Mapping[str, str] = {
    "a GUID: a subscription, tenant or client": rf"(?i){GUID}",
    "an account of AWS": r"(?<=[:/\"'])\d{12}(?=[:/\"'.])",
    "an access key of AWS": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a token of GitHub": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{82})",
    "a token of Databricks": r"\bdapi[0-9a-f]{32}\b",
    "a key of Azure Storage or a hub": r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]",
    "a shared access signature": r"[?&]sig=[A-Za-z0-9%]",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}",
    "a password in a URL": r"://[^/\s:@$<{\"']+:[^/\s:@$<{\"']+@",
    "a value beside its name": r"(?i)(?:password|client_secret|access_key|api_key|auth_token)"
    r"\"?\s*[:=]\s*[\"'][^\"'$@{<\s]{4,}[\"']",
}
# The same for everybody: roles that Azure comes with, and Azure DevOps itself.
PUBLIC = re.compile("|".join([*ROLES.values(), DEVOPS]))
TARGETS = ("kubernetes", "azureml", "iotedge")
DECLARED = {
    "terraform-azure": ON_AZURE["everything"],
    "bicep-azure": as_bicep(ON_AZURE["everything"]),
    "terraform-aws": ON_AWS["everything"],
}


def secrets(text: str) -> list[str]:
    text = PUBLIC.sub("", text)
    return [name for name, rule in RULES.items() if re.search(rule, text)]


def test_no_template_holds_a_secret() -> None:
    looked = 0
    for path in sorted((ROOT / "generators").rglob("*")):
        if path.is_file():
            looked += 1
            assert secrets(path.read_text("utf-8")) == [], path
    assert looked > 100


def written(text: str) -> Iterator[tuple[str, str]]:
    declared = config.parse(text.encode(), Path("gitops.yaml"))
    for rendered in (infrastructure.rendered(declared), targets.rendered(declared)):
        yield from ((str(one.path), one.content.decode()) for one in rendered)
    yield from ((path, content.decode()) for path, content in pipelines.render(declared))


@pytest.mark.parametrize("generator", DECLARED)
def test_nothing_that_is_written_for_a_cloud_is_a_secret(generator: str) -> None:
    kinds = TARGETS if "azure" in generator else ("kubernetes",)
    models = ", ".join(
        f"{one}: {{task: binary, path: {one}, deploy: {{target: {one}}}}}" for one in kinds
    )
    text = re.sub(r"^models: .*$", f"models: {{{models}}}", DECLARED[generator], flags=re.MULTILINE)
    found = dict(written(text))
    assert {one for one in kinds if any(f"deploy/{one}" in path for path in found)} == {*kinds}
    assert {path: said for path, content in found.items() if (said := secrets(content))} == {}


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        *zip(
            RULES,
            [
                'subscription_id = "11111111-2222-3333-4444-555555555555"',
                "arn:aws:iam::123456789012:role/x",
                "AKIA" + "A" * 16,
                "ghp_" + "a1B2" * 9,
                "dapi" + "0f" * 16,
                "HostName=x;SharedAccessKey=abc",
                "https://x.blob.core.windows.net/c?sv=1&sig=abc",
                "-----BEGIN RSA PRIVATE KEY-----",
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0",
                "postgresql://ada:hunter2@db/x",
                'administrator_login_password = "hunter2!"',
            ],
            strict=True,
        )
    ],
)
def test_each_rule_fires(rule: str, text: str) -> None:
    assert rule in secrets(text)
