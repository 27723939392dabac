"""The verdict as one HTML file: no outside request, all text without JavaScript, light and dark.

The policy in the page lets only our own style and script run (by their SHA-256), so that even a
text that slipped through the escaping could not.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gitops.validate.model import Check, Cost, Curve, Fairness, Finding, Interval, Measure, Verdict
from gitops.validate.reports import drawing, numbers, svg, words
from gitops.validate.reports.text import SENTENCE, clean

# What a page holds at most, so that it stays below 1 MB; the JSON verdict has everything.
CHECKS, SLICES, PLOTS, LINES, GROUPS = 300, 1000, 24, 150, 40

One = TypeVar("One")

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Part:
    """The rows of a list that are shown, and how many there are."""

    rows: list[Any]
    of: int
    title: str = ""
    hint: str = ""

    @property
    def more(self) -> int:
        return self.of - len(self.rows)


def page(verdict: Verdict) -> str:
    """The report of one verdict."""
    usual = numbers.usual_level(verdict)
    weakest = words.level(verdict.worst, usual)
    plots, data = _plots(verdict.curves)
    whose = [
        name for name in ("candidate", "champion") if any(c.of == name for c in verdict.curves)
    ]
    findings = [one for one in verdict.findings if one.level == "note"]
    return _render(
        "report.html.j2",
        data={"margins": [svg.LEFT, svg.RIGHT, svg.TOP, svg.BOTTOM], "plots": data},
        head=words.headline(verdict),
        todo=words.todo(verdict),
        model=clean(verdict.model),
        environment=clean(verdict.environment),
        level=numbers.percent(usual),
        end=numbers.percent((1 + usual) / 2),
        compared=words.compared(verdict),
        tally=_tally(verdict),
        notes=_part(verdict.notes, LINES, _finding),
        waivers=_part(verdict.waivers, LINES, lambda w: (clean(w.check), words.waiver(w))),
        changes=_part(verdict.changes, LINES, lambda line: clean(line, SENTENCE)),
        checks=_part(words.ordered(verdict.checks), CHECKS, lambda one: _check(one, usual)),
        measures=_part(verdict.measures, LINES, lambda one: _measure(one, usual, None)),
        worst=_common(verdict.worst, LINES, weakest),
        worst_title=f"{words.WORST} ({numbers.percent(weakest)} intervals)",
        slices=_slices(verdict.slices, usual),
        plots=plots,
        whose=whose,
        fairness=_part(verdict.fairness, LINES, lambda one: _fairness(one, usual)),
        fairness_title=words.fairness_title(verdict),
        importance=_importance(verdict, usual),
        alarms=_part(words.alarms(verdict), LINES, _finding),
        findings=_part(findings, LINES, _finding),
        costs=_part(verdict.costs, LINES, _cost),
        methods=words.methods(verdict),
        facts=_facts(verdict),
    )


def index(links: Sequence[tuple[str, Verdict]]) -> str:
    """An overview of several verdicts; `links` are relative places of their pages."""
    places = {id(one): link for link, one in links}
    rows = [
        (places[id(one)], clean(one.model), clean(one.environment), words.headline(one))
        for one in words.urgent([one for _, one in links])
    ]
    passed = sum(one.passed for _, one in links)
    return _render("index.html.j2", data={}, rows=rows, passed=passed)


# ---------------------------------------------------------------- parts


def _part(rows: Sequence[One], most: int, shown: Callable[[One], object]) -> Part:
    return Part([shown(one) for one in rows[:most]], len(rows))


def _tally(verdict: Verdict) -> list[tuple[words.Status, str, int]]:
    every = [words.status(check) for check in verdict.checks]
    return [(name, text, every.count(name)) for name, text in words.TALLY.items() if name in every]


def _check(check: Check, usual: float) -> dict[str, object]:
    placed = drawing.place(check)
    measure = check.measure
    candidate, champion = "—", "—"
    if measure is not None:
        candidate, champion, _ = words.cells(measure, usual)
    return {
        "id": clean(check.id),
        "status": words.status(check),
        "state": words.state(check),
        "title": words.title(check),
        "reason": "" if words.shows_pass(check) else words.reason(check),
        "candidate": candidate,
        "champion": champion,
        "judged": words.judged(check, usual),
        "needs": words.needs(check),
        "rows": words.rows(check),
        "picture": svg.strip(placed.ends, placed.scale, placed.marks) if placed else "",
    }


def _measure(measure: Measure, usual: float, scale: drawing.Scale | None) -> dict[str, object]:
    candidate, champion, difference = words.cells(measure, usual)
    ends = drawing.bounds(measure.difference or measure.candidate)
    marks = {0.0: drawing.CHAMPION} if measure.difference else {}
    return {
        "metric": clean(measure.metric),
        "meaning": "; ".join(
            filter(None, (words.meaning(measure.metric), words.direction(measure.metric)))
        ),
        "slice": clean(measure.slice.text),
        "candidate": candidate,
        "champion": champion,
        "difference": difference,
        "rows": numbers.count(measure.rows),
        "picture": svg.strip(ends, scale, marks) if ends and scale else "",
    }


def _common(measures: Sequence[Measure], most: int, usual: float, metric: str = "") -> Part:
    """Measures whose intervals are drawn on one scale."""
    shown = measures[:most]
    compared = [one.difference for one in shown if one.difference]
    drawn = compared or [one.candidate for one in shown]
    scale = drawing.common(drawn, zero=bool(compared))
    rows = [_measure(one, usual, scale) for one in shown]
    hint = words.direction(metric) if metric else ""
    return Part(rows, len(measures), clean(metric), hint)


def _slices(measures: Sequence[Measure], usual: float) -> list[Part]:
    """By metric, the worst first, as many of each."""
    by_metric: dict[str, list[Measure]] = {one.metric: [] for one in measures}
    for one in sorted(measures, key=words.badness):
        by_metric[one.metric].append(one)
    most = max(SLICES // max(len(by_metric), 1), 20)
    return [_common(some, most, usual, metric) for metric, some in list(by_metric.items())[:20]]


def _fairness(one: Fairness, usual: float) -> dict[str, object]:
    scale = drawing.common([group.rate for group in one.groups[:GROUPS]], zero=False)
    groups = []
    for group in one.groups[:GROUPS]:
        ends = drawing.bounds(group.rate)
        picture = svg.strip(ends, scale, {}) if ends and scale else ""
        rate = numbers.interval(group.rate, usual=usual)
        groups.append((clean(group.group), rate, numbers.count(group.rows), picture))
    return {
        "column": clean(one.column),
        "criterion": clean(one.criterion.replace("_", " ")),
        "meaning": words.gap(one.criterion),
        "gap": numbers.interval(one.gap, usual=usual),
        "why": clean(one.why, SENTENCE) if one.why else "",
        "groups": Part(groups, len(one.groups)),
        "left_out": [clean(name) for name in one.left_out[:GROUPS]],
        "left_out_more": max(len(one.left_out) - GROUPS, 0),
    }


def _importance(verdict: Verdict, usual: float) -> Part:
    shown = verdict.importance[:LINES]
    some = [each for one in shown for each in (one.candidate, one.champion, one.change) if each]
    scale = drawing.common([Interval(0.0), *some], zero=False)

    def row(column: str, of: str, value: Interval | None) -> tuple[str, str, str, object]:
        ends = drawing.bounds(value)
        picture = svg.strip(ends, scale, {0.0: drawing.CHAMPION}) if ends and scale else ""
        return column, of, numbers.interval(value, signed=of == "change", usual=usual), picture

    rows = []
    for one in shown:
        lines = [row(clean(one.column), "candidate", one.candidate)]
        if one.champion is not None:
            lines.append(row("", "champion", one.champion))
        if one.change is not None:
            lines.append(row("", "change", one.change))
        rows.append({"metric": clean(one.metric), "lines": lines})
    return Part(rows, len(verdict.importance))


def _finding(one: Finding) -> dict[str, str]:
    return {"kind": clean(one.kind), "level": one.level, "text": clean(one.text, SENTENCE)}


def _cost(cost: Cost) -> tuple[str, str, str, str]:
    champion = "—" if cost.champion is None else numbers.size(cost.champion, cost.unit)
    how = "measured in this run" if cost.measured else "counted"
    return words.COSTS[cost.name], numbers.size(cost.candidate, cost.unit), champion, how


def _facts(verdict: Verdict) -> list[tuple[str, str]]:
    rows = numbers.count(verdict.test_set.rows)
    facts = [
        ("task", verdict.task),
        ("policy", f"{clean(verdict.policy)}, from {clean(verdict.policy_source)}"),
        ("policy digest", clean(verdict.policy_digest)),
        ("base commit", clean(verdict.base[0])),
        ("base tree", clean(verdict.base[1])),
        ("test set", f"{clean(verdict.test_set.identity)}, {rows} rows"),
        ("verdict digest", clean(verdict.digest)),
    ]
    if verdict.date:
        facts.append(("waivers judged on", clean(verdict.date)))
    for name, one in (("candidate", verdict.candidate), ("champion", verdict.champion)):
        if one is not None:
            facts += [(f"{name} commit", clean(one.commit)), (f"{name} tree", clean(one.tree))]
            facts.append((f"{name} package", clean(one.package)))
    return facts


def _plots(curves: Iterable[Curve]) -> tuple[Part, list[object]]:
    """Plots by kind and name, and the numbers behind them for the script."""
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        if curve.kind in svg.AXES:
            groups.setdefault((curve.kind, curve.name), []).append(curve)
    rows: list[dict[str, object]] = []
    data: list[object] = []
    for (kind, name), some in list(groups.items())[:PLOTS]:
        region, axes = svg.frame(some), svg.AXES[kind]
        if region is None:
            continue
        title = f"{axes.title} of class {clean(name)}" if name else axes.title
        picture = svg.plot(title, some, region, len(data))
        rows.append({"title": title, "picture": picture})
        lines = [{"of": one.of, "points": _points(one)} for one in some]
        ends = [region.x0, region.x1, region.y0, region.y1]
        data.append({"x": axes.x, "y": axes.y, "frame": ends, "lines": lines})
    return Part(rows, len(rows) + max(len(groups) - PLOTS, 0)), data


def _points(curve: Curve) -> list[list[float]]:
    return [[_short(x), _short(y)] for x, y in svg.finite(curve)]


def _short(value: float) -> float:
    return float(f"{value:.5g}")


# ---------------------------------------------------------------- the page


def _render(name: str, *, data: object, **context: object) -> str:
    style, script = _asset("report.css"), _asset("report.js")
    # `<` would let a text end the element; JSON has another way to write it.
    embedded = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    context |= {
        "policy": "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_digest(style)}'; script-src '{_digest(script)}'",
        "style": style,
        "script": script,
        "data": embedded.replace("<", "\\u003c"),
        "count": numbers.count,
    }
    return _templates().get_template(name).render(context)


def _asset(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
