"""A verdict's document, read again: for reports in another place than where it was judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops.errors import Where
from gitops.validate.model import (
    Check,
    Cost,
    Fairness,
    Finding,
    GroupRate,
    Importance,
    Interval,
    Judged,
    Measure,
    Slice,
    TestSet,
    Verdict,
    Waiver,
)
from gitops.validate.verdict import answer, prove

Json = Mapping[str, Any]


def verdict(found: Json, where: Where) -> Verdict:
    """The verdict of a document of the contract `verdict`; it has no curves.

    Raises:
        EvidenceError: it breaks the contract, or isn't what its digest says.
    """
    prove(found, where)
    measured = found.get("measured", {"checks": [], "costs": []})
    checks = [_check(one, measured=False) for one in found["checks"]]
    checks += [_check(one, measured=True) for one in measured["checks"]]
    state, passed = answer(checks)
    champion = found.get("champion")
    costs = [_cost(one, measured=False) for one in found["costs"]]
    costs += [_cost(one, measured=True) for one in measured["costs"]]
    return Verdict(
        model=found["model"],
        environment=found["environment"],
        task=found["task"],
        state=state,
        passed=passed,
        policy=found["policy"]["name"],
        policy_digest=found["policy"]["digest"],
        policy_source=found["policy"]["source"],
        base=(found["base"]["commit"], found["base"]["tree"]),
        candidate=Judged(**found["candidate"]),
        champion=Judged(**champion) if champion else None,
        test_set=TestSet(**found["test_set"]),
        notes=tuple(Finding(**one) for one in found["notes"]),
        checks=tuple(checks),
        measures=tuple(_measure(one) for one in found["measures"]),
        slices=tuple(_measure(one) for one in found["slices"]),
        worst=tuple(_measure(one) for one in found["worst"]),
        fairness=tuple(_fairness(one) for one in found["fairness"]),
        importance=tuple(_importance(one) for one in found["importance"]),
        findings=tuple(Finding(**one) for one in found["findings"]),
        costs=tuple(costs),
        waivers=tuple(Waiver(**one) for one in found["waivers"]),
        curves=(),
        changes=tuple(found["changes"]),
        waivers_by=tuple(by) if (by := found["policy"].get("waivers_by")) is not None else None,
        digest=found["digest"],
        date=found.get("date", ""),
    )


def _interval(found: Json | None) -> Interval:
    return Interval(None) if found is None else Interval(**found)


def _maybe(found: Json | None) -> Interval | None:
    return None if found is None else Interval(**found)


def _measure(found: Json) -> Measure:
    return Measure(
        metric=found["metric"],
        slice=Slice(tuple((one["column"], one["value"]) for one in found["slice"])),
        rows=found["rows"],
        candidate=_interval(found["candidate"]),
        champion=_maybe(found["champion"]),
        difference=_maybe(found["difference"]),
        method=found["method"],
        undefined=found.get("undefined", ""),
    )


def _check(found: Json, *, measured: bool) -> Check:
    measure = found.get("measure")
    return Check(
        id=found["id"],
        kind=found["kind"],
        title=found["title"],
        state=found["state"],
        blocking=found["blocking"],
        value=_interval(found["value"]),
        bound=found["bound"],
        sense=found["sense"],
        rows=found["rows"],
        why=found["why"],
        measure=None if measure is None else _measure(measure),
        needed_rows=found.get("needed_rows"),
        waived=found.get("waived", ""),
        stops=found["stops"],
        measured=measured,
    )


def _fairness(found: Json) -> Fairness:
    groups = found["groups"]
    return Fairness(
        column=found["column"],
        criterion=found["criterion"],
        gap=_interval(found["gap"]),
        groups=tuple(
            GroupRate(one["group"], one["rows"], _interval(one["rate"])) for one in groups
        ),
        left_out=tuple(found["left_out"]),
        why=found.get("why", ""),
    )


def _importance(found: Json) -> Importance:
    return Importance(
        column=found["column"],
        metric=found["metric"],
        candidate=_interval(found["candidate"]),
        champion=_maybe(found["champion"]),
        change=_maybe(found["change"]),
    )


def _cost(found: Json, *, measured: bool) -> Cost:
    return Cost(found["name"], found["unit"], found["candidate"], found["champion"], measured)
