"""A verdict in words for people, and as a JSON record."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gitops.rollout.model import Bound, Check, Verdict


def why(verdict: Verdict) -> str:
    """One line: what was found, in figures."""
    seen = f"after {verdict.seen} units"
    if verdict.reason in ("errors", "slow"):
        check = next(one for one in verdict.checks if one.name == verdict.reason)
        return f"{_check(check)}: surely above what is allowed"
    if verdict.reason == "ratio":
        return f"unusable evidence: champion and challenger don't have their shares {seen}"
    if verdict.reason == "labels":
        return f"unusable evidence: labels don't come alike for champion and challenger {seen}"
    if verdict.reason == "guarded":
        return f"no guardrail is broken {seen}; no labels judge"
    if verdict.reason == "worse":
        best = min(verdict.bounds, key=lambda one: one.upper)
        return f"worse in {verdict.metric}: {_bound(best)} {seen}"
    if verdict.reason == "not_worse":
        best = max(verdict.bounds, key=lambda one: one.lower)
        return f"not worse in {verdict.metric} by {verdict.margin:g}: {_bound(best)} {seen}"
    text = "undecided" if verdict.reason == "undecided" else "go on"
    found = [_bound(one) for one in verdict.bounds if math.isfinite(one.estimate)]
    text += f" {seen}" + (f": {verdict.metric} {'; '.join(found)}" if found else "")
    if verdict.reason == "undecided":
        return f"{text}; {verdict.state} as configured"
    if verdict.needs:
        text += f"; about {verdict.needs} more"
    return text


def words(verdict: Verdict) -> Iterator[str]:
    """Lines for a terminal."""
    heads = {"go_on": "go on", "rollback": "roll back"}
    yield f"{heads.get(verdict.state, verdict.state)}: {verdict.why}"
    for bound in verdict.bounds:
        yield f"  {bound.kind}: {bound.units} units, {_bound(bound)}"
    for check in verdict.checks:
        yield f"  {_check(check)}{' BROKEN' if check.broken else ''}"


def record(verdict: Verdict) -> dict[str, object]:
    """For JSON; what isn't known is null."""
    return {
        "state": verdict.state,
        "reason": verdict.reason,
        "why": verdict.why,
        "step": verdict.step,
        "seen": verdict.seen,
        "needs": verdict.needs,
        "metric": verdict.metric,
        "margin": verdict.margin,
        "alpha": verdict.alpha,
        "differences": [
            {
                "kind": one.kind,
                "units": one.units,
                "estimate": _finite(one.estimate),
                "lower": _finite(one.lower),
                "upper": _finite(one.upper),
            }
            for one in verdict.bounds
        ],
        "guardrails": [
            {
                "name": one.name,
                "count": one.count,
                "of": one.of,
                "allowed": one.allowed,
                "broken": one.broken,
            }
            for one in verdict.checks
        ],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _bound(bound: Bound) -> str:
    if math.isnan(bound.estimate):
        return "no difference known yet"
    ends = [f"{one:+.4f}" if math.isfinite(one) else "?" for one in (bound.lower, bound.upper)]
    return f"{bound.estimate:+.4f} [{ends[0]}, {ends[1]}]"


def _check(check: Check) -> str:
    share = check.count / check.of if check.of else 0.0
    what = "failed" if check.name == "errors" else "were slow"
    return f"{check.count} of {check.of} answers {what} ({share:.2%}, allowed {check.allowed:.2%})"
