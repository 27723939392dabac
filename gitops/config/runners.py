"""The part of `gitops.yaml` that says on which machines the jobs of pipelines run."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from gitops.config import values
from gitops.config.base import Frozen, Several

Label = Annotated[
    str,
    values.Text(
        r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        "a label has letters, digits, dots, underscores and hyphens",
        ("self-hosted", "gpu"),
        longest=100,
    ),
]
# https://learn.microsoft.com/azure/devops/pipelines/yaml-schema/pool-demands
Demand = Annotated[
    str,
    values.Text(
        r"^[A-Za-z0-9][A-Za-z0-9._-]*(?: -equals [A-Za-z0-9][A-Za-z0-9._-]*)?$",
        "a demand is NAME, or NAME -equals VALUE",
        ("gpu", "Agent.OS -equals Linux"),
    ),
]
Pool = Annotated[
    str,
    values.Text(
        r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$",
        "a pool's name has letters, digits, spaces, dots, underscores and hyphens",
        ("training",),
        longest=64,
    ),
]
# Of workflows/*.yaml: `deploy`, or `deploy-production` for one environment.
Job = Annotated[
    str,
    values.Text(
        "^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$", "a job's name, or default", ("default", "reproduce")
    ),
]


class Runner(Frozen):
    """A machine for jobs: of GitHub by labels, of Azure Pipelines by pool and demands."""

    labels: Several[Label] = Field(
        default=(),
        description="GitHub: the labels of a runner. Without self-hosted it is one of GitHub's.",
        examples=[["self-hosted", "gpu"]],
    )
    pool: Pool | None = Field(
        default=None, description="Azure Pipelines: the name of an agent pool of yours."
    )
    demands: Several[Demand] = Field(
        default=(), description="Azure Pipelines: what an agent of the pool must have."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.demands and self.pool is None:
            raise values.wrong(
                "is for a pool of yours, and there's none",
                "write pool: NAME beside it",
                at="demands",
            )
        return self
