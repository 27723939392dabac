"""A rollout under way: a verdict on its traffic, and what follows from it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from gitops.deploy import decide
from gitops.deploy.model import Course, Served, Under
from gitops.deploy.reconcile import Reconciler
from gitops.errors import EvidenceError, GitopsError, ToolError
from gitops.rollout import Verdict, record

Json = dict[str, Any]
_AGAIN = (5.0, 10.0, 20.0, 40.0, 60.0)  # seconds between tries to roll a branch back


@dataclass(frozen=True)
class Progress:
    """Where a rollout is, for people: `verdict` is what `rollout.record` says of the last look."""

    release: str
    champion: str
    phase: str
    step: int
    steps: tuple[int | str, ...]
    each: int
    until: int
    started: str
    verdict: Json


@dataclass
class Traffic:
    """The rollouts of an environment, by model.

    `progress` has the last look at each; `tries` how often its branch could not be rolled back.
    """

    reconciler: Reconciler
    progress: dict[str, Progress] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    _next: dict[str, float] = field(default_factory=dict)

    def advance(self, model: str, under: Under) -> str:
        """Look at the evidence, and do what follows; why it was rolled back, else "".

        Raises:
            GitopsError: the branch can't be rolled back (the traffic is, already), or as
                `Target.apply`.
        """
        plan = self.reconciler.state.plan()
        served = plan.models.get(model) if plan else None
        if served is None or under.phase == "testing":
            return ""
        if under.phase == "undoing":
            return self._undo(model, under, served, under.why)
        if self.reconciler.course is not None:
            return self._watch(model, under, served, self.reconciler.course())
        if served.champion.package == under.release.package:
            self._promoted(model, under)  # killed before it was said
            return ""
        verdict = self.reconciler.verdict(model, under)
        if verdict.state in ("rollback", "unusable"):
            return self._undo(model, under, served, verdict.why)
        if served.challenger is None:
            # Killed right after the traffic went back, by evidence that is gone since.
            return self._undo(model, under, served, "the rollout was interrupted")
        if verdict.state == "promote":
            self._promote(model, under, served, verdict.why)
            return ""
        self._step(model, under, served, verdict)
        return ""

    def _watch(self, model: str, under: Under, served: Served, course: Course) -> str:
        """What a target that shifts traffic by itself has come to."""
        if served.champion.package != under.release.package:
            return self._undo(model, under, served, "the rollout was interrupted")
        if course.state == "aborted":
            return self._undo(model, under, served, course.why)
        if course.state == "healthy":
            self._promoted(model, under)
        elif course.why != self.said.get(model):
            self.said[model] = course.why
            self.reconciler.say(f"{under.release.name}: {course.why}")
        return ""

    def _step(self, model: str, under: Under, served: Served, verdict: Verdict) -> None:
        """Go to the step that is due; it never goes back."""
        due = replace(under, step=max(under.step, verdict.step or 0))
        if due.step != under.step:
            self.reconciler.say(f"{under.release.name}: {decide.shown(due)} ({verdict.why})")
            self.reconciler.state.put_under_way(model, due)
        split = decide.stepped(served, due)
        if split != served:
            self.reconciler.apply(model, split)
        self._show(model, due, verdict)

    def _promote(self, model: str, under: Under, served: Served, why: str) -> None:
        """The challenger becomes the champion."""
        assert served.challenger is not None  # noqa: S101
        self.reconciler.say(f"{under.release.name}: {why}")
        self.reconciler.apply(model, self.reconciler.alone(served.challenger, served))
        self._promoted(model, under)

    def _promoted(self, model: str, under: Under) -> None:
        self.reconciler.running(under.release, under.started, under.champion.package)
        self.reconciler.state.put_under_way(model, None)
        self.progress.pop(model, None)

    def _undo(self, model: str, under: Under, served: Served, why: str) -> str:
        """The champion answers at once; then the branch, its tags and the record say so, too."""
        if served.challenger is not None or served.champion.package == under.release.package:
            self.reconciler.say(f"{under.release.name}: {why}; {under.champion.release} answers")
            self._give_back(model, under, served)
        undoing = replace(under, phase="undoing", why=why)
        if undoing != under:
            self.reconciler.state.put_under_way(model, undoing)
        self.progress.pop(model, None)
        if time.monotonic() < self._next.get(model, 0.0):
            return ""
        try:
            self.reconciler.source.roll_back(model, under.champion.release, why)
        except GitopsError as error:
            tried = self.tries[model] = self.tries.get(model, 0) + 1
            self._next[model] = time.monotonic() + _AGAIN[min(tried, len(_AGAIN)) - 1]
            error.message = (
                f"{under.champion.release} answers again, but the branch could not be rolled back:"
                f" {error.message}"
            )
            raise
        self.reconciler.note(
            "rolled_back", under.release, under.started, under.champion.package, why
        )
        self.reconciler.state.put_under_way(model, None)
        return why

    def _give_back(self, model: str, under: Under, served: Served) -> None:
        """The plan is what counts: a server that is down follows it when it is up again."""
        try:
            self.reconciler.apply(model, self.reconciler.alone(under.champion, served))
        except (EvidenceError, ToolError) as error:
            self.reconciler.say(f"{model}: {error.message}")

    def _show(self, model: str, under: Under, verdict: Verdict) -> None:
        self.progress[model] = Progress(
            release=under.release.name,
            champion=under.champion.release,
            phase=under.phase,
            step=under.step,
            steps=under.policy.steps,
            each=under.policy.each,
            until=under.policy.until,
            started=under.started,
            verdict=record(verdict),
        )
