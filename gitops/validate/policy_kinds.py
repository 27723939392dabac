"""What a check of a policy can look at and ask for, as frozen values: the parts of a `Rule`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, Field, model_validator

from gitops.config import values
from gitops.config.base import Frozen, Several
from gitops.validate.model import Task

Criterion = Literal[
    "demographic_parity",
    "equal_opportunity",
    "false_positive_rate",
    "equalized_odds",
    "error_rate",
    "calibration",
]
# What a gap between groups means for tasks without a positive class.
CRITERIA: dict[Task, tuple[Criterion, ...]] = {
    "binary": get_args(Criterion),
    "multiclass": ("demographic_parity", "equal_opportunity", "error_rate"),
    "regression": ("error_rate", "calibration"),
}
# What is compared between the groups.
GAPS: Mapping[str, str] = {
    "demographic_parity": "the share that the model selects",
    "equal_opportunity": "of those who are positive, the share that it finds",
    "false_positive_rate": "of those who are negative, the share that it selects",
    "equalized_odds": "the larger of the gaps in equal opportunity and false positive rate",
    "error_rate": "the share of wrong answers (regression: the mean absolute error)",
    "calibration": "predicted less observed rate (regression: the mean error)",
}
Share = Annotated[float, Field(ge=0, le=1)]
_M = TypeVar("_M", bound=BaseModel)


class Margin(Frozen):
    """How much worse than the champion is still no loss."""

    margin: float = Field(
        ge=0,
        description="The largest loss that does not matter, in the metric's unit.",
        examples=[0.01],
    )


class Gain(Frozen):
    """How much better than the champion it must be."""

    by: float = Field(
        ge=0, description="The gain that must be shown, in the metric's unit.", examples=[0.0]
    )


class Fairness(Frozen):
    """The largest gap between the groups of a sensitive column."""

    criterion: Criterion = Field(description="Which rate must be alike in all groups.")
    at_most: float = Field(
        gt=0, description="The largest gap that passes, in the rate's unit.", examples=[0.1]
    )
    columns: Several[values.Column] = Field(
        default=(), description="By default the model's sensitive columns."
    )


class Leakage(Frozen):
    """Signs that the model is told the answer; each key is a check of its own."""

    single_feature: float | None = Field(
        default=None,
        gt=0.5,
        le=1,
        description="From this AUC on (regression: share of the variance of the label's ranks) a "
        "single column predicts too well.",
        examples=[0.98],
    )
    target_like: bool = Field(
        default=False, description="A column that is the label under another name."
    )
    id_like: bool = Field(default=False, description="A column that only names rows.")
    time_order: bool = Field(
        default=False, description="Test rows from before the end of training, split by time."
    )
    overlap: Share | None = Field(
        default=None,
        description="The largest share of test rows that the model may have trained on.",
        examples=[0.01],
    )

    @model_validator(mode="after")
    def _asks(self) -> Self:
        return _asks_for_something(self, "single_feature: 0.98")


class Data(Frozen):
    """Bounds on the data that the candidate is judged on; each key is a check of its own."""

    inputs: bool = Field(
        default=False, description="Every input that the models need is there, and of its type."
    )
    drift: float | None = Field(
        default=None,
        gt=0,
        description="The largest population stability index of a column against training.",
        examples=[0.25],
    )
    drift_base: float | None = Field(
        default=None, gt=0, description="The same, against the base's test set.", examples=[0.25]
    )
    missing: Share | None = Field(
        default=None,
        description="How far a column's share of missing values may lie above training's.",
        examples=[0.1],
    )
    range: Share | None = Field(
        default=None,
        description="The largest share of a column's values outside the range of training.",
        examples=[0.05],
    )
    unseen: Share | None = Field(
        default=None,
        description="The largest share of a column's categories that training hadn't.",
        examples=[0.05],
    )

    @model_validator(mode="after")
    def _asks(self) -> Self:
        return _asks_for_something(self, "drift: 0.25")


class Importance(Frozen):
    """A bound on what the model relies on."""

    change: Annotated[float, Field(gt=0, le=1)] = Field(
        description="How much a column's share of all importance may differ from the champion's.",
        examples=[0.25],
    )


class Limit(Frozen):
    """A bound on a cost: absolute, or relative to the champion's in the same run."""

    at_most: float | None = Field(default=None, gt=0, description="The largest cost that passes.")
    ratio_to_champion: float | None = Field(
        default=None, gt=0, description="The largest ratio to the champion's.", examples=[2]
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.at_most is None) == (self.ratio_to_champion is None):
            raise values.wrong(
                "needs exactly one of at_most and ratio_to_champion", "write ratio_to_champion: 2"
            )
        return self


class Cost(Frozen):
    """Bounds on what the package costs; each key is a check of its own."""

    package_bytes: Limit | None = Field(default=None, description="The size of its files.")
    single_row_ms: Limit | None = Field(default=None, description="The time for one row.")
    batch_ms: Limit | None = Field(default=None, description="The time for 1,000 rows.")
    memory_mib: Limit | None = Field(default=None, description="What loading it takes.")

    @model_validator(mode="after")
    def _asks(self) -> Self:
        return _asks_for_something(self, "package_bytes: {ratio_to_champion: 2}")


def _asks_for_something(asked: _M, example: str) -> _M:
    if all(value is None or value is False for value in asked.model_dump().values()):
        raise values.wrong("asks for nothing", f"write {example}")
    return asked
