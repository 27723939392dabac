"""What a job has put into its mailbox, proven before anything of it is used, then taken over.

Whoever can write to the storage can write a result. So it counts only if its dvc.lock is the one of
this very commit (sources, data, parameters and commands by their hashes), every object that it
names is stored and has its hash, and package and evaluation are what their contracts say. That
these outputs are what the stages give, only building again can tell: `gitops verify`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops import config as configuration
from gitops import contracts, dvclock, dvcremote, git, mailbox, objects, sha256, storage, whole
from gitops.errors import AnswerNo, EvidenceError, Where
from gitops.git import write
from gitops.mailbox import Job, Mailbox
from gitops.reproduce import build, locks, record
from gitops.reproduce.guard import only_one
from gitops.reproduce.model import Built, Outcome, Place, Say, places, tracked
from gitops.reproduce.revision import clone as checkout_of

if TYPE_CHECKING:
    from gitops.config import Config

_FIX = "gitops build --on {0}: it is built anew; if it happens again, who can write to the storage?"


@dataclass(frozen=True)
class Proven:
    """A result that holds: the bytes of files by path, build records by model, what was done."""

    files: Mapping[str, bytes]
    records: Mapping[str, bytes]
    models: tuple[Built, ...]


class Refused(EvidenceError):
    """What lies in the mailbox isn't the result of the job; nothing of it was used."""


def read_result(raw: bytes, job: Job, digest: str) -> dict[str, Any]:
    """The result of the job whose job.json has this digest, held against its contract.

    Raises:
        Refused: it isn't.
    """
    try:
        result = mailbox.parsed("job-result", raw, f"{mailbox.FOLDER}/{job.id}/result.json")
    except EvidenceError as error:
        raise _refused(job, error.message) from error
    if result["job"] != digest:
        raise _refused(job, "it is that of another job")
    if (result["error"] is None) != (result["state"] == "built"):
        raise _refused(job, f"its state is {result['state']}, and its error {result['error']}")
    return result


def prove(root: Path, box: Mailbox, job: Job, result: Mapping[str, Any], say: Say) -> Proven:
    """Hold the mailbox's files against the commit, the storage and the contracts.

    Needs nothing of the work tree, and changes nothing but the cache of DVC.

    Raises:
        Refused: it isn't what building this commit gives.
        ToolError: the storage can't be reached.
    """
    try:
        files = _delivered(box, "files", result["files"])
        records = _delivered(box, "records", result["records"], ".json")
        with tempfile.TemporaryDirectory(prefix="gitops-proof-") as temporary:
            bench = Path(temporary) / "work"
            checkout_of(root, bench, job.commit, cache=dvcremote.cache_folder(root).resolve())
            config = configuration.load(bench)
            models = places(bench, config, job.models)
            _lay(bench, models, files)
            # What costs little comes first.
            _of_this_commit(bench, models, files)
            told = {place.name: _record(place, records.get(place.name), job) for place in models}
            _stored(root, bench, config, job, files, say)
            _nothing_would_run(models)
            _fetched(bench, models)
            found = tuple(_model(place, told[place.name], result, say) for place in models)
    except EvidenceError as error:
        if isinstance(error, Refused):
            raise
        where = f"{error.where}: " if error.where else ""
        raise _refused(job, f"{where}{error.message}") from error
    return Proven(files, records, found)


def accept(
    root: Path,
    config: Config,
    models: tuple[Place, ...],
    job: Job,
    proven: Proven,
    *,
    commit: bool,
    say: Say,
) -> Outcome:
    """Write the proven files into the work tree, restore the outputs, and commit as a build does.

    Raises:
        AnswerNo: the work tree isn't that commit any more; nothing was changed.
    """
    private = git.private(root)
    with only_one(private, say):
        if git.head(root).commit != job.commit or git.changes(root):
            raise AnswerNo(
                f"the work tree isn't commit {job.commit[:12]} any more, of which the job is done",
                fix=f"git switch to it, and `gitops build --on {job.compute}` again: nothing is"
                " built twice",
            )
        before = {path: _bytes(root / path) for path in proven.files}
        try:
            for path, content in proven.files.items():
                whole.write(root / path, content)
            items = [item for item in tracked(models) if item.cached]
            say("restoring what the job has built")
            if lost := objects.bring(root, items):
                names = ", ".join(item.path for item in lost)
                raise EvidenceError(f"{names} went away meanwhile", fix=_FIX.format(job.compute))
        except BaseException:
            for path, old in before.items():
                if old is None:
                    (root / path).unlink(missing_ok=True)
                else:
                    whole.write(root / path, old)
            raise
        for place in models:
            target = record.path_of(private, place.name, place.lock_digest())
            target.parent.mkdir(parents=True, exist_ok=True)
            whole.write(target, proven.records[place.name])
        pushed = dvcremote.shown(dvcremote.remote(root).url)
        build.remember(root, models, private, config.models, pushed)
        outcome = Outcome(proven.models, pushed, None, ())
        return locks.commit(root, outcome, (), models, commit)


def _refused(job: Job, why: str) -> Refused:
    return Refused(
        f"what lies in the mailbox of job {job.id} isn't its result: {why}",
        fix=_FIX.format(job.compute),
    )


def _delivered(
    box: Mailbox, folder: str, digests: Mapping[str, str], ending: str = ""
) -> dict[str, bytes]:
    found = {}
    for name, digest in digests.items():
        content = box.read(f"{folder}/{name}{ending}") if _is_plain(name) else None
        if content is None or sha256.of(content) != digest:
            how = "missing" if content is None else "not what the result names"
            raise EvidenceError(f"{folder}/{name} is {how}")
        found[name] = content
    return found


def _is_plain(name: str) -> bool:
    return not ({"", ".", ".."} & set(name.split("/"))) and "\\" not in name


def _lay(bench: Path, models: Sequence[Place], files: Mapping[str, bytes]) -> None:
    """Write the files into the clone: locks, and metrics where a lock has them; nothing else."""
    locks = {place.lock.relative_to(bench).as_posix() for place in models}
    metrics = {place.metrics.relative_to(bench).as_posix() for place in models}
    if missing := sorted(locks - files.keys()):
        raise EvidenceError(f"{', '.join(missing)} isn't there")
    if foreign := sorted(files.keys() - locks - metrics):
        raise EvidenceError(f"{', '.join(foreign)} is nothing that a build writes")
    for name, content in files.items():
        (bench / name).write_bytes(content)


def _of_this_commit(bench: Path, models: tuple[Place, ...], files: Mapping[str, bytes]) -> None:
    """Whether the locks are those of the commit, as far as their text tells."""
    at = _snapshot(bench, files)
    for place in models:
        lock = dvclock.read(at, place.folder)
        if reasons := dvclock.stale(at, lock) if lock else ("it isn't there",):
            path = place.lock.relative_to(bench).as_posix()
            raise EvidenceError(f"{path} isn't of this commit: {'; '.join(reasons[:3])}")


def _nothing_would_run(models: tuple[Place, ...]) -> None:
    """Whether they are, as DVC judges."""
    if stale := build.stale(models):
        lines = [f"{name}: {', '.join(stages)}" for name, stages in stale.items()]
        raise EvidenceError(f"dvc.lock isn't of this commit, stages would run: {'; '.join(lines)}")


def _snapshot(bench: Path, files: Mapping[str, bytes]) -> git.Snapshot:
    """The commit with the job's files over it, as git would keep it."""
    changes = {
        name: write.File("100644", write.blob(bench, content)) for name, content in files.items()
    }
    tree = write.tree(bench, git.head(bench).tree, changes)
    return git.snapshot(bench, tree)


def _stored(
    root: Path, bench: Path, config: Config, job: Job, files: Mapping[str, bytes], say: Say
) -> None:
    needs = storage.needs(_snapshot(bench, files), config, job.models)
    if problems := storage.prove(root, needs, say):
        raise EvidenceError("; ".join(str(one) for one in problems[:5]))


def _fetched(bench: Path, models: tuple[Place, ...]) -> None:
    """Every byte that the locks name is in the cache, proven; package and evaluation are here."""
    items = [item for item in tracked(models) if item.cached]
    if problems := objects.fetch(bench, [item.md5 for item in items]):
        names = {item.md5: item.path for item in items}
        lines = [f"{names[md5]} (object {md5}) is {what}" for md5, what in problems.items()]
        raise EvidenceError("; ".join(lines[:5]))
    ours = {place.package for place in models} | {place.evaluation for place in models}
    wanted = [item for item in items if any(_overlap(bench / item.path, one) for one in ours)]
    if lost := objects.bring(bench, wanted):
        raise EvidenceError(f"{', '.join(item.path for item in lost)} can't be had")


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _record(place: Place, raw: bytes | None, job: Job) -> dict[str, Any]:
    """The build record of one model: of this commit, and of the lock that came with it."""
    where = Where(f"records/{place.name}.json")
    if raw is None:
        raise EvidenceError(f"there's no build record of {place.name}")
    document: Any = contracts.parse_json(raw.decode("utf-8", "replace"), Path("build record"))
    contracts.validate("build", document, where)
    revision = {**document["revision"], "commit": job.commit, "tree": job.tree}
    expected = {
        "model": place.name,
        "lock": place.lock_digest(),
        "revision": revision,
        "tool": {"version": job.tool},
        "metrics": build.read_metrics(place),
    }
    _same(document, expected, where)
    outs = {item.path: item.md5 for item in place.tracked() if item.stage is not None}
    if {one["path"]: one["md5"] for one in document["outputs"]} != outs:
        raise EvidenceError(f"the build record of {place.name} has other outputs than its dvc.lock")
    return dict(document)


def _model(place: Place, document: Mapping[str, Any], result: Mapping[str, Any], say: Say) -> Built:
    """Package and evaluation of one model, by their contracts and the build record."""
    test_set = build.prove_outputs(place, say)
    _same(document, {"test_set": test_set}, Where(f"records/{place.name}.json"))
    told = next((one for one in result["models"] if one["model"] == place.name), None)
    if told is None:
        raise EvidenceError(f"the result doesn't say what was done for {place.name}")
    metrics = dict(document["metrics"])
    return Built(place.name, told["state"], dict(told["stages"]), metrics, test_set)


def _same(document: Mapping[str, Any], expected: Mapping[str, Any], where: Where) -> None:
    for key, value in expected.items():
        if document[key] != value:
            raise EvidenceError(
                f"its build record says {key} {json.dumps(document[key])[:80]},"
                f" not {json.dumps(value)[:80]}",
                where=where,
            )


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
