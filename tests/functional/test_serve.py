"""The installed `gitops serve`, on the package that a real project built."""

from __future__ import annotations

import csv
import http.client
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Gitops, Repository

pytestmark = pytest.mark.functional


@pytest.fixture
def served(
    repository: Repository, installed: Path, git_identity: dict[str, str], tmp_path: Path
) -> Iterator[int]:
    """The port at which the repository's package is served."""
    log = tmp_path / "server.log"
    command: list[str | Path] = [
        installed / "gitops",
        "serve",
        "models/package",
        "--listen",
        "127.0.0.1:0",
    ]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=repository.root, env=git_identity, stdout=file, stderr=file
        )
    try:
        deadline = time.monotonic() + 120
        while not (found := re.search(r"127\.0\.0\.1:(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield int(found[1])
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def ask(port: int, path: str, document: object) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"content-type": "application/json"}
    connection.request("POST", path, json.dumps(document), headers)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    assert answer.status == 200, found
    return found


def test_what_is_served_is_what_predict_says(
    served: int, repository: Repository, gitops: Gitops, tmp_path: Path
) -> None:
    with (repository.root / "data" / "customers.csv").open() as file:
        rows = list(csv.DictReader(file))
    done = gitops(repository.root, "predict", "data/customers.csv", "--json")
    assert done.code == 0, done.err
    expected = json.loads(done.out)["predictions"]
    kinds = {"months": int, "fee": float, "calls": float}
    signature = json.loads((repository.root / "models/package/signature.json").read_text())
    names = [item["name"] for item in signature["inputs"]]
    typed = [
        {name: kinds[name](row[name]) if name in kinds and row[name] else row[name] or None
         for name in names}
        for row in rows
    ]  # fmt: skip
    found = ask(served, f"/models/{signature['model']}/predict", {"rows": typed})
    assert found["predictions"] == [row["prediction"] for row in expected]
    assert found["scores"] == [row["score"] for row in expected]
    one = ask(served, f"/models/{signature['model']}/predict", {"row": typed[0]})
    assert one["predictions"] == found["predictions"][:1]
    assert one["scores"] == pytest.approx(found["scores"][:1], abs=1e-6)
