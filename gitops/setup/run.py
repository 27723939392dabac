"""Plan, apply, and look whether the forge has what was wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gitops.errors import ToolError
from gitops.forge.client import Refused, Unavailable, Unsure
from gitops.setup.model import Place, Setting, Step, same, step

State = Literal["done", "so already", "failed", "changed meanwhile", "not tried"]


@dataclass(frozen=True)
class Outcome:
    """What became of a step, and why not."""

    step: Step
    state: State
    problem: str = ""
    fix: str = ""


def compare(place: Place, settings: Sequence[Setting]) -> tuple[Step, ...]:
    """Read every setting, and say what has to be done; nothing is written.

    Raises:
        ToolError: there's no token, or the forge can't be reached.
    """
    return tuple(_look(place, one) for one in settings)


def _look(place: Place, setting: Setting) -> Step:
    try:
        return step(setting, place.read(setting.kind, setting.name))
    except Refused as error:
        plan = isinstance(error, Unavailable)
        return Step(setting, "blocked", None, {}, (), error.message, error.fix, plan)


def apply(place: Place, steps: Sequence[Step], say: Callable[[str], None]) -> tuple[Outcome, ...]:
    """Do the steps in order, each only if its setting is still as the plan saw it.

    A refusal stops its own step alone; a forge that can't be reached stops the rest. At the end
    everything is read again: what isn't as wanted has failed, whatever the forge answered.
    """
    found: list[Outcome] = []
    lost = False
    for one in steps:
        if one.action == "keep":
            found.append(Outcome(one, "so already"))
        elif one.action == "blocked":
            found.append(Outcome(one, "failed", one.problem, one.fix))
        elif lost:
            found.append(Outcome(one, "not tried"))
        else:
            outcome, lost = _do(place, one)
            say(f"{outcome.state}: {one.setting.title}")
            found.append(outcome)
    return tuple(found if lost else [_read_back(place, one) for one in found])


def _do(place: Place, one: Step) -> tuple[Outcome, bool]:
    """The outcome, and whether the forge is lost."""
    kind, name = one.setting.kind, one.setting.name
    try:
        now = place.read(kind, name)
        if _differs(now, one):
            if now is not None and step(one.setting, now).action == "keep":
                return Outcome(one, "so already"), False
            return Outcome(one, "changed meanwhile", "somebody else changed it", _AGAIN), False
        try:
            place.write(kind, name, one.have, one.value)
        except Unsure:
            if step(one.setting, place.read(kind, name)).action != "keep":
                raise
    except ToolError as error:
        lost = not isinstance(error, Refused | Unsure)
        return Outcome(one, "failed", error.message, error.fix), lost
    return Outcome(one, "done"), False


_AGAIN = "look at the new plan, and run it again"


def _differs(now: object, one: Step) -> bool:
    return (now is None) != (one.have is None) or (now is not None and not same(now, one.have))


def _read_back(place: Place, outcome: Outcome) -> Outcome:
    if outcome.state not in ("done", "so already"):
        return outcome
    after = _look(place, outcome.step.setting)
    if after.action == "keep":
        return outcome
    different = ", ".join(change.at for change in after.changes)
    text = after.problem or f"the forge took it, but has something else: {different or 'nothing'}"
    return Outcome(
        outcome.step, "failed", text, after.fix or "does an organization's rule undo it?"
    )
