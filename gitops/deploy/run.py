"""The reconciler of one place at work: a look at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Literal

from gitops.deploy.model import Desired
from gitops.deploy.reconcile import Reconciler
from gitops.deploy.state import State
from gitops.deploy.traffic import Progress, Traffic
from gitops.errors import EvidenceError, GitopsError, ToolError

_PROGRESS = "progress.json"
TICK = 2.0  # seconds between two looks at server and evidence
LOOK = 15.0  # seconds between two looks at the remote
LONGEST = 60.0  # the same, after one that failed
TRIES = 3  # of rolling a branch back, before one that waits for the verdict gives up


@dataclass(frozen=True)
class Standing:
    """A model at the end of a look: what is assigned, what answers, and how far a rollout is."""

    model: str
    state: Literal["running", "rolling_out", "undoing", "rolled_back", "failed"]
    release: str
    package: str
    why: str = ""
    progress: Progress | None = None


def remembered(state: State) -> list[Standing]:
    """How it stood at a reconciler's last look, whichever it was."""
    found = state.read(_PROGRESS) or {"models": []}
    return [
        Standing(**one | {"progress": Progress(**one["progress"]) if one["progress"] else None})
        for one in found["models"]
    ]


@dataclass
class Watcher:
    """One reconciler over its life. `rolled_back` has what was rolled back by its own traffic."""

    reconciler: Reconciler
    traffic: Traffic
    show: Callable[[list[Standing]], None]
    rolled_back: dict[str, str] = field(default_factory=dict)
    desired: Desired | None = None
    due: float = 0.0
    sendable: float = 0.0
    said: dict[str, str] = field(default_factory=dict)
    ailing: str = ""

    def look(self) -> None:
        """What the state folder says, then what the remote says.

        Raises:
            ToolError: the remote can't be read; what the state folder says runs even so.
            GitopsError: as `Source.desired`, `Reconciler.reconcile`.
        """
        self.reconciler.target.recall()
        healed = self._healed()
        try:
            self.desired = self.reconciler.source.desired()
        except ToolError as error:
            if healed:
                error.message += "; what ran before runs, by the state folder"
            raise
        self.due = time.monotonic() + LOOK
        self.reconciler.reconcile(self.desired)

    def tick(self) -> None:
        """One look at the evidence of every rollout, and what follows from it."""
        back = False
        for model, under in self.reconciler.state.under_way().items():
            try:
                if why := self.traffic.advance(model, under):
                    self.rolled_back[model] = why
                    back = True
                if under.phase == "undoing" and model in self.reconciler.faults:
                    continue  # said already, and not yet time to try again
                self.reconciler.faults.pop(model, None)
            except GitopsError as error:
                self.reconciler.faults[model] = error
        if back:
            self.look()  # the branch has moved: its assignment is another one now
        standings = self.standings()
        if any(one.progress for one in standings):
            told = {"version": 1, "models": [asdict(one) for one in standings]}
            with suppress(ToolError):  # a full disk: only whoever watches misses it
                self.reconciler.state.write(_PROGRESS, told)
        self.show(standings)

    def once(self) -> bool:
        """Exactly one reconciliation; whether all records could be pushed."""
        try:
            self.look()
        except ToolError:
            self.tick()  # the traffic is judged even so
            raise
        self.tick()
        return self.sent()

    def proceed(self) -> None:
        """One more look on the way to a verdict; a remote that doesn't answer is only said."""
        try:
            self._again()
        except ToolError as error:
            self._tell({self.reconciler.names[1]: error.message})
        self.tick()
        self._send()

    def waits(self) -> bool:
        """Whether a rollout is under way that waiting may bring forward."""
        for model, under in self.reconciler.state.under_way().items():
            if model not in self.reconciler.faults:
                return True
            if under.phase == "undoing" and self.traffic.tries.get(model, 0) < TRIES:
                return True
        return False

    def turn(self) -> None:
        """One look of those that go on for ever: whatever fails is said once, and tried again."""
        said = {}
        for work in (self._again, self.tick, self._send):
            try:
                work()
            except GitopsError as error:
                said[self.reconciler.names[1]] = error.message
        faults = self.reconciler.faults.items()
        self._tell(said | {model: fault.message for model, fault in faults})

    def standings(self) -> list[Standing]:
        """Every model that is served, or should be."""
        plan = self.reconciler.state.plan()
        under, found = self.reconciler.state.under_way(), []
        names = set(plan.models if plan else ()) | set(self.reconciler.faults)
        for model in sorted(names):
            champion = plan.models[model].champion if plan and model in plan.models else None
            release = champion.release if champion else ""
            package = champion.package if champion else ""
            if model in self.reconciler.faults:
                fault = self.reconciler.faults[model].message
                found.append(Standing(model, "failed", release, package, fault))
            elif model in under:
                one = under[model]
                state: Literal["undoing", "rolling_out"] = (
                    "undoing" if one.phase == "undoing" else "rolling_out"
                )
                progress = self.traffic.progress.get(model)
                found.append(Standing(model, state, release, package, one.why, progress))
            elif model in self.rolled_back:
                why = self.rolled_back[model]
                found.append(Standing(model, "rolled_back", release, package, why))
            else:
                found.append(Standing(model, "running", release, package))
        return found

    # ------------------------------------------------------------ steps

    def _healed(self) -> bool:
        try:
            healed, said = self.reconciler.heal(), ""
        except (EvidenceError, ToolError) as error:
            healed, said = False, f"what the state folder says can't be served: {error.message}"
        if said and said != self.ailing:
            self.reconciler.say(said)
        self.ailing = said
        return healed

    def _again(self) -> None:
        """Heal; and where it is time for it, ask the remote. Raises as `look`.

        One that doesn't answer is asked less often: it may take minutes to say nothing.
        """
        self.reconciler.target.recall()
        self._healed()
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + LONGEST
        if self.desired is None or self.reconciler.source.changed():
            self.look()
        else:
            self.reconciler.reconcile(self.desired)
        self.due = time.monotonic() + LOOK

    def _tell(self, said: dict[str, str]) -> None:
        """Say what wasn't said at the last look, too."""
        for name, text in said.items():
            if self.said.get(name) != text:
                self.reconciler.say(f"{name}: {text}")
        self.said = said

    def _send(self) -> None:
        """Push records that wait, unless that has just failed."""
        if time.monotonic() >= self.sendable and not self.sent():
            self.sendable = time.monotonic() + LONGEST

    def sent(self) -> bool:
        """Push the records that wait; whether all could be."""
        return self.reconciler.book.send(self.reconciler.source, self.reconciler.say)
