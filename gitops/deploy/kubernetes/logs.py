"""The prediction logs of many pods, in one state folder.

Every pod counts its own segments, so a name alone could be two pods': what stands for the process
in a segment's name gets the pod's number before it. Bytes are only ever added. What was logged
before a rollout is no evidence of it, and isn't brought: a hole stands for it, so that offsets are
right.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from gitops.deploy.state import unwritable
from gitops.errors import ToolError

_NAME = re.compile(r"(\d{8}T\d{6}Z-)(\d+)(-\d{6,18}\.jsonl)")
_DIGITS = 18


def number(uid: str) -> str:
    """The digits that stand for a pod, by its uid."""
    found = int(hashlib.sha256(uid.encode()).hexdigest(), 16) % 10**_DIGITS
    return f"{found:0{_DIGITS}}"


def offsets(state: Path, uid: str) -> dict[str, int]:
    """How much of each of a pod's files is here, by its path in the pod."""
    found = {}
    for path in _files(state):
        match = _NAME.fullmatch(path.name)
        if match and match[2].startswith(number(uid)) and len(match[2]) > _DIGITS:
            name = f"{match[1]}{match[2][_DIGITS:]}{match[3]}"
            found[(path.parent / name).relative_to(state).as_posix()] = path.stat().st_size
    return found


def skip(state: Path, sizes: Mapping[str, int]) -> None:
    """Files that aren't here yet begin with a hole of this size; paths are those of this folder."""
    for name, size in sizes.items():
        path = state / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch()
            os.truncate(path, size)


def here(state: Path, uid: str, sizes: Mapping[str, int]) -> dict[str, int]:
    """What a pod says of its files, by their paths in this folder. Raises ToolError as `add`."""
    return {
        _place(state, uid, name).relative_to(state).as_posix(): int(size)
        for name, size in sizes.items()
    }


def add(state: Path, uid: str, told: str) -> int:
    """Add what `gitops.serve.inside log` said of a pod; how many bytes that were.

    Raises:
        ToolError: it isn't what follows on what is here, or the folder can't be written.
    """
    count = 0
    for line in told.splitlines():
        piece = json.loads(line)
        path = _place(state, uid, str(piece["path"]))
        data = base64.b64decode(piece["data"])
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with path.open("ab") as file:
                if file.tell() != int(piece["at"]):
                    raise ToolError(
                        f"{path} has {file.tell()} bytes, and the pod's next are from"
                        f" {piece['at']} on",
                        fix="remove this file: it is brought again",
                    )
                file.write(data)
        except OSError as error:
            raise unwritable(error, path) from error
        count += len(data)
    return count


def _place(state: Path, uid: str, path: str) -> Path:
    """Where a pod's file is kept. What a pod says is distrusted: no other place is written to."""
    folder, _, name = path.rpartition("/")
    match = _NAME.fullmatch(name)
    if match is None or not re.fullmatch(r"labels|log/[a-z0-9][a-z0-9-]*", folder):
        raise ToolError(f"a pod has named a log {path!r}", fix="what is in that pod?")
    return state / folder / f"{match[1]}{number(uid)}{match[2]}{match[3]}"


def _files(state: Path) -> Iterator[Path]:
    yield from state.glob("log/*/*.jsonl")
    yield from state.glob("labels/*.jsonl")
