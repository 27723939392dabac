"""The part of `gitops.yaml` that says how training code that was there before is wrapped."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from gitops.config import values
from gitops.config.base import Frozen, Several


class Wrap(Frozen):
    """Training code that was there before: what it reads, and what it writes."""

    command: values.Command | None = Field(
        default=None, description="The training command, if no DVC stage runs it yet."
    )
    deps: Several[values.Path] = Field(
        default=(), description="Files and folders that the training depends on."
    )
    model: values.Path = Field(description="The file with the fitted estimator that it writes.")
    train: values.Path = Field(description="The table that it trains on.")
    test: values.Path = Field(description="The table that it is evaluated on.")
    target: values.Column = Field(description="The column that is predicted.")
    id: values.Column | None = Field(default=None, description="The column that names a row.")
    time: values.Column | None = Field(default=None, description="The column with a row's time.")
    group: values.Column | None = Field(
        default=None, description="The column whose equal values belong together, as a patient's."
    )
    features: Several[values.Column] = Field(
        default=(), description="The columns that the model reads; by default all without a role."
    )
    slices: Several[values.Column] = Field(
        default=(), description="Columns by whose values the evaluation is broken down."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.train == self.test:
            raise values.wrong(
                "is the training table: a model cannot be judged on rows that it has seen",
                "write a table of other rows",
                at="test",
            )
        roles = {"target": self.target}
        for role in ("id", "time", "group"):
            column = getattr(self, role)
            for other, taken in roles.items():
                if column == taken:
                    raise values.wrong(
                        f"{values.shown(column)} is already the {other}",
                        "give each role a column of its own",
                        at=role,
                    )
            if column is not None:
                roles[role] = column
        for other, taken in roles.items():
            if taken in self.features:
                raise values.wrong(
                    f"has {values.shown(taken)}, which is the {other}",
                    f"remove {taken} from the features",
                    at="features",
                )
        return self
