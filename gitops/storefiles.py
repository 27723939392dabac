"""Plain files of ours in the default remote, beside the objects: whole or not there at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitops import dvcstore


@dataclass(frozen=True)
class Files:
    """The files below one top of the remote; paths have forward slashes.

    Each method raises whatever this kind of remote raises; see `dvcstore.refusals`.
    """

    fs: Any
    top: str
    is_folder: bool

    def read(self, path: str) -> bytes | None:
        """The bytes of a file; None if it isn't there."""
        try:
            content: bytes = self.fs.cat_file(f"{self.top}/{path}")
        except FileNotFoundError:
            self._require_top()
            return None
        return content

    def write(self, path: str, content: bytes) -> None:
        """Write a file anew: a reader finds the old bytes or the new ones."""
        if not self.is_folder:
            self.fs.pipe_file(f"{self.top}/{path}", content)
            return
        with self._beside(path) as half:
            half.write_bytes(content)
            half.replace(Path(self.top, path))

    def create(self, path: str, content: bytes) -> bool:
        """Write a file that isn't there yet; False if somebody was faster.

        S3 and Azure Blob are asked to decide (`If-None-Match: *`). An S3-compatible store that
        ignores the question lets the last one win.
        """
        try:
            if not self.is_folder:
                self.fs.pipe_file(f"{self.top}/{path}", content, mode="create")
                return True
            with self._beside(path) as half:
                half.write_bytes(content)
                os.link(half, Path(self.top, path))
        except FileExistsError:
            return False
        return True

    def upload(self, source: Path, path: str) -> None:
        """`write` from a file of any size."""
        if not self.is_folder:
            self.fs.put_file(str(source), f"{self.top}/{path}")
            return
        with self._beside(path) as half:
            shutil.copyfile(source, half)
            half.replace(Path(self.top, path))

    def download(self, path: str, target: Path) -> bool:
        """Write a file's bytes to `target`; False if it isn't there."""
        try:
            self.fs.get_file(f"{self.top}/{path}", str(target))
        except FileNotFoundError:
            self._require_top()
            return False
        return True

    def listed(self, folder: str) -> dict[str, datetime]:
        """When each file below a folder was written, by the store's clock; by path below `top`."""
        self.fs.invalidate_cache()
        found: dict[str, Any] = self.fs.find(f"{self.top}/{folder}", detail=True)
        return {
            name.removeprefix(self.top).lstrip("/"): when
            for name, info in found.items()
            if (when := _written(info)) is not None
        }

    def remove(self, paths: list[str]) -> None:
        """Delete files; folders that are empty then go, too."""
        for path in paths:
            try:
                self.fs.rm_file(f"{self.top}/{path}")
            except FileNotFoundError:
                continue
            if self.is_folder:
                _prune(Path(self.top, path).parent, Path(self.top))

    def _require_top(self) -> None:
        """A folder that went away has no answers, and a new one would be another storage."""
        if self.is_folder and not Path(self.top).is_dir():
            raise OSError(f"{self.top} isn't there")

    @contextmanager
    def _beside(self, path: str) -> Iterator[Path]:
        folder = Path(self.top, path).parent
        self._require_top()
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".half-")
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


@contextmanager
def opened(root: Path) -> Iterator[Files]:
    """The files beside the objects of the default remote of `root`.

    Raises:
        ConfigError, ToolError: as `dvcstore.stores`.
    """
    with dvcstore.stores(root) as (_, remote):
        odb = remote.odb
        top = odb.fs.parent(odb.fs.parent(odb.path))  # above files/md5
        is_folder = odb.fs.protocol == "local"
        yield Files(odb.fs.fs.fs if is_folder else odb.fs.fs, top, is_folder)


def _written(info: dict[str, Any]) -> datetime | None:
    if Path(info["name"]).name.startswith(".half-"):
        return None
    found = info.get("LastModified") or info.get("last_modified") or info.get("mtime")
    return datetime.fromtimestamp(found, UTC) if isinstance(found, int | float) else found


def _prune(folder: Path, top: Path) -> None:
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
