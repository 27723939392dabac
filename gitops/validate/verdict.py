"""The verdict as a document of the contract `verdict`, and its digest.

What is measured (times, memory) stands under `measured` alone, with the checks that rest on it: the
same evidence gives the same bytes everywhere else.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gitops import contracts
from gitops.errors import EvidenceError, Where
from gitops.validate.model import (
    Check,
    Cost,
    Fairness,
    Finding,
    Importance,
    Interval,
    Judged,
    Measure,
    Slice,
    State,
    Verdict,
)

Json = dict[str, Any]
_OUTSIDE = ("digest", "date", "measured")


def answer(checks: Iterable[Check]) -> tuple[State, bool]:
    """The state of all checks together, and whether the model may go on."""
    checks = list(checks)
    counted = [one.state for one in checks if one.blocking and not one.waived]
    state: State = (
        "FAIL" if "FAIL" in counted else "INCONCLUSIVE" if "INCONCLUSIVE" in counted else "PASS"
    )
    return state, not any(one.stops for one in checks)


def sealed(verdict: Verdict) -> Verdict:
    """The verdict with its digest."""
    return replace(verdict, digest=digest_of(_parts(verdict)))


def document(verdict: Verdict) -> Json:
    """What `--json` prints and records keep; curves are for the HTML report only.

    Raises:
        EvidenceError: it breaks the contract, which is a bug of ours.
    """
    found = _parts(verdict)
    found["digest"] = verdict.digest or digest_of(found)
    contracts.validate("verdict", found, Where(f"verdict of {verdict.model}"))
    return found


def _parts(verdict: Verdict) -> Json:
    """The document but for its digest."""
    told = [one for one in verdict.checks if not one.measured]
    state, passed = answer(told)
    found: Json = {
        "version": 1,
        "model": verdict.model,
        "environment": verdict.environment,
        "task": verdict.task,
        "state": state,
        "passed": passed,
        "policy": {
            "name": verdict.policy,
            "digest": verdict.policy_digest,
            "source": verdict.policy_source,
            **({} if verdict.waivers_by is None else {"waivers_by": list(verdict.waivers_by)}),
        },
        "base": {"commit": verdict.base[0], "tree": verdict.base[1]},
        "candidate": _judged(verdict.candidate),
        **(
            {"champion": _judged(verdict.champion)}
            if verdict.champion is not None
            else {"first_model": True}
        ),
        "test_set": {
            "identity": verdict.test_set.identity,
            "rows": verdict.test_set.rows,
            "excluded": verdict.test_set.excluded,
            "changed": verdict.test_set.changed,
        },
        "notes": [_finding(one) for one in verdict.notes],
        "checks": [_check(one) for one in told],
        "measures": [_measure(one) for one in verdict.measures],
        "slices": [_measure(one) for one in verdict.slices],
        "worst": [_measure(one) for one in verdict.worst],
        "fairness": [_fairness(one) for one in verdict.fairness],
        "importance": [_importance(one) for one in verdict.importance],
        "findings": [_finding(one) for one in verdict.findings],
        "costs": [_cost(one) for one in verdict.costs if not one.measured],
        "waivers": [
            {"check": w.check, "by": w.by, "why": w.why, "until": w.until, "expired": w.expired}
            for w in verdict.waivers
        ],
        "changes": list(verdict.changes),
    }
    if verdict.date:
        found["date"] = verdict.date
    measured = [one for one in verdict.checks if one.measured]
    costs = [_cost(one) for one in verdict.costs if one.measured]
    if measured or costs:
        found["measured"] = {
            "passed": answer(measured)[1],
            "checks": [_check(one) for one in measured],
            "costs": costs,
        }
    return found


def digest_of(found: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a document without digest, date and measured, as canonical JSON.

    Canonical: keys sorted, no spaces, UTF-8 as it is.
    """
    kept = {key: value for key, value in found.items() if key not in _OUTSIDE}
    text = json.dumps(
        kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def prove(found: Mapping[str, Any], where: Where) -> None:
    """Hold a document that was kept against its contract and its own digest.

    Raises:
        EvidenceError: it breaks the contract, or was changed after it was written.
    """
    contracts.validate("verdict", found, where)
    if (real := digest_of(found)) != found["digest"]:
        raise EvidenceError(
            f"the verdict was changed: its digest is {found['digest'][:12]}, that of its"
            f" content {real[:12]}",
            fix="run `gitops gate` again",
            where=where,
        )


# ---------------------------------------------------------------- parts


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value + 0.0


def _interval(one: Interval | None) -> Json | None:
    """Null where nothing is defined."""
    if one is None or _number(one.estimate) is None:
        return None
    return {
        "estimate": _number(one.estimate),
        "lower": _number(one.lower),
        "upper": _number(one.upper),
        "level": one.level,
    }


def _slice(one: Slice) -> list[Json]:
    return [{"column": column, "value": value} for column, value in one.cut]


def _measure(one: Measure) -> Json:
    found: Json = {
        "metric": one.metric,
        "slice": _slice(one.slice),
        "rows": one.rows,
        "candidate": _interval(one.candidate),
        "champion": _interval(one.champion),
        "difference": _interval(one.difference),
        "method": one.method,
    }
    return {**found, "undefined": one.undefined} if one.undefined else found


def _check(one: Check) -> Json:
    found: Json = {
        "id": one.id,
        "kind": one.kind,
        "title": one.title,
        "state": one.state,
        "blocking": one.blocking,
        "stops": one.stops,
        "value": _interval(one.value),
        "bound": _number(one.bound),
        "sense": one.sense,
        "rows": one.rows,
        "why": one.why,
    }
    if one.measure is not None:
        found["measure"] = _measure(one.measure)
    if one.needed_rows is not None:
        found["needed_rows"] = one.needed_rows
    if one.waived:
        found["waived"] = one.waived
    return found


def _finding(one: Finding) -> Json:
    found: Json = {"kind": one.kind, "level": one.level, "text": one.text}
    parts = {"column": one.column, "value": _number(one.value), "bound": _number(one.bound)}
    return found | {name: value for name, value in parts.items() if value is not None}


def _fairness(one: Fairness) -> Json:
    found: Json = {
        "column": one.column,
        "criterion": one.criterion,
        "gap": _interval(one.gap),
        "groups": [
            {"group": each.group, "rows": each.rows, "rate": _interval(each.rate)}
            for each in one.groups
        ],
        "left_out": list(one.left_out),
    }
    return {**found, "why": one.why} if one.why else found


def _importance(one: Importance) -> Json:
    return {
        "column": one.column,
        "metric": one.metric,
        "candidate": _interval(one.candidate),
        "champion": _interval(one.champion),
        "change": _interval(one.change),
    }


def _cost(one: Cost) -> Json:
    return {
        "name": one.name,
        "unit": one.unit,
        "candidate": _number(one.candidate),
        "champion": _number(one.champion),
    }


def _judged(one: Judged) -> Json:
    return {"commit": one.commit, "tree": one.tree, "package": one.package}
