"""What rollout's functions hand to each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
State = Literal["promote", "rollback", "go_on", "unusable"]
Reason = Literal[
    "not_worse",  # promote: the labels say so
    "guarded",  # promote: no labels, and no guardrail is broken
    "worse",
    "errors",
    "slow",
    "undecided",  # promote or rollback, as the configuration says
    "steps",  # go on: steps haven't seen their units
    "open",  # go on: all steps have, but the bounds don't decide
    "ratio",  # unusable: the arms don't have their shares
    "labels",  # unusable: the labelled units' arms don't
]


@dataclass(frozen=True)
class Rows:
    """One entry for each answered row (n of each), in any order.

    `unit`: the sticky key, or the request's id. `request`: the request's id. `row`: its position
    within the request. `at`: when it was answered, in seconds. `arm`: 0 the champion answered, 1
    the challenger, 2 its answer in the shadow of the champion's. `share`: the challenger's share
    in [0, 1] at that moment; NaN: no share decided. `failed`: no answer (one row of the request).
    `slow`: too late an answer. `outcome`: more is better; NaN while there is no label. `known`:
    when the label came.
    """

    unit: NDArray[np.generic]
    request: NDArray[np.generic]
    row: NDArray[np.int64]
    at: Array
    arm: NDArray[np.int8]
    share: Array
    failed: NDArray[np.bool_]
    slow: NDArray[np.bool_]
    outcome: Array
    known: Array


@dataclass(frozen=True)
class Split:
    """Labelled units of split steps, in the order in which their labels came.

    `challenger`: who answered (0 or 1); `share`: the chance that the challenger did; `outcome`.
    """

    challenger: Array
    share: Array
    outcome: Array


@dataclass(frozen=True)
class Pairs:
    """Labelled units of a shadow step, in that order: outcomes of both, for the same rows."""

    challenger: Array
    champion: Array


@dataclass(frozen=True)
class Evidence:
    """What a rollout has shown so far.

    `arms`: for each share in percent how many units the champion and the challenger answered;
    `shadowed`: units of a shadow step. `answers`, `failed`, `slow`: the challenger's answers that
    its guardrails count.
    """

    arms: dict[int, tuple[int, int]]
    shadowed: int
    split: Split
    pairs: Pairs
    answers: int = 0
    failed: int = 0
    slow: int = 0


@dataclass(frozen=True)
class Bound:
    """The mean difference of outcomes, challenger - champion, and its always-valid bounds.

    Each bound is one-sided: the lower one at the promotion's level, the upper at the rollback's.
    `information`: how much the units tell, as `sequence` counts it; `sd`: standard deviation of a
    contribution by unit of it.
    """

    kind: Literal["pairs", "split"]
    units: int
    estimate: float = math.nan
    lower: float = -math.inf
    upper: float = math.inf
    information: float = 0.0
    sd: float = math.nan


@dataclass(frozen=True)
class Check:
    """A guardrail: `count` of `of` answers, the share that is allowed, and is it surely above?"""

    name: Literal["errors", "slow"]
    count: int
    of: int
    allowed: float
    broken: bool


@dataclass(frozen=True)
class Verdict:
    """What to do. `step`: index of the step to run now (None: none, it is over).

    `seen`: units so far; `needs`: about how many more until a decision (None: can't be told).
    """

    state: State
    reason: Reason
    why: str
    step: int | None
    seen: int
    needs: int | None
    metric: str | None
    margin: float
    alpha: float
    bounds: tuple[Bound, ...]
    checks: tuple[Check, ...]
