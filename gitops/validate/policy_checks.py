"""What a policy file says, as frozen values: its checks, settings and waivers.

`Pack` is one file. What several files make together, and where each part stands, is `policy`'s.
"""

from __future__ import annotations

from datetime import date
from difflib import get_close_matches
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from gitops.config import values
from gitops.config.base import Frozen, Several
from gitops.validate import expression
from gitops.validate.model import Task
from gitops.validate.policy_kinds import (
    CRITERIA,
    Cost,
    Data,
    Fairness,
    Gain,
    Importance,
    Leakage,
    Margin,
)
from gitops.validate.stats.metrics import METRICS, nearest

_BOUNDS = ("at_least", "at_most", "no_worse_than_champion", "better_than_champion")
_SHOWN = tuple(name for name in METRICS if not name.startswith("quantile_loss_"))
_SUBJECTS = ("metric", "expression", "fairness", "leakage", "data", "importance", "cost")


def _metric(name: str) -> str:
    if name not in METRICS:
        near = nearest(name) or next(iter(get_close_matches(name, _SHOWN, 1, 0.4)), None)
        fix = f"did you mean {near}?" if near else f"write one of {', '.join(_SHOWN)}"
        raise values.wrong(f"is {values.shown(name)}: there's no such metric", fix)
    return name


def _expression(text: str) -> str:
    try:
        names = expression.parse(text).names
    except expression.Refused as refused:
        raise values.wrong(f"{values.shown(text)} {refused}", refused.fix) from refused
    for name in names:
        _metric(name)
    return text


def _cut(cut: object) -> dict[str, str | None]:
    """Values as the evaluation writes them: canonical texts."""
    from gitops.rows import label_text

    plain = (str, bool, int, float, type(None))
    if not isinstance(cut, dict) or not cut or not all(isinstance(v, plain) for v in cut.values()):
        raise values.wrong(f"is {values.shown(cut)}", "write {column: value}")
    return {column: None if value is None else label_text(value) for column, value in cut.items()}


def _no_boolean(value: object) -> object:
    if isinstance(value, bool | float):  # True and 1.0 equal 1 in Python
        raise values.wrong(f"is {values.shown(value)}", "write 1")
    return value


def _last_day(text: str) -> str:
    try:
        if len(text) == 10 and date.fromisoformat(text):
            return text
    except ValueError:
        pass
    raise values.wrong(f"is {values.shown(text)}, which is no day", "write it as 2026-01-31")


MetricName = Annotated[
    str,
    AfterValidator(_metric),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": list(_SHOWN)},
                {"type": "string", "pattern": "^quantile_loss_[1-9][0-9]?$"},
            ]
        }
    ),
]
ExpressionText = Annotated[
    str,
    AfterValidator(_expression),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": expression.LONGEST,
            "examples": ["0.5 * roc_auc - brier"],
        }
    ),
]
RuleId = Annotated[
    str,
    values.Text(
        "^[a-z][a-z0-9]*([_-][a-z0-9]+)*$",
        "an id has lower-case letters, digits, hyphens and underscores",
        ("auc",),
        longest=64,
    ),
]
Cut = Annotated[
    dict[str, str | None],
    BeforeValidator(_cut),
    WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            "examples": [{"carrier": "AA"}],
        }
    ),
]
Day = Annotated[
    str,
    AfterValidator(_last_day),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-01-31"]}),
]
Sentence = Annotated[
    str, values.Text(r"\S", "a reason has words", ("no late flight among them yet",), longest=500)
]
Confidence = Annotated[float, Field(ge=0.5, lt=1, examples=[0.95])]
OnInconclusive = Literal["warn", "block"]


class Rule(Frozen):
    """One check: what is looked at (`metric`, `fairness`, ...), and what it must be."""

    id: RuleId | None = Field(
        default=None,
        description="What reports and waivers call it. A check of an extended pack with the same "
        "id is replaced.",
    )
    task: Task | None = Field(
        default=None, description="Only for models of this task; by default for all."
    )
    model: values.ModelName | None = Field(
        default=None, description="Only for this model; by default for all."
    )
    metric: MetricName | None = Field(default=None, description="Which metric.")
    expression: ExpressionText | None = Field(
        default=None,
        description="Arithmetic over metrics: + - * / ( ), numbers, min, max, abs. Up is better.",
    )
    at_least: float | None = Field(default=None, description="The smallest value that passes.")
    at_most: float | None = Field(default=None, description="The largest value that passes.")
    no_worse_than_champion: Margin | None = Field(
        default=None,
        description="Passes when the one-sided interval of the difference excludes a loss of more "
        "than the margin.",
    )
    better_than_champion: Gain | None = Field(
        default=None,
        description="Passes when the one-sided interval of the difference lies above the gain.",
    )
    slice: Cut | None = Field(
        default=None, description="Only the rows where each column has this value (null: missing)."
    )
    each_slice: bool = Field(
        default=False,
        description="In every slice of the policy's slice columns: fails where one is shown to "
        "break the bound, with Holm's correction for the number of slices.",
    )
    fairness: Fairness | None = None
    leakage: Leakage | None = None
    data: Data | None = None
    importance: Importance | None = None
    cost: Cost | None = None
    confidence: Confidence | None = Field(
        default=None, description="Of the one-sided interval; by default the policy's."
    )
    on_inconclusive: OnInconclusive | None = Field(
        default=None, description="What it means that the rows are too few; default: the policy's."
    )
    blocking: bool = Field(
        default=True, description="Whether a failure blocks; otherwise it is shown only."
    )

    @property
    def subject(self) -> str:
        return next(name for name in _SUBJECTS if getattr(self, name) is not None)

    @property
    def bound(self) -> str:
        """Which of the four bounds a metric or expression has."""
        return next(name for name in _BOUNDS if getattr(self, name) is not None)

    @property
    def compares(self) -> bool:
        """Whether it can only be judged beside a champion."""
        return self.no_worse_than_champion is not None or self.better_than_champion is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that it needs."""
        if self.metric is not None:
            return (self.metric,)
        return expression.parse(self.expression).names if self.expression is not None else ()

    @property
    def name(self) -> str:
        """Its id, or one made of what it asks."""
        if self.id is not None:
            return self.id
        if self.fairness is not None:
            return self.fairness.criterion
        if self.metric is None:
            return self.subject
        cuts = [f"{column}={value}" for column, value in (self.slice or {}).items()]
        words = [self.metric, _WORDS[self.bound], *(["each-slice"] if self.each_slice else [])]
        return "-".join(words) + (f":{','.join(cuts)}" if cuts else "")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = [name for name in _SUBJECTS if getattr(self, name) is not None]
        if len(given) != 1:
            raise values.wrong(
                f"has {' and '.join(given) or 'nothing that it looks at'}",
                f"write exactly one of {', '.join(_SUBJECTS)}",
            )
        bounds = [name for name in _BOUNDS if getattr(self, name) is not None]
        if self.metric is None and self.expression is None:
            for name in (*bounds, *(n for n in ("slice", "each_slice") if getattr(self, n))):
                raise values.wrong(f"means nothing beside {given[0]}", "remove it", at=name)
        elif len(bounds) != 1:
            raise values.wrong(
                f"has {' and '.join(bounds) or 'no bound'}",
                f"write exactly one of {', '.join(_BOUNDS)}",
            )
        elif self.compares and any(METRICS[name].up is None for name in self.names):
            raise values.wrong(
                f"{self.names[0]} is neither better nor worse when it is larger",
                "bound it with at_least or at_most",
                at=bounds[0],
            )
        if self.slice and self.each_slice:
            raise values.wrong("is beside a single slice", "remove one of the two", at="each_slice")
        if self.expression is not None:
            self._fits_expression()
        if self.metric is not None and self.task is not None:
            tasks = METRICS[self.metric].tasks
            if self.task not in tasks:
                raise values.wrong(
                    f"{self.metric} is no metric of a {self.task} model",
                    f"it is one of: {', '.join(tasks)}",
                    at="metric",
                )
        if self.fairness and self.task and self.fairness.criterion not in CRITERIA[self.task]:
            raise values.wrong(
                f"{self.fairness.criterion} is not defined for a {self.task} model",
                f"write one of {', '.join(CRITERIA[self.task])}",
                at="fairness",
            )
        return self

    def _fits_expression(self) -> None:
        if self.id is None:
            raise values.wrong("has no id, but an expression", "add `id: ...`", at="expression")
        if self.each_slice:
            raise values.wrong(
                "is for a metric, not an expression", "name a slice", at="each_slice"
            )
        if self.compares and expression.parse(str(self.expression)).weights() is None:
            raise values.wrong(
                "is not linear in its metrics, so a difference has no interval",
                "use + - and factors only, or at_least",
                at="expression",
            )


_WORDS = {
    "at_least": "at-least",
    "at_most": "at-most",
    "no_worse_than_champion": "no-worse",
    "better_than_champion": "better",
}


class Slices(Frozen):
    """Which parts of the test set are looked at one by one."""

    columns: Several[values.Column] | None = Field(
        default=None, description="By default all slice columns that the evaluation has."
    )
    pairs: bool = Field(default=False, description="Each pair of columns too.")
    minimum_rows: int = Field(
        default=100, ge=1, description="Smaller slices are reported, not judged."
    )
    minimum_per_class: int = Field(
        default=30, ge=1, description="With fewer rows of a class they aren't judged either."
    )


class Waiver(Frozen):
    """An answer that is overruled until a day."""

    check: Annotated[str, Field(min_length=1)] = Field(
        description="The check's id, as reports show it."
    )
    by: values.Approver = Field(description="Who takes the responsibility.")
    why: Sentence = Field(description="Why the failure is acceptable.")
    until: Day = Field(description="The last day on which it holds (UTC).")


class Pack(Frozen):
    """What a model must show before it enters an environment."""

    version: Annotated[Literal[1], BeforeValidator(_no_boolean)] = Field(
        description="The version of this format."
    )
    name: values.PolicyName = Field(description="The name of the file, without .yaml.")
    description: Annotated[
        str, values.Text(r"\S", "a description has words", ("Ours.",), longest=200)
    ] = Field(description="What it asks for, in a line.")
    extends: values.PolicyName | None = Field(
        default=None,
        description="The pack that this one starts from: its checks and waivers come first, and "
        "each other key that is not here is taken from it.",
    )
    checks: Annotated[tuple[Rule, ...], Field(strict=False)] | None = Field(
        default=None, min_length=1, description="All must pass."
    )
    slices: Slices | None = None
    confidence: Confidence | None = Field(
        default=None, description="Of one-sided intervals (default 0.95)."
    )
    on_inconclusive: OnInconclusive | None = Field(
        default=None,
        description="What it means that the rows are too few to decide (default block).",
    )
    waivers: Annotated[tuple[Waiver, ...], Field(strict=False)] = Field(
        default=(), description="Failures that are accepted, by whom, why, and until when."
    )
    waivers_by: Literal["anyone", "approvers"] | None = Field(
        default=None,
        description="Whose waivers count: anyone's (default), or only those of the approvers that "
        "gitops.yaml names for the environment.",
    )

    @model_validator(mode="after")
    def _has_checks(self) -> Self:
        if self.checks is None and self.extends is None:
            raise values.wrong("the policy has no checks", "write checks, or `extends: baseline`")
        return self
