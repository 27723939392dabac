"""The submitter's side: one job for what HEAD has, waited for, and its result taken over."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops import __version__, dvc, dvcremote, git, mailbox, sha256, storage, utc
from gitops.content import TOOL
from gitops.errors import AnswerNo, ConfigError, EvidenceError, GitopsError, ToolError, UsageError
from gitops.git import pack, program
from gitops.mailbox import Job, Mailbox
from gitops.reproduce import build
from gitops.reproduce.compute import proof
from gitops.reproduce.compute.kinds import platform_of
from gitops.reproduce.compute.platform import Order, Platform, lay
from gitops.reproduce.compute.waiting import PATIENT, Patience, keep_log, wait
from gitops.reproduce.model import Outcome, Place, Say, tracked
from gitops.storefiles import Files

if TYPE_CHECKING:
    from gitops.config import Config

_MOST_ATTEMPTS = 1000
_NO_LIST = f"# {TOOL}/requirements.txt of the commit\n".encode()


@dataclass(frozen=True)
class Request:
    """What is asked for: models at HEAD, on the entry `name` of `compute:`."""

    root: Path
    config: Config
    models: tuple[Place, ...]
    name: str


@dataclass(frozen=True)
class Submitted:
    """A job that was submitted, or found under way."""

    job: Job
    box: Mailbox
    order: Order
    platform: Platform


def build_on(request: Request, *, commit: bool, say: Say, patience: Patience = PATIENT) -> Outcome:
    """Build on other machines what HEAD has; the outcome is that of a build here.

    Raises:
        AnswerNo: the work tree has changes.
        EvidenceError: what came back isn't the job's result (`proof.Refused`).
        ToolError: the platform or the storage failed; other errors are those of the job.
    """
    root, models = request.root, request.models
    if outcome := _nothing_to_run(request, commit, say):
        return outcome
    with mailbox.opened(root) as files:
        one = submit(request, files, say, patience)
        try:
            raw = wait(one.box, one.job, one.platform, say, patience)
        except KeyboardInterrupt:
            say(f"job {one.job.id} goes on; wait for it again: gitops build --on {request.name}")
            say(f"or end it: gitops build --on {request.name} --cancel")
            raise
        try:
            result = proof.read_result(raw, one.job, one.order.ticket.digest)
            if result["error"] is not None:
                settle(one)
                raise _job_error(one, result["error"], root)
            proven = proof.prove(root, one.box, one.job, result, say)
        except proof.Refused:
            settle(one)  # so that the next time it is built anew
            raise
        _tidy(one)
    return proof.accept(root, request.config, models, one.job, proven, commit=commit, say=say)


def submit(request: Request, files: Files, say: Say, patience: Patience = PATIENT) -> Submitted:
    """The job for what HEAD has: the one under way, or a new one.

    Raises:
        AnswerNo, UsageError, ToolError: as `build_on`.
    """
    one = _latest(request, files)
    if one is None:
        one = _claim(request, files, say)
    else:
        say(f"job {one.job.id} of {one.job.by} is there: {utc.text(one.job.created)}")
    if _is_handed_over(one, patience, say):
        return one
    with tempfile.TemporaryDirectory(prefix="gitops-submit-") as temporary:
        folder = _kept(request.root, one.job.id) if one.order.compute.process else Path(temporary)
        lay(folder, one.platform.documents())
        say(f"submitting job {one.job.id} to {request.name} ({one.order.compute.kind})")
        handle = one.platform.submit(folder)
    one.box.write("platform.json", json.dumps(dict(handle)).encode())
    return one


def cancel(request: Request) -> str | None:
    """End the job of what HEAD has; its id, None if none is under way."""
    with mailbox.opened(request.root) as files:
        one = _latest(request, files)
        if one is None or one.box.read("result.json") is not None:
            return None
        one.platform.cancel(_handle(one.box))
        settle(one)
        return one.job.id


def documents(request: Request) -> dict[str, bytes]:
    """What a submission would hand to the platform, nothing of it done: no job has this id yet."""
    job = _job(request, f"{_key(request)}-1", "0" * 64, 1)
    order = replace(_order(request, job, job.document()), requirements=_NO_LIST)
    return platform_of(order).documents()


def settle(one: Submitted) -> None:
    """Mark the job's end as told, so that the next one to ask starts anew; and tidy up."""
    one.box.create("settled.json", json.dumps({"by": program.identity(one.box.root)}).encode())
    _tidy(one)


def _tidy(one: Submitted) -> None:
    with suppress(ToolError):
        one.platform.tidy(_handle(one.box))


def _nothing_to_run(request: Request, commit: bool, say: Say) -> Outcome | None:
    """What a build here finds if HEAD's dvc.lock is up to date, and its outputs are stored."""
    root, models = request.root, request.models
    refuse_changes(root)
    if build.stale(models):
        return None
    at, names = git.snapshot(root, git.head(root).commit), [place.name for place in models]
    if storage.prove(root, storage.needs(at, request.config, names), say):
        return None
    say("dvc.lock is up to date: nothing would run")
    return build.build(root, request.config, models, push=None, commit=commit, say=say)


def refuse_changes(root: Path) -> None:
    """Refuse a work tree that isn't a commit, and a rehearsal.

    Raises:
        AnswerNo: it is one of them.
    """
    if changed := git.changes(root):
        raise AnswerNo(
            f"the work tree has changes ({', '.join(changed[:3])}), and what is built is a commit",
            fix="commit them, or put them aside: git stash",
        )
    if dvcremote.rehearsed(dvcremote.remote(root)):
        raise AnswerNo("a rehearsal submits no job", fix="gitops ci --for-real")


def _key(request: Request) -> str:
    """What makes two submissions the same: commit, models, tool and place."""
    parts = [
        git.head(request.root).commit,
        sorted(place.name for place in request.models),
        __version__,
        request.name,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _latest(request: Request, files: Files) -> Submitted | None:
    """The last attempt at what HEAD has, if its end wasn't told yet."""
    box = Mailbox(request.root, files, f"{_key(request)}-1")
    last, raw = None, box.read("job.json")
    for number in range(2, _MOST_ATTEMPTS):
        if raw is None:
            break
        last = box, raw
        box = box.attempt(number)
        raw = box.read("job.json")
    if last is None or last[0].read("settled.json") is not None:
        return None
    box, raw = last
    job = mailbox.parse_job(raw, f"jobs/{box.id}/job.json")
    head = git.head(request.root)
    wanted = (box.id, head.commit, head.tree, __version__, {one.name for one in request.models})
    if (job.id, job.commit, job.tree, job.tool, set(job.models)) != wanted:
        raise EvidenceError(
            f"the mailbox {box.id} has a job of something else in it",
            fix="delete it in the storage; who can write there?",
        )
    return _submitted(request, box, job, raw)


def _claim(request: Request, files: Files, say: Say) -> Submitted:
    """A new mailbox with the commit in it; of two who try at once, both get the same."""
    _refuse_what_cannot_go(request)
    box = Mailbox(request.root, files, f"{_key(request)}-1")
    number = 1
    while box.read("settled.json") is not None:
        number += 1
        box = box.attempt(number)
    sources = [item for item in tracked(request.models) if item.stage is None and item.cached]
    if sources:
        say(f"storing {', '.join(item.path for item in sources)}")
        dvc.push(request.root, [item.path for item in sources])
    with tempfile.TemporaryDirectory(prefix="gitops-submit-") as temporary:
        source = Path(temporary) / "commit.pack"
        pack.write(request.root, git.head(request.root).commit, source)
        digest = sha256.of_file(source)
        job = _job(request, box.id, digest, source.stat().st_size)
        box.upload(source, f"{digest}.pack")
    raw = job.document()
    if not box.create("job.json", raw):
        raw = box.read("job.json") or raw
        job = mailbox.parse_job(raw, f"jobs/{box.id}/job.json")
    return _submitted(request, box, job, raw)


def _submitted(request: Request, box: Mailbox, job: Job, raw: bytes) -> Submitted:
    order = _order(request, job, raw)
    return Submitted(job, box, order, platform_of(order))


def _job(request: Request, name: str, digest: str, size: int) -> Job:
    head = git.head(request.root)
    return Job(
        id=name,
        compute=request.name,
        commit=head.commit,
        tree=head.tree,
        models=tuple(place.name for place in request.models),
        tool=__version__,
        pack=digest,
        size=size,
        needs=tuple(sorted({item.md5 for item in tracked(request.models) if item.cached})),
        timeout=request.config.compute[request.name].timeout,
        by=program.identity(request.root),
        created=datetime.now(UTC).replace(microsecond=0),
    )


def _order(request: Request, job: Job, raw: bytes) -> Order:
    at = git.snapshot(request.root, job.commit)
    pinned, version = f"{TOOL}/requirements.txt", ".python-version"
    read = at.read([pinned, version])
    return Order(
        job=job,
        ticket=mailbox.ticket_for(request.root, job.id, raw),
        name=request.name,
        config=request.config,
        python=read.get(version, b"3.12").decode().strip(),
        requirements=read.get(pinned, b""),
    )


def _refuse_what_cannot_go(request: Request) -> None:
    """What another machine couldn't build, said before anything is submitted.

    Raises:
        ConfigError: the storage is a folder of this machine, or the tool isn't vendored.
        UsageError: the repository has parts that aren't in its commit.
    """
    root, compute = request.root, request.config.compute[request.name]
    at = git.snapshot(root, git.head(root).commit)
    if "160000" in git.modes(root, at.commit).values():
        raise UsageError("submodules don't travel", fix="build here: gitops build")
    attributes = at.read([path for path in at.files if path.rpartition("/")[2] == ".gitattributes"])
    if any(b"filter=lfs" in raw for raw in attributes.values()):
        raise UsageError("files of git LFS don't travel", fix="let DVC track them: dvc add")
    if compute.process:
        return
    if dvcremote.remote(root).is_folder:
        raise ConfigError(
            f"the storage is a folder of this machine, which {request.name} can't reach",
            fix="write storage.remote: s3://... or azure://... in gitops.yaml",
        )
    wheels = [path for path in at.files if re.match(rf"{TOOL}/gitops_ml-.*\.whl$", path)]
    version = wheels[0].split("-")[1] if wheels else ""
    if f"{TOOL}/requirements.txt" not in at.files or (wheels and version != __version__):
        raise ConfigError(
            f"this is gitops {__version__}, and the commit brings {version or 'none'} for the job",
            fix="gitops upgrade, and commit",
        )


def _is_handed_over(one: Submitted, patience: Patience, say: Say) -> bool:
    """Whether the job is with its platform; who claimed it gets some time to hand it over."""
    ours, told = one.job.by == program.identity(one.box.root), False
    while one.box.read("platform.json") is None:
        if ours or datetime.now(UTC) - one.job.created > patience.claim:
            return False
        if not told:
            say(f"{one.job.by} is submitting it")
            told = True
        time.sleep(patience.poll)
    return True


def _handle(box: Mailbox) -> dict[str, str]:
    return {str(k): str(v) for k, v in mailbox.loose(box.read("platform.json")).items()}


def _kept(root: Path, name: str) -> Path:
    """A folder of the job in the git folder, for the log of a process on this machine."""
    folder = git.private(root) / "jobs" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _job_error(one: Submitted, told: dict[str, Any], root: Path) -> GitopsError:
    """The job's own error, with its exit code, and where its log is."""
    log = keep_log(one.box, _kept(root, one.job.id))
    kinds: dict[int, type[GitopsError]] = {1: AnswerNo, 2: UsageError, 3: EvidenceError}
    message = f"on {one.job.compute}, job {one.job.id}: {told['message']}"
    fix = told["fix"] or "read its log"
    return kinds.get(told["code"], ToolError)(message, fix=f"{fix}; its log: {log}")
