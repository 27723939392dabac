"""What the declared infrastructure costs in a month, as far as that can be known beforehand.

An estimate: declared sizes by a table of list prices (prices.json), each with its source and date.
What is paid per use is named and not counted; neither is what has no known price: the sum is a
lower bound, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gitops import cloudnames, contracts
from gitops.errors import ConfigError, Where

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.config.infrastructure import Cluster, Infrastructure

HOURS = 730  # of a month, as price lists have it
SHIPPED = Path(__file__).with_name("prices.json")
Kind = Literal["fixed", "per use", "unknown"]


@dataclass(frozen=True)
class Price:
    """What one of something costs in an hour or a month, and who says so."""

    amount: float
    per: Literal["hour", "month"]
    date: str
    source: str

    @property
    def month(self) -> float:
        return self.amount * (HOURS if self.per == "hour" else 1)


@dataclass(frozen=True)
class Prices:
    """Prices in one currency, by kind, size and region."""

    currency: str
    known: Mapping[tuple[str, str, str], Price]


@dataclass(frozen=True)
class Line:
    """A part of an environment: `month` is what it costs at the least, in a month (fixed only)."""

    component: str
    what: str
    kind: Kind
    month: float | None = None
    note: str = ""
    price: Price | None = None


@dataclass(frozen=True)
class Estimate:
    """What an environment costs at the least; `budget`: what gitops.yaml declares for it."""

    environment: str
    region: str
    currency: str
    lines: tuple[Line, ...]
    budget: int | None

    @property
    def at_least(self) -> float:
        return sum(one.month or 0.0 for one in self.lines)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What has no known price here, and so isn't counted."""
        return tuple(f"{one.component}: {one.what}" for one in self.lines if one.kind == "unknown")

    @property
    def dates(self) -> tuple[str, str] | None:
        """The oldest and the newest date of the prices that count; None: none does."""
        found = sorted(one.price.date for one in self.lines if one.price)
        return (found[0], found[-1]) if found else None

    @property
    def over_budget(self) -> bool:
        """Whether the lower bound alone is more than the budget, taken to be in this currency."""
        return self.budget is not None and self.at_least > self.budget

    @property
    def summary(self) -> str:
        """One line: the bound, and what it leaves out."""
        text = f"at least {self.currency} {self.at_least:.2f} a month (an estimate"
        if self.dates:
            text += f", by prices of {self.dates[0]}"
            text += f" to {self.dates[1]}" if self.dates[1] != self.dates[0] else ""
        text += "), and what is paid per use"
        if self.unknown:
            text += f"; not counted, since no price is known: {', '.join(self.unknown)}"
        if self.over_budget:
            text += f". That is more than the declared budget of {self.budget}"
        return text


def prices(extra: Path | None = None) -> Prices:
    """The shipped prices, with those of a file of the same form (contract `prices`) over them.

    Raises:
        EvidenceError: `extra` can't be read, or isn't of that form.
        ConfigError: it is in another currency: nothing is converted here.
    """
    known: dict[tuple[str, str, str], Price] = {}
    currency = ""
    for path in (SHIPPED, extra) if extra else (SHIPPED,):
        document: Any = contracts.read_json(path)
        contracts.validate("prices", document, Where(path))
        if currency and document["currency"] != currency:
            raise ConfigError(
                f"these prices are in {document['currency']}, and the others in {currency}",
                fix=f"give them in {currency}",
                where=Where(path),
            )
        currency = document["currency"]
        for table in document["tables"]:
            for size, regions in table["prices"].items():
                for region, amount in regions.items():
                    found = Price(float(amount), table["per"], table["date"], table["source"])
                    known[table["of"], size, region] = found
    return Prices(currency, known)


def estimate(config: Config, environment: str, by: Prices) -> Estimate:
    """What an environment (or `cloudnames.SHARED`) costs at the least.

    Raises:
        ConfigError: no infrastructure is declared, or its provider has no list of prices here.
        UsageError: there's no such environment.
    """
    declared = config.infrastructure
    if declared is None or not declared.in_cloud:
        raise ConfigError("no infrastructure is declared", fix="gitops add infrastructure")
    if declared.provider != "azure":
        raise ConfigError(
            f"no prices of {declared.provider} are known here",
            fix="the provider's own calculator has them",
        )
    shared = environment == cloudnames.SHARED
    name = environment if shared else config.environment(environment).name
    part = _Part(declared, by)
    lines = part.shared(len(config.environments)) if shared else part.environment()
    budget = None if shared else declared.components.budget
    amount = budget.amount if budget else None
    return Estimate(name, declared.region, by.currency, tuple(lines), amount)


@dataclass(frozen=True)
class _Part:
    """What the generators make of a declaration, priced."""

    declared: Infrastructure
    by: Prices

    def shared(self, environments: int) -> Iterator[Line]:
        yield self._per_use("storage", "storage", "by the GB and the request")
        tier = "Premium" if self.declared.private else "Basic"
        yield self._fixed("registry", "registry", tier)
        if self.declared.private:
            yield from self._private(3 * environments)

    def environment(self) -> Iterator[Line]:
        parts = self.declared.components
        yield self._per_use("storage", "storage", "by the GB and the request")
        yield self._per_use("vault", "Key Vault", "by the operation")
        yield self._per_use("logs", "logs and telemetry", "by the GB, at most 1 GB a day")
        if parts.azureml:
            for name in ("cpu", "gpu"):
                yield from self._scaled("azureml", name, getattr(parts.azureml, name))
        if parts.aks:
            if self.declared.private:  # else the free tier
                yield self._fixed("kubernetes", "aks", "Standard", what="control plane (Standard)")
            most = f"the one machine that always runs; there may be {parts.aks.nodes}"
            yield self._fixed("machine", "aks", parts.aks.size, note=most)
            yield from self._scaled("aks", "gpu", parts.aks.gpu)
            yield self._unknown("aks", "disks of machines, load balancer and its address")
        if parts.iot:
            what = f"hub: {parts.iot.units} x {parts.iot.sku}"
            yield self._fixed("iot_hub", "iot", parts.iot.sku, parts.iot.units, what=what)
            yield self._per_use("iot", "device provisioning", "by the operation")
        if parts.sql and "_S_" in parts.sql.sku:
            yield self._per_use("sql", parts.sql.sku, "by the second; paused it costs storage only")
            yield self._fixed("sql_gb", "sql", "GP", parts.sql.gb, what=f"its {parts.sql.gb} GB")
        elif parts.sql:
            yield self._fixed("sql", "sql", parts.sql.sku)
            if "_" in parts.sql.sku:  # by vCores: storage is paid apart
                tier = parts.sql.sku.partition("_")[0]
                size = f"its {parts.sql.gb} GB"
                yield self._fixed("sql_gb", "sql", tier, parts.sql.gb, what=size)
        if parts.data_factory:
            yield self._per_use("data_factory", "Data Factory", "by the run and the hour")
        if parts.databricks:
            yield self._per_use("databricks", "Databricks", "by the hour of a cluster")
        if parts.grafana:
            yield self._unknown("grafana", "Managed Grafana")
        if parts.alerts:
            yield self._fixed("alert", "alerts", "metric", what="alert on a metric")
            yield self._fixed("alert", "alerts", "log every 5 minutes", what="alert on logs")
        if self.declared.private:
            yield from self._private(self._endpoints())

    def _private(self, number: int) -> Iterator[Line]:
        what = f"{number} private endpoints"
        yield self._fixed("endpoint", "network", "private", number, what=what)
        yield self._unknown("network", "private DNS zones")

    def _endpoints(self) -> int:
        """As generators/terraform-azure/.../network.tf has them; a test holds the two together."""
        parts = self.declared.components
        each = {"azureml": 1, "iot": 2, "sql": 1, "data_factory": 1, "grafana": 1}
        return 3 + sum(number for name, number in each.items() if getattr(parts, name))

    def _fixed(
        self, of: str, component: str, size: str, number: int = 1, *, what: str = "", note: str = ""
    ) -> Line:
        price = self.by.known.get((of, size, self.declared.region))
        if price is None:
            return self._unknown(component, what or size, of, size)
        return Line(component, what or size, "fixed", number * price.month, note, price)

    def _scaled(self, component: str, name: str, cluster: Cluster | None) -> Iterator[Line]:
        """Machines that are there only while something runs on them."""
        if cluster is None:
            return
        price = self.by.known.get(("machine", cluster.size, self.declared.region))
        what = f"{name}: 0 to {cluster.nodes} x {cluster.size}"
        if price is None:
            yield self._unknown(component, what, "machine", cluster.size)
            return
        note = f"{self.by.currency} {price.amount:g} an hour and machine"
        yield Line(component, what, "per use", None, note, price)

    def _per_use(self, component: str, what: str, note: str) -> Line:
        return Line(component, what, "per use", None, note)

    def _unknown(self, component: str, what: str, of: str = "", size: str = "") -> Line:
        """Elsewhere it may cost something else, so that is told, and not counted."""
        note = f"no price is known in {self.declared.region}"
        for (kind, other, region), price in self.by.known.items():
            if (kind, other) == (of, size):
                note += f"; in {region} {self.by.currency} {price.amount:g} each {price.per}"
                break
        return Line(component, what, "unknown", None, note)
