"""The verdict for a pull request: Markdown that GitHub and Azure DevOps show alike.

No pictures (a private repository can't show them in a comment): intervals are drawn with
characters in a code block. A comment may have 65,536 characters; ours has at most as many bytes.
Tables are cut at rows, and say how many are left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from gitops.validate.model import Fairness, Finding, Measure, Verdict
from gitops.validate.reports import drawing, numbers, words
from gitops.validate.reports.text import SENTENCE, clean, fit

LIMIT = 65_536
_MARKS = {
    "fail": "❌",
    "undecided": "❓",
    "waived": "🔶",
    "advice": "⚠️",
    "pass": "✅",
    "none": "➖",
}
METRIC = ("Metric", "Candidate", "Champion", "Candidate − champion", "Rows")
SLICED = ("Metric", "Slice", "Candidate", "Champion", "Candidate − champion", "Rows")
FAIR = ("Column", "Criterion", "Largest gap", "Groups", "Too small to judge")
_GROUPS = 8  # of a sensitive column
_SOME = 12  # rows of every part, before any has more
_SECTION = 6_000  # bytes of a model, below which a section says nothing that the overview doesn't
_NAME = 46  # cells of a name beside a drawing
_PLAIN = 20  # checks that pass without an interval, by their names
_READ = (
    "Judged: of a comparison the candidate's lead over the champion (+ is better, also where less "
    "of the metric is); else what was measured. All of its interval must be as needed: each end "
    "is sure to {end}. <code>gitops gate --explain NAME</code> says what a check or a metric means."
)
_SPACE = "\u00a0"  # where a line must not break
_JOINER = "\u2060"  # has no width, and keeps what follows from becoming a mention or a link
_SPECIAL = re.compile(r"[&<>|\\`*\[~$]|(?<![^\W_])_|_(?![^\W_])|^[-+=#]|^\d+(?=[.)](\s|$))")
_LINKED = re.compile(
    r"@(?=\w)|[#!](?=\d)|:(?=//)|\bwww(?=\.)|\bGH(?=-\d)|:(?=[\w+-]+:)", re.IGNORECASE
)


@dataclass
class _Rows:
    """Lines that may be left out from the end; `more` says what they are."""

    before: list[str]
    rows: list[str]
    after: list[str]
    more: str
    shown: int = 0

    @property
    def rest(self) -> list[str]:
        left = len(self.rows) - self.shown
        return [f"\n*{numbers.count(left)} {self.more} in the HTML report.*"] if left else []

    def lines(self) -> list[str]:
        shown = self.rows[: self.shown]
        if not shown and self.rows:
            return [*self.rest, ""]
        return [*self.before, *shown, *self.after, *self.rest, ""]


@dataclass
class _Section:
    """One verdict: `parts` in the order of the page, filled in the order of `ranks`."""

    parts: list[list[str] | _Rows]
    ranks: list[_Rows] = field(default_factory=list)

    def text(self) -> str:
        lines = (part.lines() if isinstance(part, _Rows) else part for part in self.parts)
        return "\n".join(line for some in lines for line in some)


def render(verdicts: Sequence[Verdict], limit: int = LIMIT) -> str:
    """One section for each verdict, those that don't pass first; at most `limit` bytes of UTF-8."""
    ranked = words.urgent(verdicts)
    head = _overview(ranked) if len(ranked) > 1 else ""
    room = limit - len(head.encode())
    sections: list[_Section] = []
    for verdict in ranked[: max(room // _SECTION, 1)]:
        section = _section(verdict)
        need = len(section.text().encode()) + 1
        if need > room:
            continue
        sections.append(section)
        room -= need
    left = len(ranked) - len(sections)
    rest = f"\n*{left} more models in the HTML report.*\n" if left else ""
    for section in sections:
        share = (limit - len((head + rest).encode()) - 1) // len(sections) - 1
        _fill(section, share)
    return head + "\n".join(section.text() for section in sections) + rest


def marker(verdict: Verdict) -> str:
    """First line of a section, by which a later run finds its comment."""
    names = f"{clean(verdict.model)} {clean(verdict.environment)}"
    return f"<!-- gitops gate: {re.sub('[<>]|--', ' ', names)} -->"


def prose(text: str, limit: int = SENTENCE) -> str:
    """Somebody else's sentence: shown as written, without markup, mentions or links."""
    safe = _LINKED.sub(lambda found: found[0] + _JOINER, clean(text, limit))
    return _SPECIAL.sub(lambda found: "".join(f"&#{ord(char)};" for char in found[0]), safe)


def code(text: str) -> str:
    """A name, as it is. Where backticks can't hold it in any renderer, the same in HTML."""
    shown = clean(text)
    if not re.search(r"[`|\\<>&]", shown):
        return f"`{shown}`"
    return "<code>" + re.sub(r"[!-/:-@\[-`{-~]", lambda c: f"&#{ord(c[0])};", shown) + "</code>"


def inert(text: str) -> str:
    """Where nothing can be escaped: what looks like an element isn't one any more."""
    return re.sub(r"<(?=[A-Za-z/!?])", f"<{_JOINER}", text)


def metric_row(one: Measure, usual: float, *, sliced: bool) -> str:
    """A row of a table with the head METRIC or SLICED."""
    name = [f"{prose(one.metric)} {words.arrow(one.metric)}"]
    if sliced:
        name.append(code(one.slice.text))
    elif meaning := words.meaning(one.metric):
        name[0] += f"<br><sub>{meaning}</sub>"
    values = [whole(cell) for cell in words.cells(one, usual)]
    return f"| {' | '.join([*name, *values, numbers.count(one.rows)])} |"


def fairness_row(one: Fairness, usual: float) -> str:
    """A row of a table with the head FAIR."""
    rates = [
        f"{code(group.group)} {whole(numbers.interval(group.rate, usual=usual))} "
        f"(n = {numbers.count(group.rows)})"
        for group in one.groups[:_GROUPS]
    ]
    if len(one.groups) > _GROUPS:
        rates.append(f"{len(one.groups) - _GROUPS} more groups in the HTML report")
    small = ", ".join(code(name) for name in one.left_out[:_GROUPS])
    small += ", …" if len(one.left_out) > _GROUPS else ""
    gap = whole(numbers.interval(one.gap, usual=usual))
    if one.why:
        gap = f"not assessable: {prose(one.why)}"
    name = f"{prose(one.criterion.replace('_', ' '))}<br><sub>{words.gap(one.criterion)}</sub>"
    row = [code(one.column), name, gap, "<br>".join(rates) or "—", small or "—"]
    return f"| {' | '.join(row)} |"


def whole(text: str) -> str:
    """A number with its interval stays on one line; a reason in its place may wrap."""
    if text.startswith(numbers.UNDEFINED) or "[" not in text:
        return prose(text)
    return text.replace(" ", _SPACE)


# ---------------------------------------------------------------- one verdict


def _section(verdict: Verdict) -> _Section:
    head = words.headline(verdict)
    usual = numbers.usual_level(verdict)
    names = f"{code(verdict.model)} for {code(verdict.environment)}"
    top = [marker(verdict), f"## {_MARKS[head.status]} {head.answer}: {names}", ""]
    why = [f"**{prose(head.why)}**", "", f"What now: {prose(words.todo(verdict))}", ""]
    why += [f"<sub>{prose(words.compared(verdict))}</sub>", ""]
    notes = _notes(verdict)
    waivers = _waivers(verdict)
    checks, picture = _checks(verdict, usual), _picture(verdict)
    worst = _worst(verdict, usual)
    changes = _list("What changed", [prose(line) for line in verdict.changes], "more changes")
    fairness = _fairness(verdict, usual)
    alarms = _findings("Alarms", words.alarms(verdict), open_=True)
    metrics = _metrics("All metrics", verdict.measures, usual)
    slices = _metrics("Slices", sorted(verdict.slices, key=words.badness), usual, sliced=True)
    importance, costs = _importance(verdict, usual), _costs(verdict)
    findings = _findings("Data", [one for one in verdict.findings if one.level == "note"])
    details = [fairness, metrics, slices, importance, findings, costs]
    ranks = [notes, checks, waivers, picture, alarms, changes, worst, *details]
    parts: list[list[str] | _Rows | None] = [top, why, notes, waivers, checks, picture]
    parts += [alarms, worst, changes, *details, _method(verdict, usual)]
    return _Section([p for p in parts if p is not None], [r for r in ranks if r is not None])


def _notes(verdict: Verdict) -> _Rows | None:
    if not verdict.notes:
        return None
    rows = [
        f"> - {'⚠️ ' if note.level == 'alarm' else ''}{prose(note.text)}" for note in verdict.notes
    ]
    head = "> **About this judgement**"
    return _Rows([head, ">"], rows, [], "more notes")


def _waivers(verdict: Verdict) -> _Rows | None:
    rows = [f"- {code(one.check)} {prose(words.waiver(one), 900)}" for one in verdict.waivers]
    return _Rows(["**Waivers**", ""], rows, [], "more waivers") if rows else None


def _checks(verdict: Verdict, usual: float) -> _Rows:
    level = numbers.percent(usual)
    head = [
        f"| | Check | Champion → candidate | Judged [{level} interval] | Needs | Rows |",
        "| --- | --- | --- | --- | --- | ---: |",
    ]
    rows, plain = [], []
    for check in words.ordered(verdict.checks):
        name, pair = prose(words.title(check)), "—"
        if words.shows_pass(check):
            if check.value.lower is None:
                plain.append(name)
                continue
        else:
            name += f"<br><sub>{prose(words.reason(check))} ({code(check.id)})</sub>"
        if check.measure is not None and check.measure.champion is not None:
            candidate, champion, _ = (
                text.partition(" [")[0] for text in words.cells(check.measure, usual)
            )
            pair = f"{champion} → {candidate}".replace(" ", _SPACE)
        row = [f"{_MARKS[words.status(check)]}{_SPACE}{words.state(check)}", name, pair]
        row += [whole(words.judged(check, usual)), prose(words.needs(check)).replace(" ", _SPACE)]
        rows.append(f"| {' | '.join([*row, words.rows(check)])} |")
    read = _READ.format(end=numbers.percent((1 + usual) / 2))
    after = ["", f"<sub>{read}</sub>", ""] if rows else []
    if plain:
        more = f"; {numbers.count(len(plain) - _PLAIN)} more" if len(plain) > _PLAIN else ""
        names = "; ".join(plain[:_PLAIN])
        after.append(f"✅ Passing without an interval ({len(plain)}): {names}{more}.")
    return _Rows(head if rows else [], rows, after, "more checks")


def _picture(verdict: Verdict) -> _Rows | None:
    """All judged intervals in a code block; a code block links and mentions nothing."""
    names = []
    for check in words.ordered(verdict.checks):
        drawn = drawing.of_check(check)
        if drawn:
            mark = {"PASS": "✔", "FAIL": "✘"}.get(check.state, "?")
            title = inert(fit(words.title(check), _NAME))
            names.append(f"{mark} {title} {drawn.rstrip()}")
    if not names:
        return None
    key = f"  {fit('', _NAME)} {fit('worse', drawing.CELLS // 2)}┃{'better':>{drawing.CELLS // 2}}"
    legend = "┃ what is needed: all of a line right of it · ┊ no difference from the champion"
    return _Rows(["```text", key], names, ["```", f"<sub>{legend}</sub>"], "more intervals")


def _worst(verdict: Verdict, usual: float) -> _Rows | None:
    return _metrics(words.WORST, verdict.worst, words.level(verdict.worst, usual), sliced=True)


def _metrics(
    title: str,
    measures: Sequence[Measure],
    usual: float,
    *,
    sliced: bool = False,
) -> _Rows | None:
    if not measures:
        return None
    rows = [metric_row(one, usual, sliced=sliced) for one in measures]
    head = SLICED if sliced else METRIC
    level = f"{numbers.percent(usual)} intervals"
    return _table(f"{title} ({level}; ↑ more is better, ↓ less is better)", head, rows)


def _fairness(verdict: Verdict, usual: float) -> _Rows | None:
    if not verdict.fairness:
        return None
    rows = [fairness_row(one, usual) for one in verdict.fairness]
    title = words.fairness_title(verdict)
    return _table(f"{title} ({numbers.percent(usual)} intervals)", FAIR, rows)


def _importance(verdict: Verdict, usual: float) -> _Rows | None:
    rows = [
        f"| {code(one.column)} | {numbers.interval(one.candidate, usual=usual)} | "
        f"{numbers.interval(one.champion, usual=usual) if one.champion else '—'} | "
        f"{numbers.interval(one.change, signed=True, usual=usual) if one.change else '—'} "
        f"| {prose(one.metric)} |"
        for one in verdict.importance
    ]
    head = ["Column", "Candidate", "Champion", "Candidate − champion", "Metric"]
    title = "What the model relies on (how much worse it gets when a column is shuffled)"
    return _table(title, head, rows) if rows else None


def _costs(verdict: Verdict) -> _Rows | None:
    rows = []
    for cost in verdict.costs:
        champion = "—" if cost.champion is None else numbers.size(cost.champion, cost.unit)
        name = words.COSTS[cost.name] + (" (measured in this run)" if cost.measured else "")
        rows.append(f"| {name} | {numbers.size(cost.candidate, cost.unit)} | {champion} |")
    return _table("Cost", ["", "Candidate", "Champion"], rows) if rows else None


def _findings(title: str, found: Sequence[Finding], *, open_: bool = False) -> _Rows | None:
    lines = [f"{prose(one.kind)}: {prose(one.text)}" for one in found]
    return _list(title, lines, "more findings", open_=open_)


def _list(title: str, items: Sequence[str], more: str, *, open_: bool = False) -> _Rows | None:
    rows = [f"- {item}" for item in items]
    before, after = _folded(title, len(rows), open_=open_)
    return _Rows(before, rows, after, more) if rows else None


def _table(title: str, head: Sequence[str], rows: list[str]) -> _Rows:
    before, after = _folded(title, len(rows), open_=False)
    right = ["---:" if name == "Rows" else "---" for name in head]
    before += [f"| {' | '.join(head)} |", f"| {' | '.join(right)} |"]
    return _Rows(before, rows, after, "more rows")


def _folded(title: str, count: int, *, open_: bool) -> tuple[list[str], list[str]]:
    tag = "<details open>" if open_ else "<details>"
    summary = f"<summary><b>{title}</b>: {numbers.count(count)}</summary>"
    return [tag + summary, ""], ["", "</details>"]


def _method(verdict: Verdict, usual: float) -> list[str]:
    procedures = "; ".join(words.methods(verdict)) or "none"
    lines = [
        f"Intervals are two-sided at {numbers.percent(usual)}: the truth lies beyond one given end "
        f"in {numbers.percent((1 - usual) / 2)} of cases. Procedures: {prose(procedures)}.",
        f"Policy digest {code(verdict.policy_digest)}, test set {code(verdict.test_set.identity)}, "
        f"verdict {code(verdict.digest)}.",
    ]
    return ["<details><summary>Method and digests</summary>", "", *lines, "", "</details>", ""]


# ---------------------------------------------------------------- size


def _fill(section: _Section, limit: int) -> None:
    """Show as many rows as fit: some of every part, then the most important parts whole."""
    for most in (_SOME, sum(len(part.rows) for part in section.ranks)):
        for part in section.ranks:
            low, high = part.shown, min(most, len(part.rows)) + 1
            while high - low > 1:
                part.shown = (low + high) // 2
                if len(section.text().encode()) <= limit:
                    low = part.shown
                else:
                    high = part.shown
            part.shown = low


def _overview(verdicts: Sequence[Verdict]) -> str:
    lines = [f"# {words.tally(verdicts)}", "", "| | Model | Why |"]
    lines.append("| --- | --- | --- |")
    for verdict in verdicts[:100]:
        head = words.headline(verdict)
        lines.append(
            f"| {_MARKS[head.status]} {head.answer} | {code(verdict.model)} "
            f"| {prose(head.why, 160)} |"
        )
    if others := verdicts[100:]:
        failing = sum(not one.passed for one in others)
        more = f"{numbers.count(len(others))} more models in the HTML report"
        lines.append(f"\n*{more}, {numbers.count(failing)} of them may not go on.*")
    return "\n".join([*lines, "", ""])
