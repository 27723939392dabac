"""Units to a verdict.

How `alpha` is shared out, so that both promises hold in total and however often one looks:

- Promoting one that is worse by the margin: alpha, or a half for each of pairs and split where the
  steps have both. Pairs and split are never pooled: a shadow's pairs are far more exact, and either
  kind may decide alone.
- Rolling back one that isn't worse (and fails or is slow no more often than allowed): alpha / 2 for
  the outcomes, again halved where there are both kinds, and 0.24 alpha for each guardrail; without
  labels 0.49 alpha for each guardrail.
- Finding the evidence unusable though the arms have their shares: the 0.02 alpha that are left,
  since a rollout on such evidence can only be taken back.
- The two promises are about different truths, so neither takes from the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gitops.config.serving import SHADOW, Rollout
from gitops.rollout import sequence, shares, words
from gitops.rollout.model import Bound, Check, Evidence, Reason, State, Verdict
from gitops.rollout.units import percent_of

_MOST = 1e9


@dataclass(frozen=True)
class Levels:
    """Chances of error: of each kind's lower and upper bound, each guardrail, each check of the
    arms' shares."""

    promote: float
    rollback: float
    guard: float
    ratio: float


def levels(rollout: Rollout) -> Levels:
    alpha = rollout.alpha
    if not rollout.labels:
        return Levels(math.nan, math.nan, 0.49 * alpha, 0.02 * alpha)
    kinds = max(1, (SHADOW in rollout.steps) + any(step != SHADOW for step in rollout.steps))
    return Levels(alpha / kinds, alpha / 2 / kinds, 0.24 * alpha, 0.01 * alpha)


def judge(
    evidence: Evidence,
    rollout: Rollout,
    *,
    metric: str | None = None,
    span: tuple[float, float] = (-math.inf, math.inf),
) -> Verdict:
    """The verdict on all evidence so far.

    `metric` and `span` (bounds of its outcomes): as `metric_of` and `span` of `outcome` give them.
    """
    by_step = _seen(evidence, rollout.labels)
    seen = sum(by_step.values())
    step = _step(rollout, by_step)
    checks = _checks(evidence, rollout)
    bounds = _bounds(evidence, rollout, span) if rollout.labels else ()
    state, reason = _decided(evidence, rollout, by_step, bounds, checks)
    needs = None
    if state == "go_on":
        needs = _needs(rollout, by_step, bounds, seen)
        if bounds and seen >= rollout.until:
            state, reason, needs = rollout.undecided, "undecided", None
    draft = Verdict(
        state, reason, "", step if state == "go_on" else None, seen, needs,
        metric if rollout.labels else None, rollout.margin, rollout.alpha, bounds, checks,
    )  # fmt: skip
    return replace(draft, why=words.why(draft))


def _seen(evidence: Evidence, labels: bool) -> dict[int | str, int]:
    """Units by step: those whose label is known, or without labels all that were answered."""
    if not labels:
        seen: dict[int | str, int] = {one: sum(both) for one, both in evidence.arms.items()}
        return seen | {SHADOW: evidence.shadowed}
    percent, count = np.unique(percent_of(evidence.split.share), return_counts=True)
    known: dict[int | str, int] = {
        int(one): int(many) for one, many in zip(percent, count, strict=True)
    }
    return known | {SHADOW: len(evidence.pairs.champion)}


def _step(rollout: Rollout, seen: dict[int | str, int]) -> int | None:
    """The first step that hasn't seen its units, else the last."""
    open_ = [at for at, one in enumerate(rollout.steps) if seen.get(one, 0) < rollout.each]
    return open_[0] if open_ else len(rollout.steps) - 1 if rollout.steps else None


def _checks(evidence: Evidence, rollout: Rollout) -> tuple[Check, ...]:
    goal = math.log(1 / levels(rollout).guard)
    rails = rollout.guardrails

    def check(name: Literal["errors", "slow"], count: int, allowed: float) -> Check:
        broken = shares.above(count, evidence.answers, allowed) >= goal
        return Check(name, count, evidence.answers, allowed, broken)

    return (
        check("errors", evidence.failed, rails.errors),
        check("slow", evidence.slow, rails.slow),
    )


def information(rollout: Rollout, kind: str) -> float:
    """How much a kind of evidence can gather: fixes where its bounds are tightest."""
    if kind == "pairs":
        return 4.0 * rollout.each
    last = [int(one) / 100 for one in rollout.steps if one != SHADOW][-1]
    return rollout.until * last * (1 - last)


def _bounds(evidence: Evidence, rollout: Rollout, span: tuple[float, float]) -> tuple[Bound, ...]:
    found = []
    if SHADOW in rollout.steps:
        scores = sequence.of_pairs(evidence.pairs, *span)
        found.append(_bound("pairs", scores, rollout))
    if any(one != SHADOW for one in rollout.steps):
        scores = sequence.of_split(evidence.split, *span)
        found.append(_bound("split", scores, rollout))
    return tuple(found)


def _bound(kind: str, scores: sequence.Scores, rollout: Rollout) -> Bound:
    chance, most = levels(rollout), information(rollout, kind)
    mean, sd = sequence.estimate(scores)
    low, up = -math.inf, math.inf
    if not len(scores.z):
        pass
    elif math.isfinite(scores.span):
        low = sequence.lower_by_betting(scores, chance.promote, most)
        up = -sequence.lower_by_betting(scores.flipped(), chance.rollback, most)
    else:
        low = mean - _width(scores, chance.promote, most)
        up = mean + _width(scores, chance.rollback, most)
    named: Literal["pairs", "split"] = "pairs" if kind == "pairs" else "split"
    return Bound(named, len(scores.z), mean, low, up, float(scores.h.sum()), sd)


def _width(scores: sequence.Scores, alpha: float, most: float) -> float:
    width = float(sequence.asymptotic(scores, alpha, most)[1][-1])
    return width if math.isfinite(width) else math.inf


def _decided(
    evidence: Evidence,
    rollout: Rollout,
    seen: dict[int | str, int],
    bounds: tuple[Bound, ...],
    checks: tuple[Check, ...],
) -> tuple[State, Reason]:
    """Harm first, then whether the evidence is of use at all, then what it says."""
    for check in checks:
        if check.broken:
            return "rollback", check.name
    sure = math.log(1 / levels(rollout).ratio)
    if shares.mismatch(evidence.arms) >= sure:
        return "unusable", "ratio"
    if rollout.labels and shares.mismatch(_labelled(evidence)) >= sure:
        return "unusable", "labels"
    if any(one.upper < 0 for one in bounds):
        return "rollback", "worse"
    if any(seen.get(step, 0) < rollout.each for step in rollout.steps):
        return "go_on", "steps"
    if not rollout.labels:
        return "promote", "guarded"
    if any(one.lower > -rollout.margin for one in bounds):
        return "promote", "not_worse"
    return "go_on", "open"


def _labelled(evidence: Evidence) -> dict[int, tuple[int, int]]:
    split = evidence.split
    percent = percent_of(split.share)
    theirs = split.challenger == 1
    return {
        int(one): (int((~theirs[percent == one]).sum()), int(theirs[percent == one].sum()))
        for one in np.unique(percent)
    }


def _needs(
    rollout: Rollout, seen: dict[int | str, int], bounds: tuple[Bound, ...], total: int
) -> int | None:
    """About how many units more, if the estimates are the truth; None: can't be told."""
    steps = sum(max(0, rollout.each - seen.get(one, 0)) for one in rollout.steps)
    if not rollout.labels or any(one.lower > -rollout.margin for one in bounds):
        return steps
    tells = [found for one in bounds if (found := _more(one, rollout)) is not None]
    if not tells:
        return None
    return max(steps, min(tells), 1)


def _more(bound: Bound, rollout: Rollout) -> int | None:
    """Widths shrink about with the root of the information; at least a tenth of what there is."""
    if bound.kind == "pairs" and len(rollout.steps) > 1 and bound.units >= rollout.each:
        return None  # no more pairs come
    if not math.isfinite(bound.estimate) or not bound.sd > 0:
        return None
    chance, most = levels(rollout), information(rollout, bound.kind)
    away, alpha = bound.estimate + rollout.margin, chance.promote
    width = bound.estimate - bound.lower
    if -bound.estimate > away:
        away, alpha, width = -bound.estimate, chance.rollback, bound.upper - bound.estimate
    if away <= 0:
        return None
    if math.isfinite(width):
        wanted = bound.information * (width / away) ** 2
    else:  # about that of a normal mixture
        wanted = 2 * (bound.sd / away) ** 2 * (math.log(1 / alpha) + 1.5)
    more = max(wanted - bound.information, bound.information / 10)
    units = more if bound.kind == "pairs" else more * rollout.until / most
    return math.ceil(units) if units < _MOST else None
