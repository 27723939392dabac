"""`infrastructure:` of gitops.yaml: what is accepted, and what is refused where with which fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops import config
from gitops.config.infrastructure import Components
from gitops.errors import ConfigError

HEAD = """\
version: 1
project: flights
models: {late: {task: binary}}
"""
FULL = """\
infrastructure:
  provider: azure
  id: k7q2m9xd
  region: northeurope
  private: true
  components:
    azureml: {cpu: {size: Standard_D4s_v5, nodes: 4}, gpu: {size: Standard_NC4as_T4_v3, nodes: 1}}
    aks: {gpu: {size: Standard_NC4as_T4_v3}}
    iot: {}
    sql: {}
    data_factory: {}
    grafana: {}
    alerts: {emails: [ml@example.org]}
    budget: {amount: 200, emails: [ml@example.org]}
"""


def parse(text: str) -> config.Config:
    return config.parse((HEAD + text).encode(), Path("gitops.yaml"))


def test_nothing_is_declared_by_default() -> None:
    assert parse("").infrastructure is None


def test_everything_declared() -> None:
    found = parse(FULL).infrastructure
    assert found is not None
    assert found.in_cloud
    assert found.generator == "terraform-azure"
    assert len(found.components.declared) == 8


def test_the_cheap_core_is_what_is_left() -> None:
    found = parse("infrastructure: {provider: azure, id: k7q2m9xd}\n").infrastructure
    assert found is not None
    assert found.components.declared == ()
    assert not found.private


def test_this_machine_needs_nothing() -> None:
    found = parse("infrastructure: {provider: local}\n").infrastructure
    assert found is not None
    assert not found.in_cloud


AWS = """\
infrastructure:
  provider: aws
  id: k7q2m9xd
  components:
    eks: {size: t3.xlarge, gpu: {size: g4dn.xlarge}}
    sagemaker: {}
    alerts: {emails: [ml@example.org]}
    budget: {amount: 200, emails: [ml@example.org]}
"""


@pytest.mark.parametrize(
    ("provider", "generator", "region"),
    [("azure", "terraform-azure", "westeurope"), ("aws", "terraform-aws", "eu-west-1")],
)
def test_defaults_follow_the_provider(provider: str, generator: str, region: str) -> None:
    found = parse(f"infrastructure: {{provider: {provider}, id: k7q2m9xd}}\n").infrastructure
    assert found is not None
    assert (found.generator, found.region) == (generator, region)


@pytest.mark.parametrize("region", ["eu-west-1", "ap-southeast-2", "us-gov-west-1", "il-central-1"])
def test_regions_of_aws(region: str) -> None:
    found = parse(AWS + f"  region: {region}\n").infrastructure
    assert found is not None
    assert found.region == region


def test_components_of_a_provider() -> None:
    assert Components.of("aws") == ("eks", "sagemaker", "alerts", "budget")
    assert "aks" in Components.of("azure")
    assert "eks" not in Components.of("azure")
    assert {*Components.of("azure"), *Components.of("aws")} == {*Components.model_fields}


@pytest.mark.parametrize(
    ("text", "line", "message", "fix"),
    [
        (AWS + "  region: westeurope\n", 12, "which is none of aws", "as eu-west-1"),
        (FULL.replace("northeurope", "eu-west-1"), 7, "none of azure", "as westeurope"),
        (AWS + "  generator: terraform-azure\n", 12, "isn't for aws", "write terraform-aws"),
        (FULL + "  generator: terraform-aws\n", 18, "isn't for azure", "or bicep-azure"),
        (AWS.replace("sagemaker", "azureml"), 9, "components.azureml isn't on aws", "sagemaker"),
        (FULL.replace("iot:", "sagemaker:"), 12, "sagemaker isn't on azure", "there are azureml"),
        (AWS.replace("t3.xlarge", "Standard_D2s_v5"), 8, "a size is as t3.large", "t3.large"),
        (AWS + "  prefix: sthree\n", 12, "AWS refuses", "another `prefix:`"),
    ],
)
def test_what_a_provider_does_not_have_is_refused(
    text: str, line: int, message: str, fix: str
) -> None:
    test_what_is_refused(text, line, message, fix)


@pytest.mark.parametrize(
    ("text", "line", "message", "fix"),
    [
        ("infrastructure: {provider: azure}\n", 4, "id is missing", "write id: "),
        ("infrastructure: {provider: gcp}\n", 4, "provider", "azure, aws, local"),
        ("infrastructure: {provider: aws}\n", 4, "id is missing", "write id: "),
        ("infrastructure: {id: k7q2m9xd}\n", 4, "provider is missing", "add `provider: azure`"),
        ("infrastructure: {provider: azure, id: K7}\n", 4, "an id has", "write"),
        (FULL.replace("northeurope", "North Europe"), 7, "its short name", "westeurope"),
        (FULL.replace("nodes: 4", "nodes: 0"), 10, "nodes is 0", "of 1 or more"),
        (FULL.replace("Standard_D4s_v5", "big"), 10, "a size is as", "Standard_D4s_v5"),
        (FULL + "    databricks: {}\n", 8, "private is true", "remove databricks"),
        (FULL.replace("iot: {}", "iott: {}"), 12, 'unknown key "iott"', "did you mean iot"),
        (FULL.replace("iot: {}", "iot:"), 12, "iot has no value", "iot: {}"),
        (FULL.replace("emails: [ml@example.org]}\n    b", "emails: [ml]}\n    b"), 16, "one @", ""),
        (FULL.replace("provider: azure", "provider: local"), 10, "is local", "remove it"),
        (FULL + "  prefix: windows-sales\n", 18, "Azure refuses", "another `prefix:`"),
        (
            "environments: [{name: shared, branch: main}]\n" + FULL,
            4,
            "all environments share",
            "another name",
        ),
        (
            "environments: [{name: read, branch: main}]\n" + FULL,
            4,
            "all environments share",
            "another name",
        ),
    ],
)
def test_what_is_refused(text: str, line: int, message: str, fix: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text)
    error = refused.value
    assert message in error.message
    assert error.where is not None
    assert error.where.line == line, error.where
    assert fix in (error.fix or "")


def test_a_project_whose_name_azure_refuses_is_told_so() -> None:
    text = (
        HEAD.replace("flights", "login-times") + "infrastructure: {provider: azure, id: k7q2m9xd}\n"
    )
    with pytest.raises(ConfigError, match="starts with 'login'") as refused:
        config.parse(text.encode(), Path("gitops.yaml"))
    assert "prefix" in (refused.value.fix or "")
    right = text.replace("azure,", "azure, prefix: entry,")
    assert config.parse(right.encode(), Path("gitops.yaml")).infrastructure is not None


@pytest.mark.parametrize(("target", "component"), [("azureml", "azureml"), ("iotedge", "iot")])
def test_azures_components_are_no_advice_where_all_is_on_aws(target: str, component: str) -> None:
    head = HEAD.replace("{task: binary}", f"{{task: binary, deploy: {{target: {target}}}}}")
    text = "infrastructure: {provider: aws, id: k7q2m9xd, region: eu-west-1}\n"
    for more, told in (("", True), (text, False)):
        with pytest.raises(ConfigError, match="is known for production") as caught:
            config.parse((head + more).encode(), Path("gitops.yaml"))
        assert (f"`{component}: {{}}`" in str(caught.value)) == told
