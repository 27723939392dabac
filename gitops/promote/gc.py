"""Stored objects that no commit needs any more: found, and deleted when asked.

DVC's own `gc` keeps what the branches and tags of this clone need, or everything. Here the caller
names the commits, and whatever can't be read makes it refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gitops import dvclock, dvcremote, dvcstore, git, mailbox, storage
from gitops.errors import AnswerNo, EvidenceError

Say = Callable[[str], None]
GRACE = timedelta(days=7)
_BATCH = 500


@dataclass(frozen=True)
class Stored:
    """An object in the remote: DVC's hash, bytes, and when it was written by the store's clock."""

    md5: str
    size: int
    modified: datetime


def unneeded(
    root: Path, commits: Sequence[str], say: Say, *, grace: timedelta = GRACE
) -> tuple[Stored, ...]:
    """Objects of the default remote that none of `commits` needs, by hash.

    Needed is every output of every dvc.lock and .dvc file of these commits, declared in gitops.yaml
    or not, and all files of folders, and what jobs read and store (`gitops build --on`), whose
    commits nobody may have pushed yet. Objects younger than `grace` stay: somebody may be pushing.
    What DVC stored before 3.0 lies elsewhere and isn't looked at.

    Raises:
        EvidenceError: a commit, or a folder's listing that one needs, can't be read: without it
            nobody can tell what is needed.
        ToolError: the remote can't be reached, or refuses.
    """
    if not commits:
        raise EvidenceError(
            "no commit is to be kept, so all objects would go", fix="name what is to be kept"
        )
    place = dvcremote.preflight(root)
    outputs = _outputs(root, commits)
    say(f"{len(outputs)} tracked objects in {len(set(commits))} commits")
    jobs = _of_jobs(root)
    with dvcstore.stores(root) as (cache, remote):
        files = _files(root, outputs, cache, remote, say) | _listed(jobs, cache, remote)
        say(f"listing {dvcremote.shown(place.url)}")
        with dvcstore.refusals(root, "didn't list its objects"):
            stored = [
                Stored(md5, stat.size, stat.modified)
                for md5, stat in remote.listed()
                if stat.modified is not None
            ]
    return candidates(stored, {*outputs, *files, *jobs}, datetime.now(UTC), grace)


def candidates(
    stored: Sequence[Stored], needed: set[str], now: datetime, grace: timedelta
) -> tuple[Stored, ...]:
    """Those of `stored` that aren't `needed` and were written more than `grace` ago.

    "Now" is at most when the newest object was written: to a clock that is ahead, what somebody is
    just pushing looks old. Where nothing was pushed for long, that spares more than it must.
    """
    latest = min(now, max((one.modified for one in stored), default=now))
    found = (one for one in stored if one.md5 not in needed and latest - one.modified > grace)
    return tuple(sorted(found, key=lambda one: one.md5))


def delete(root: Path, objects: Sequence[Stored], say: Say) -> tuple[Stored, ...]:
    """Delete `objects` from the default remote, and return those that were.

    What was written again since it was listed stays. Listings of folders go first, so that DVC
    never finds one whose files are gone.

    Raises:
        AnswerNo: this is a rehearsal.
        ToolError: the remote can't be reached, or refuses; what was deleted until then is gone.
    """
    if not objects:
        return ()
    if dvcremote.rehearsed(dvcremote.preflight(root)):
        raise AnswerNo("a rehearsal deletes nothing from the storage", fix="gitops ci --for-real")
    ordered = sorted(objects, key=lambda one: (not one.md5.endswith(".dir"), one.md5))
    gone: list[Stored] = []
    with dvcstore.stores(root) as (_, remote), dvcstore.refusals(root, "didn't delete"):
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            stats = remote.stats([one.md5 for one in batch])
            same = [one for one in batch if _unchanged(one, stats[one.md5])]
            remote.remove([one.md5 for one in same])
            gone += same
            say(f"deleted {len(gone)} of {len(ordered)} objects")
    return tuple(gone)


def old_jobs(root: Path) -> tuple[mailbox.Found, ...]:
    """Mailboxes of jobs that nobody waits for any more.

    Raises:
        ToolError: the remote can't be reached, or refuses.
    """
    with mailbox.opened(root) as files, dvcstore.refusals(root, "didn't list its jobs"):
        return mailbox.old(mailbox.everything(files), datetime.now(UTC))


def delete_jobs(root: Path, jobs: Sequence[mailbox.Found]) -> None:
    """Delete mailboxes; what says which job it was goes last.

    Raises:
        AnswerNo: this is a rehearsal.
        ToolError: the remote can't be reached, or refuses.
    """
    if not jobs:
        return
    if dvcremote.rehearsed(dvcremote.preflight(root)):
        raise AnswerNo("a rehearsal deletes nothing from the storage", fix="gitops ci --for-real")
    with mailbox.opened(root) as files, dvcstore.refusals(root, "didn't delete"):
        for one in jobs:
            files.remove(sorted(one.files, key=lambda path: path.endswith("/job.json")))


def _of_jobs(root: Path) -> set[str]:
    """What the jobs need that somebody may still wait for."""
    with mailbox.opened(root) as files:
        with dvcstore.refusals(root, "didn't list its jobs"):
            found = mailbox.everything(files)
        gone = {one.id for one in mailbox.old(found, datetime.now(UTC))}
        return mailbox.needed(root, files, [one for one in found if one.id not in gone])


def _listed(hashes: Iterable[str], cache: dvcstore.Store, remote: dvcstore.Store) -> set[str]:
    """The files in these folders, as far as they are stored: a job may not have come to them."""
    found: set[str] = set()
    for md5 in hashes:
        for store in (cache, remote) if md5.endswith(".dir") else ():
            if isinstance(listing := storage.read_listing(store, md5), dict):
                found.update(listing.values())
                break
    return found


def _unchanged(one: Stored, stat: dvcstore.Stat | None) -> bool:
    """Whether an object is still what was listed; listings give times to the second only."""
    if stat is None or stat.modified is None:
        return False
    return stat.size == one.size and stat.modified - one.modified < timedelta(seconds=1)


def _outputs(root: Path, commits: Iterable[str]) -> dict[str, tuple[dvclock.Entry, str]]:
    """Every output of `commits` by its hash, with one of the commits that have it."""
    found: dict[str, tuple[dvclock.Entry, str]] = {}
    for commit in dict.fromkeys(commits):
        for entry in dvclock.everything(git.snapshot(root, commit)):
            known = found.get(entry.md5)
            if entry.md5 and (known is None or known[0].kept != "remote"):
                found[entry.md5] = entry, commit
    return found


def _files(
    root: Path,
    outputs: Mapping[str, tuple[dvclock.Entry, str]],
    cache: dvcstore.Store,
    remote: dvcstore.Store,
    say: Say,
) -> set[str]:
    """The hashes of all files in folders, from the cache's listings or the remote's."""

    def read(md5: str) -> dict[str, str] | storage.Kind:
        found = storage.read_listing(cache, md5)
        if isinstance(found, dict):
            return found
        entry, _ = outputs[md5]
        return storage.read_listing(remote.legacy if entry.legacy else remote, md5)

    folders = [
        md5 for md5, (one, _) in outputs.items() if md5.endswith(".dir") and one.kept == "remote"
    ]
    listings = storage.in_parallel(root, folders, read, "listings", say)
    unread = [
        f"{outputs[md5][0].path} (object {md5}) of commit {outputs[md5][1][:12]} is {found}"
        for md5, found in listings.items()
        if isinstance(found, str)
    ]
    if unread:
        raise EvidenceError(
            "nobody can tell what is needed; a folder's listing can't be read:\n  "
            + "\n  ".join(unread),
            fix="`dvc push` from a clone that has it, or don't keep that commit",
        )
    return {md5 for found in listings.values() if isinstance(found, dict) for md5 in found.values()}
