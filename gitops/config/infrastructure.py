"""The part of `gitops.yaml` that says what is provisioned in a cloud, for each environment."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gitops.config import values
from gitops.config.base import Frozen, Several

Provider = Literal["azure", "aws", "local"]
Generator = Literal["terraform-azure", "bicep-azure", "terraform-aws"]
# What writes for a provider; the first does unless another is named.
GENERATORS: Mapping[str, tuple[Generator, ...]] = {
    "azure": ("terraform-azure", "bicep-azure"),
    "aws": ("terraform-aws",),
    "local": ("terraform-azure",),
}
REGIONS: Mapping[str, str] = {"azure": "westeurope", "aws": "eu-west-1", "local": "westeurope"}
# https://learn.microsoft.com/azure/reliability/regions-list: the programmatic name;
# https://docs.aws.amazon.com/general/latest/gr/rande.html: the code
_OF_AWS = "[a-z]{2}(-[a-z]+)+-[0-9]{1,2}"
Region = Annotated[
    str,
    values.Text(
        f"^([a-z]+[a-z0-9]*|{_OF_AWS})$",
        "a region is its short name, as westeurope (Azure) or eu-west-1 (AWS)",
        ("westeurope", "eu-west-1"),
        longest=40,
    ),
]
# Sizes of virtual machines: https://learn.microsoft.com/azure/virtual-machines/vm-naming-conventions
Size = Annotated[
    str,
    values.Text(
        "^Standard_[A-Z][A-Za-z0-9_-]*$",
        "a size is as Standard_D4s_v5",
        ("Standard_D4s_v5",),
        longest=64,
    ),
]
# https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html
InstanceType = Annotated[
    str,
    values.Text(
        "^[a-z][a-z0-9-]*[.][a-z0-9-]+$", "a size is as t3.large", ("t3.large",), longest=64
    ),
]
Identity = Annotated[
    str,
    values.Text(
        "^[a-z0-9]{4,16}$",
        "an id has 4-16 lower-case letters and digits",
        ("k7q2m9xd",),
        longest=16,
    ),
]
Prefix = Annotated[
    str,
    values.Text(
        "^[a-z][a-z0-9]*(-[a-z0-9]+)*$",
        "names start with lower-case letters, digits and single hyphens",
        ("flights",),
        longest=32,
    ),
]
Email = Annotated[
    str,
    values.Text(
        r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+$",
        "an e-mail address has one @",
        ("ml@example.org",),
    ),
]

# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
BlobFolder = Annotated[
    str,
    values.Text(
        r"^https://[a-z0-9]{3,24}\.blob\.core\.windows\.net/[a-z0-9](?:-?[a-z0-9]){2,62}"
        r"(?:/[A-Za-z0-9._-]+)*$",
        "a folder of blobs is https://ACCOUNT.blob.core.windows.net/CONTAINER/FOLDER",
        ("https://example.blob.core.windows.net/exports/flights",),
        longest=400,
    ),
]
Builder = Annotated[
    str,
    values.Text(
        r"^https://(?:github\.com/[A-Za-z0-9-]+/[A-Za-z0-9._-]+"
        r"|dev\.azure\.com/[A-Za-z0-9-]+/[A-Za-z0-9._-]+/[0-9]+)$",
        "what builds is https://github.com/OWNER/NAME, or https://dev.azure.com/ORGANISATION/PROJECT/ID",
        ("https://github.com/OWNER/NAME",),
        longest=300,
    ),
]


class Cluster(Frozen):
    """Machines that are there only while something runs on them."""

    size: Size = Field(default="Standard_D4s_v5", description="The size of a machine.")
    nodes: int = Field(default=2, ge=1, le=100, description="The most machines at a time.")


class AzureML(Frozen):
    """An Azure Machine Learning workspace; its clusters scale down to no machine."""

    cpu: Cluster | None = Field(default=None, description="A cluster of machines without a GPU.")
    gpu: Cluster | None = Field(
        default=None,
        description="A cluster of machines with a GPU.",
        examples=[{"size": "Standard_NC4as_T4_v3", "nodes": 1}],
    )


class Aks(Frozen):
    """A Kubernetes cluster with workload identity."""

    size: Size = Field(default="Standard_D2s_v5", description="The size of a machine.")
    nodes: int = Field(default=3, ge=1, le=100, description="The most machines; the fewest is 1.")
    gpu: Cluster | None = Field(
        default=None,
        description="A second pool with GPUs, which scales down to no machine.",
        examples=[{"size": "Standard_NC4as_T4_v3", "nodes": 1}],
    )


class Iot(Frozen):
    """An IoT Hub with device provisioning (DPS)."""

    sku: Literal["S1", "S2", "S3"] = Field(default="S1", description="The hub's tier.")
    units: int = Field(default=1, ge=1, le=200, description="How many units of that tier.")


class Sql(Frozen):
    """An Azure SQL database; nobody logs in by password."""

    sku: Annotated[
        str,
        values.Text(
            "^[A-Za-z0-9_]+$", "a service objective is as GP_S_Gen5_1", ("GP_S_Gen5_1",), longest=40
        ),
    ] = Field(default="GP_S_Gen5_1", description="The service objective; S_ pauses when idle.")
    gb: int = Field(default=32, ge=1, le=4096, description="Its largest size in GB.")


class DataFactory(Frozen):
    """A data factory, whose identity may write to the environment's storage.

    With `copies` the first environment's lands data from elsewhere, and has it built.
    """

    copies: BlobFolder | None = Field(
        default=None,
        description="A folder of blobs that is copied into the container `landing` of the shared"
        " storage. The first environment's identity must be let read it.",
        examples=["https://example.blob.core.windows.net/exports/flights"],
    )
    every: Literal["Hour", "Day", "Week"] = Field(
        default="Day", description="How often it is copied."
    )
    starts: Builder | None = Field(
        default=None,
        description="Who builds then: a repository on GitHub, by a token that you put into the"
        " vault; or a pipeline of Azure DevOps, https://dev.azure.com/ORGANISATION/PROJECT/ID.",
        examples=["https://github.com/OWNER/NAME"],
    )
    event: values.Event = Field(
        default="data-landed",
        description="What GitHub is told has happened: the `event` of the models' `source`.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.starts is not None and self.copies is None:
            raise values.wrong(
                "is there, but nothing is landed that could be built",
                "remove it, or write copies: https://ACCOUNT.blob.core.windows.net/CONTAINER",
                at="starts",
            )
        return self


class Databricks(Frozen):
    """A Databricks workspace (premium, which role-based access needs)."""


class Grafana(Frozen):
    """Managed Grafana over the environment's metrics and logs."""


class NodeGroup(Frozen):
    """Machines of a Kubernetes cluster, none of them there while nothing asks for one."""

    size: InstanceType = Field(default="g4dn.xlarge", description="The type of a machine.")
    nodes: int = Field(default=1, ge=1, le=100, description="The most machines at a time.")


class Eks(Frozen):
    """A Kubernetes cluster on AWS; what runs in it has an identity by pod identity."""

    size: InstanceType = Field(default="t3.large", description="The type of a machine.")
    nodes: int = Field(default=3, ge=1, le=100, description="The most machines; the fewest is 1.")
    gpu: NodeGroup | None = Field(
        default=None,
        description="A second group with GPUs, which may scale down to no machine.",
        examples=[{"size": "g4dn.xlarge", "nodes": 1}],
    )


class SageMaker(Frozen):
    """What jobs and endpoints of SageMaker AI run as, and where they log; no endpoint yet."""


class Alerts(Frozen):
    """Who hears of what fails in an environment."""

    emails: Annotated[Several[Email], Field(min_length=1)] = Field(
        description="Who is told.", examples=[["ml@example.org"]]
    )


class Budget(Frozen):
    """What an environment may cost in a month; a warning, not a limit."""

    amount: int = Field(
        ge=1,
        description="For a month: in the subscription's currency; on AWS in US dollars.",
        examples=[200],
    )
    emails: Annotated[Several[Email], Field(min_length=1)] = Field(
        description="Who is told at 80 % (forecast) and at 100 %.", examples=[["ml@example.org"]]
    )


class Components(Frozen):
    """What is provisioned beside the core; what isn't here isn't made."""

    azureml: AzureML | None = None
    aks: Aks | None = None
    iot: Iot | None = None
    sql: Sql | None = None
    data_factory: DataFactory | None = None
    databricks: Databricks | None = None
    grafana: Grafana | None = None
    eks: Eks | None = None
    sagemaker: SageMaker | None = None
    alerts: Alerts | None = None
    budget: Budget | None = None

    @model_validator(mode="before")
    @classmethod
    def _given(cls, data: Any) -> Any:  # noqa: ANN401
        """`iot:` alone would be nothing at all, and look like an IoT hub."""
        for name, value in data.items() if isinstance(data, dict) else ():
            if value is None:
                raise values.wrong("has no value", f"write {name}: {{}}, or remove it", at=name)
        return data

    @classmethod
    def of(cls, provider: str) -> tuple[str, ...]:
        """The names of what a provider has."""
        here = _OWN.get(provider, ())
        others = [one for each in _OWN.values() for one in each if one not in here]
        return tuple(one for one in cls.model_fields if one not in others)

    @property
    def declared(self) -> tuple[str, ...]:
        """The names of what is declared."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)


# What only one provider has; the others are everywhere.
_OWN: Mapping[str, tuple[str, ...]] = {
    "azure": ("azureml", "aks", "iot", "sql", "data_factory", "databricks", "grafana"),
    "aws": ("eks", "sagemaker"),
}


class Infrastructure(Frozen):
    """What is provisioned: the core always (storage, registry, vault, logs), and components."""

    provider: Provider = Field(
        description="Where; `local`: this machine, so there's nothing to provision.",
        examples=["azure"],
    )
    generator: Generator = Field(
        default_factory=lambda data: GENERATORS[data.get("provider", "azure")][0],
        description="What writes infrastructure/; by default Terraform for the provider.",
    )
    id: Identity | None = Field(
        default=None,
        description="What makes the names of this project's resources its own, all over the cloud."
        " It never changes, or everything would be made anew.",
    )
    prefix: Prefix | None = Field(
        default=None,
        description="What names of resources start with; by default the project. After a rename of"
        " the project its old name belongs here, or everything would be made anew.",
    )
    region: Region = Field(
        default_factory=lambda data: REGIONS[data.get("provider", "azure")],
        description="Where resources are; by default westeurope (Azure) or eu-west-1 (AWS).",
        examples=["westeurope"],
    )
    private: bool = Field(
        default=False,
        description="Reached only from inside a virtual network: no public endpoint. It costs more,"
        " and CI needs runners in that network.",
    )
    components: Components = Components()

    @property
    def in_cloud(self) -> bool:
        """Whether there's anything to provision."""
        return self.provider != "local"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.in_cloud and self.id is None:
            raise values.wrong(
                "is missing: without it another's resources could have the same names",
                f"write id: {new_id()}",
                at="id",
            )
        self._of_one_provider()
        if self.private and self.components.databricks is not None:
            raise values.wrong(
                "is true, but a Databricks workspace can't be reached by private addresses alone",
                "remove databricks, or write private: false",
                at="private",
            )
        if not self.in_cloud and self.components.declared:
            raise values.wrong(
                f"has {', '.join(self.components.declared)}, but the provider is local",
                "remove it, or write provider: azure",
                at="components",
            )
        return self

    def _of_one_provider(self) -> None:
        """Generator, region and components must be the provider's own."""
        if not self.in_cloud:
            return
        fitting = GENERATORS[self.provider]
        if self.generator not in fitting:
            raise values.wrong(
                f"is {self.generator}, which isn't for {self.provider}",
                f"write {' or '.join(fitting)}, or remove it",
                at="generator",
            )
        if bool(re.fullmatch(_OF_AWS, self.region)) != (self.provider == "aws"):
            raise values.wrong(
                f"is {self.region}, which is none of {self.provider}",
                f"write one of its own, as {REGIONS[self.provider]}",
                at="region",
            )
        known = Components.of(self.provider)
        for name in self.components.declared:
            if name not in known:
                raise values.wrong(
                    f"isn't on {self.provider}",
                    f"remove it; there are {', '.join(known)}",
                    at=f"components.{name}",
                )


def new_id() -> str:
    """An id that nobody else has; letters and digits that make no word and aren't mixed up."""
    return "".join(secrets.choice("bcdfghjkmnpqrstvwxz23456789") for _ in range(8))
