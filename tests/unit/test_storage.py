"""Objects in remotes: there, whole, and what they are said to be."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gitops import dvc, dvcstore, git, storage
from gitops.errors import EvidenceError, ToolError
from tests.unit.stored_repo import FILES, StoredRepo, listing_of, md5_of

on_each_remote = pytest.mark.parametrize("stored", ["folder", "s3", "azure"], indirect=True)
LONG = pytest.mark.extended("a whole remote of this kind is looked at by another test")
on_a_folder_and_others_too = pytest.mark.parametrize(
    "stored",
    ["folder", pytest.param("s3", marks=LONG), pytest.param("azure", marks=LONG)],
    indirect=True,
)
on_s3 = pytest.mark.parametrize("stored", ["s3"], indirect=True)

BYTES = FILES["models/package"]["model.onnx"]
MODEL = md5_of(BYTES)
DATA = md5_of(FILES["data.csv"][""])
PACKAGE = dvc.listing_md5({n: md5_of(r) for n, r in FILES["models/package"].items()})


def flipped(raw: bytes) -> bytes:
    return bytes([raw[0] ^ 1]) + raw[1:]


def memory(repo: StoredRepo) -> Path:
    return git.private(repo.root) / "proven.json"


def test_what_a_commit_needs(stored: StoredRepo) -> None:
    commit = stored.built()
    found = {one.path: (one.deep, one.size) for one in stored.needs(commit)}
    assert found == {
        "data.csv": (False, 8),
        "evaluation": (True, 4),
        "models/package": (True, 403),
        "prepared": (False, 4),
    }


def test_what_dvc_does_not_push_is_not_needed_but_what_runs_is(stored: StoredRepo) -> None:
    stored.built()
    text = (stored.root / "dvc.yaml").read_text()
    text = text.replace("outs: [prepared]", "outs: [{prepared: {push: false}}]")
    text = text.replace("outs: [models/package]", "outs: [{models/package: {push: false}}]")
    stored.write("dvc.yaml", text)
    tracked = json.loads((stored.root / "data.csv.dvc").read_text())
    tracked["deps"] = [{"path": "data.csv", "repo": {"url": "../other", "rev_lock": "0" * 40}}]
    stored.write("data.csv.dvc", json.dumps(tracked))
    lock = json.loads((stored.root / "dvc.lock").read_text())
    lock["stages"]["prepare"]["outs"] += [
        {"path": "../elsewhere", "hash": "md5", "md5": "0" * 32, "size": 1},
        {"path": "committed.txt", "hash": "md5", "md5": md5_of(b"bytes"), "size": 5},
    ]
    stored.write("committed.txt", "bytes")
    stored.write("dvc.lock", json.dumps(lock))
    commit = git.commit(stored.root, "Change")
    assert [one.path for one in stored.needs(commit)] == ["evaluation", "models/package"]


def test_what_runs_must_be_in_git_or_the_remote_and_have_a_hash(stored: StoredRepo) -> None:
    stored.built()
    text = (stored.root / "dvc.yaml").read_text()
    text = text.replace("outs: [evaluation]", "outs: [{evaluation: {cache: false}}]")
    stored.write("dvc.yaml", text)
    commit = git.commit(stored.root, "Ignored by DVC, and not in git")
    assert "evaluation" in [one.path for one in stored.needs(commit)]
    stored.write("evaluation/predictions.parquet", "rows")
    commit = git.commit(stored.root, "In git")
    assert "evaluation" not in [one.path for one in stored.needs(commit)]
    lock = json.loads((stored.root / "dvc.lock").read_text())
    del lock["stages"]["package"]["outs"][0]["md5"]
    stored.write("dvc.lock", json.dumps(lock))
    commit = git.commit(stored.root, "No hash")
    with pytest.raises(EvidenceError, match="models/package has no hash"):
        stored.needs(commit)


def test_outputs_of_one_stage_among_many_are_looked_up_where_they_are_declared(
    stored: StoredRepo,
) -> None:
    stored.built()
    one = "{cmd: x, wdir: sub, outs: [{kept.txt: {cache: false}}]}"
    stored.write("dvc.yaml", f"stages:\n  each:\n    foreach: [a]\n    do: {one}\n")
    out = {"path": "kept.txt", "hash": "md5", "md5": "0" * 32, "size": 1}
    lock = {"schema": "2.0", "stages": {"each@a": {"cmd": "x", "outs": [out]}}}
    stored.write("dvc.lock", json.dumps(lock))
    assert stored.needs(git.commit(stored.root, "Many")) == ()


@on_each_remote
def test_a_whole_remote(stored: StoredRepo) -> None:
    commit = stored.built()
    assert stored.wrong(commit) == []
    assert stored.wrong(commit, fresh=True) == []
    said: list[str] = []
    found = storage.examine(stored.root, stored.needs(commit), said.append)
    assert {one.need.path: (one.objects, one.size) for one in found} == {
        "data.csv": (1, 8),
        "evaluation": (2, 4),
        "models/package": (3, 403),
        "prepared": (3, 4),
    }
    assert said == [f"looking for 4 tracked paths in {stored.url}"]
    assert not (stored.root / ".dvc" / "cache").exists()


@on_a_folder_and_others_too
def test_each_fault_is_named(stored: StoredRepo) -> None:
    commit = stored.built()
    path = "models/package/model.onnx"

    stored.put(MODEL, flipped(BYTES))
    assert stored.wrong(commit) == [(path, "corrupt")]
    stored.put(MODEL, BYTES[:-1])
    assert stored.wrong(commit) == [(path, "corrupt")]
    stored.remove(MODEL)
    assert stored.wrong(commit) == [(path, "missing")]
    stored.put(MODEL, BYTES)
    assert stored.wrong(commit) == []

    stored.put(DATA, b"a,b\n1,")
    assert stored.wrong(commit) == [("data.csv", "truncated")]
    stored.remove(DATA)
    assert stored.wrong(commit) == [("data.csv", "missing")]
    stored.put(DATA, b"a,b\n1,3\n")  # raw data is judged by its size
    assert stored.wrong(commit) == []
    stored.put(DATA, b"a,b\n1,2\n")

    stored.put(PACKAGE, b"[]")
    assert stored.wrong(commit) == [("models/package", "corrupt")]
    stored.remove(PACKAGE)
    assert stored.wrong(commit) == [("models/package", "missing")]


@on_a_folder_and_others_too
def test_a_folder_whose_files_do_not_add_up_is_hashed(stored: StoredRepo) -> None:
    commit = stored.built()
    stored.put(md5_of(b"1\n"), b"1")
    assert stored.wrong(commit) == [("prepared/train.csv", "corrupt")]


def test_a_listing_that_leads_outside_is_corrupt(stored: StoredRepo) -> None:
    files = {**FILES, "prepared": {"../../x": b"1\n"}}
    assert stored.wrong(stored.built(files)) == [("prepared", "corrupt")]


@on_each_remote
def test_an_altered_object_is_never_taken_for_a_proven_one(stored: StoredRepo) -> None:
    commit = stored.built()
    assert stored.wrong(commit) == []
    stored.put(MODEL, flipped(BYTES))
    assert stored.wrong(commit) == [("models/package/model.onnx", "corrupt")]
    stored.put(MODEL, BYTES)
    assert stored.wrong(commit) == []


@pytest.mark.parametrize("stored", ["s3", "azure"], indirect=True)
def test_a_scrub_believes_no_memory_and_corrects_it(stored: StoredRepo) -> None:
    commit = stored.built()
    assert stored.wrong(commit) == []
    known = json.loads(memory(stored).read_text())
    ((remote, proven),) = known.items()
    assert MODEL in proven
    stored.put(MODEL, flipped(BYTES))
    with dvcstore.stores(stored.root) as (_, store):
        stat = store.stats([MODEL])[MODEL]
    assert stat is not None
    proven[MODEL] = f"{stat.size} {stat.stamp}"  # as if it had rotted after it was proven
    memory(stored).write_text(json.dumps({remote: proven}))
    assert stored.wrong(commit) == []
    assert stored.wrong(commit, fresh=True) == [("models/package/model.onnx", "corrupt")]
    assert stored.wrong(commit) == [("models/package/model.onnx", "corrupt")]


def test_an_object_that_was_just_written_is_not_remembered(stored: StoredRepo) -> None:
    commit = stored.built()
    assert stored.wrong(commit) == []
    assert list(json.loads(memory(stored).read_text()).values()) == [{}]


@on_s3
@pytest.mark.parametrize("damage", ["", "{", "[]", '{"x": 3}', '{"x": {"y": []}}', "\xff"])
def test_a_damaged_memory_costs_nothing_but_work(stored: StoredRepo, damage: str) -> None:
    commit = stored.built()
    memory(stored).parent.mkdir()
    memory(stored).write_text(damage, "latin-1")
    assert stored.wrong(commit) == []
    assert any(MODEL in some for some in json.loads(memory(stored).read_text()).values())


@on_s3
def test_a_memory_that_cannot_be_written_is_done_without(stored: StoredRepo) -> None:
    commit = stored.built()
    memory(stored).parent.write_text("in the way")
    assert stored.wrong(commit) == []


def test_objects_from_before_dvc_3(stored: StoredRepo) -> None:
    commit = stored.built()
    lock = json.loads((stored.root / "dvc.lock").read_text())
    text, hashes = b"a\r\nb\r\n", {"t.txt": md5_of(b"a\nb\n")}
    md5 = dvc.listing_md5(hashes)
    lock["stages"]["prepare"]["outs"] = [{"path": "prepared", "md5": md5, "size": 6}]
    stored.write("dvc.lock", json.dumps(lock))
    commit = git.commit(stored.root, "Old")
    assert stored.wrong(commit) == [("prepared", "missing")]
    with dvcstore.stores(stored.root) as (_, remote):
        remote.legacy.odb.add_bytes(md5, listing_of(hashes))
        remote.legacy.odb.add_bytes(hashes["t.txt"], text)
    assert (Path(stored.url) / md5[:2] / md5[2:]).is_file()
    deep = [
        storage.Need(one.path, one.md5, one.size, True, one.legacy) for one in stored.needs(commit)
    ]
    assert storage.prove(stored.root, deep, lambda line: None) == ()


def test_a_storage_folder_that_is_gone(stored: StoredRepo) -> None:
    commit = stored.built()
    Path(stored.url).rename(stored.url + "-moved")
    with pytest.raises(ToolError, match="isn't there"):
        stored.wrong(commit)


@pytest.fixture
def expired() -> Iterator[str]:
    """An S3 endpoint to which every token has expired, and which repeats it."""

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            token = self.headers.get("X-Amz-Security-Token", "")
            body = f"<Error><Code>ExpiredToken</Code><Message>{token} has expired</Message></Error>"
            self.send_response(400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body.encode())

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@on_s3
def test_expired_credentials_are_said_without_them(
    stored: StoredRepo, expired: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = stored.built()
    needs = stored.needs(commit)
    local = stored.root / ".dvc" / "config.local"
    local.write_text(local.read_text().replace(stored.options["endpointurl"], expired))
    monkeypatch.setenv("AWS_SESSION_TOKEN", "not-for-your-eyes")
    files = [one for one in needs if not one.md5.endswith(".dir")]
    for some in (needs, files):
        with pytest.raises(ToolError) as error:
            storage.prove(stored.root, some, lambda line: None)
        assert "credentials" in error.value.fix
        assert "eyes" not in str(error.value)


@pytest.mark.parametrize("stored", ["azure"], indirect=True)
def test_a_refused_azure_key_is_said_without_it(stored: StoredRepo) -> None:
    commit = stored.built()
    local = stored.root / ".dvc" / "config.local"
    key = stored.options["connection_string"].split("AccountKey=")[1].split(";")[0]
    other = key[:-4] + "AA=="
    local.write_text(local.read_text().replace(key, other))
    with pytest.raises(ToolError) as error:
        stored.wrong(commit)
    assert "credentials" in error.value.fix
    assert other[:20] not in str(error.value)
