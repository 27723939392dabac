"""`gitops verify --objects`: every stored object of the revisions, hashed where it is."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command, Gitops, Repository

pytestmark = pytest.mark.functional


def data(light: Repository) -> Path:
    """The stored object of the raw data, which a promotion judges by its size alone."""
    tracked = yaml.safe_load((light.root / "data" / "customers.csv.dvc").read_text())
    return light.stored(tracked["outs"][0]["md5"])


def test_whole(light: Repository, gitops: Gitops, git: Command) -> None:
    shutil.rmtree(light.root / ".dvc" / "cache")
    done = gitops(light.root, "verify", "--objects", "HEAD", "main", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["whole"]
    assert found["commits"] == [git(light.root, "rev-parse", "HEAD")]
    paths = {one["path"]: one["objects"] for one in found["paths"]}
    package = len([one for one in (light.root / "models/package").rglob("*") if one.is_file()])
    assert paths["models/package"] == package + 1
    assert paths["data/customers.csv"] == 1
    done = gitops(light.root, "verify", "--objects")
    assert done.code == 0, done.err
    assert "data/prepared.csv" in done.out
    assert not (light.root / ".dvc" / "cache").exists()


def test_each_wrong_object_is_named(light: Repository, gitops: Gitops) -> None:
    stored = data(light)
    raw = stored.read_bytes()
    stored.chmod(0o644)
    stored.write_bytes(raw[:-2] + raw[-1:] + raw[-2:-1])
    md5 = stored.parent.name + stored.name
    done = gitops(light.root, "verify", "--objects", "--model", "left")
    assert done.code == 1, done.err
    assert f"corrupt  data/customers.csv  (object {md5})" in done.out
    stored.unlink()
    done = gitops(light.root, "verify", "--objects", "--json")
    assert done.code == 1, done.err
    problems = [wrong for one in json.loads(done.out)["paths"] for wrong in one["problems"]]
    assert problems == [{"path": "data/customers.csv", "object": md5, "kind": "missing"}]


def test_what_cannot_be_asked(light: Repository, gitops: Gitops, git: Command) -> None:
    first = git(light.root, "rev-list", "--max-parents=0", "HEAD")
    for words, code, said in [
        (["--objects", first], 3, "no model was ever built"),
        (["--objects", "nothing"], 2, "no revision"),
        (["--objects", "--keep", "x"], 2, "nothing is rebuilt"),
        (["HEAD", "HEAD"], 2, "one at a time"),
        (["--objects", "--model", "other"], 2, "other"),
    ]:
        done = gitops(light.root, "verify", *words)
        assert done.code == code, (words, done.err)
        assert said in done.err
        assert "Traceback" not in done.err
    light.storage.rename(light.storage.with_name("elsewhere"))
    done = gitops(light.root, "verify", "--objects")
    assert done.code == 4, done.err
    assert "isn't there" in done.err
