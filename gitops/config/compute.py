"""The part of `gitops.yaml` that says where a model's stages can run, but on this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from gitops.config import values
from gitops.config.base import Frozen
from gitops.config.infrastructure import Size

Kind = Literal["azureml", "databricks", "kubernetes", "process"]  # each a field of `Compute`
KINDS: tuple[Kind, ...] = get_args(Kind)

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names
DnsLabel = Annotated[
    str,
    values.Text(
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "a name has lower-case letters, digits and single hyphens inside",
        ("builds",),
        longest=63,
    ),
]
# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
Resource = Annotated[
    str,
    values.Text(
        r"^[A-Za-z0-9][A-Za-z0-9._()-]*$",
        "a name has letters, digits, dots, underscores and hyphens",
        ("flights-dev",),
        longest=90,
    ),
]
Quantity = Annotated[
    str,
    values.Text(
        "^[1-9][0-9]*(m|Mi|Gi)?$", "a quantity is as 4, 500m or 16Gi", ("4", "16Gi"), longest=12
    ),
]
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
LabelKey = Annotated[
    str,
    values.Text(
        r"^([a-z0-9][a-z0-9.-]*/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
        "a label is as gitops/gpu",
        ("gitops/gpu",),
        longest=253,
    ),
]
LabelValue = Annotated[
    str,
    values.Text(
        "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
        "a label's value has letters, digits, dots, underscores and hyphens",
        ("true",),
        longest=63,
    ),
]
Image = Annotated[
    str,
    values.Text(
        r"^[a-z0-9][a-z0-9._:/-]*(:[A-Za-z0-9._-]+)?(@sha256:[0-9a-f]{64})?$",
        "an image is as python:3.12 or registry/name@sha256:...",
        ("docker.io/library/python:3.12",),
    ),
]
Host = Annotated[
    str,
    values.Text(
        "^https://[a-z0-9.-]+$",
        "a workspace's address is https:// and its host",
        ("https://adb-1234567890123456.7.azuredatabricks.net",),
    ),
]
Runtime = Annotated[
    str,
    values.Text(
        r"^[0-9]+\.[0-9]+\.x-[a-z0-9.-]+$",
        "a runtime is as 16.4.x-scala2.12",
        ("16.4.x-scala2.12",),
        longest=60,
    ),
]
Profile = Annotated[
    str,
    values.Text(
        "^[A-Za-z0-9][A-Za-z0-9_.@:/-]*$",
        "a name has letters, digits, dots, hyphens and underscores",
        ("builds",),
    ),
]
Variable = Annotated[
    str,
    values.Text("^[A-Z_][A-Z0-9_]*$", "a variable has capitals, digits and _", ("LOG_LEVEL",)),
]
VariableValue = Annotated[
    str, values.Text(r"^[^\x00-\x1f]*$", "a value is one line", ("info",), longest=1000)
]
_SECRET = re.compile(r"SECRET|TOKEN|PASSW|CREDENTIAL|CONNECTION_STRING|(^|_)(KEY|SAS|PAT)(_|$)")
# https://docs.databricks.com/aws/en/security/secrets/#reference-a-secret-in-an-environment-variable
_REFERENCE = re.compile(r"\{\{secrets/[^/{}]+/[^/{}]+\}\}")


class AzureMLCompute(Frozen):
    """A cluster of an Azure Machine Learning workspace; `az ml` submits."""

    cluster: Resource = Field(default="cpu", description="The cluster's name.")
    environment: values.EnvironmentName | None = Field(
        default=None,
        description="Whose workspace, of declared infrastructure; by default the first"
        " environment's.",
    )
    workspace: Resource | None = Field(
        default=None, description="The workspace, where no infrastructure is declared."
    )
    group: Resource | None = Field(default=None, description="Its resource group.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.workspace is None) != (self.group is None):
            missing, other = ("group", "workspace") if self.workspace else ("workspace", "group")
            raise values.wrong(f"is missing beside {other}", "write both", at=missing)
        return self


class DatabricksCompute(Frozen):
    """A machine that is made in a Databricks workspace for the job; `databricks` submits."""

    host: Host | None = Field(
        default=None, description="The workspace; by default the one that `databricks` knows."
    )
    profile: Profile | None = Field(
        default=None, description="The profile of ~/.databrickscfg to log in by."
    )
    node: Size = Field(default="Standard_D4ds_v5", description="The size of the machine.")
    runtime: Runtime = Field(default="16.4.x-scala2.12", description="The Databricks Runtime.")


class KubernetesCompute(Frozen):
    """A pod in a cluster; `kubectl` submits."""

    context: Profile | None = Field(
        default=None, description="The context of the kubeconfig; by default the current one."
    )
    namespace: DnsLabel = Field(default="default", description="Where the job is made.")
    service_account: DnsLabel | None = Field(
        default=None, description="Whose identity the job has in the cloud (workload identity)."
    )
    cpu: Quantity = Field(default="2", description="Cores that it is given.")
    memory: Quantity = Field(default="8Gi", description="Memory that it is given.")
    disk: Quantity = Field(default="20Gi", description="Disk for its clone, data and tools.")
    gpus: int = Field(default=0, ge=0, le=16, description="GPUs of NVIDIA that it is given.")
    selector: Mapping[LabelKey, LabelValue] = Field(
        default_factory=dict,
        description="Labels that its machine must have.",
        examples=[{"gitops/gpu": "true"}],
    )


class ProcessCompute(Frozen):
    """Another process on this machine, which knows nothing but the storage: to try it all out."""


class Compute(Frozen):
    """Machines that `gitops build --on NAME` submits a build to: exactly one kind."""

    azureml: AzureMLCompute | None = None
    databricks: DatabricksCompute | None = None
    kubernetes: KubernetesCompute | None = None
    process: ProcessCompute | None = None
    timeout: int = Field(
        default=240, ge=1, le=10080, description="Minutes until the job is given up, and ended."
    )
    image: Image | None = Field(
        default=None,
        description="What the job runs in (Azure ML, Kubernetes): Python with pip, and git. By"
        " default docker.io/library/python of the version in .python-version.",
    )
    env: Mapping[Variable, VariableValue] = Field(
        default_factory=dict,
        description="Variables for the job; no secret, but on Databricks a reference to one.",
        examples=[{"LOG_LEVEL": "info"}],
    )

    @model_validator(mode="before")
    @classmethod
    def _given(cls, data: Any) -> Any:  # noqa: ANN401
        """`process:` alone would be nothing at all, and look like a kind."""
        for name, value in data.items() if isinstance(data, dict) else ():
            if name in KINDS and value is None:
                raise values.wrong("has no value", f"write {name}: {{}}, or remove it", at=name)
        return data

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise values.wrong(
                f"has {'no kind' if not given else ' and '.join(given)}",
                f"write exactly one of {', '.join(KINDS)}",
            )
        for name, value in self.env.items():
            if _SECRET.search(name) and not (self.databricks and _REFERENCE.fullmatch(value)):
                raise values.wrong(
                    f"has {name}, which looks like a secret: the file and the job's spec are read"
                    " by many",
                    "give the job an identity; on Databricks write {{secrets/SCOPE/KEY}}",
                    at="env",
                )
        if self.image is not None and not (self.azureml or self.kubernetes):
            raise values.wrong("is for azureml and kubernetes", "remove it", at="image")
        return self

    @property
    def kind(self) -> Kind:
        """Which kind it is."""
        return next(name for name in KINDS if getattr(self, name) is not None)
