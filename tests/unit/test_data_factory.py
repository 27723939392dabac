"""Data that lands and is built: the same pipeline by both generators, and no secret in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gitops.errors import ConfigError
from gitops.infra import bicep
from gitops.infra.bicep import Value
from tests.unit.test_infra_parity import as_bicep
from tests.unit.test_infrastructure import COMBINATIONS, HEAD, files, lay, parse

MODULE = "infrastructure/modules/environment"
ENVIRONMENTS = ("dev", "staging", "production")


def text(name: str, path: str) -> str:
    texts = COMBINATIONS[name]
    return files(as_bicep(texts) if ".bicep" in path else texts)[path].decode()


def activities(name: str, folder: Path) -> list[Value]:
    top = lay(as_bicep(COMBINATIONS[name]), folder)
    read = bicep.read(top / "modules" / "environment" / "data_factory.bicep")
    value = read.named("resource")["land"].value
    found = value.get("properties", "activities") if value else None
    assert found is not None
    return list(found.items)


def said(value: Value, *names: str) -> str | None:
    found = value.get(*names)
    return found.text if found else None


def test_github_is_told_by_a_token_that_is_in_no_log(tmp_path: Path) -> None:
    copy, token, build = activities("landing", tmp_path)
    assert [said(one, "name") for one in (copy, token, build)] == ["copy", "token", "build"]
    assert said(token, "policy", "secureOutput") == "true"
    assert said(build, "policy", "secureInput") == "true"
    assert said(token, "typeProperties", "authentication", "type") == "UserAssignedManagedIdentity"
    assert (
        said(build, "typeProperties", "url")
        == "https://api.github.com/repos/OWNER/flights/dispatches"
    )
    assert said(build, "typeProperties", "body") == '{"event_type": "flights-landed"}'
    header = said(build, "typeProperties", "headers", "Authorization")
    assert header == "@concat('Bearer ', activity('token').output.value)"


def test_azure_devops_is_told_without_a_secret(tmp_path: Path) -> None:
    _, build = activities("landing-devops", tmp_path)
    url = said(build, "typeProperties", "url")
    assert url is not None
    assert url.startswith("https://dev.azure.com/contoso/flights/_apis/pipelines/12/runs?")
    assert said(build, "typeProperties", "authentication", "type") == "UserAssignedManagedIdentity"
    assert "secrets/" not in text("landing-devops", f"{MODULE}/data_factory.bicep")


def leaves(value: Value) -> list[str]:
    """Every text in it, but for bodies, which Terraform encodes itself."""
    if value.kind == "text":
        return [value.text]
    inner = [one for key, one in value.entries if key != "body"]
    return [text for one in (*inner, *value.items) for text in leaves(one)]


@pytest.mark.parametrize(("name", "count"), [("landing", 3), ("landing-devops", 2)])
def test_both_generators_make_the_same_pipeline(name: str, count: int, tmp_path: Path) -> None:
    terraform = text(name, f"{MODULE}/data_factory.tf")
    made = terraform[terraform.index("activities_json") : terraform.index("trigger_schedule")]
    found = activities(name, tmp_path)
    assert len(found) == len(re.findall(r"^ {6}name +=", made, re.MULTILINE)) == count
    texts = [one for each in found for one in leaves(each)]
    assert len(texts) > 8 * count
    assert [one for one in texts if f'"{one}"' not in made] == []


def test_data_lands_in_the_first_environment_alone() -> None:
    for path in ("main.tf", "main.bicepparam"):
        given = {}
        for one in ENVIRONMENTS:
            made = text("landing", f"infrastructure/environments/{one}/{path}")
            given[one] = re.findall(r"landing\s+= [\"'](\w*)", made)
        assert given == {"dev": ["flightssharedzqh8h4"], "staging": [""], "production": [""]}


def test_without_a_place_to_copy_from_there_is_no_pipeline() -> None:
    for suffix in ("tf", "bicep"):
        assert "LinkedService" not in text("data_factory", f"{MODULE}/data_factory.{suffix}")
        assert "landing" not in text("data_factory", f"{MODULE}/data_factory.{suffix}")


@pytest.mark.parametrize(
    ("setting", "said_"),
    [
        ("{starts: https://github.com/OWNER/NAME}", "nothing is landed"),
        ("{copies: http://example.blob.core.windows.net/exports}", "a folder of blobs is"),
        ("{copies: 'https://example.blob.core.windows.net/exports?sig=abc'}", "a folder of blobs"),
        ("{copies: https://example.blob.core.windows.net/a--b}", "a folder of blobs is"),
        (
            "{copies: https://abc.blob.core.windows.net/exports, starts: https://x.org/a/b}",
            "builds",
        ),
        ("{copies: https://abc.blob.core.windows.net/exports, event: 'a\"b'}", "an event has"),
        ("{copies: https://abc.blob.core.windows.net/exports, every: Minute}", "every"),
    ],
)
def test_what_cannot_work_is_refused(setting: str, said_: str) -> None:
    with pytest.raises(ConfigError, match=said_):
        parse(HEAD + f"  components: {{data_factory: {setting}}}\n")
