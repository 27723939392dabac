"""Files beside the objects, a commit as a pack, and what garbage collection makes of mailboxes."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitops import mailbox, storefiles
from gitops.errors import EvidenceError
from gitops.git import pack
from gitops.mailbox import Found, Mailbox
from gitops.promote import gc
from tests.unit.compute.test_specs import JOB
from tests.unit.conftest import azure, s3, stored
from tests.unit.stored_repo import FILES, StoredRepo, md5_of

__all__ = ["azure", "s3", "stored"]
on_each_remote = pytest.mark.parametrize("stored", ["folder", "s3", "azure"], indirect=True)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
OTHER = {**FILES, "evaluation": {"predictions.parquet": b"others"}}
AT_ONCE = timedelta(seconds=-5)


@on_each_remote
def test_files_are_whole_created_once_and_listed_by_the_stores_clock(
    stored: StoredRepo, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    with storefiles.opened(stored.root) as files:
        assert files.read("jobs/a/one") is None
        assert not files.download("jobs/a/one", tmp_path / "none")
        assert files.listed("jobs") == {}
        assert files.create("jobs/a/one", b"first")
        assert not files.create("jobs/a/one", b"second")
        assert files.read("jobs/a/one") == b"first"
        files.write("jobs/a/one", b"third")
        files.upload(tmp_path / "large", "jobs/a/b/large")
        assert files.download("jobs/a/b/large", tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == b"x" * 100_000
        listed = files.listed("jobs")
        assert set(listed) == {"jobs/a/one", "jobs/a/b/large"}
        assert all(abs(datetime.now(UTC) - when) < timedelta(hours=1) for when in listed.values())
        files.remove([*listed, "jobs/a/never"])
        assert files.listed("jobs") == {}


@on_each_remote
def test_of_many_at_once_one_creates(stored: StoredRepo) -> None:
    won: list[int] = []
    with storefiles.opened(stored.root) as files:

        def create(number: int) -> None:
            if files.create("jobs/a/job.json", b"%d" % number):
                won.append(number)

        threads = [threading.Thread(target=create, args=[number]) for number in range(8)]
        for one in threads:
            one.start()
            if stored.url.startswith("s3:"):  # the simulated one looks, and then writes
                one.join()
        for one in threads:
            one.join()
        assert files.read("jobs/a/job.json") == b"%d" % won[0]
    assert len(won) == 1


def test_a_pack_has_one_commit_and_nothing_before_it(stored: StoredRepo, tmp_path: Path) -> None:
    stored.built(OTHER)
    commit = stored.built()
    pack.write(stored.root, commit, tmp_path / "one.pack")
    pack.check_out(tmp_path / "one.pack", tmp_path / "out", commit)

    def said(*words: str) -> str:
        command = ["git", *words]
        return subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True).stdout

    assert said("rev-parse", "HEAD").strip() == commit
    assert len(said("log", "--format=%H").split()) == 1
    assert said("status", "--porcelain") == ""
    assert (tmp_path / "out" / "dvc.lock").read_bytes() == (stored.root / "dvc.lock").read_bytes()


def test_a_pack_that_lacks_something_or_was_altered_is_refused(
    stored: StoredRepo, tmp_path: Path
) -> None:
    first, commit = stored.built(OTHER), stored.built()
    path = tmp_path / "one.pack"
    pack.write(stored.root, first, path)
    with pytest.raises(EvidenceError, match="isn't that of commit"):
        pack.check_out(path, tmp_path / "another", commit)
    path.chmod(0o644)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(EvidenceError, match="isn't that of commit"):
        pack.check_out(path, tmp_path / "altered", first)


def put(root: Path, job: mailbox.Job, **results: object) -> None:
    with mailbox.opened(root) as files:
        box = Mailbox(root, files, job.id)
        box.write("job.json", job.document())
        if results:
            result = {
                "version": 1,
                "job": "0" * 64,
                "state": "built",
                "files": {},
                "records": {},
                "models": [],
                "objects": [],
                "error": None,
                "finished": "2026-01-31T12:00:00Z",
                **results,
            }
            box.write("result.json", json.dumps(result).encode())


@on_each_remote
def test_gc_keeps_what_jobs_read_and_stored_and_their_mailboxes(stored: StoredRepo) -> None:
    old = {"data.csv": {"": b"old"}, "prepared": {"x": b"old too"}, "models/package": {"m": b"o"}}
    stored.built({**FILES, **old})
    kept = stored.built()
    before = gc.unneeded(stored.root, [kept], lambda _: None, grace=AT_ONCE)
    assert md5_of(b"old") in {one.md5 for one in before}
    (folder,) = [one.md5 for one in before if one.md5.endswith(".dir")][:1]
    put(stored.root, replace(JOB, needs=(md5_of(b"old"),)), objects=[folder])
    after = {one.md5 for one in gc.unneeded(stored.root, [kept], lambda _: None, grace=AT_ONCE)}
    gone = {one.md5 for one in before} - after
    assert {md5_of(b"old"), folder} < gone  # and the files of that folder
    assert gc.old_jobs(stored.root) == ()
    with mailbox.opened(stored.root) as files:
        found = mailbox.everything(files)
    gc.delete_jobs(stored.root, found)
    again = gc.unneeded(stored.root, [kept], lambda _: None, grace=AT_ONCE)
    assert {one.md5 for one in again} == {one.md5 for one in before}


def test_gc_refuses_where_a_mailbox_cannot_be_read(stored: StoredRepo) -> None:
    kept = stored.built()
    with mailbox.opened(stored.root) as files:
        Mailbox(stored.root, files, JOB.id).write("job.json", b"{half")
    with pytest.raises(EvidenceError, match="JSON"):
        gc.unneeded(stored.root, [kept], lambda _: None, grace=AT_ONCE)


def test_old_mailboxes_are_those_that_nobody_waits_for() -> None:
    def one(number: int, days: int, *files: str) -> Found:
        name = f"{number:016x}-1"
        paths = tuple(f"jobs/{name}/{file}" for file in ("job.json", *files))
        return Found(name, paths, NOW - timedelta(days=days))

    found = [
        one(1, 0),
        one(2, 8),
        one(3, 8, "result.json"),
        one(4, 8, "settled.json"),
        one(5, 6, "result.json"),
        one(6, 31),
    ]
    gone = [int(each.id.partition("-")[0], 16) for each in mailbox.old(found, NOW)]
    assert gone == [3, 4, 6]
    # A clock that is ahead makes nothing old.
    ahead = NOW + timedelta(days=400)
    assert mailbox.old(found, ahead) == mailbox.old(found, NOW)


def test_attempts_stay_as_long_as_a_later_one_does() -> None:
    def one(number: int, days: int) -> Found:
        name = f"{7:016x}-{number}"
        return Found(name, (f"jobs/{name}/settled.json",), NOW - timedelta(days=days))

    assert mailbox.old([one(2, 9), one(10, 0), one(1, 9)], NOW) == ()
    gone = mailbox.old([one(1, 9), one(2, 0), one(3, 9)], NOW)
    assert [each.number for each in gone] == [3]


def test_a_ticket_names_no_path() -> None:
    good = {"url": "s3://b/p", "options": {}, "id": JOB.id, "digest": "0" * 64}
    assert mailbox.ticket(json.dumps(good)).id == JOB.id
    for bad in ("[]", "{}", json.dumps({**good, "id": "../../etc"})):
        with pytest.raises(EvidenceError):
            mailbox.ticket(bad)
