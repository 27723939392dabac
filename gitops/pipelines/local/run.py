"""A whole run: the event, a scratch remote, job after job, the one check over all of them."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gitops import git, jsontext, problem
from gitops.errors import AnswerNo, UsageError
from gitops.git import remote as remotes
from gitops.git import scratch
from gitops.pipelines.local import event as events
from gitops.pipelines.local import job as jobs
from gitops.pipelines.local import machine
from gitops.pipelines.local.event import Asked, Event
from gitops.pipelines.local.machine import Run
from gitops.pipelines.local.result import JobResult, headline, markdown, state_of
from gitops.pipelines.model import Concurrency, Pipeline

_KEPT = 10  # runs whose logs stay
REQUIRED = "required"


@dataclass(frozen=True)
class Ran:
    """A finished run; `logs` is the folder that keeps what its jobs said."""

    workflow: str
    event: Event
    real: bool
    results: tuple[JobResult, ...]
    logs: Path
    seconds: float

    @property
    def passed(self) -> bool:
        return all(one.state != "failed" or one.advice for one in self.results)

    @property
    def headline(self) -> str:
        return headline(self.workflow, self.results)

    def as_json(self) -> dict[str, object]:
        return {
            "workflow": self.workflow,
            "event": self.event.kind,
            "branch": self.event.branch,
            "commit": self.event.commit,
            "rehearsal": not self.real,
            "passed": self.passed,
            "headline": self.headline,
            "seconds": round(self.seconds, 1),
            "logs": str(self.logs),
            "jobs": [one.as_json() for one in self.results],
        }


def run(
    root: Path,
    pipeline: Pipeline,
    asked: Asked,
    *,
    job: str | None,
    real: bool,
    say: Callable[[str], None],
) -> Ran:
    """Run a workflow, or one job of it and those that it needs.

    `real`: pushes go to the true remote, objects to the true storage, and deployments happen.

    Raises:
        UsageError: there's no such job, or the event doesn't fit.
        AnswerNo: the pull request conflicts; the true remote isn't where HEAD is.
        ToolError: the remote can't be reached.
    """
    wanted = _wanted(pipeline, job)
    began = time.monotonic()
    if git.changes(root):
        say("the work tree has changes that aren't committed: they are not in this run")
    top = git.private(root) / "ci"
    top.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gitops-ci-", ignore_cleanup_errors=True) as temporary:
        work = Path(temporary).resolve()
        store, word = work / "origin.git", secrets.token_hex(16)
        remote = remotes.choose(root) if git.remotes(root) else None
        scratch.mirror(root, store, remote)
        event = _event(root, store, pipeline, asked, real=real)
        scratch.guard(store, word)
        (work / "event.json").write_text(json.dumps(event.payload))
        with _alone(top, pipeline.concurrency, event, work, say) as lock:
            say(f"{pipeline.name}: {event.kind} of {event.branch} at {event.commit[:12]}")
            place = Run(
                root,
                work,
                _logs(top, pipeline.name),
                store,
                word,
                scratch.address(root, remote) if remote else "",
                real,
                None if real else machine.stand_in(root, work / "storage"),
                event,
                lock,
                say,
            )
            results = _all(place, pipeline, wanted)
    ran = Ran(pipeline.name, event, real, results, place.logs, time.monotonic() - began)
    (place.logs / "summary.md").write_text(markdown(ran.headline, results), "utf-8")
    (place.logs / "summary.json").write_text(json.dumps(ran.as_json(), indent=1), "utf-8")
    return ran


def _wanted(pipeline: Pipeline, job: str | None) -> tuple[str, ...]:
    """The jobs to run, in order: all, or one with what it needs."""
    known = [one.id for one in pipeline.jobs]
    if job is None:
        return tuple(known)
    if job not in known:
        fix = problem.meant(job, known, f"its jobs are {', '.join(known)}")
        raise UsageError(f"{pipeline.name} has no job {job!r}", fix=fix)
    todo, found = [job], set()
    while todo:
        one = todo.pop()
        found.add(one)
        todo += [need for need in pipeline.job(one).needs if need not in found]
    return tuple(one for one in known if one in found)


def _event(root: Path, store: Path, pipeline: Pipeline, asked: Asked, *, real: bool) -> Event:
    """The event; what is run for real must be what the remote has."""
    before = {one: scratch.tip(store, one) for one in scratch.branches(store)}
    event = events.resolve(root, store, pipeline, asked)
    if real and event.kind != "pull_request" and before.get(event.branch) != event.commit:
        raise AnswerNo(
            f"the remote's {event.branch} isn't at {event.commit[:12]}",
            fix="git push first: --for-real runs what is there",
        )
    return event


def _all(place: Run, pipeline: Pipeline, wanted: tuple[str, ...]) -> tuple[JobResult, ...]:
    done: dict[str, list[JobResult]] = {}
    for job in pipeline.jobs:
        if job.id not in wanted:
            continue
        if why := jobs.skipped(place, job, done):
            place.say(f"{job.id}: skipped: {why}")
            done[job.id] = [JobResult(job.id, job.id, "skipped", why, 0.0)]
            continue
        done[job.id] = [jobs.perform(place, job, row) for row in jobs.rows(job, done)]
    required = [name for name in pipeline.required if name in wanted]
    if required and set(required) == set(pipeline.required):
        done[REQUIRED] = [_required(pipeline, done)]
    results = tuple(one for several in done.values() for one in several)
    if REQUIRED not in done:
        return results
    check = {REQUIRED, *pipeline.required}
    return tuple(replace(one, advice=one.id not in check) for one in results)


def _required(pipeline: Pipeline, done: jobs.Results) -> JobResult:
    """The check that branch protection asks for: it runs whatever happened to the others."""
    wrong = []
    for name in pipeline.required:
        state = state_of(done[name])
        empty = state == "skipped" and any(one.why == jobs.NO_MODEL for one in done[name])
        if state != "passed" and not empty:
            wrong.append(f"{name} {'failed' if state == 'failed' else 'was skipped'}")
    state = "failed" if wrong else "passed"
    return JobResult(REQUIRED, REQUIRED, state, ", ".join(wrong), 0.0)


# ---------------------------------------------------------------- one run at a time


@contextmanager
def _alone(
    top: Path, rule: Concurrency, event: Event, work: Path, say: Callable[[str], None]
) -> Iterator[int]:
    """Hold the lock of the runs of one set; a newer one waits for the older, or ends it.

    What a killed run has left is removed.
    """
    by = {"branch": event.branch, "commit": event.commit, "workflow": ""}[rule.by]
    name = re.sub(r"[^\w.-]", "_", f"{rule.group}-{by}".strip("-"))
    with (top / f"{name}.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            older = _holder(file.name)
            if rule.cancel and older.get("pid"):
                say(f"ending the older run (process {older['pid']})")
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(int(str(older["pid"])), signal.SIGINT)
            else:
                say("waiting for the run before this one")
            fcntl.flock(file, fcntl.LOCK_EX)
        left = Path(str(_holder(file.name).get("work", "")))
        if left.name.startswith("gitops-ci-"):
            shutil.rmtree(left, ignore_errors=True)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "work": str(work)}))
        file.flush()
        try:
            yield file.fileno()
        finally:
            file.truncate(0)


def _holder(file: str) -> dict[str, object]:
    try:
        found = jsontext.loads(Path(file).read_text("utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _logs(top: Path, workflow: str) -> Path:
    """A new folder for a run's logs; the oldest beyond the last ten go."""
    runs = top / "runs"
    folder = runs / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{workflow}"
    folder.mkdir(parents=True)
    for old in sorted(one for one in runs.iterdir() if one.is_dir())[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return folder
