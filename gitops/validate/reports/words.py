"""What a verdict means in words, and the order in which a reader needs it, for all reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gitops.validate.figures import about, plain
from gitops.validate.model import Check, Finding, Interval, Measure, Verdict, Waiver
from gitops.validate.policy_kinds import GAPS
from gitops.validate.reports import numbers
from gitops.validate.reports.text import SENTENCE, clean
from gitops.validate.stats.deciding import decided
from gitops.validate.stats.metrics import METRICS

Status = Literal["fail", "undecided", "waived", "advice", "pass", "none"]

STATUS: dict[Status, str] = {
    "fail": "fails",
    "undecided": "undecided",
    "waived": "waived",
    "advice": "does not block",
    "pass": "passes",
    "none": "not judged",
}
TALLY: dict[Status, str] = {
    "fail": "failing",
    "undecided": "undecided",
    "waived": "waived",
    "advice": "not passing, not blocking",
    "pass": "passing",
    "none": "not judged",
}
COSTS = {
    "package_bytes": "package size",
    "single_row_ms": "one row",
    "batch_ms": "1,000 rows at once",
    "memory_mib": "memory",
}
WORST = "Where the candidate is weakest: found by a search, not asked by the policy"
_ORDER = list(STATUS)
_TITLE = 200  # characters
_NAMED = 2  # open checks in the headline
_NAMES = 5  # of approvers


@dataclass(frozen=True)
class Headline:
    """`answer` in two or three words, `why` in one sentence, `status` for a mark or a colour."""

    answer: str
    why: str
    status: Status


def status(check: Check) -> Status:
    """What a check means for the answer."""
    if check.state == "PASS":
        return "pass"
    if check.waived:
        return "waived"
    if check.stops:
        return "fail" if check.state == "FAIL" else "undecided"
    nothing = check.state == "INCONCLUSIVE" and not check.blocking and not _defined(check.value)
    return "none" if nothing else "advice"


def state(check: Check) -> str:
    """`fails`, `fails (does not block)`, `undecided (waived)`."""
    now = status(check)
    if now in ("waived", "advice"):
        return f"{'fails' if check.state == 'FAIL' else 'undecided'} ({STATUS[now]})"
    return STATUS[now]


def ordered(checks: Sequence[Check]) -> list[Check]:
    """What blocks first, then what doesn't pass, passes that need a word; then by the policy."""
    return sorted(checks, key=lambda check: (_ORDER.index(status(check)), shows_pass(check)))


def shows_pass(check: Check) -> bool:
    """Whether the interval that is shown says by itself that the check passes.

    The worst of many slices may lie beyond the bound by chance, a cost by noise: such a pass is
    explained and not drawn.
    """
    value, bound = check.value, check.bound
    if check.state != "PASS" or bound is None or value.estimate is None:
        return check.state == "PASS"
    point = value.estimate if value.lower is None else None
    whole = Interval(point, point, point) if point is not None else value
    return decided(whole, bound, check.sense) == "PASS"


def headline(verdict: Verdict) -> Headline:
    """The answer of the gate, as the exit code gives it."""
    if not verdict.passed:
        undecided = verdict.state == "INCONCLUSIVE"
        answer = "Undecided, so no go" if undecided else "No go"
        return Headline(answer, _against(verdict), "undecided" if undecided else "fail")
    unclear = _open(verdict) or alarms(verdict) or _unmeasured(verdict) or _rejudges(verdict)
    if verdict.state == "PASS" and not unclear:
        return Headline("Go", _in_favour(verdict), "pass")
    return Headline("Go, with open questions", _in_favour(verdict), "advice")


def urgent(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those that may not go on first, then those with open questions."""
    return sorted(verdicts, key=lambda verdict: _ORDER.index(headline(verdict).status))


def todo(verdict: Verdict) -> str:
    """What whoever reads the answer can do now."""
    status = headline(verdict).status
    if status == "fail":
        return (
            f"send it back. It goes on when what fails is mended, or {_waived(verdict)}; running "
            "it again gives the same answer."
        )
    if status == "undecided":
        return (
            "don't let it through as it is. More test rows, another metric or a larger margin "
            f"would decide it; or it is {_waived(verdict)}. Running it again gives the same answer."
        )
    where = clean(verdict.environment)
    text = f"it may go on: nothing in the policy of {where} is against it."
    if status == "advice":
        text = f"decide whether what is open below is acceptable in {where}; nothing blocks it."
    if verdict.notes:
        text += " Whoever lets it through also accepts what is noted below about this judgement."
    return text


def _waived(verdict: Verdict) -> str:
    """Who can overrule the answer, and how."""
    by, where = "someone who answers for it", clean(verdict.environment)
    if verdict.waivers_by is not None:
        names = ", ".join(map(clean, verdict.waivers_by[:_NAMES]))
        more = ", …" if len(verdict.waivers_by) > _NAMES else ""
        by = f"an approver of {where} ({names or 'gitops.yaml names none'}{more})"
    return f"waived in the policy by {by}, in a pull request of its own"


def alarms(verdict: Verdict) -> list[Finding]:
    """Alarms that no check has told already, be it that the policy allows for as much."""
    told = [check.why for check in verdict.checks]
    found = (one for one in verdict.findings if one.level == "alarm")
    return [one for one in found if not any(why.startswith(one.text) for why in told)]


def _open(verdict: Verdict) -> list[Check]:
    return [check for check in ordered(verdict.checks) if status(check) in ("waived", "advice")]


def _rejudges(verdict: Verdict) -> bool:
    """It would change what the next models are judged by."""
    kinds = ("policy-changed", "gate-settings-changed", "evaluation-code-changed")
    return any(note.kind in kinds for note in verdict.notes)


def _unmeasured(verdict: Verdict) -> bool:
    """A first model whose quality no check looks at."""
    metric = ("no_worse", "better", "bound")
    return verdict.champion is None and not any(
        check.kind in metric and check.state == "PASS" for check in verdict.checks
    )


def _against(verdict: Verdict) -> str:
    guilty = [check for check in ordered(verdict.checks) if check.stops]
    if not guilty:
        return "the policy doesn't let this through."
    first = guilty[0]
    text = f"{_named(first)}: {clean(first.why, SENTENCE)}" if first.why else _named(first)
    more = len(guilty) - 1
    if not more:
        return text if text.endswith((".", "!", "?", "…")) else f"{text}."
    return f"{text.rstrip('.')}; and {numbers.count(more)} more check{'s' * (more > 1)}."


def _in_favour(verdict: Verdict) -> str:
    every = [status(check) for check in verdict.checks]
    judged = len(every) - every.count("none")
    parts = [f"{numbers.count(every.count('pass'))} of {numbers.count(judged)} checks pass"]
    if judged == 1:
        parts = ["The only check " + ("passes" if "pass" in every else "doesn't pass")]
    open_ = _open(verdict)
    parts += [_named(one) for one in open_[:_NAMED]]
    if len(open_) > _NAMED:
        parts.append(f"and {numbers.count(len(open_) - _NAMED)} more that don't pass")
    if found := len(alarms(verdict)):
        parts.append(f"{numbers.count(found)} alarm{'s' * (found > 1)}")
    if _rejudges(verdict):
        parts.append("this change also alters how models are judged from then on")
    if verdict.champion and verdict.champion.package == verdict.candidate.package:
        parts.append("the package is the champion's, byte for byte")
    if verdict.champion is None:
        parts.append("the first model here: there is no champion to compare it with")
    if _unmeasured(verdict):
        parts.append("no check of the policy asks how good it is (at_least or at_most would)")
    return "; ".join(parts) + "."


def tally(verdicts: Sequence[Verdict]) -> str:
    """`857 of 1,000 models may go on`."""
    passed = sum(verdict.passed for verdict in verdicts)
    return f"{numbers.count(passed)} of {numbers.count(len(verdicts))} models may go on"


def title(check: Check) -> str:
    """What is checked, on which rows."""
    return clean(check.title or check.id, _TITLE)


def _named(check: Check) -> str:
    """In quotes, since what fails is the opposite of what it says."""
    return f"“{title(check)}” {state(check)}"


def sentence(check: Check, usual: float) -> str:
    """A check in one line: what, state, numbers, why."""
    parts = [f"{_named(check)}: {judged(check, usual)}"]
    parts += [f"needs {needs(check)}"] if check.bound is not None else []
    parts.append(f"n = {rows(check)}")
    return "; ".join(filter(None, (", ".join(parts), reason(check))))


def judged(check: Check, usual: float) -> str:
    """The interval that was held against the bound; the reason says why there is none."""
    if not _defined(check.value):
        return "—"
    return numbers.interval(
        check.value, signed=is_difference(check), usual=usual, bound=check.bound
    )


def rows(check: Check) -> str:
    """The rows that it was judged on."""
    return numbers.count(check.rows) if check.rows else "—"


def is_difference(check: Check) -> bool:
    """Whether the judged value is candidate minus champion."""
    return check.kind in ("no_worse", "better")


def needs(check: Check) -> str:
    """`≥ −0.01`: the side of the bound that passes, for all of the interval."""
    if check.bound is None:
        return "—"
    above = ">" if check.kind == "better" else "≥"
    return f"{above if check.sense == 'above' else '≤'} {plain(check.bound)}"


def reason(check: Check) -> str:
    """Why it is so, with the number of rows that would decide."""
    text = clean(check.why, SENTENCE) if check.why else ""
    if check.needed_rows is not None:
        rows = f"about {about(check.needed_rows)}"
        more = f"{rows} rows would decide it"
        text = more if not text else text if rows in text else f"{text}; {more}"
    if check.waived:
        text = f"{text}; waived: {clean(check.waived, SENTENCE)}".removeprefix("; ")
    return text


def waiver(one: Waiver) -> str:
    """Who overruled what, why, and until when."""
    until = "expired on" if one.expired else "until"
    return f"by {clean(one.by)}, {until} {clean(one.until)}: {clean(one.why, SENTENCE)}"


def cells(measure: Measure, usual: float) -> tuple[str, str, str]:
    """Candidate, champion and difference of a metric; why there is no number, in its place."""
    candidate = numbers.interval(measure.candidate, usual=usual)
    if candidate == numbers.UNDEFINED and measure.undefined:
        candidate = f"{candidate}: {clean(measure.undefined, SENTENCE)}"
    champion, difference = "—", "—"
    if measure.champion is not None:
        champion = numbers.interval(measure.champion, usual=usual)
    if measure.difference is not None:
        difference = numbers.interval(measure.difference, signed=True, usual=usual)
    return candidate, champion, difference


def direction(metric: str) -> str:
    """Which way is better."""
    return {"↑": "higher is better", "↓": "lower is better"}.get(arrow(metric), "0 is best")


def arrow(metric: str) -> str:
    """`↑` where more is better, `↓` where less is."""
    known = METRICS.get(metric)
    return {True: "↑", False: "↓", None: "(best at 0)"}[known.up if known else True]


def fairness_title(verdict: Verdict) -> str:
    """Whether it is judged, or only shown."""
    judged = any(check.kind == "fairness" for check in verdict.checks)
    return "Fairness" if judged else "Fairness, which no check of the policy judges"


def gap(criterion: str) -> str:
    """What is compared between groups, in a sentence."""
    return GAPS.get(criterion, "")


def meaning(metric: str) -> str:
    """What a metric is, in a sentence; empty for an expression."""
    known = METRICS.get(metric)
    return known.meaning if known else ""


def badness(measure: Measure) -> tuple[float, float]:
    """Sorts the worst slice first: by what it lost against the champion, else by its value."""
    sign = -1 if arrow(measure.metric) == "↓" else 1
    for one in (measure.difference, measure.candidate):
        if one is not None and one.estimate is not None and one.estimate == one.estimate:
            return 0.0, sign * one.estimate
    return 1.0, 0.0


def level(measures: Sequence[Measure], usual: float) -> float:
    """The level of all these intervals, where they have one."""
    levels = {one.candidate.level for one in measures if one.candidate.lower is not None}
    return levels.pop() if len(levels) == 1 else usual


def methods(verdict: Verdict) -> list[str]:
    """The procedures behind the intervals, each once."""
    found = dict.fromkeys(
        one.method for one in (*verdict.measures, *verdict.slices, *verdict.worst) if one.method
    )
    return [clean(method) for method in found]


def compared(verdict: Verdict) -> str:
    """Who was compared, on which rows, by which policy."""
    rows = f"{numbers.count(verdict.test_set.rows)} test rows"
    if verdict.test_set.changed:
        rows += " of a changed test set"
    if verdict.test_set.excluded:
        rows += f" ({numbers.count(verdict.test_set.excluded)} left out: a model trained on them)"
    against = (
        f"against champion {verdict.champion.commit[:10]}"
        if verdict.champion
        else "without a champion"
    )
    policy = f"policy {clean(verdict.policy)} ({clean(verdict.policy_source)})"
    return f"candidate {verdict.candidate.commit[:10]} {against} on {rows}, {policy}"


def _defined(value: Interval) -> bool:
    return numbers.interval(value) != numbers.UNDEFINED
