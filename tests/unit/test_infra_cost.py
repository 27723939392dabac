"""`gitops infra cost`: what is declared, priced by a table; what isn't known is never a zero."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gitops import config, contracts
from gitops.cli.app import make
from gitops.errors import ConfigError, EvidenceError, UsageError, Where
from gitops.infra import cost, hcl
from gitops.infra.cost import Estimate, Line
from gitops.scaffold import infrastructure

HEAD = """\
version: 1
project: flights
environments: [{name: dev, branch: main}, {name: production, branch: release/production}]
models: {late: {task: binary}}
infrastructure:
  provider: azure
  id: k7q2m9xd
"""
CHEAP = "  components: {azureml: {cpu: {size: Standard_D4s_v5, nodes: 4}}, aks: {nodes: 3}}\n"
EVERYTHING = """\
  components:
    azureml: {cpu: {}, gpu: {size: Standard_NC4as_T4_v3, nodes: 1}}
    aks: {}
    iot: {units: 2}
    sql: {}
    data_factory: {}
    grafana: {}
    alerts: {emails: [ml@example.org]}
    budget: {amount: 200, emails: [ml@example.org]}
"""


def estimate(text: str, environment: str = "dev", extra: Path | None = None) -> Estimate:
    declared = config.parse((HEAD + text).encode(), Path("gitops.yaml"))
    return cost.estimate(declared, environment, cost.prices(extra))


def line(found: Estimate, what: str) -> Line:
    (one,) = (one for one in found.lines if what in one.what)
    return one


def own(path: Path, **prices: object) -> Path:
    """A file of prices in westeurope: machines by the hour."""
    document = {
        "version": 1,
        "provider": "azure",
        "currency": "USD",
        "tables": [
            {
                "of": "machine",
                "per": "hour",
                "date": "2026-11-01",
                "source": "our agreement",
                "prices": {name: {"westeurope": amount} for name, amount in prices.items()},
            }
        ],
    }
    path.write_text(json.dumps(document))
    return path


def test_the_shipped_prices_keep_their_contract() -> None:
    contracts.validate("prices", contracts.read_json(cost.SHIPPED), Where(cost.SHIPPED))
    assert cost.prices().known["machine", "Standard_D4s_v5", "eastus"].amount == 0.192


def test_a_machine_that_always_runs_is_counted_once_and_one_that_scales_to_zero_is_not() -> None:
    found = estimate("  region: eastus\n" + CHEAP)
    assert line(found, "Standard_D2s_v5").month == pytest.approx(0.096 * 730)
    scaled = line(found, "Standard_D4s_v5")
    assert (scaled.kind, scaled.month) == ("per use", None)
    assert scaled.note == "USD 0.192 an hour and machine"
    assert "0 to 4 x" in scaled.what
    assert found.at_least == pytest.approx(70.08)
    assert found.summary.startswith("at least USD 70.08 a month (an estimate, by prices of 2025-12")


def test_what_has_no_price_in_the_region_is_named_and_not_taken_from_another() -> None:
    found = estimate("  region: westeurope\n" + CHEAP)
    machine = line(found, "Standard_D2s_v5")
    assert (machine.kind, machine.month) == ("unknown", None)
    assert machine.note == "no price is known in westeurope; in centralus USD 0.108 each hour"
    assert found.at_least == 0.0
    assert "aks: Standard_D2s_v5" in found.unknown
    assert "not counted, since no price is known: azureml: cpu" in found.summary


def test_units_of_a_hub_multiply() -> None:
    found = estimate("  region: westeurope\n  components: {iot: {units: 3}}\n")
    assert line(found, "hub: 3 x S1").month == 75.0


@pytest.mark.parametrize(
    ("sku", "expected"),
    [
        ("S1", 29.43),
        ("GP_Gen5_4", 736.37 + 10 * 0.115),
        ("GP_S_Gen5_2", 10 * 0.115),
    ],
)
def test_a_database_costs_its_size_and_by_vcores_its_storage(sku: str, expected: float) -> None:
    text = f"  region: eastus\n  components: {{sql: {{sku: {sku}, gb: 10}}}}\n"
    assert estimate(text).at_least == pytest.approx(expected)


def test_the_budget_is_compared_with_the_lower_bound() -> None:
    budget = "    budget: {amount: %d, emails: [ml@example.org]}\n"
    text = "  region: westeurope\n  components:\n    iot: {units: 4}\n" + budget
    within, over = estimate(text % 100), estimate(text % 99)
    assert not within.over_budget
    assert over.over_budget
    assert over.summary.endswith("That is more than the declared budget of 99")
    assert "budget" not in within.summary


def test_prices_of_ones_own_win(tmp_path: Path) -> None:
    extra = own(tmp_path / "prices.json", Standard_D2s_v5=0.05, Standard_D4s_v3=0.2)
    found = estimate("  region: westeurope\n" + CHEAP, extra=extra)
    assert line(found, "Standard_D2s_v5").month == pytest.approx(36.5)
    assert cost.prices(extra).known["machine", "Standard_D4s_v3", "westeurope"].amount == 0.2
    assert cost.prices().known["machine", "Standard_D4s_v3", "westeurope"].amount == 0.24


def test_prices_of_another_currency_or_form_are_refused(tmp_path: Path) -> None:
    extra = own(tmp_path / "prices.json", Standard_D2s_v5=0.05)
    extra.write_text(extra.read_text().replace("USD", "EUR"))
    with pytest.raises(ConfigError, match="in EUR, and the others in USD"):
        cost.prices(extra)
    extra.write_text("{}")
    with pytest.raises(EvidenceError, match="version"):
        cost.prices(extra)


def test_every_declared_component_is_spoken_of() -> None:
    declared = config.parse((HEAD + "  private: true\n" + EVERYTHING).encode(), Path("x.yaml"))
    assert declared.infrastructure is not None
    parts = set(declared.infrastructure.components.declared) - {"budget"}  # which costs nothing
    assert len(parts) == 7
    found = cost.estimate(declared, "dev", cost.prices())
    assert {one.component for one in found.lines} >= parts
    assert line(estimate("  components: {databricks: {}}\n"), "Databricks").kind == "per use"


@pytest.mark.parametrize("parts", ["", EVERYTHING])
def test_endpoints_are_as_many_as_the_generator_makes(parts: str, tmp_path: Path) -> None:
    text = HEAD + "  region: westus\n  private: true\n" + parts
    declared = config.parse(text.encode(), Path("gitops.yaml"))
    made = 0
    for file in infrastructure.rendered(declared):
        if str(file.path) == "infrastructure/modules/environment/network.tf":
            (tmp_path / "network.tf").write_bytes(file.content)
            made = file.content.decode().count("resource = azurerm_")
    assert hcl.read(tmp_path / "network.tf")
    found = cost.estimate(declared, "dev", cost.prices())
    assert line(found, f"{made} private endpoints").month == pytest.approx(made * 7.3)
    shared = cost.estimate(declared, "shared", cost.prices())
    assert line(shared, "6 private endpoints").month == pytest.approx(6 * 7.3)


def test_what_is_not_declared_has_no_estimate() -> None:
    plain = config.parse(HEAD.partition("infrastructure")[0].encode(), Path("gitops.yaml"))
    with pytest.raises(ConfigError, match="no infrastructure is declared"):
        cost.estimate(plain, "dev", cost.prices())
    with pytest.raises(UsageError):
        estimate("", "nowhere")


def test_the_command_says_a_bound_for_each_environment_and_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "gitops.yaml").write_text(HEAD + "  region: westeurope\n  components: {iot: {}}\n")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(make(), ["infra", "cost"])
    assert done.exit_code == 0, done.output
    assert "all together at least USD 55.00 a month" in done.output
    answer = json.loads(
        CliRunner().invoke(make(), ["infra", "cost", "production", "--json"]).stdout
    )
    (only,) = answer["estimates"]
    assert (only["environment"], only["at_least"], only["over_budget"]) == (
        "production",
        25.0,
        False,
    )
    prices = [one["price"] for one in only["lines"] if one["price"]]
    assert prices[0]["date"] == "2024-07-01"
    assert prices[0]["source"].startswith("https://")
