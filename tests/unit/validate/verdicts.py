"""Verdicts to show: rich, failing, undecided, of a first model, with many slices, hostile."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from gitops.validate.model import (
    Check,
    Cost,
    Curve,
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

LEVELS = {"roc_auc": 0.7312, "accuracy": 0.8123, "f1": 0.512, "log_loss": 0.4711, "brier": 0.1498}
LOSSES = ("log_loss", "brier")
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "a|b`c``d\\|e\\",
    "@org/everyone #1 https://evil.example www.evil.example GH-1 x@evil.example",
    "[click](javascript:alert(1)) ![p](https://evil.example/p.png)",
    "line\r\nbreak\ttab\x00nul\x1b[31mred\u2028sep",
    "\u202egnp.exe\u2066 \u200b\ufeff",
    "*b* _i_ ~~s~~ $x$ # h - + 1. > q :tada: &amp; &#64;x",
    "<!-- --> --> <details></details> ```",
    "]]> <![CDATA[ %0A::error::x ##vso[task.complete result=Succeeded]x",
    "京都👩‍👩‍👧é" * 3,
    "x" * 10_000,
    "",
    '{"a": 1, "__proto__": {}} \' " { } {% raw %} {{ 7*7 }}',
)


def interval(value: float, half: float, level: float = 0.9) -> Interval:
    return Interval(value, value - half, value + half, level)


def measure(
    metric: str, cut: tuple[tuple[str, str | None], ...], rows: int, gain: float, shift: float = 0
) -> Measure:
    sign = -1 if metric in LOSSES else 1
    base, half = LEVELS[metric] + shift, 0.9 / math.sqrt(rows)
    return Measure(
        metric,
        Slice(cut),
        rows,
        interval(base + sign * gain, half),
        interval(base, half),
        interval(sign * gain, half / 3),
        "paired DeLong" if metric == "roc_auc" else "linearised paired differences",
    )


def no_worse(one: Measure, margin: float = 0.01, blocking: bool = True, needed: int = 0) -> Check:
    assert one.difference is not None
    sign = -1 if one.metric in LOSSES else 1
    ends = [sign * end for end in (one.difference.lower or 0, one.difference.upper or 0)]
    value = Interval(sign * (one.difference.estimate or 0), min(ends), max(ends))
    worse, better = max(ends) < -margin, min(ends) > -margin
    name = "-".join([one.metric, *(value or "missing" for _, value in one.slice.cut)])
    return Check(
        id=f"no-worse-{name}",
        kind="no_worse",
        title=f"{one.metric} no worse than the champion"
        + (f", where {one.slice.text}" if one.slice.cut else ""),
        state="PASS" if better else "FAIL" if worse else "INCONCLUSIVE",
        blocking=blocking,
        value=value,
        bound=-margin,
        sense="above",
        rows=one.rows,
        why="the whole interval lies above the margin"
        if better
        else "the whole interval lies below the margin"
        if worse
        else "the interval holds the margin",
        measure=one,
        needed_rows=None if better or worse else needed or 4 * one.rows,
        stops=blocking and not better,
    )


def curves(lift: float = 0.0) -> tuple[Curve, ...]:
    grid = [i / 60 for i in range(61)]
    found = []
    whose: tuple[tuple[Literal["candidate", "champion"], float], ...]
    whose = (("candidate", 3.0 + lift), ("champion", 2.8))
    for of, power in whose:
        roc = tuple(1 - (1 - x) ** power for x in grid)
        precision = tuple(0.22 + 0.7 * (1 - x) ** power for x in grid)
        calibration = tuple(min(1, max(0, x + 0.04 * math.sin(6 * x) * (4 - power))) for x in grid)
        scores = tuple(math.exp(-12 * (x - 0.3) ** 2) * power for x in grid)
        found.append(Curve("roc", of, "", tuple(grid), roc))
        found.append(Curve("pr", of, "", tuple(grid), precision))
        found.append(Curve("calibration", of, "", tuple(grid), calibration))
        found.append(Curve("scores", of, "", tuple(grid), scores))
    return tuple(found)


def fairness(gap: float = 0.043) -> tuple[Fairness, ...]:
    groups = (
        GroupRate("female", 31200, interval(0.231, 0.006)),
        GroupRate("male", 33410, interval(0.231 + gap, 0.006)),
        GroupRate("other", 1390, interval(0.25, 0.028)),
    )
    return (
        Fairness("sex", "demographic_parity", interval(gap, 0.009), groups, ("unknown",)),
        Fairness("sex", "equalized_odds", interval(gap * 1.3, 0.013), groups, ("unknown",)),
        Fairness("age", "calibration", Interval(None), (), ("80-89",), "one group only is large"),
    )


def rich(gain: float = 0.006, gap: float = 0.043) -> Verdict:
    """A better model that passes, with everything a report can show."""
    overall = tuple(measure(metric, (), 66000, gain) for metric in LEVELS)
    cuts = [("carrier", name) for name in ("AA", "UA", "DL", "B6", "EV", "OO", None)]
    slices = tuple(
        measure(metric, (cut,), 24000 // (3 * i + 1), gain - 0.002 * i, 0.01 * (i - 3))
        for metric in ("roc_auc", "accuracy")
        for i, cut in enumerate(cuts)
    )
    tiny = Slice((("carrier", "HA"),))
    undefined = Measure("roc_auc", tiny, 12, Interval(None), None, None, "", "one class only")
    checks = [no_worse(one) for one in overall]
    checks += [no_worse(one, 0.05) for one in slices[:4]]
    checks.append(
        Check(
            "parity-sex",
            "fairness",
            "demographic parity by sex",
            "PASS" if gap < 0.09 else "FAIL",
            True,
            interval(gap, 0.009),
            0.1,
            "below",
            66000,
            "the gap is below the bound" if gap < 0.09 else "the whole interval is above the bound",
            stops=gap >= 0.09,
        )
    )
    drift = Finding("drift", "note", "distance moved: PSI 0.04", "distance", 0.04, 0.1)
    return Verdict(
        model="late",
        environment="production",
        task="binary",
        state="PASS",
        passed=True,
        policy="strict",
        policy_digest="1" * 64,
        policy_source="policies/strict.yaml at 2222222222",
        base=("2" * 40, "3" * 40),
        candidate=Judged("4" * 40, "5" * 40, "6" * 64),
        champion=Judged("7" * 40, "8" * 40, "9" * 64),
        test_set=TestSet("a" * 64, 66000, 776, False),
        notes=(Finding("policy-changed", "note", "this changes .gitops/policies/project.yaml"),),
        checks=tuple(checks),
        measures=overall,
        slices=(*slices, undefined),
        worst=slices[4:6],
        fairness=fairness(gap),
        importance=(
            Importance("distance", "log_loss", interval(0.041, 0.003), interval(0.04, 0.003)),
            Importance(
                "carrier",
                "log_loss",
                interval(0.032, 0.002),
                interval(0.021, 0.002),
                interval(0.011, 0.001),
            ),
            Importance("month", "log_loss", interval(0.0004, 0.0011), None),
        ),
        findings=(drift, Finding("id-like", "alarm", "tailnum is unique in nearly all rows")),
        costs=(
            Cost("package_bytes", "bytes", 1_234_567, 1_100_000, False),
            Cost("single_row_ms", "ms", 0.0742, 0.0711, True),
            Cost("batch_ms", "ms", 1.93, 1.88, True),
        ),
        waivers=(
            Waiver("recall-carrier", "@org/ml-leads", "no late flight among them", "2026-03-31"),
        ),
        curves=curves(),
        changes=("params train.learning_rate: 0.1 -> 0.05", "data data/raw.csv: 3f2a -> 91bc"),
        digest="b" * 64,
    )


def better() -> Verdict:
    """A better model about which nothing is open."""
    some = rich()
    quiet = tuple(one for one in some.findings if one.level == "note")
    return replace(some, findings=quiet, notes=())


def failing() -> Verdict:
    """A worse model, with a parity gap."""
    worse = rich(-0.03, 0.2)
    return replace(worse, state="FAIL", passed=False, digest="c" * 64)


def undecided(*, passed: bool = False) -> Verdict:
    """Too few rows to tell."""
    overall = tuple(measure(metric, (), 400, 0.001) for metric in LEVELS)
    return replace(
        rich(),
        state="INCONCLUSIVE",
        passed=passed,
        environment="dev",
        notes=(),
        waivers=(),
        measures=overall,
        checks=tuple(replace(no_worse(one, needed=12_400), stops=not passed) for one in overall),
        test_set=TestSet("a" * 64, 400, 0, True),
    )


def first_model() -> Verdict:
    """No champion: absolute bounds only."""
    some = rich()
    alone = tuple(replace(one, champion=None, difference=None) for one in some.measures)
    check = Check(
        id="auc",
        kind="bound",
        title="roc_auc at least 0.7",
        state="PASS",
        blocking=True,
        value=alone[0].candidate,
        bound=0.7,
        sense="above",
        rows=66000,
        why="the whole interval lies above the bound",
        measure=alone[0],
    )
    comparison = replace(
        no_worse(some.measures[0]),
        state="INCONCLUSIVE",
        blocking=False,
        value=Interval(None),
        why="not applicable: the first model has no champion to be compared with",
        measure=None,
    )
    return replace(
        some,
        champion=None,
        checks=(comparison, check),
        measures=alone,
        slices=tuple(replace(one, champion=None, difference=None) for one in some.slices),
        worst=(),
        importance=tuple(replace(one, champion=None, change=None) for one in some.importance),
        costs=tuple(replace(one, champion=None) for one in some.costs),
        curves=tuple(one for one in some.curves if one.of == "candidate"),
        notes=(Finding("first-model", "note", "there is no champion at the base"),),
        waivers=(),
    )


def regression() -> Verdict:
    """Errors in the unit of the target."""
    rmse = Measure(
        "rmse",
        Slice(),
        50000,
        interval(15345.2, 120),
        interval(15512.9, 125),
        interval(-167.7, 44),
        "linearised paired differences",
    )
    check = replace(no_worse(rmse, 100), value=interval(167.7, 44), state="PASS", stops=False)
    line = tuple(float(1000 * i) for i in range(50))
    points = tuple(300 * math.sin(i / 4) for i in range(50))
    return replace(
        rich(),
        task="regression",
        measures=(rmse,),
        checks=(check,),
        slices=(),
        worst=(),
        fairness=(),
        curves=(Curve("residuals", "candidate", "", line, points),),
    )


def many_slices(count: int = 1000) -> Verdict:
    """As many slices as asked for, three metrics each."""
    slices = tuple(
        measure(metric, (("store", f"store {i:05}"),), 100 + 37 * i % 900, 0.02 * math.sin(i))
        for metric in ("roc_auc", "accuracy", "log_loss")
        for i in range(count)
    )
    checks = tuple(no_worse(one, 0.05) for one in slices[:count])
    return replace(rich(), slices=slices, worst=slices[:20], checks=checks)


def hostile() -> Verdict:
    """Every text that somebody else writes is an attack on some report."""
    some = failing()
    text = HOSTILE
    slices = tuple(
        measure("roc_auc", ((text[(i + 1) % len(text)], one),), 500 + i, -0.03)
        for i, one in enumerate(text)
    )
    checks = tuple(
        replace(no_worse(one), id=f"c{i} {name}", title=name, why=f"because {name}")
        for i, (one, name) in enumerate(zip(slices, text, strict=True))
    )
    groups = tuple(GroupRate(one, 100, interval(0.2, 0.05)) for one in text)
    return replace(
        some,
        policy=text[0],
        policy_source=text[1],
        notes=tuple(Finding(one, "alarm", one, one) for one in text),
        checks=(*checks, replace(checks[0], waived=" ".join(text[:9]), stops=False)),
        slices=slices,
        worst=slices,
        measures=(replace(slices[0], undefined=text[0], candidate=Interval(None)), *slices[1:3]),
        fairness=tuple(
            Fairness(one, "demographic_parity", interval(0.2, 0.1), groups, text, one)
            for one in text
        ),
        importance=tuple(Importance(one, "roc_auc", interval(0.1, 0.1), None) for one in text),
        findings=tuple(Finding("drift", "alarm", one, one) for one in text),
        waivers=tuple(Waiver(one, one, one, "2026-01-31", i > 3) for i, one in enumerate(text)),
        changes=text,
        curves=tuple(replace(one, name=text[i % 3]) for i, one in enumerate(some.curves)),
    )


def broken_numbers() -> Verdict:
    """NaN, infinities and missing bounds wherever a number can be."""
    nan, inf = float("nan"), float("inf")
    odd = [
        Interval(nan, nan, nan),
        Interval(None),
        Interval(inf, -inf, inf),
        Interval(0.5),
        Interval(0.5, 0.5, 0.5),
        Interval(1e308, -1e308, 1e308),
        Interval(5e-324, 0.0, 1e-323),
        Interval(-0.0, -0.0, 0.0),
    ]
    some = failing()
    measures = tuple(
        Measure("roc_auc", Slice((("n", str(i)),)), i, one, one, one, "")
        for i, one in enumerate(odd)
    )
    return replace(
        some,
        measures=measures,
        slices=measures,
        worst=measures,
        checks=tuple(
            replace(some.checks[0], id=f"c{i}", value=one, bound=bound, measure=measures[i])
            for i, one in enumerate(odd)
            for bound in (None, 0.0, 0.5, -1e308)
        ),
        fairness=tuple(Fairness("n", "calibration", one, (GroupRate("a", 1, one),)) for one in odd),
        importance=tuple(Importance(str(i), "brier", one, one, one) for i, one in enumerate(odd)),
        findings=(Finding("drift", "alarm", "x", "x", nan, inf),),
        costs=(Cost("batch_ms", "ms", 0.0, 0.0, True), Cost("memory_mib", "MiB", 1e-9, None, True)),
        curves=(
            Curve("roc", "candidate", "", (nan, 0.5, inf), (0.1, nan, 0.2)),
            Curve("pr", "candidate", "", (), ()),
            Curve("residuals", "candidate", "", (1.0, 1.0), (0.0, 0.0)),
        ),
    )


PLAIN: list[Callable[[], Verdict]] = [rich, failing, undecided, first_model, regression]
