"""What a deployment asks of a server from inside its container: no shell is needed there.

`python -m gitops.serve.inside` with one of

    copy FROM TO        a package, out of its image into the folder that servers read
    state STATE         what each worker says of itself, as one JSON document
    ask PORT PATH       a question to the server: the body on stdin, status and body as JSON
    sizes STATE         bytes of whole lines in each file of the logs, by path
    log STATE           new bytes of the logs: offsets by path on stdin, a JSON line for each piece

These words are a protocol between versions: a pod may be older than whoever deploys.
"""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gitops import daemon, jsontext

PIECE = 1 << 20  # bytes
_SECONDS = 60.0


def copy(source: Path, target: Path) -> None:
    """A package into its place, whole or not at all: a container may be started again."""
    if target.exists():
        return
    half = target.with_name(f".{target.name}")
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(source, half)
    half.replace(target)


def workers(state: Path) -> dict[str, Any]:
    """What each live worker says of itself, by its process."""
    found = {}
    for path in (state / "workers").glob("*.json"):
        try:
            told = jsontext.loads(path.read_bytes())
        except (OSError, ValueError):
            continue  # it has just ended
        if daemon.since(int(path.stem)) is not None:
            found[path.stem] = told
    return found


def ask(port: int, path: str, body: bytes) -> dict[str, Any]:
    """Ask the server on this machine; a GET where there's no body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        headers = {"content-type": "application/json"}
        connection.request("POST" if body else "GET", path, body or None, headers)
        answer = connection.getresponse()
        return {"status": answer.status, "body": answer.read().decode("utf-8", "replace")}
    finally:
        connection.close()


def sizes(state: Path) -> dict[str, int]:
    """How many bytes each log has, up to the end of its last whole line."""
    found = {}
    for path in _files(state):
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = file.seek(max(0, size - PIECE))
            end = file.read().rfind(b"\n") + 1
        found[path.relative_to(state).as_posix()] = start + end if end else 0
    return found


def log(state: Path, offsets: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Whole lines of the prediction logs and labels behind `offsets`, by path below the state."""
    for path in _files(state):
        name = path.relative_to(state).as_posix()
        at = int(offsets.get(name, 0))
        with path.open("rb") as file:
            file.seek(at)
            while piece := file.read(PIECE):
                whole = piece[: piece.rfind(b"\n") + 1]
                if not whole and len(piece) == PIECE:
                    whole = piece  # a line longer than a piece: its end comes next
                if not whole:
                    break
                yield {"path": name, "at": at, "data": base64.b64encode(whole).decode()}
                at += len(whole)
                file.seek(at)


def _files(state: Path) -> list[Path]:
    """The segments of the prediction logs and labels."""
    return sorted([*state.glob("log/*/*.jsonl"), *state.glob("labels/*.jsonl")])


def main(words: list[str]) -> int:
    """The exit code: 2 for words that it doesn't know."""
    what, *rest = words or [""]
    if what == "copy" and len(rest) == 2:
        copy(Path(rest[0]), Path(rest[1]))
    elif what == "state" and len(rest) == 1:
        _say({"workers": workers(Path(rest[0]))})
    elif what == "ask" and len(rest) == 2:
        _say(ask(int(rest[0]), rest[1], sys.stdin.buffer.read()))
    elif what == "sizes" and len(rest) == 1:
        _say(sizes(Path(rest[0])))
    elif what == "log" and len(rest) == 1:
        for piece in log(Path(rest[0]), json.load(sys.stdin)):
            _say(piece)
    else:
        sys.stderr.write(str(__doc__))
        return 2
    return 0


def _say(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
