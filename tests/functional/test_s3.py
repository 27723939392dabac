"""A remote behind a real S3 endpoint (moto's server): new, build --push, verify, a clone."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Table

pytestmark = pytest.mark.functional


@pytest.fixture
def endpoint() -> Iterator[str]:
    """An S3 service with the bucket `models`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            try:
                request = urllib.request.Request(f"{address}/models", method="PUT")
                urllib.request.urlopen(request, timeout=5).close()
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()


KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "NO_PROXY": "127.0.0.1",
}


def test_from_new_to_a_clone(
    endpoint: str, gitops: Gitops, git: Command, churn: Table, tmp_path: Path
) -> None:
    (tmp_path / "customers.csv").write_text(churn())
    storage = ["--set", "storage=s3://models/churn", "--set", f"endpoint={endpoint}"]
    words = ["--data", "customers.csv", "--target", "left", *storage, "--no-input"]
    done = gitops(tmp_path, "new", "churn", *words)
    assert done.code == 0, done.err
    root = tmp_path / "churn"

    built = gitops(root, "build", "--json", env=KEYS)
    assert built.code == 0, built.err
    assert json.loads(built.out)["pushed"] == ""
    alone = gitops(root, "verify", env=KEYS)
    assert alone.code == 3, alone.err
    assert "data/customers.csv" in alone.err

    pushed = gitops(root, "build", "--push", "--json", env=KEYS)
    assert pushed.code == 0, pushed.err
    assert json.loads(pushed.out)["pushed"] == "s3://models/churn"
    verified = gitops(root, "verify", env=KEYS)
    assert verified.code == 0, verified.err + verified.out
    assert "level bytes" in verified.out
    assert gitops(root, "doctor", env=KEYS).code == 0

    git(tmp_path, "clone", "--quiet", str(root), "clone")
    done = gitops(tmp_path / "clone", "build", "--json", env=KEYS)
    assert done.code == 0, done.err
    (model,) = json.loads(done.out)["models"]
    assert "ran" not in model["stages"].values()
    package = "models/package/model.onnx"
    assert (tmp_path / "clone" / package).read_bytes() == (root / package).read_bytes()

    refused = gitops(tmp_path / "clone", "verify", env={**KEYS, "AWS_ACCESS_KEY_ID": ""})
    assert "Traceback" not in refused.err
