"""All places of an environment, one after another: once, until the verdict, or for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from gitops.config.deploy import KINDS
from gitops.deploy.run import TICK, Standing, Watcher
from gitops.errors import AnswerNo, GitopsError

_T = TypeVar("_T")


@dataclass
class Fleet:
    """A watcher for each kind of place that is used; `make` makes one when it is first needed.

    `kinds` are those that are known to be used; the branch may name more. What fails at one place
    keeps no other from its turn.
    """

    kinds: list[str]
    make: Callable[[str], Watcher]
    show: Callable[[list[Standing]], None]
    watchers: dict[str, Watcher] = field(default_factory=dict)

    def once(self) -> bool:
        """Exactly one reconciliation of each; whether all records could be pushed.

        Raises:
            GitopsError: the first that went wrong, after all had their turn.
        """
        return all(self._each(Watcher.once))

    def until_verdict(self, timeout: float | None) -> bool:
        """Until no rollout is under way, or it can't go on; whether all records could be pushed.

        Raises:
            AnswerNo: `timeout` seconds are over before.
            GitopsError: as `once`.
        """
        deadline = time.monotonic() + timeout if timeout is not None else None
        self.once()
        while any(one.waits() for one in self.watchers.values()):
            if deadline is not None and time.monotonic() > deadline:
                raise AnswerNo(
                    f"no verdict within {timeout:g} seconds: the rollout stands where it is",
                    fix="gitops deploy goes on with it; gitops deploy --watch shows what it needs",
                )
            time.sleep(TICK)
            self._each(Watcher.proceed)
        sent = [one.sent() for one in self.watchers.values()]
        return all(sent)

    def follow(self) -> None:
        """For ever."""
        while True:
            self._each(Watcher.turn)
            time.sleep(TICK)

    def stop(self) -> bool:
        """Stop serving everywhere; whether anything was."""
        stopped = [self.watcher(kind).reconciler.target.stop() for kind in self.kinds]
        return any(stopped)

    def watcher(self, kind: str) -> Watcher:
        """Raises AnswerNo if another reconciler is at work on that place."""
        if kind not in self.watchers:
            self.watchers[kind] = self.make(kind)
            self.watchers[kind].show = self._shown
        return self.watchers[kind]

    def standings(self) -> list[Standing]:
        """Every model that is served anywhere, or should be."""
        found = [one for each in self.watchers.values() for one in each.standings()]
        return sorted(found, key=lambda one: one.model)

    def _each(self, work: Callable[[Watcher], _T]) -> list[_T]:
        done: list[_T] = []
        failed: GitopsError | None = None
        for watcher in self._turns():
            try:
                done.append(work(watcher))
            except GitopsError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return done

    def _turns(self) -> Iterator[Watcher]:
        for kind in self.kinds:  # which grows meanwhile
            watcher = self.watcher(kind)
            yield watcher
            if watcher.desired is not None:
                self._know(watcher.desired.kinds.values())

    def _know(self, kinds: Iterable[str]) -> None:
        self.kinds += [one for one in KINDS if one in kinds and one not in self.kinds]

    def _shown(self, _: list[Standing]) -> None:
        self.show(self.standings())
