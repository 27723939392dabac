"""The stores that DVC keeps objects in: its cache and the default remote, opened through DVC."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gitops import dvcremote, hidden
from gitops.errors import ConfigError, GitopsError, ToolError

_BLOCK = 8 * 2**20
_RACY_SECONDS = 2.0
_OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")
# Options of a remote that may be shown; any other may be a secret.
OPEN = ("endpointurl", "region", "profile", "account_name", "verify", "use_ssl", "jobs")


@dataclass(frozen=True)
class Stat:
    """What a store says of an object: bytes, when it was written, and a stamp of this very writing.

    The stamp is another one after every writing; empty if this kind of store has none.
    """

    size: int
    modified: datetime | None
    stamp: str


@dataclass(frozen=True)
class Store:
    """A place that keeps objects by their hash: DVC's cache, or a remote."""

    odb: Any

    @property
    def base(self) -> Path:
        """The top folder of a store on this machine."""
        return Path(self.odb.path)

    @property
    def legacy(self) -> Store:
        """The same place as DVC before 3.0 used it: other paths, CRLF hashed as LF."""
        from dvc_data.hashfile.db import get_odb

        top = self.odb.fs.parent(self.odb.fs.parent(self.odb.path))
        return Store(get_odb(self.odb.fs, top, hash_name="md5-dos2unix"))  # type: ignore[no-untyped-call]

    def path(self, md5: str) -> Path:
        """Where a store on this machine has the object."""
        return Path(self.odb.oid_to_path(md5))

    def get(self, md5: str, target: Path) -> None:
        """Download the object as it is.

        Raises:
            FileNotFoundError: it isn't there.
            Exception: whatever this kind of remote raises; see `refusals`.
        """
        self.odb.fs.get_file(self.odb.oid_to_path(md5), str(target))

    def read(self, md5: str) -> bytes:
        """The object's bytes; raises as `get` does."""
        content: bytes = self.odb.fs.cat_file(self.odb.oid_to_path(md5))
        return content

    def digest(self, md5: str) -> str:
        """The MD5 (32 hex digits) of the object's bytes, all of them read; raises as `get` does."""
        if self.odb.hash_name != "md5":
            from dvc_data.hashfile.hash import file_md5

            return str(file_md5(self.odb.oid_to_path(md5), self.odb.fs, name=self.odb.hash_name))
        found = hashlib.md5(usedforsecurity=False)
        # Block by block, so that neither memory nor the disk must hold a large object.
        with self.odb.fs.open(self.odb.oid_to_path(md5), "rb", cache_type="none") as file:
            while block := file.read(_BLOCK):
                found.update(block)
        return found.hexdigest()

    def stats(self, hashes: Sequence[str]) -> dict[str, Stat | None]:
        """Each object's `Stat`, None for those that aren't there; asked for in parallel.

        Raises:
            Exception: whatever this kind of remote raises; see `refusals`.
        """
        paths = [self.odb.oid_to_path(md5) for md5 in hashes]
        answers = self.odb.fs.info(paths, return_exceptions=True) if paths else []
        found: dict[str, Stat | None] = {}
        for md5, answer in zip(hashes, answers, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, FileNotFoundError):
                raise answer
            found[md5] = _stat(answer) if isinstance(answer, dict) else None
        return found

    def listed(self) -> Iterator[tuple[str, Stat]]:
        """Every object of the store by its hash; what isn't an object is left out.

        Raises:
            Exception: whatever this kind of remote raises; see `refusals`.
        """
        try:
            found = self.odb.fs.fs.find(self.odb.path, detail=True)
        except FileNotFoundError:
            return
        paths = {self._md5(path): path for path in found}
        paths.pop("", None)
        if isinstance(found, dict):
            stats = {md5: _stat(found[path]) for md5, path in paths.items()}
        else:
            stats = self.stats(list(paths))
        yield from ((md5, stat) for md5, stat in stats.items() if stat)

    def _md5(self, path: str) -> str:
        """The hash of the object at a path; empty if it's no object."""
        try:
            md5 = str(self.odb.path_to_oid(path))
        except ValueError:
            return ""
        return md5 if _OBJECT.fullmatch(md5) else ""

    def remove(self, hashes: Sequence[str]) -> None:
        """Delete objects; DVC forgets that it ever saw them, so that a push brings them again.

        Raises:
            Exception: whatever this kind of remote raises; see `refusals`.
        """
        from dvc_data.hashfile.db import get_index

        get_index(self.odb).clear()
        if hashes:
            self.odb.fs.remove([self.odb.oid_to_path(md5) for md5 in hashes])


def _stat(info: Mapping[str, Any]) -> Stat | None:
    """From what S3 (`ETag`), Azure Blob (`etag`) or a folder (`ino`) answers; None: no file."""
    if info["type"] != "file":
        return None
    modified = info.get("LastModified") or info.get("last_modified")
    stamp = str(info.get("ETag") or info.get("etag") or "")
    if "ino" in info:
        try:
            known = Path(info["name"]).stat()
        except FileNotFoundError:
            return None
        # The ctime tells when an old file was brought here, or its mtime was set.
        written = max(known.st_mtime, known.st_ctime)
        modified = datetime.fromtimestamp(written, UTC)
        # A second writing within the clock's grain would look like the first.
        racy = time.time() - written < _RACY_SECONDS
        stamp = "" if racy else f"{known.st_ino}/{known.st_mtime_ns}/{known.st_ctime_ns}"
    if not isinstance(info["size"], int):
        raise OSError("it doesn't say how large an object is")
    return Stat(info["size"], modified if isinstance(modified, datetime) else None, stamp)


@contextmanager
def stores(root: Path) -> Iterator[tuple[Store, Store]]:
    """The cache and the default remote.

    Raises:
        ConfigError: DVC can't use the remote's settings, or keeps no objects by hash there.
        ToolError: the extra that speaks this kind of remote isn't installed.
    """
    from dvc.config import ConfigError as SettingsError
    from dvc.exceptions import NotDvcRepoError
    from dvc.fs import RemoteMissingDepsError
    from dvc.repo import Repo

    try:
        repo = Repo(str(root))
        found = Store(repo.cache.local), Store(repo.cloud.get_remote_odb())
    except RemoteMissingDepsError as error:
        kind = urlsplit(dvcremote.remote(root).url).scheme
        raise ToolError(
            f"what speaks to {kind}:// isn't installed: {', '.join(error.missing_deps)}",
            fix=f"install gitops-ml[{kind}]",
        ) from error
    except (SettingsError, NotDvcRepoError) as error:
        fix = "dvc remote list; dvc config --list"
        raise ConfigError(f"{root / '.dvc' / 'config'}: {error}", fix=fix) from error
    with repo:
        yield found


@contextmanager
def refusals(root: Path, what: str) -> Iterator[None]:
    """Where the default remote fails at `what`: an error of ours, with no secret in it.

    That an object isn't there (FileNotFoundError) is no failure.

    Raises:
        ToolError: whatever this kind of remote raises.
    """
    try:
        yield
    except (GitopsError, FileNotFoundError):
        raise
    except Exception as error:  # each kind of remote has errors of its own
        place = dvcremote.remote(root)
        raise ToolError(
            f"the remote {dvcremote.shown(place.url)} {what}:"
            f" {type(error).__name__}: {_masked(str(error), place)[:300]}",
            fix="check the credentials (have they expired?) and the remote's address:"
            " dvc remote list",
        ) from error


def _masked(said: str, place: dvcremote.Remote) -> str:
    return masked(said, [value for name, value in place.options.items() if name not in OPEN])


def masked(said: str, secrets: Sequence[str] = ()) -> str:
    """What a store said, on one line, without `secrets` and those of the environment."""
    return " ".join(hidden.masked(said, secrets).split())


def apart(root: Path, folder: Path) -> None:
    """Make `folder` a DVC repository of its own, without git, with the remote and cache of `root`.

    What is added there is in the cache and can be pushed before `root` knows of it.
    """
    with stores(root) as (cache, _):
        place = cache.base.parents[1]  # above files/md5
    (folder / ".dvc").mkdir(parents=True)
    shutil.copyfile(root / ".dvc" / "config", folder / ".dvc" / "config")
    known = dvcremote.remote(root)
    options = {**known.options, "url": known.url}
    dvcremote.set_local(
        folder, known, options, place, core={"no_scm": "true", "autostage": "false"}
    )
