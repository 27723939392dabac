"""`gitops setup azure` against an Azure DevOps that keeps what it is told."""

from __future__ import annotations

from gitops.setup import azure as setup
from gitops.setup import run
from tests.unit.setup.conftest import OnAzure, configured

FILES = (".azure-pipelines/pull-request.yml", ".azure-pipelines/deploy.yml")
VALUES = {
    name: f"id-{name}" for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID")
}


def test_first(azure: OnAzure) -> None:
    config = configured()
    plan = setup.plan(azure.place, config, FILES, VALUES)
    assert azure.wrote() == []
    assert {one.action for one in plan.steps} == {"create", "update"}, plan.steps
    outcomes = run.apply(azure.place, plan.steps, lambda text: None)
    assert {one.state for one in outcomes} == {"done"}, outcomes
    assert azure.wrote()
    again = setup.plan(azure.place, config, FILES, VALUES)
    assert {one.action for one in again.steps} == {"keep"}, again.due
    assert {one.state for one in run.apply(azure.place, again.steps, print)} == {"so already"}
    assert azure.wrote() == []
