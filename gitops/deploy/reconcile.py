"""The target runs what the environment's branch says: every model, step by step, safely.

The order of writes is what makes a kill harmless: the plan says what is served, and is right
whatever else was not written yet; what is under way is known before its first step is taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from gitops import package, utc
from gitops.config.serving import Rollout
from gitops.deploy import decide, smoke
from gitops.deploy.book import Book
from gitops.deploy.decide import Decision
from gitops.deploy.model import (
    Course,
    Desired,
    Plan,
    Release,
    Served,
    Source,
    Under,
    Variant,
    Wanted,
    variants_of,
)
from gitops.deploy.record import Happened
from gitops.deploy.state import State
from gitops.deploy.stock import Stock
from gitops.deploy.target import Target
from gitops.errors import EvidenceError, GitopsError, ToolError, UsageError
from gitops.rollout import Verdict

Json = dict[str, Any]
Judge = Callable[[str, Under], Verdict]


@dataclass(frozen=True)
class Failed:
    """An assignment that could not be deployed, and until when it isn't tried again."""

    assignment: str
    error: GitopsError
    until: float


@dataclass(frozen=True)
class Change:
    """A model's way from what is served (None: nothing yet) to what is wanted.

    `serve` is how the plan says that it answers, `rollout` how it comes to traffic, `started` when
    this was first tried.
    """

    wanted: Wanted
    served: Served | None
    serve: Json
    rollout: Rollout
    started: str

    @property
    def release(self) -> Release:
        return self.wanted.release


@dataclass(frozen=True)
class Reconciler:
    """`target` serves what `state` has, for one environment; `source` says what that should be.

    `names` are project and environment. `judge` gives the verdict on a challenger's traffic so far.
    `patience` are the seconds until it tries an assignment that failed again. `course`: of a target
    that brings a new champion to traffic by itself, how it is getting on; `judge` isn't asked then.
    """

    names: tuple[str, str]
    state: State
    target: Target
    source: Source
    book: Book
    judge: Judge
    say: Callable[[str], None]
    patience: float = 0.0
    faults: dict[str, GitopsError] = field(default_factory=dict)
    failed: dict[str, Failed] = field(default_factory=dict)
    noted: set[str] = field(default_factory=set)
    course: Callable[[], Course] | None = None

    @property
    def stock(self) -> Stock:
        return Stock(self.state, self.source, self.say)

    def heal(self) -> bool:
        """Serve what the state folder says, without asking anybody; False: it says nothing.

        Raises:
            EvidenceError, ToolError: as `Target.apply`.
        """
        plan = self.state.plan()
        if plan is None or not plan.models:
            return False
        if self._apart(plan):
            self.say("starting what the state folder says")
            self.target.apply(plan)
        return True

    def reconcile(self, desired: Desired) -> None:
        """Make the target what is desired, as far as that is done at once: a rollout is begun.

        A model that can't be deployed doesn't keep others from it: `faults` has them.

        Raises:
            ConfigError: the environment is for a target that isn't there.
        """
        self.target.place(desired)
        self.faults.clear()
        self.faults.update(desired.faults)
        for note in desired.notes:
            if note not in self.noted:
                self.noted.add(note)
                self.say(note)
        plan = self.state.plan()
        running = set(plan.models) if plan else set()
        lost = self.stock.mend(plan)
        for model in sorted(running | set(desired.models)):
            if model in desired.faults:
                continue
            try:
                self._model(desired, model)
            except (EvidenceError, ToolError, UsageError) as error:
                self.faults[model] = error
        plan = self.state.plan()
        for variant in variants_of(plan):
            if variant in lost:  # it is served still, from memory, and can't be started again
                self.faults.setdefault(variant.release.partition("@")[0], lost[variant])
        if plan and plan.models and self._apart(plan):
            # Another generation: what was refused before may be here now.
            self.target.apply(replace(plan, generation=plan.generation + 1))
        under = [one.release for one in self.state.under_way().values()]
        before = [one for model in self.book.models() if (one := self.book.previous(model))]
        self.stock.tidy([*variants_of(self.state.plan()), *before], under)

    def _apart(self, plan: Plan) -> bool:
        """Whether the target doesn't serve this plan where it should."""
        now = self.target.observe()
        return now.generation != plan.generation or not now.fits

    def _model(self, desired: Desired, model: str) -> None:
        wanted = desired.models.get(model)
        plan = self.state.plan()
        served = plan.models.get(model) if plan else None
        under = self.state.under_way().get(model)
        serve = decide.serve_of(wanted)
        if self.course and _handed_over(wanted, served, under):
            assert under is not None  # noqa: S101
            self.state.put_under_way(model, replace(under, phase="stepping"))
            return
        policy = Rollout() if self.course else desired.rollout
        found = decide.decide(wanted, served, under, policy, desired.held, serve)
        if under and found.gone:
            self._end(under, found.gone)
        if found.kind == "remove":
            self.say(f"{model}: {found.why}")
            self.apply(model, None)
            return
        if wanted is None:
            return
        if found.kind in ("nothing", "go_on", "undo"):
            if found.kind == "nothing" and not self.book.says_running(wanted.release):
                # Killed before it was noted.
                self.running(wanted.release, utc.now(), self._replaced(wanted.release))
            return
        last = self.failed.get(model)
        if last and last.assignment == wanted.release.assignment and time.monotonic() < last.until:
            raise last.error
        started = under.started if under and not found.gone else utc.now()
        change = Change(wanted, served, serve, desired.rollout, started)
        try:
            self._change(change, found)
        except (EvidenceError, ToolError, UsageError) as error:
            until = time.monotonic() + self.patience
            self.failed[model] = Failed(wanted.release.assignment, error, until)
            self._put_down(change, error)
            raise

    def _change(self, change: Change, found: Decision) -> None:
        release, served, serve = change.release, change.served, change.serve
        handed_over = self.course and served is not None and found.kind in ("swap", "roll_out")
        if handed_over:
            self.say(f"{release.name}: tested aside, then for the place to bring to traffic")
        else:
            self.say(f"{release.name}: {_WORDS[found.kind]} ({found.why})")
        variant = self.stock.laid_out(change.wanted)
        if served is not None and handed_over:
            self._hand_over(change, served, variant)
            return
        if served is not None and found.kind == "roll_out":
            self._begin(change, served, variant)
            return
        if found.kind == "first":
            alone = decide.alone(variant, serve)
            trial = decide.with_model(None, release.model, alone, self.names)
            with self.target.aside(trial) as at:
                self._test(at, change.wanted, variant)
        elif found.kind == "swap" and served is not None:
            self.book.keep(release.model, served.champion)
            self.apply(release.model, decide.loaded(served, variant, serve))
            self._test(self.target, change.wanted, variant)
        last = replace(served, serve=serve) if served else Served(variant, serve)
        self.apply(release.model, self.alone(variant, last))
        self.state.put_under_way(release.model, None)
        before = served.champion.package if served else ""
        self.running(release, change.started, before if before != release.package else "")

    def _begin(self, change: Change, served: Served, variant: Variant) -> None:
        """Load the challenger, test it, and let it have the first step's traffic."""
        release = change.release
        under = self._under_way(change, served)
        served = decide.loaded(served, variant, change.serve)
        self.apply(release.model, served)
        self._test(self.target, change.wanted, variant)
        self.judge(release.model, under)  # can it be judged at all? Better now than with traffic
        under = replace(under, phase="stepping", since=self.target.mark(release.model))
        self.state.put_under_way(release.model, under)
        self.apply(release.model, decide.stepped(served, under))
        self.say(f"{release.name}: {decide.shown(under)}")

    def _under_way(self, change: Change, served: Served) -> Under:
        """It is known before its first step is taken, and so is what runs before it."""
        model = change.release.model
        under = Under(change.release, served.champion, change.rollout, "testing", change.started)
        self.state.put_under_way(model, under)
        self.book.keep(model, served.champion)
        return under

    def _hand_over(self, change: Change, served: Served, variant: Variant) -> None:
        """Test the new champion aside, and let the target bring it to traffic."""
        model = change.release.model
        under = self._under_way(change, served)
        after = self.alone(variant, replace(served, serve=change.serve))
        with self.target.aside(decide.with_model(None, model, after, self.names)) as at:
            self._test(at, change.wanted, variant)
        self.apply(model, after)
        self.state.put_under_way(model, replace(under, phase="stepping"))

    def verdict(self, model: str, under: Under) -> Verdict:
        """On all that the challenger's traffic has shown up to now. Raises as `judge`, and
        ToolError if the place's log can't be had."""
        self.target.collect(model)
        return self.judge(model, under)

    def running(self, release: Release, started: str, replaces: str) -> None:
        """It answers everybody: say so, and record it."""
        self.say(f"{release.name} runs (package {release.package[:12]})")
        self.note("running", release, started, replaces)

    def note(
        self, happened: Happened, release: Release, started: str, replaces: str = "", why: str = ""
    ) -> None:
        """Put on record what became of an assignment."""
        self.book.note(
            happened,
            release,
            target=(self.target.kind, self.target.listening()),
            by=self.source.who(),
            started=started,
            replaces=replaces,
            why=why,
        )

    def _replaced(self, release: Release) -> str:
        before = self.book.previous(release.model)
        return before.package if before and before.package != release.package else ""

    def _put_down(self, change: Change, error: GitopsError) -> None:
        """What ran goes on alone; what failed is on record."""
        release, served = change.release, change.served
        plan = self.state.plan()
        now = plan.models.get(release.model) if plan else None
        if served is None and now is not None:
            self._put_back(release.model, None)
        elif served is not None and now != served:
            # A target that shares out versions by itself goes back to just what ran at once.
            back = served if self.course else self.alone(served.champion, now or served)
            self._put_back(release.model, back)
        self.state.put_under_way(release.model, None)
        replaces = served.champion.package if served else ""
        self.note("failed", release, change.started, replaces, error.message)

    def _put_back(self, model: str, served: Served | None) -> None:
        try:
            self.apply(model, served)
        except (EvidenceError, ToolError) as error:
            self.say(f"{model}: what ran before can't be served either: {error.message}")

    def _end(self, under: Under, why: str) -> None:
        """A challenger that was under way and is no longer wanted: on record, and forgotten."""
        self.say(f"{under.release.name}: {why}")
        self.note("rolled_back", under.release, under.started, under.champion.package, why)
        self.state.put_under_way(under.release.model, None)

    # ------------------------------------------------------------ plan, files, tests

    def alone(self, champion: Variant, before: Served) -> Served:
        """This version answers everybody, and takes what callers of the others send."""
        others = [one for one in (before.champion, before.challenger) if one]
        sent = set(before.ignore).union(*(self.stock.inputs(one.package) for one in others))
        return decide.alone(champion, before.serve, sent - self.stock.inputs(champion.package))

    def apply(self, model: str, served: Served | None) -> None:
        """Serve this of one model beside the others; nothing left to serve is a stop.

        Raises:
            EvidenceError, ToolError: as `Target.apply`.
        """
        plan = decide.with_model(self.state.plan(), model, served, self.names)
        if plan.models:
            self.target.apply(plan)
        else:
            self.target.stop()
            self.state.put_plan(plan)

    def _test(self, at: Target, wanted: Wanted, variant: Variant) -> None:
        """The contract tests, against a version that has no traffic.

        Raises:
            EvidenceError: it fails them.
        """
        release = wanted.release
        found = package.read(self.state.package(variant.package))
        rows = smoke.drawn(found.signature, found.reference, seed=release.package)
        expected = None if wanted.serve.script else self.source.scored(release, found, rows)
        smoke.require(
            lambda body: at.ask(release.model, release.version, body),
            found.signature,
            rows,
            expected,
        )


def _handed_over(wanted: Wanted | None, served: Served | None, under: Under | None) -> bool:
    """Whether the target has been given what is wanted, and brings it to traffic."""
    return (
        wanted is not None
        and served is not None
        and under is not None
        and under.phase != "undoing"
        and under.release.assignment == wanted.release.assignment
        and served.champion.package == wanted.release.package
    )


_WORDS = {
    "first": "tested aside, then served",
    "settle": "alone again",
    "swap": "at once, after its tests",
    "roll_out": "step by step, after its tests",
}
