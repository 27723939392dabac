"""What checks on metrics ask and answer, in words."""

from __future__ import annotations

from gitops.validate.figures import about, beside, plain
from gitops.validate.model import Interval, State
from gitops.validate.policy import Asked
from gitops.validate.stats import Sense

_FAR = 100  # times the rows: nobody has as many


def aim(one: Asked) -> tuple[float, Sense]:
    """The bound, and the side of it that passes; of comparisons on the oriented difference."""
    rule = one.rule
    if rule.no_worse_than_champion is not None:
        return 0.0 - rule.no_worse_than_champion.margin, "above"
    if rule.better_than_champion is not None:
        return rule.better_than_champion.by, "above"
    if rule.at_least is not None:
        return rule.at_least, "above"
    return float(rule.at_most or 0), "below"


def title(one: Asked) -> str:
    """What is asked, in words."""
    rule = one.rule
    what = rule.metric or f"{one.name} = {rule.expression}"
    if rule.no_worse_than_champion is not None:
        return f"{what} no worse (margin {plain(rule.no_worse_than_champion.margin)})"
    if rule.better_than_champion is not None:
        return f"{what} better (by more than {plain(rule.better_than_champion.by)})"
    return f"{what} {'at least' if rule.at_least is not None else 'at most'} {plain(aim(one)[0])}"


def why(
    one: Asked,
    state: State,
    value: Interval,
    bound: float,
    rows: int,
    undefined: str,
    needed: int | None,
) -> str:
    """Which side of the bound it is on, as far as is known."""
    if undefined or value.estimate is None:
        return f"not defined: {undefined or 'no number'} ({rows:,} rows)"
    sure = confidence(one)
    if state == "INCONCLUSIVE":
        text = f"it is between {told(value.lower, bound)} and {told(value.upper, bound)}"
        text += " than the champion"
        if not one.rule.compares:
            text = f"it is between {beside(value.lower, bound)} and {beside(value.upper, bound)}"
        return f"{text} {sure}: {too_few(value, bound, aim(one)[1], rows, needed)}"
    least = (state == "PASS") == (aim(one)[1] == "above")
    end = value.lower if least else value.upper
    edge = "at least" if least else "at most"
    if not one.rule.compares or end is None:
        return f"it is {edge} {beside(end, bound)} {sure}"
    if end >= 0:
        return f"it is better by {edge} {beside(end, bound)} {sure}"
    return f"it is worse by {'at most' if least else 'at least'} {beside(-end, -bound)} {sure}"


def confidence(one: Asked) -> str:
    """How sure a one-sided bound is."""
    return f"({100 * one.confidence:.4g}% confidence)"


def too_few(value: Interval, bound: float, sense: Sense, rows: int, needed: int | None) -> str:
    """That it can't be decided, how many rows it takes, and which answer they would give."""
    text = f"{rows:,} rows are too few to decide"
    if needed is None or value.estimate is None:
        return text
    if needed > _FAR * rows:
        return f"{text}; it is so near to the bound that about {about(needed)} would be needed"
    good = (value.estimate > bound) == (sense == "above")
    probably = "in its favour" if good else "against it"
    return f"{text}; about {about(needed)} would, probably {probably}"


def told(end: float | None, bound: float) -> str:
    """An end of a difference of which up is better."""
    if end is None or end >= 0:
        return f"{beside(end, bound)} better"
    return f"{beside(-end, -bound)} worse"
