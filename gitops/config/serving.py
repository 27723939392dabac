"""The parts of `gitops.yaml` that say how a model is served, and how a release comes to traffic."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from gitops.config import values
from gitops.config.base import Frozen, Several

SHADOW = "shadow"
PORT = 8080  # where the first environment answers; each further one has the next
Metric = Literal["brier", "log_loss", "accuracy", "absolute_error", "squared_error", "value"]


def _step(value: object) -> int | str:
    if value == SHADOW or (type(value) is int and 1 <= value < 100):
        return value
    raise values.wrong(
        f"is {values.shown(value)}, which is no step",
        "write shadow, or the challenger's share of the traffic in percent: 1 to 99",
    )


Step = Annotated[
    int | str,
    PlainValidator(_step),
    WithJsonSchema(
        {"anyOf": [{"const": SHADOW}, {"type": "integer", "minimum": 1, "maximum": 99}]}
    ),
]


class Guardrails(Frozen):
    """What a challenger must never do, however good it is: breaking one rolls it back at once."""

    errors: float = Field(
        default=0.01, gt=0, lt=1, description="The share of its answers that may fail."
    )
    slow_ms: float = Field(
        default=250.0, gt=0, description="An answer that takes longer (milliseconds) is slow."
    )
    slow: float = Field(
        default=0.01, gt=0, lt=1, description="The share of its answers that may be slow."
    )


class Rollout(Frozen):
    """How an environment takes a new version: step by step, judged by its own traffic."""

    steps: Annotated[tuple[Step, ...], Field(strict=False)] = Field(
        default=(),
        description="Each step is shadow (it answers nobody) or the challenger's share of the"
        " traffic in percent; none: at once.",
        examples=[["shadow", 5, 25, 50]],
    )
    key: values.Column | None = Field(
        default=None,
        description="The input column whose equal values always get the same variant; by default"
        " each request is for itself. A request's header `x-gitops-key` goes before it.",
    )
    metric: Metric | None = Field(
        default=None,
        description="What labels judge by: by default brier (binary), accuracy (multiclass) or"
        " absolute_error; `value` is the number that comes with a label, more is better.",
    )
    margin: float = Field(
        default=0.01, ge=0, description="By how much the challenger may be worse, in the metric."
    )
    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="The chance of promoting one that is worse by the margin, and of rolling back"
        " one that isn't worse, however often one looks.",
    )
    each: int = Field(
        default=200, ge=1, description="How many units each step must see before the next."
    )
    until: int = Field(
        default=20_000, ge=1, description="After so many units without a verdict it is undecided."
    )
    labels: bool = Field(
        default=True, description="Whether labels come: without, only the guardrails judge."
    )
    undecided: Literal["rollback", "promote"] = Field(
        default="rollback", description="What becomes of a challenger that stays undecided."
    )
    guardrails: Guardrails = Guardrails()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        shares = [step for step in self.steps if step != SHADOW]
        if SHADOW in self.steps[1:]:
            raise values.wrong("has shadow after another step", "put it first", at="steps")
        if shares != sorted(set(shares), key=int):
            raise values.wrong("doesn't grow", "put the shares in rising order", at="steps")
        if self.until < self.each * max(1, len(self.steps)):
            raise values.wrong(
                f"is {self.until}, less than all steps together must see",
                f"write {self.each * max(1, len(self.steps))} or more",
                at="until",
            )
        return self


class Log(Frozen):
    """What is kept of predictions."""

    sample: float = Field(
        default=1.0, ge=0, le=1, description="The share of requests that is logged; 0 is none."
    )
    redact: Several[values.Column] = Field(
        default=(), description="Input columns whose values are never written."
    )
    sync_seconds: float = Field(
        default=1.0,
        ge=0,
        le=3600,
        description="A crash loses at most so many seconds; 0: an answer waits for the disk.",
    )
    segment_mb: int = Field(
        default=64, ge=1, description="A segment that has grown beyond this is closed."
    )
    keep_mb: int = Field(
        default=1024, ge=1, description="The oldest closed segments beyond this are removed."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.keep_mb < self.segment_mb:
            raise values.wrong(
                f"is {self.keep_mb}, less than one segment has",
                f"write {self.segment_mb} or more",
                at="keep_mb",
            )
        return self


class Serve(Frozen):
    """How a model answers."""

    unknown_category: Literal["accept", "reject"] = Field(
        default="accept", description="A category that the training data didn't have."
    )
    out_of_range: Literal["accept", "reject"] = Field(
        default="accept", description="A number or time beyond the training data's range."
    )
    script: values.Path | None = Field(
        default=None,
        description="Code of yours around the model: a file with before(rows) or after(rows,"
        " answers), run in the project's locked environment beside the server.",
        examples=["src/flights/scoring.py"],
    )
    log: Log = Log()


_LISTEN = r"^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\]):[1-9][0-9]{0,4}$"


def _refuse_listen(text: str) -> None:
    port = text.rpartition(":")[2]
    if port.isdigit() and int(port) > 65535:
        raise values.wrong(f"{values.shown(text)} has a port beyond 65535", "write 127.0.0.1:8080")


Listen = Annotated[
    str,
    values.Text(
        _LISTEN, "an address is host:port", ("127.0.0.1:8080", "0.0.0.0:8080"), _refuse_listen
    ),
]
