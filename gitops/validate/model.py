"""What the gate's steps hand to each other: evidence -> statistics -> checks -> verdict -> reports.

Plain frozen values. Every number comes with its interval and the rows that it was computed from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from gitops.signature import Task as Task

State = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Array = np.ndarray[Any, Any]


# ---------------------------------------------------------------- rows


@dataclass(frozen=True)
class Column:
    """A column of categories: `codes` (int32, n rows) into `values`; None stands for missing."""

    codes: Array
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class Predictions:
    """What one model predicted for the rows of a `Table`.

    `prediction`: codes into the classes (integers, n), or float64 (n) in a regression.
    `score`: float64 (n) of the positive class in a binary task, (n, k) in the order of the classes
    in a multiclass one, None in a regression.
    """

    prediction: Array
    score: Array | None


@dataclass(frozen=True)
class Table:
    """The judged rows: labels, predictions of both models, and what rows are weighed and cut by.

    `label`: codes into `classes` (integers, n; a binary task has negative 0 and positive 1; -1 is
    a class that neither model knows), or float64 (n) in a regression. `weight`: float64 (n), above
    0. `group`: integer codes (n), rows of equal code belong together. `time`: int64 (n),
    microseconds.
    `columns`: slice and sensitive columns by name.
    """

    task: Task
    classes: tuple[str, ...]
    label: Array
    candidate: Predictions
    champion: Predictions | None
    weight: Array | None = None
    group: Array | None = None
    time: Array | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Slice:
    """Rows where each of `cut` (column, value; None: missing) holds; an empty cut is all rows."""

    cut: tuple[tuple[str, str | None], ...] = ()

    @property
    def text(self) -> str:
        """`all`, or `sex = female, age = 30-39`."""
        cuts = (f"{column} = {'(missing)' if v is None else v}" for column, v in self.cut)
        return ", ".join(cuts) or "all"


# ---------------------------------------------------------------- numbers


@dataclass(frozen=True)
class Interval:
    """An estimate and its two-sided interval at `level`; all None where it isn't defined."""

    estimate: float | None
    lower: float | None = None
    upper: float | None = None
    level: float = 0.9


@dataclass(frozen=True)
class Measure:
    """One metric on one slice. `difference` is candidate minus champion in the metric's own sign.

    `method` names the procedure of the intervals; `undefined` says why there is no number, else "".
    """

    metric: str
    slice: Slice
    rows: int
    candidate: Interval
    champion: Interval | None
    difference: Interval | None
    method: str
    undefined: str = ""


@dataclass(frozen=True)
class GroupRate:
    """A rate (selection, true positive, ...) in one group of a sensitive column."""

    group: str
    rows: int
    rate: Interval


@dataclass(frozen=True)
class Fairness:
    """The largest gap between groups of `column` by `criterion`; `why` not assessable, else "".

    `criterion`: demographic_parity, equal_opportunity, false_positive_rate, equalized_odds,
    error_rate or calibration. `groups` are those judged, `left_out` those too small for it.
    """

    column: str
    criterion: str
    gap: Interval
    groups: tuple[GroupRate, ...]
    left_out: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Importance:
    """How much worse `metric` gets when the column is permuted (up: more important).

    `change` is candidate minus champion on the same permuted rows.
    """

    column: str
    metric: str
    candidate: Interval
    champion: Interval | None
    change: Interval | None = None


@dataclass(frozen=True)
class Finding:
    """Something about data, leakage or the pull request that a reviewer must know.

    `kind` is a stable word (`leakage-single-feature`, `drift`, `policy-changed`, ...); `alarm` is
    what a policy may block on, `note` is shown. `value` and `bound` where it's a measured number.
    """

    kind: str
    level: Literal["alarm", "note"]
    text: str
    column: str | None = None
    value: float | None = None
    bound: float | None = None


@dataclass(frozen=True)
class Cost:
    """Bytes, milliseconds or mebibytes of a package; measured ones stay out of the digest."""

    name: Literal["package_bytes", "single_row_ms", "batch_ms", "memory_mib"]
    unit: str
    candidate: float
    champion: float | None
    measured: bool


# ---------------------------------------------------------------- the answer


@dataclass(frozen=True)
class Check:
    """One check of the policy, judged on one slice.

    `value` is what was compared with `bound`: for `no_worse` and `better` the oriented difference
    (up is better), which passes above `bound` (minus the margin, or the required gain). `sense`
    says which side passes. `measure` holds the numbers behind it where there are any. `waived` is
    the reason, with approver and last day, of a waiver that holds. `stops`: for this check alone
    the model may not go on. `measured`: it rests on times or memory, which no two runs repeat.
    """

    id: str
    kind: Literal[
        "no_worse", "better", "bound", "fairness", "leakage", "data", "importance", "cost"
    ]
    title: str
    state: State
    blocking: bool
    value: Interval
    bound: float | None
    sense: Literal["above", "below"]
    rows: int
    why: str
    measure: Measure | None = None
    needed_rows: int | None = None
    waived: str = ""
    stops: bool = False
    measured: bool = False


@dataclass(frozen=True)
class Judged:
    """A model at a commit: full object ids, and its package's digest (SHA-256)."""

    commit: str
    tree: str
    package: str


@dataclass(frozen=True)
class TestSet:
    """Identity of the rows that were judged on; `excluded` rows that a model had trained on."""

    identity: str
    rows: int
    excluded: int
    changed: bool


@dataclass(frozen=True)
class Waiver:
    """An answer overruled: which check, by whom, why, and the last day (YYYY-MM-DD)."""

    check: str
    by: str
    why: str
    until: str
    expired: bool = False


@dataclass(frozen=True)
class Curve:
    """A line of a plot: `kind` is roc, pr, calibration, residuals or scores; `of` says whose."""

    kind: Literal["roc", "pr", "calibration", "residuals", "scores"]
    of: Literal["candidate", "champion"]
    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Verdict:
    """What the gate found about one model: everything that a report shows.

    `passed` is the answer of the exit code: a check that fails and blocks makes it False, and so
    does an inconclusive one where the policy says so. `waivers_by` are the only ones whose waivers
    the policy takes; None: anyone's. `notes` come first in a report: what the pull
    request changes about its own judgement. `digest` is over everything but measured numbers.
    `date` (UTC, YYYY-MM-DD) is there where waivers are: it decides which of them hold.
    """

    model: str
    environment: str
    task: Task
    state: State
    passed: bool
    policy: str
    policy_digest: str
    policy_source: str
    base: tuple[str, str]
    candidate: Judged
    champion: Judged | None
    test_set: TestSet
    notes: tuple[Finding, ...]
    checks: tuple[Check, ...]
    measures: tuple[Measure, ...]
    slices: tuple[Measure, ...]
    worst: tuple[Measure, ...]
    fairness: tuple[Fairness, ...]
    importance: tuple[Importance, ...]
    findings: tuple[Finding, ...]
    costs: tuple[Cost, ...]
    waivers: tuple[Waiver, ...]
    curves: tuple[Curve, ...]
    changes: tuple[str, ...]
    waivers_by: tuple[str, ...] | None = None
    digest: str = ""
    date: str = ""
