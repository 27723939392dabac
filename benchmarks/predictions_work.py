"""`python -m benchmarks.predictions_work JOB FOLDER LINES`: log, logging, read or join."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

from gitops.serve import log
from gitops.serve.segments import Position
from gitops.serve.writer import Writer

FEATURES = {"carrier": ["AA"], "distance": [1400.0], "holiday": [False], "delay": [3.5]}
RAW = json.dumps(FEATURES).encode()


def main() -> None:
    job, folder, lines = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    {"log": ours, "logging": logging_, "read": read, "join": join}[job](folder, lines)


def ours(folder: Path, lines: int) -> None:
    """As the server does: build, add, and let the thread write and sync."""
    writer = Writer(folder, sync_seconds=1.0, segment_bytes=64_000_000, keep_bytes=10**10)
    for number in range(lines):
        made = log.line(
            id=f"r{number}",
            model="late",
            release="late@v1.2.0",
            variant="champion",
            rows=1,
            features=log.features("columns", RAW),
            predictions=["true"],
            scores=[0.75],
            ms=0.41,
        )
        while not writer.add(made):
            time.sleep(0.001)  # a server would drop it
    state = writer.close(60)
    assert state.written == lines, state


def logging_(folder: Path, lines: int) -> None:
    """The same lines by json and logging; nothing is synced, and each write holds the caller."""
    folder.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("predictions")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.FileHandler(folder / "predictions.jsonl"))
    for number in range(lines):
        document = {
            "v": 1, "id": f"r{number}", "at": time.time(), "model": "late",
            "release": "late@v1.2.0", "variant": "champion", "key": None, "share": None,
            "salt": None, "rows": 1, "features": {"columns": FEATURES}, "predictions": ["true"],
            "scores": [0.75], "ms": 0.41, "status": 200, "error": None,
        }  # fmt: skip
        logger.info(json.dumps(document))


def read(folder: Path, lines: int) -> None:
    position, count = Position(), 0
    while True:
        found, position = log.read(folder, position)
        if not found:
            break
        count += len(found)
    assert count >= lines, count


def join(folder: Path, lines: int) -> None:
    """All lines with a label each."""
    from gitops import signature
    from gitops.serve.join import join as joined
    from gitops.serve.labels import Label

    packages = Path(__file__).parents[1] / "tests" / "contracts" / "packages"
    binary = signature.read(packages / "binary" / "package" / "signature.json")
    said = (Label(1, f"r{number}", 0, "true", None, 1.0) for number in range(lines))
    frame, report = joined(log.everything(folder), said, {"late@v1.2.0": binary})
    assert frame.height == report.labelled == lines


if __name__ == "__main__":
    main()
