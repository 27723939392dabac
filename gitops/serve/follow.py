"""Following the plan's file: load beside what is served, swap, and say what is served."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from typing import Any

from gitops import utc
from gitops.errors import GitopsError
from gitops.serve import loaded, metrics, plan
from gitops.serve.app import App
from gitops.serve.journal import Journal
from gitops.serve.say import bug, say

_TICK = 0.2
_AGAIN = 5.0  # seconds until what was refused is tried again: its packages may have come


class Follower:
    """One worker's view of the plan's file."""

    def __init__(self, app: App, journal: Journal) -> None:
        self._app = app
        self._journal = journal
        self._options = app.options
        self._seen: tuple[int, ...] | None = ()
        self._tried = 0.0
        self._told = True
        self._closing: set[asyncio.Task[None]] = set()
        self.generation: int | None = None
        self.wanted: int | None = None
        self.error: str | None = None
        self._since = utc.now("milliseconds")
        app.status = self.status

    def status(self) -> dict[str, Any]:
        """The contents of `workers/<pid>.json`, apart from the pid."""
        return {
            "generation": self.generation,
            "wanted": self.wanted,
            "error": self.error,
            "since": self._since,
        }

    async def run(self) -> None:
        """Look a few times a second, for ever."""
        while True:
            try:
                await self.look()
                self._app.keys.follow()
                self._journal.look()
            except GitopsError as error:  # the keys' file: those that were read stay
                say("keys", level="error", error=str(error))
            except OSError as error:  # the state folder's disk: what is served is served on
                say("state", level="error", error=str(error))
            await asyncio.sleep(_TICK)

    async def look(self) -> None:
        """Serve the plan that is there, if it is another than the one last seen."""
        stamp = _stamp(self._options.plan)
        again = self.error is not None and time.monotonic() - self._tried > _AGAIN
        if stamp == self._seen and not again:
            if not self._told:
                self.write()
            return
        self._seen, self._tried = stamp, time.monotonic()
        before = self.error
        try:
            found = await asyncio.to_thread(plan.read, self._options.plan)
            self.wanted = found.generation
            made = await loaded.load(found, self._app.loaded, self._options.max_rows)
            self._journal.follow(made)
        except GitopsError as error:
            self._refused(str(error), before)
        except Exception as error:
            bug(error)
            self._refused(f"{type(error).__name__}: {error}", before)
        else:
            self._swap(made)
        self.write()

    def _swap(self, made: loaded.Loaded) -> None:
        old = self._app.loaded
        self._app.swap(made)
        self.generation, self.error, self._since = (
            made.plan.generation,
            None,
            utc.now("milliseconds"),
        )
        metrics.put("gitops_generation", made.plan.generation)
        metrics.put("gitops_plan_refused", 0)
        metrics.add("gitops_swaps")
        releases = [model.variant.release for r in made.routes.values() for _, model in r.variants]
        say("serving", generation=made.plan.generation, releases=releases)
        if old is not None:
            task = asyncio.create_task(self._close(old, made))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close(self, old: loaded.Loaded, made: loaded.Loaded) -> None:
        """End what the old plan ran and the new doesn't, after the last request for it."""
        gone = [runner for runner in old.runners if runner not in made.runners]
        if gone:
            await asyncio.sleep(self._options.timeout)
        for runner in gone:
            with suppress(Exception):
                await runner.close()

    def _refused(self, why: str, before: str | None) -> None:
        self.error = why
        metrics.put("gitops_plan_refused", 1)
        if why != before:
            say("plan refused", level="error", wanted=self.wanted, serving=self.generation, why=why)

    def write(self) -> None:
        """Say in `workers/<pid>.json` what is served."""
        path = self._options.state / "workers" / f"{os.getpid()}.json"
        self._told = False  # tried again at the next look
        path.parent.mkdir(parents=True, exist_ok=True)
        plan.put(path, {"pid": os.getpid(), **self.status()})
        self._told = True

    async def close(self) -> None:
        for task in self._closing:
            task.cancel()
        for runner in self._app.loaded.runners if self._app.loaded else ():
            with suppress(Exception):
                await runner.close()
        with suppress(OSError):
            (self._options.state / "workers" / f"{os.getpid()}.json").unlink()


def _stamp(path: os.PathLike[str]) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
