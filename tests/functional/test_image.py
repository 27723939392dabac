"""`gitops image`, with real programs: an image is built, pushed, found again, and answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops import config, package
from gitops.deploy import smoke
from gitops.deploy.ask import Endpoint
from gitops.errors import ToolError
from gitops.image import context
from gitops.scaffold import targets, vendor
from tests.containers import Containers, containers
from tests.serving import PACKAGES
from tests.unit.deploy.machine import free_ports, until

SETTINGS = """\
version: 1
project: flights
targets: {{registry: "{registry}/ml"}}
models:
  binary: {{task: binary, package: package, deploy: {{target: kubernetes}}}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    with containers(tmp_path_factory.mktemp("containers")) as found:
        yield found


def repository(root: Path, registry: str) -> None:
    """The model's package in a work tree, with the files that targets need."""
    text = SETTINGS.format(registry=registry)
    declared = config.parse(text.encode(), root / config.FILE)
    (root / config.FILE).write_text(text)
    for file in (*targets.rendered(declared), *vendor.vendored()):
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    (root / "package").symlink_to(PACKAGES / "binary" / "package")
    subprocess.run(["git", "init", "-q", str(root)], check=True)


def wheels(root: Path, folder: Path) -> Path:
    """The wheels that the image installs: as any index has them, fetched outside of the build."""
    text = (root / context.TOOL / "requirements.txt").read_text()
    lines = [one for one in context.requirements(text).splitlines() if not one.startswith("/tool")]
    folder.mkdir()
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n")
    python = [str(Path(sys.base_prefix) / "bin" / "python3"), "-m", "pip"]
    words = [*python, "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary"]
    words += [":all:", "--requirement", f"{folder}/requirements.txt", "--dest", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the wheels can't be had: {done.stderr[-300:]}")
    return folder


def image(root: Path, env: dict[str, str], *words: str) -> dict[str, object]:
    command = [sys.executable, "-m", "gitops", "image", "--json", *words]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["images"]
    return dict(found)


def test_a_packages_image_is_built_pushed_found_again_and_answers(
    made: Containers, tmp_path: Path
) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    repository(root, made.registry)
    mounted = wheels(root, tmp_path / "wheels")
    options = f"--isolation chroot --build-arg BASE={made.base} --volume {mounted}:/wheels:ro"
    env = {**made.env, "GITOPS_IMAGE_BUILD": options, "GIT_CONFIG_GLOBAL": os.devnull}
    found = image(root, env, "--push")
    proven = package.read(PACKAGES / "binary" / "package")
    assert found["package"] == proven.digest
    assert found["image"] == f"{made.registry}/ml/flights/binary:{proven.digest[:32]}"
    assert found["built"] is True
    again = image(root, env, "--push")
    assert (again["built"], again["pinned"]) == (False, found["pinned"])
    (port,) = free_ports(1)
    serve = ("serve", "/models/binary", "--listen", f"127.0.0.1:{port}")
    with made.container(f"gitops-{port}", str(found["pinned"]), *serve):
        endpoint = Endpoint("127.0.0.1", port)
        until(lambda: _ready(endpoint), "an answer")
        told = json.loads(made.run("podman", "inspect", f"gitops-{port}"))[0]
        assert told["Config"]["User"] == "10001:10001"
        _answers(endpoint, proven)


def _ready(endpoint: Endpoint) -> bool:
    try:
        return endpoint.get("/v2/health/ready").status == 200
    except ToolError:
        return False


def _answers(endpoint: Endpoint, proven: package.Package) -> None:
    """It answers as the package does here, and refuses what breaks the signature."""
    import polars as pl

    rows = smoke.drawn(proven.signature, proven.reference, seed="image")
    frame = pl.DataFrame(rows, infer_schema_length=None)
    expected = package.score(proven, frame).frame.to_dict(as_series=False)
    smoke.require(
        lambda body: endpoint.post("/models/binary/predict", body),
        proven.signature,
        rows,
        expected,
    )
