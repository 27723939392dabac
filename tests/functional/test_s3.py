"""A remote behind a real S3 endpoint (moto's server): new, build --push, verify, a clone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import stores

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Table

pytestmark = pytest.mark.functional


@pytest.fixture
def endpoint() -> Iterator[str]:
    """An S3 service with the bucket `models`."""
    with stores.s3() as address:
        yield address


def test_from_new_to_a_clone(
    endpoint: str, gitops: Gitops, git: Command, churn: Table, tmp_path: Path
) -> None:
    (tmp_path / "customers.csv").write_text(churn())
    storage = ["--set", "storage=s3://models/churn", "--set", f"endpoint={endpoint}"]
    words = ["--data", "customers.csv", "--target", "left", *storage, "--no-input"]
    done = gitops(tmp_path, "new", "churn", *words)
    assert done.code == 0, done.err
    root = tmp_path / "churn"

    built = gitops(root, "build", "--json", env=stores.AWS)
    assert built.code == 0, built.err
    assert json.loads(built.out)["pushed"] == ""
    alone = gitops(root, "verify", env=stores.AWS)
    assert alone.code == 3, alone.err
    assert "data/customers.csv" in alone.err

    rehearsal = {**stores.AWS, "GITOPS_CI": "rehearsal"}
    kept = gitops(root, "build", "--push", "--json", env=rehearsal)
    assert json.loads(kept.out)["pushed"] == ""
    assert gitops(root, "verify", env=stores.AWS).code == 3

    pushed = gitops(root, "build", "--push", "--json", env=stores.AWS)
    assert pushed.code == 0, pushed.err
    assert json.loads(pushed.out)["pushed"] == "s3://models/churn"
    verified = gitops(root, "verify", env=stores.AWS)
    assert verified.code == 0, verified.err + verified.out
    assert "level bytes" in verified.out
    assert gitops(root, "doctor", env=stores.AWS).code == 0

    git(tmp_path, "clone", "--quiet", str(root), "clone")
    done = gitops(tmp_path / "clone", "build", "--json", env=stores.AWS)
    assert done.code == 0, done.err
    (model,) = json.loads(done.out)["models"]
    assert "ran" not in model["stages"].values()
    package = "models/package/model.onnx"
    assert (tmp_path / "clone" / package).read_bytes() == (root / package).read_bytes()

    refused = gitops(tmp_path / "clone", "verify", env={**stores.AWS, "AWS_ACCESS_KEY_ID": ""})
    assert "Traceback" not in refused.err
