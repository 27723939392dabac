"""A remote that is dead, gone, or hands out other bytes than it was given."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository

pytestmark = pytest.mark.functional
IN_SECONDS = "gave no answer within 3 seconds"  # our own words: DVC itself tries for half a minute


def objects(light: Repository) -> dict[str, Path]:
    """The stored object by tracked path; `model.onnx` is the one inside of the package."""
    stages = yaml.safe_load((light.root / "dvc.lock").read_text())["stages"]
    data = yaml.safe_load((light.root / "data" / "customers.csv.dvc").read_text())["outs"]
    outs = [out for stage in stages.values() for out in stage["outs"]]
    found = {out["path"]: light.stored(out["md5"]) for out in [*outs, *data]}
    for entry in json.loads(found["models/package"].read_text()):
        found[entry["relpath"]] = light.stored(entry["md5"])
    return found


def alter(path: Path) -> bytes:
    """Other bytes in a stored object, whose mode (which DVC trusts) stays; these bytes."""
    mode = path.stat().st_mode
    altered = path.read_bytes().replace(b"a", b"b")
    path.chmod(0o644)
    path.write_bytes(altered)
    path.chmod(mode)
    return altered


@pytest.fixture
def clone(light: Repository, git: Command, tmp_path: Path) -> Path:
    """A fresh clone: nothing in its cache."""
    git(tmp_path, "clone", "--quiet", str(light.root), "clone")
    return tmp_path / "clone"


@pytest.mark.parametrize("path", ["customers.csv", "models/package", "model.onnx"])
@pytest.mark.parametrize("verify", ["true", "false"])
def test_altered_bytes_are_never_used(
    light: Repository, clone: Path, gitops: Gitops, dvc: Command, path: str, verify: str
) -> None:
    dvc(clone, "remote", "modify", "--local", "storage", "verify", verify)
    stored = objects(light)[path]
    altered = alter(stored)
    md5 = stored.parent.name + stored.name
    for _ in range(2):  # nor the second time, from what the first left in the cache
        done = gitops(clone, "build")
        assert done.code == 3, done.err
        assert md5 in done.err
        present = [file for file in clone.rglob("*") if file.is_file() and not file.is_symlink()]
        assert [file for file in present if file.read_bytes() == altered] == []


def test_altered_bytes_in_the_cache_are_never_restored(light: Repository, gitops: Gitops) -> None:
    stored = objects(light)["model.onnx"]
    cached = light.root / ".dvc" / "cache" / stored.relative_to(light.storage)
    alter(cached)
    (light.root / "models" / "package" / "model.onnx").unlink()
    before = (light.root / "dvc.lock").read_bytes()
    done = gitops(light.root, "build")
    assert done.code == 3, done.err
    assert "models/package" in done.err
    assert not (light.root / "models" / "package").exists()
    done = gitops(light.root, "build")
    assert done.code == 0, done.err
    assert (light.root / "models" / "package" / "model.onnx").read_bytes() == stored.read_bytes()
    assert (light.root / "dvc.lock").read_bytes() == before


def test_a_storage_folder_that_is_gone_is_named(
    light: Repository, clone: Path, gitops: Gitops
) -> None:
    light.storage.rename(light.storage.with_name("elsewhere"))
    for command in ("build", "verify"):
        done = gitops(clone, command)
        assert done.code == 4, done.err
        assert str(light.storage) in done.err
        assert "isn't there" in done.err
    assert not light.storage.exists()


@pytest.fixture(params=["refuses", "silent"])
def dead(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address that refuses connections, or takes them and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if request.param == "refuses":
            listener.close()
        yield address


def test_a_dead_endpoint_fails_within_seconds(
    light: Repository, clone: Path, gitops: Gitops, dvc: Command, dead: str
) -> None:
    dvc(clone, "remote", "modify", "--local", "storage", "url", "s3://models/churn")
    dvc(clone, "remote", "modify", "--local", "storage", "endpointurl", dead)
    rows = str(light.root / "data" / "customers.csv")
    for command in (["build"], ["build", "--push"], ["verify"], ["predict", rows, "--rev", "HEAD"]):
        done = gitops(clone, *command)
        assert done.code == 4, (command, done.err)
        assert dead in done.err
        assert IN_SECONDS in done.err
        assert "Traceback" not in done.err


def test_a_repository_that_has_its_data_builds_even_so(
    light: Repository, gitops: Gitops, git: Command, dvc: Command
) -> None:
    dvc(light.root, "remote", "modify", "--local", "storage", "url", "s3://models/churn")
    dvc(light.root, "remote", "modify", "--local", "storage", "endpointurl", "http://127.0.0.1:1")
    git(light.root, "clean", "-qfdx", "models", "evaluation")
    git(light.root, "clean", "-qfdx", "--", "data/prepared.csv")
    (light.root / ".dvc" / "cache" / "files").rename(light.root / ".dvc" / "cache" / "gone")
    done = gitops(light.root, "build")
    assert done.code == 0, done.err
    assert "can't be reached: building anew" in done.err
    assert git(light.root, "status", "--porcelain") == ""


def test_an_unreachable_address_fails_within_seconds(
    clone: Path, gitops: Gitops, dvc: Command
) -> None:
    dvc(clone, "remote", "modify", "--local", "storage", "url", "s3://models/churn")
    nowhere = "http://192.0.2.1:9000"  # RFC 5737: for documentation, routed nowhere
    dvc(clone, "remote", "modify", "--local", "storage", "endpointurl", nowhere)
    done = gitops(clone, "build")
    assert done.code == 4
    assert "192.0.2.1:9000" in done.err
    assert IN_SECONDS in done.err
