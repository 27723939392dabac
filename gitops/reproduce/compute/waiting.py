"""Waiting for a job: its own progress, and how its platform sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from gitops import mailbox
from gitops.errors import ToolError
from gitops.mailbox import Job, Mailbox
from gitops.reproduce.compute.platform import Platform, Seen
from gitops.reproduce.model import Say

_T = TypeVar("_T")
_LINES = 20


@dataclass(frozen=True)
class Patience:
    """Seconds between two looks into the mailbox, and at the platform; how long each may fail.

    `silence`: how long storage or platform may give no answer. `ends`: how often in a row the
    platform must say that the job has ended, before it counts as lost without a result. `claim`:
    how long another submitter may take to hand the job over.
    """

    poll: float = 2.0
    look: float = 10.0
    silence: float = 300.0
    ends: int = 3
    claim: timedelta = timedelta(minutes=3)


PATIENT = Patience()


def wait(
    box: Mailbox, job: Job, platform: Platform, say: Say, patience: Patience = PATIENT
) -> bytes:
    """What lies in the mailbox as the job's result; progress goes to `say` meanwhile.

    Raises:
        ToolError: the job ended without one, took longer than its timeout (then it is ended), or
            nobody answers.
    """
    watch = _Watch(box, job, platform, say, patience)
    while True:
        raw = watch.result()
        watch.progress()  # even then: a quick job is done between two looks
        if raw is not None:
            return raw
        watch.platform_says()
        if datetime.now(UTC) > job.deadline:
            platform.cancel(watch.handle)
            watch.settle()
            raise ToolError(
                f"job {job.id} took longer than {job.timeout} minutes on {job.compute}, and was"
                f" ended: {watch.last}",
                fix=f"a larger timeout under compute.{job.compute} in gitops.yaml",
            )
        time.sleep(patience.poll)


class _Watch:
    """What was seen so far, so that each change is said once."""

    def __init__(
        self, box: Mailbox, job: Job, platform: Platform, say: Say, patience: Patience
    ) -> None:
        self._box, self._job, self._platform = box, job, platform
        self._say, self._patience = say, patience
        self._steps = 0
        self._seen = Seen("waiting", "")
        self._looked = -patience.look
        self._ended = 0
        self._answered = {"storage": time.monotonic(), "platform": time.monotonic()}
        self.handle: dict[str, str] = {}

    @property
    def last(self) -> str:
        """The platform's last word."""
        return self._seen.says or "its platform said nothing"

    def result(self) -> bytes | None:
        return self._asked("storage", lambda: self._box.read("result.json"))

    def progress(self) -> None:
        """Say what the job has done since the last look."""
        state = mailbox.loose(self._asked("storage", lambda: self._box.read("state.json")))
        steps = state.get("steps")
        if isinstance(steps, list):
            for one in steps[self._steps :]:
                self._say(f"{self._job.compute}: {one}")
            self._steps = max(self._steps, len(steps))

    def platform_says(self) -> None:
        """Say how the platform sees the job, when that has changed.

        Raises:
            ToolError: it has ended, and there's no result.
        """
        if time.monotonic() - self._looked < self._patience.look and not self._ended:
            return
        self._looked = time.monotonic()
        if not self.handle:
            raw = self._asked("storage", lambda: self._box.read("platform.json"))
            self.handle = {str(k): str(v) for k, v in mailbox.loose(raw).items()}
        seen = self._asked("platform", lambda: self._platform.look(self.handle))
        if seen is None:
            return
        if seen.says != self._seen.says:
            self._say(f"{self._job.compute} ({self._word}): {seen.says}")
        self._seen = seen
        self._ended = self._ended + 1 if seen.state in ("ended", "absent") else 0
        if self._ended >= self._patience.ends and self.result() is None:
            raise self._lost()

    @property
    def _word(self) -> str:
        return type(self._platform).__name__

    def settle(self) -> None:
        """Mark its end, so that the next submission is a new attempt; leave nothing behind."""
        self._box.create("settled.json", b"{}")
        with suppress(ToolError):
            self._platform.tidy(self.handle)

    def _lost(self) -> ToolError:
        self.settle()
        tail = (self._box.read("log.txt") or b"").decode("utf-8", "replace").splitlines()
        said = "".join(f"\n  {line}" for line in tail[-_LINES:])
        return ToolError(
            f"job {self._job.id} ended on {self._job.compute} without a result: {self.last}{said}",
            fix=f"what it said there: {self._platform.logs(self.handle)}; `gitops build --on"
            f" {self._job.compute}` submits it anew",
        )

    def _asked(self, whom: str, question: Callable[[], _T]) -> _T | None:
        """An answer; None for a while where none is given, and then the error."""
        try:
            answer = question()
        except ToolError as error:
            if time.monotonic() - self._answered[whom] > self._patience.silence:
                raise ToolError(
                    f"no answer for {self._patience.silence:g} seconds: {error.message}",
                    fix=f"job {self._job.id} goes on; `gitops build --on {self._job.compute}` waits"
                    " for it again",
                ) from error
            return None
        self._answered[whom] = time.monotonic()
        return answer


def keep_log(box: Mailbox, folder: Path) -> Path:
    """The job's log in a file of this machine."""
    path = folder / "log.txt"
    path.write_bytes(box.read("log.txt") or b"")
    return path
