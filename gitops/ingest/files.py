"""CSV or Parquet files of a folder or an object store, read only if they are whole and at rest."""

from __future__ import annotations

import glob
import hashlib
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import polars as pl

from gitops import csvtext, dvcstore, sha256
from gitops.errors import ConfigError, EvidenceError, GitopsError, ToolError, Where
from gitops.ingest import snapshot
from gitops.ingest.snapshot import Snapshot

if TYPE_CHECKING:
    from gitops.config.source import Source

_FORMATS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
_GLOB = re.compile(r"[*?\[]")
_HALF = (".part", ".partial", ".filepart", ".tmp", ".temp", ".inprogress", ".crdownload", ".lock")
_LISTED = 50  # files that a note names one by one


@dataclass(frozen=True)
class _File:
    """A file where it lies: its path in the store, its bytes, a stamp of this very writing."""

    path: str
    size: int
    stamp: str


@dataclass(frozen=True)
class _Place:
    """What `path` of a source names, in the file system that speaks to it."""

    fs: Any
    top: str  # as the file system has it, without what follows the first sign of a glob
    pattern: str  # the rest of a glob, or nothing
    shown: str

    def files(self, marker: str | None) -> dict[str, _File]:
        """Every file by its name below the place, in sorted order; `marker` lies beside them."""
        self.fs.invalidate_cache()
        base = self.top
        if self.pattern:
            found = self.fs.glob(posixpath.join(glob.escape(base), self.pattern), detail=True)
        elif self.fs.isfile(self.top):
            base = posixpath.dirname(self.top)
            found = {self.top: self.fs.info(self.top)}
        else:
            found = self.fs.find(self.top, detail=True)
        last = posixpath.join(base, marker or "")
        if marker and self.fs.isfile(last):
            found[last] = self.fs.info(last)
        listed = {
            posixpath.relpath(path, base): _File(path, int(info["size"]), _stamp(info))
            for path, info in found.items()
            if info["type"] == "file" and not path.endswith("/")
        }
        return {name: listed[name] for name in sorted(listed)}


def _stamp(info: Mapping[str, Any]) -> str:
    """What S3 (`ETag`), Azure Blob (`etag`) or a folder (inode and time) says of a writing."""
    known = info.get("ETag") or info.get("etag")
    return str(known).strip('"') if known else f"{info.get('ino')}/{info.get('mtime')}"


def take(
    root: Path, source: Source, target: Path, say: Callable[[str], None], separator: str = ","
) -> Snapshot:
    """The rows of all files that the source names, one after the other, as the file `target`.

    Raises:
        ConfigError: the files aren't of the table's format, or the place can't be named so.
        EvidenceError: none there, incomplete, damaged, of unlike columns, or changed meanwhile.
        ToolError: the store can't be reached, or refuses.
    """
    place = _opened(root, source)
    with _refusals(place):
        found = place.files(source.marker)
    data = _whole(place, source, found, target)
    say(f"reading {len(data)} files of {place.shown}")
    with TemporaryDirectory(dir=target.parent, prefix="files-") as folder:
        copies = {name: Path(folder, f"{at:06}{target.suffix}") for at, name in enumerate(data)}
        with _refusals(place):
            for name, copy in copies.items():
                place.fs.get_file(data[name].path, str(copy))
            after = place.files(source.marker)
        _require_same(place, found, after)
        for name, copy in copies.items():
            if copy.stat().st_size != data[name].size:
                raise _changing(place, name)
        versions = {name: _version(data[name], copies[name]) for name in data}
        rows = _joined(place, copies, source.order_by, target, separator)
    return Snapshot(target, rows, _origin(place, data, versions) | {"rows": rows})


def _opened(root: Path, source: Source) -> _Place:
    import fsspec

    path = str(source.path)
    scheme, found, rest = path.partition("://")
    top, pattern = _split(rest if found else path)
    if not found:
        top = posixpath.normpath(str(root / top))
        return _Place(fsspec.filesystem("file"), top, pattern, path)
    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    try:
        if scheme == "s3":
            more = {"endpoint_url": source.endpoint} if source.endpoint else {}
            return _Place(fsspec.filesystem("s3", **options, **more), top, pattern, path)
        more = {"account_name": source.account} if source.account else {}
        return _Place(fsspec.filesystem("abfs", **options, **more), top, pattern, path)
    except ImportError as error:
        raise ToolError(
            f"what speaks to {scheme}:// isn't installed", fix=f"install gitops-ml[{scheme}]"
        ) from error
    except Exception as error:
        raise _refused(path, error) from None


def _split(path: str) -> tuple[str, str]:
    """The folders before the first sign of a glob, and the rest."""
    sign = _GLOB.search(path)
    if sign is None:
        return path.rstrip("/"), ""
    top, slash, rest = path[: sign.start()].rpartition("/")
    return top or slash, rest + path[sign.start() :]


@contextmanager
def _refusals(place: _Place) -> Iterator[None]:
    try:
        yield
    except GitopsError:
        raise
    except FileNotFoundError as error:
        raise EvidenceError(
            f"{place.shown} isn't there, or has changed while it was read",
            fix="correct `path` of the source in gitops.yaml, or run it again",
        ) from error
    except Exception as error:  # each store has errors of its own
        raise _refused(place.shown, error) from None


def _refused(shown: str, error: Exception) -> ToolError:
    return ToolError(
        f"{shown} can't be read: {type(error).__name__}: {dvcstore.masked(str(error))[:300]}",
        fix="check the credentials of the environment (have they expired?), and `path`, `account`"
        " or `endpoint` of the source in gitops.yaml",
    )


# ---------------------------------------------------------------- whole and at rest


def _whole(
    place: _Place, source: Source, found: Mapping[str, _File], target: Path
) -> dict[str, _File]:
    """The files with rows, if nothing says that more are to come.

    Names that begin with _ or a dot are no data (https://spark.apache.org/docs/latest: what Hadoop
    hides); what they say of a writer at work counts.
    """
    if not found:
        raise EvidenceError(
            f"there is no file at {place.shown}", fix="correct `path` of the source in gitops.yaml"
        )
    if source.marker and source.marker not in found:
        raise EvidenceError(
            f"{place.shown} is not complete: it has no {source.marker}",
            fix="wait for whoever writes it; the marker comes last",
        )
    data = {}
    for name, file in found.items():
        parts = name.split("/")
        last = parts[-1].lower()
        if "_temporary" in parts or last.endswith(_HALF) or _started(name, found):
            raise EvidenceError(
                f"somebody is writing to {place.shown}: {name}",
                fix="wait until it's done; remove what a writer that died has left",
            )
        if name == source.marker or any(part.startswith(("_", ".")) for part in parts):
            continue
        if any("=" in part for part in parts[:-1]):
            raise EvidenceError(
                f"{name} of {place.shown} is in a folder that holds a column's value",
                fix="write that column into the files, and name one folder",
            )
        if not file.size:
            raise EvidenceError(
                f"{name} of {place.shown} has no byte", fix="wait for it, or remove it"
            )
        if _FORMATS.get(Path(last).suffix) != _FORMATS.get(target.suffix.lower()):
            raise ConfigError(
                f"{name} of {place.shown} isn't of the format of {target.name}",
                fix="name the files by a glob (*.csv), or let `data:` in gitops.yaml be of their"
                " format",
            )
        data[name] = file
    if not data:
        raise EvidenceError(
            f"there is no table at {place.shown}, only {', '.join(list(found)[:5])}",
            fix="correct `path` of the source in gitops.yaml",
        )
    return data


def _started(name: str, found: Mapping[str, _File]) -> bool:
    """Whether a file says that Databricks has begun a writing which isn't committed."""
    folder, last = posixpath.split(name)
    begun = re.fullmatch("_started_(.+)", last)
    return bool(begun) and posixpath.join(folder, f"_committed_{begun[1]}") not in found  # type: ignore[index]


def _require_same(place: _Place, before: Mapping[str, _File], after: Mapping[str, _File]) -> None:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            raise _changing(place, name)


def _changing(place: _Place, name: str) -> EvidenceError:
    return EvidenceError(
        f"{place.shown} changed while it was read: {name}",
        fix="run it again when nobody writes there; `marker:` of the source says when that is",
    )


# ---------------------------------------------------------------- rows


def _joined(
    place: _Place,
    copies: Mapping[str, Path],
    order_by: Sequence[str],
    target: Path,
    separator: str,
) -> int:
    """Write the rows of all files; how many there are. One file as it is stays as it is."""
    read = _csv if target.suffix.lower() == ".csv" else _parquet
    frames: list[pl.LazyFrame] = []
    first: tuple[str, pl.Schema] | None = None
    for name, copy in copies.items():
        try:
            part = read(copy)
        except GitopsError as error:
            line = error.where.line if error.where else None
            error.where = Where(posixpath.join(place.shown, name), line)
            raise
        schema = part.collect_schema()
        first = first or (name, schema)
        if schema != first[1]:
            raise EvidenceError(
                f"{name} of {place.shown} has other columns than {first[0]}:"
                f" {_unlike(first[1], schema)}",
                fix="let all files have the same columns, in the same order and of the same types",
            )
        frames.append(part)
    if len(copies) == 1 and not order_by:
        rows = int(frames[0].select(pl.len()).collect().item())
        next(iter(copies.values())).replace(target)
        return rows
    frame = snapshot.ordered(pl.concat(frames), order_by, whole=False)
    snapshot.write(frame, target, separator)
    return frame.height


def _csv(path: Path) -> pl.LazyFrame:
    return csvtext.read_text(path, path.read_bytes()).frame.lazy()


def _parquet(path: Path) -> pl.LazyFrame:
    frame = pl.scan_parquet(path, glob=False)
    try:
        names = frame.collect_schema().names()
        frame.select(pl.all().null_count()).collect()  # every page is read, so damage shows
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise EvidenceError(
            f"the Parquet file can't be read: {str(error).splitlines()[0]}",
            fix="write the file again",
            where=Where(path),
        ) from error
    csvtext.check_names(path, names)
    return frame


def _unlike(first: pl.Schema, other: pl.Schema) -> str:
    if missing := [name for name in first if name not in other]:
        return f"{', '.join(missing[:5])} is missing"
    if more := [name for name in other if name not in first]:
        return f"{', '.join(more[:5])} is new"
    for name, dtype in first.items():
        if other[name] != dtype:
            return f"{name} is {other[name]}, not {dtype}"
    return "they are in another order"


# ---------------------------------------------------------------- where it came from


def _version(file: _File, copy: Path) -> str:
    """The store's stamp of that writing; of a file in a folder its hash."""
    if "/" not in file.stamp:
        return file.stamp
    return f"sha256:{sha256.of_file(copy)}"


def _origin(
    place: _Place, data: Mapping[str, _File], versions: Mapping[str, str]
) -> dict[str, object]:
    lines = [f"{name} {data[name].size} {versions[name]}\n" for name in data]
    found: dict[str, object] = {"kind": "files", "place": place.shown, "files": len(data)}
    found["files_sha256"] = hashlib.sha256("".join(lines).encode()).hexdigest()
    if len(data) <= _LISTED:
        found["versions"] = {name: versions[name] for name in data}
    return found
