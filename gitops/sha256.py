"""SHA-256 in hex."""

from __future__ import annotations

import hashlib
from pathlib import Path


def of(content: bytes) -> str:
    """Of what is in memory."""
    return hashlib.sha256(content).hexdigest()


def of_file(path: Path) -> str:
    """Of a file of any size.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_files(folder: Path) -> dict[str, str]:
    """Of each file in a folder and below, by its path there. Raises as `of_file`."""
    return {
        path.relative_to(folder).as_posix(): of_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
