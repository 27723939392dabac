"""Files as sources: a folder, S3 (moto), Azure Blob (azurite); read whole and at rest, or not."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gitops.config.source import Source
from gitops.errors import ConfigError, EvidenceError, GitopsError, ToolError
from gitops.ingest import files
from gitops.ingest.snapshot import Snapshot
from tests import stores

HEAD, ONE, TWO = "id,name\n", "1,a\n", "2,b\n"


@dataclass(frozen=True)
class Place:
    """A place that files can be put to, and the settings by which a source names it."""

    put: Callable[[str, bytes], None]
    path: str
    settings: dict[str, str]


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, str]]:
    """The S3 endpoint, and azurite's connection string where it is."""
    with stores.s3() as endpoint:
        yield {"s3": endpoint}


@pytest.fixture(scope="module")
def blob() -> Iterator[str]:
    with stores.azure() as words:
        yield words


@pytest.fixture(params=["folder", "s3", "azure"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Each kind of place, empty, with the credentials in the environment."""
    top = f"{stores.BUCKET}/{tmp_path.name.replace('_', '-').replace('[', '-').strip(']-')}"
    if request.param == "folder":

        def put(name: str, content: bytes) -> None:
            file = tmp_path / "landing" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

        return Place(put, "landing", {})
    if request.param == "s3":
        import s3fs

        endpoint = request.getfixturevalue("services")["s3"]
        for name, value in stores.AWS.items():
            monkeypatch.setenv(name, value)
        store: Any = s3fs.S3FileSystem(endpoint_url=endpoint, skip_instance_cache=True)
        settings = {"endpoint": endpoint}
    else:
        import adlfs

        words = request.getfixturevalue("blob")
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", words)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        store = adlfs.AzureBlobFileSystem(connection_string=words, skip_instance_cache=True)
        settings = {}

    def upload(name: str, content: bytes) -> None:
        store.pipe_file(f"{top}/{name}", content)

    return Place(upload, f"{request.param}://{top}", settings)


@pytest.fixture
def folder(tmp_path: Path) -> Place:
    """A folder beside nothing."""
    (tmp_path / "landing").mkdir()

    def put(name: str, content: bytes) -> None:
        file = tmp_path / "landing" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    return Place(put, "landing", {})


def take(
    root: Path,
    place: Place,
    name: str = "t.csv",
    say: Callable[[str], None] = lambda text: None,
    **more: Any,
) -> Snapshot:
    given = {"kind": "files", "path": place.path, **place.settings, **more}
    out = root / "out"
    out.mkdir(exist_ok=True)
    return files.take(root, Source.model_validate(given), out / name, say)


def refused(error: type[GitopsError], said: str, root: Path, place: Place, /, **more: Any) -> None:
    with pytest.raises(error) as caught:
        take(root, place, **more)
    assert said in str(caught.value)
    assert not list((root / "out").iterdir())


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(columns).write_parquet(out)
    return out.getvalue()


def test_several_files_in_the_order_of_their_names(place: Place, tmp_path: Path) -> None:
    place.put("part-2.csv", f"{HEAD}3,c\n".encode())
    place.put("part-1.csv", f"{HEAD}2,b\n10,x\n".encode())
    place.put("_SUCCESS", b"")
    found = take(tmp_path, place, marker="_SUCCESS")
    assert found.file.read_text() == f"{HEAD}2,b\n10,x\n3,c\n"
    assert found.rows == 3
    versions: Any = found.origin["versions"]
    assert list(versions) == ["part-1.csv", "part-2.csv"]
    assert len(set(versions.values())) == 2
    assert (found.origin["files"], found.origin["place"]) == (2, place.path)
    ordered = take(tmp_path, place, order_by=["id"])
    assert ordered.file.read_text() == f"{HEAD}2,b\n3,c\n10,x\n"
    place.put("part-2.csv", f"{HEAD}4,d\n".encode())
    later: Any = take(tmp_path, place).origin["versions"]
    assert later["part-1.csv"] == versions["part-1.csv"]
    assert later["part-2.csv"] != versions["part-2.csv"]


def test_cells_of_csv_files_stay_what_they_are(folder: Place, tmp_path: Path) -> None:
    folder.put("a.csv", b"id;name;n\n007;NA;1.50\n")
    folder.put("b.csv", b'id;name;n\n8;"x;y";\n')
    out = tmp_path / "out"
    out.mkdir()
    source = Source.model_validate({"kind": "files", "path": "landing"})
    found = files.take(tmp_path, source, out / "t.csv", lambda text: None, ";")
    assert found.file.read_text() == 'id;name;n\n007;NA;1.50\n8;"x;y";\n'


def test_what_is_not_complete_is_not_read(place: Place, tmp_path: Path) -> None:
    place.put("part-1.csv", f"{HEAD}{ONE}".encode())
    refused(EvidenceError, "has no _SUCCESS", tmp_path, place, marker="_SUCCESS")
    place.put("_temporary/0/part-2.csv", b"x")
    refused(EvidenceError, "somebody is writing", tmp_path, place)


def test_a_change_while_it_is_read_is_seen(place: Place, tmp_path: Path) -> None:
    """A file is written anew, of the same size, just when reading begins."""
    place.put("part-1.csv", f"{HEAD}{ONE}".encode())
    place.put("part-2.csv", f"{HEAD}{ONE}".encode())

    def write(text: str) -> None:
        if text.startswith("reading"):
            place.put("part-2.csv", f"{HEAD}{TWO}".encode())

    refused(EvidenceError, "changed while it was read: part-2.csv", tmp_path, place, say=write)


def test_parquet(place: Place, tmp_path: Path) -> None:
    place.put("a.parquet", parquet(id=[1, 2], name=["x", None]))
    one = take(tmp_path, place, "t.parquet")
    assert one.file.read_bytes() == parquet(id=[1, 2], name=["x", None])
    assert one.rows == 2
    place.put("b.parquet", parquet(id=[0], name=["y"]))
    both = pl.read_parquet(take(tmp_path, place, "t.parquet").file)
    assert both.rows() == [(1, "x"), (2, None), (0, "y")]
    first = take(tmp_path, place, "t.parquet", order_by=["id"]).file.read_bytes()
    assert take(tmp_path, place, "t.parquet", order_by=["id"]).file.read_bytes() == first
    (tmp_path / "out" / "t.parquet").unlink()
    place.put("b.parquet", parquet(id=["0"], name=["y"]))
    refused(EvidenceError, "id is String, not Int64", tmp_path, place, name="t.parquet")
    place.put("b.parquet", parquet(id=[0], name=["y"])[:-30])
    refused(
        EvidenceError,
        "b.parquet: the Parquet file can't be read",
        tmp_path,
        place,
        name="t.parquet",
    )


def test_one_file_and_a_glob(place: Place, tmp_path: Path) -> None:
    place.put("a.csv", f"{HEAD}{ONE}".encode())
    place.put("b.csv", f"{HEAD}{TWO}".encode())
    place.put("readme.txt", b"about")
    refused(ConfigError, "readme.txt", tmp_path, place)
    one = Place(place.put, f"{place.path}/b.csv", place.settings)
    assert take(tmp_path, one).file.read_text() == f"{HEAD}{TWO}"
    both = Place(place.put, f"{place.path}/*.csv", place.settings)
    found = take(tmp_path, both)
    assert found.file.read_text() == f"{HEAD}{ONE}{TWO}"
    versions: Any = found.origin["versions"]
    assert list(versions) == ["a.csv", "b.csv"]
    none = Place(place.put, f"{place.path}/*.nosuch", place.settings)
    found.file.unlink()
    for named in (one, both):
        refused(EvidenceError, "it has no _DONE", tmp_path, named, marker="_DONE")
    refused(EvidenceError, "there is no file at", tmp_path, none)
    place.put("_DONE", b"")
    assert take(tmp_path, one, marker="_DONE").rows == 1
    assert take(tmp_path, both, marker="_DONE").rows == 2


def test_a_glob_in_a_repository_whose_path_has_its_signs(tmp_path: Path) -> None:
    root = tmp_path / "a[1]*"
    (root / "landing").mkdir(parents=True)
    (root / "landing" / "a.csv").write_text(f"{HEAD}{ONE}")
    for path in ("landing", "landing/*.csv", "*/a.csv", "landing/a.csv"):
        assert take(root, Place(lambda name, content: None, path, {})).rows == 1


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("two.csv", b"", EvidenceError, "two.csv of landing has no byte"),
        ("two.csv", b"id\n2\n", EvidenceError, "name is missing"),
        ("two.csv", b"id,name,more\n2,b,c\n", EvidenceError, "more is new"),
        ("two.csv", b"name,id\nb,2\n", EvidenceError, "in another order"),
        ("two.csv", b"id,name\n2,b,c\n", EvidenceError, "landing/two.csv:2: this row has 3"),
        ("two.csv", b"id,name\n2,\xff\n", EvidenceError, "landing/two.csv:2"),
        ("two.parquet", parquet(id=[2], name=["b"]), ConfigError, "isn't of the format of t.csv"),
        ("two.csv.part", b"id", EvidenceError, "somebody is writing"),
        ("_started_77", b"", EvidenceError, "somebody is writing"),
        ("day=1/two.csv", b"id,name\n2,b\n", EvidenceError, "holds a column's value"),
    ],
)
def test_files_that_no_table_comes_of(
    folder: Place, tmp_path: Path, name: str, content: bytes, error: type[GitopsError], said: str
) -> None:
    folder.put("one.csv", f"{HEAD}{ONE}".encode())
    folder.put(name, content)
    refused(error, said, tmp_path, folder)


def test_a_place_that_is_not_there_or_empty(folder: Place, tmp_path: Path) -> None:
    refused(EvidenceError, "there is no file at landing", tmp_path, folder)
    refused(EvidenceError, "there is no file at nosuch", tmp_path, Place(folder.put, "nosuch", {}))
    folder.put("_SUCCESS", b"")
    refused(EvidenceError, "there is no table at landing", tmp_path, folder)
    folder.put("_started_7", b"")
    folder.put("_committed_7", b"{}")
    folder.put("one.csv", HEAD.encode())
    refused(EvidenceError, "no row", tmp_path, folder)
    folder.put("one.csv", f"{HEAD}{ONE}".encode())
    assert take(tmp_path, folder).rows == 1


def test_a_store_that_refuses_tells_no_secret(
    services: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stores.AWS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-of-the-test")
    nowhere = Place(
        lambda name, content: None, "s3://nosuch-bucket/x", {"endpoint": services["s3"]}
    )
    refused(EvidenceError, "s3://nosuch-bucket/x", tmp_path, nowhere)
    closed = Place(lambda n, c: None, "s3://models/x", {"endpoint": "http://127.0.0.1:1"})
    with pytest.raises(ToolError) as caught:
        take(tmp_path, closed)
    assert "s3://models/x can't be read" in str(caught.value)
    assert "s3cret" not in str(caught.value)
