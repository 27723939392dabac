"""A deployment as it goes: a live table on a terminal, lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import sys
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from gitops.cli import screen

if TYPE_CHECKING:
    from gitops.deploy.run import Standing

Mode = Literal["quiet", "lines", "live", "json"]
_HEAD = ["MODEL", "ANSWERS", "STATE", "CHALLENGER", "STEP", "UNITS", "DIFFERENCE", "GUARDRAILS"]
_MESSAGES = 8


@dataclass
class Show:
    """What one sees of each look; in the live table the last messages stand below it."""

    title: str
    mode: Mode
    _messages: deque[str] = field(default_factory=lambda: deque(maxlen=_MESSAGES))
    _last: object = None

    def say(self, text: str) -> None:
        """A line of progress."""
        if self.mode == "live":
            self._messages.append(text)
        else:
            screen.say(text)

    def __call__(self, standings: list[Standing]) -> None:
        if self.mode == "quiet":
            return
        shown = [as_json(one) for one in standings]
        if self.mode == "live":
            self._draw(standings)
        elif shown != self._last and self.mode == "json":
            screen.out(json.dumps({"environment": self.title, "models": shown}))
        elif shown != self._last:
            for one in standings:
                screen.out("  ".join(cell for cell in row_of(one) if cell != "-"))
        self._last = shown

    def _draw(self, standings: list[Standing]) -> None:
        sys.stdout.write("\x1b[H\x1b[2J")
        screen.out(f"{screen.style(self.title, 'bold')}  (Ctrl-C ends watching)")
        screen.out()
        screen.table(_HEAD, [row_of(one) for one in standings])
        for one in standings:
            if one.progress is not None:
                screen.out(f"  {one.model}: {one.progress.verdict['why']}")
            elif one.why:
                screen.out(f"  {one.model}: {one.why}")
        screen.out()
        for text in self._messages:
            screen.out(screen.style(f"· {text}", "dim"))


def mode_of(watch: bool, follow: bool, as_json: bool) -> Mode:
    """How a deployment is shown."""
    if as_json:
        return "json" if watch or follow else "quiet"
    if not watch:
        return "quiet"
    return "live" if sys.stdout.isatty() else "lines"


def row_of(one: Standing) -> list[str]:
    """A model in the columns of the table."""
    state = one.state.replace("_", " ")
    if one.progress is None:
        return [one.model, one.release or "-", state, "-", "-", "-", "-", "-"]
    now = one.progress
    step = f"{now.step + 1}/{len(now.steps)} {_step(now.steps[now.step])}"
    needs = f", about {now.verdict['needs']} more" if now.verdict["needs"] else ""
    units = f"{now.verdict['seen']} of at most {now.until} (each step {now.each}{needs})"
    return [
        one.model,
        one.release,
        state,
        now.release,
        step,
        units,
        _difference(now.verdict),
        _guardrails(now.verdict),
    ]


def _step(step: int | str) -> str:
    return str(step) if isinstance(step, str) else f"{step} %"


def _difference(verdict: dict[str, Any]) -> str:
    """The last kind of difference that there is an estimate of, with its always-valid bounds."""
    known = [one for one in verdict["differences"] if one["estimate"] is not None]
    if not known:
        return "-"
    last = known[-1]
    ends = ["?" if end is None else f"{end:+.3f}" for end in (last["lower"], last["upper"])]
    return (
        f"{verdict['metric']} {last['estimate']:+.3f} [{', '.join(ends)}],"
        f" margin {verdict['margin']:g}"
    )


def _guardrails(verdict: dict[str, Any]) -> str:
    parts = [f"{one['name']} {one['count']}/{one['of']}" for one in verdict["guardrails"]]
    return ", ".join(parts) or "-"


def as_json(one: Standing) -> dict[str, Any]:
    """A model for programs."""
    return asdict(one)
