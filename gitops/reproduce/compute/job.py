"""The job's side: takes one mailbox, builds its commit, stores what came out, and says so last."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from gitops import __version__, daemon, dvcremote, git, mailbox, sha256, utc
from gitops import config as configuration
from gitops.errors import EvidenceError, GitopsError, ToolError
from gitops.git import pack
from gitops.mailbox import Job, Mailbox, Ticket
from gitops.reproduce import build, record
from gitops.reproduce.model import Outcome, Place, Say, places, tracked

_BEAT_SECONDS = 10.0
_LOG_BYTES = 1_000_000
_TRIES, _PAUSE_SECONDS = 5, 3.0


def run(ticket: Ticket, say: Say) -> None:
    """Take the job, build, and put the result into the mailbox; a job that is taken is left alone.

    Raises:
        GitopsError: it failed; the mailbox has it too, as far as the storage can be reached.
    """
    with tempfile.TemporaryDirectory(prefix="gitops-job-") as temporary:
        folder = Path(temporary)
        apart = folder / "storage"
        dvcremote.alone(apart, ticket.url, ticket.options)
        with mailbox.opened(apart) as files:
            box = Mailbox(apart, files, ticket.id)
            job = _read(box, ticket)
            if not box.create("taken.json", json.dumps(_who()).encode()):
                say(f"job {job.id} is taken by another process: nothing to do")
                return
            with _telling(box, say) as progress:
                try:
                    with _limited(job.timeout):
                        result = _built(box, job, ticket, folder, progress.say)
                except BaseException as error:
                    _failed(box, ticket, error, progress)
                    raise
                progress.close()
                _put(box, {**result, "state": "built", "error": None}, ticket)
        say(f"job {job.id} is done")


class _Late(BaseException):
    """The time is over; no handler of errors on the way may take this for one."""


@contextmanager
def _limited(minutes: float) -> Iterator[None]:
    """Give up after so many minutes, whether or not the platform would.

    Raises:
        ToolError: they are over.
    """

    def late(number: int, frame: FrameType | None) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, minutes * 60)
    try:
        yield
    except _Late as error:
        raise ToolError(
            f"the job took longer than {minutes:g} minutes", fix="a larger timeout in gitops.yaml"
        ) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _read(box: Mailbox, ticket: Ticket) -> Job:
    raw = box.read("job.json")
    if raw is None or sha256.of(raw) != ticket.digest:
        raise EvidenceError(
            f"the mailbox {box.id} {'is empty' if raw is None else 'has another job in it'}",
            fix="submit the build again",
        )
    return mailbox.parse_job(raw, "job.json")


def _who() -> dict[str, object]:
    """Which process took the job: on the submitter's own machine it can look for it."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "since": daemon.since(pid)}


def _built(box: Mailbox, job: Job, ticket: Ticket, folder: Path, say: Say) -> dict[str, object]:
    """Check the commit out, build it, and put its files into the mailbox; what the result says."""
    if job.tool != __version__:
        raise EvidenceError(
            f"the job is for gitops {job.tool}, and this is {__version__}",
            fix="commit the vendored tool of the version that submits: gitops upgrade",
        )
    source = folder / "commit.pack"
    if not box.download(f"{job.pack}.pack", source) or sha256.of_file(source) != job.pack:
        raise EvidenceError(
            "the commit's pack is missing, or isn't what was submitted", fix="submit it again"
        )
    root = folder / "work"
    say(f"checking out {job.commit[:12]}")
    pack.check_out(source, root, job.commit)
    if git.head(root).tree != job.tree:
        raise EvidenceError("the commit has another tree than was submitted", fix="submit it again")
    remote = dvcremote.remote(root)
    options = {**ticket.options, "url": ticket.url}
    dvcremote.set_local(root, remote, options, root / ".dvc" / "cache")
    config = configuration.load(root)
    models = places(root, config, job.models)
    outcome = build.build(root, config, models, push=True, commit=False, say=say)
    if not outcome.pushed:
        raise ToolError("nothing was stored: this is a rehearsal", fix="gitops ci --for-real")
    return _delivered(box, root, models, outcome)


def _delivered(
    box: Mailbox, root: Path, models: Sequence[Place], outcome: Outcome
) -> dict[str, object]:
    files, records = {}, {}
    for place in models:
        for path in (place.lock, place.metrics):
            if path.is_file():
                name = path.relative_to(root).as_posix()
                content = path.read_bytes()
                files[name] = sha256.of(content)
                box.write(f"files/{name}", content)
        content = record.path_of(git.private(root), place.name, place.lock_digest()).read_bytes()
        records[place.name] = sha256.of(content)
        box.write(f"records/{place.name}.json", content)
    return {
        "files": files,
        "records": records,
        "models": [
            {"model": one.model, "state": one.state, "stages": one.stages} for one in outcome.models
        ],
        "objects": sorted({item.md5 for item in tracked(models) if item.cached}),
    }


def _failed(box: Mailbox, ticket: Ticket, error: BaseException, progress: _Progress) -> None:
    """Say in the mailbox why there is no result, if the storage still takes it."""
    if isinstance(error, GitopsError):
        told = {"message": str(error.message), "fix": error.fix, "code": error.code}
    elif isinstance(error, KeyboardInterrupt):
        told = {"message": "the job was ended from outside", "fix": "", "code": 130}
    else:
        told = {"message": f"{type(error).__name__}: {error}", "fix": "", "code": 70}
    nothing: dict[str, object] = {"files": {}, "records": {}, "models": [], "objects": []}
    progress.note(f"failed: {told['message']}")
    with suppress(GitopsError):
        progress.close()
        _put(box, {**nothing, "state": "failed", "error": told}, ticket)


def _put(box: Mailbox, result: Mapping[str, object], ticket: Ticket) -> None:
    """Write the result, in the end; a storage that stutters is asked again."""
    finished = utc.text(datetime.now(UTC))
    document = {"version": 1, "job": ticket.digest, **result, "finished": finished}
    content = json.dumps(document, indent=2, ensure_ascii=False).encode()
    mailbox.parsed("job-result", content, "result.json")
    for left in reversed(range(_TRIES)):
        try:
            box.write("result.json", content)
            return
        except ToolError:
            if not left:
                raise
            threading.Event().wait(_PAUSE_SECONDS)


class _Progress:
    """What the job says, on its way to whoever waits: `state.json`, and all of it in `log.txt`.

    Progress that can't be told stops no build.
    """

    def __init__(self, box: Mailbox, say: Say) -> None:
        self._box, self._say = box, say
        self._lines: list[str] = []
        self._told = -1
        self._beat = 0
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def say(self, line: str) -> None:
        """A line of the build; what isn't a stage's own word is told at once."""
        self._say(line)
        self.note(line)
        if not line.startswith(" "):
            self._tell()

    def note(self, line: str) -> None:
        self._lines.append(line)

    def close(self) -> None:
        """The last word, before the result."""
        if not self._end.is_set():
            self._end.set()
            self._thread.join()
            self._tell()

    def _run(self) -> None:
        while not self._end.wait(_BEAT_SECONDS):
            self._tell()

    def _tell(self) -> None:
        with self._lock, suppress(GitopsError):
            self._beat += 1
            steps = [line for line in self._lines if not line.startswith(" ")]
            state = {"beat": self._beat, "steps": steps}
            self._box.write("state.json", json.dumps(state, ensure_ascii=False).encode())
            if len(self._lines) != self._told:
                text = "".join(f"{line}\n" for line in self._lines).encode()
                self._box.write("log.txt", text[-_LOG_BYTES:])
                self._told = len(self._lines)


@contextmanager
def _telling(box: Mailbox, say: Say) -> Iterator[_Progress]:
    progress = _Progress(box, say)
    try:
        yield progress
    finally:
        progress.close()
