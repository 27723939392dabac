"""What an image is built from: the locked requirements of serving, and one proven package."""

from __future__ import annotations

import json
import re
import shutil
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from gitops import config, signature
from gitops.errors import ConfigError, EvidenceError, ToolError
from gitops.image import builder, context, names
from gitops.promote import fetch
from tests.unit.promote.conftest import good
from tests.unit.validate.gate_repo import Made

__all__ = ["good"]
ROOT = Path(__file__).resolve().parents[2]
# What gitops/serve imports, and its command line.
IMPORTED = (
    *("typer", "jsonschema", "numpy", "polars", "onnxruntime", "protobuf", "pyyaml", "uvicorn"),
    *("uvloop", "httptools", "msgspec", "prometheus-client"),
)
WHEEL = "./.gitops/tool/gitops_ml-1-py3-none-any.whl --hash=sha256:" + "0" * 64 + "\n"


def needed(name: str, known: set[str]) -> set[str]:
    """The projects that one needs, itself too, by the metadata that is installed here."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name not in known:
        known.add(name)
        for text in requires(name) or ():
            one = Requirement(text)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                needed(one.name, known)
    return known


def test_the_requirements_of_serving_are_whole() -> None:
    known: set[str] = set()
    for name in IMPORTED:
        needed(name, known)
    assert known == context.SERVING


def test_each_requirement_keeps_its_hashes_and_nothing_else_is_kept() -> None:
    text = (ROOT / "requirements" / "tool.txt").read_text() + WHEEL
    found = context.requirements(text)
    blocks = re.split(r"^(?=\S)", found, flags=re.MULTILINE)[1:]
    named = {re.sub(r"[-_.]+", "-", one.partition("==")[0]).lower() for one in blocks[:-1]}
    assert named == context.SERVING
    assert all("--hash=sha256:" in one for one in blocks)
    assert blocks[-1] == WHEEL.removeprefix("./.gitops")
    assert "dvc" not in named


def test_a_lock_that_lacks_one_is_refused() -> None:
    text = (ROOT / "requirements" / "tool.txt").read_text()
    with pytest.raises(ConfigError, match=r"lacks .*: \./"):
        context.requirements(text)
    with pytest.raises(ConfigError, match="uvloop"):
        context.requirements(text.replace("uvloop==", "uvlop==") + WHEEL)


# ---------------------------------------------------------------- the folder


TOOL = {
    "requirements.txt": ((ROOT / "requirements" / "tool.txt").read_text() + WHEEL).encode(),
    "gitops_ml-1-py3-none-any.whl": b"a wheel",
    "README.md": b"not copied",
}


def laid_out(folder: Path, package: Path, digest: str = "") -> str:
    folder.mkdir()
    digest = digest or signature.package_digest(fetch.digests(package))
    return context.lay_out(folder, b"FROM scratch\n", TOOL, package, digest)


def test_the_folder_holds_what_the_containerfile_copies(good: Made, tmp_path: Path) -> None:
    package = good.folder / "package"
    assert laid_out(tmp_path / "made", package) == "demo"
    found = {
        one.relative_to(tmp_path / "made").as_posix() for one in (tmp_path / "made").rglob("*")
    }
    assert {"Containerfile", "tool/requirements.txt", "package/model.onnx"} <= found
    assert "tool/README.md" not in found
    assert fetch.digests(tmp_path / "made" / "package") == fetch.digests(package)


def test_other_bytes_than_the_digests_are_refused(good: Made, tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="isn't 000000000000"):
        laid_out(tmp_path / "made", good.folder / "package", "0" * 64)


def test_a_model_with_a_command_of_its_own_is_refused(good: Made, tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(good.folder / "package", package)
    told = json.loads((package / "signature.json").read_text())
    command = ["python", "-m", "a", "{input}", "{output}"]
    told["runtime"] = {"kind": "command", "command": command}
    (package / "signature.json").write_text(json.dumps(told))
    with pytest.raises(EvidenceError, match="no image"):
        laid_out(tmp_path / "made", package)


# ---------------------------------------------------------------- names

HEAD = "version: 1\nproject: flights\nmodels:\n  late: {task: binary}\n"


def registry(more: str) -> str:
    return names.registry(config.parse((HEAD + more).encode(), Path("gitops.yaml")))


def test_the_registry_is_the_declared_one_or_the_provisioned_one() -> None:
    azure = "infrastructure: {provider: azure, id: k7q2m9xd, region: westeurope}\n"
    assert registry("targets: {registry: ghcr.io/acme}\n") == "ghcr.io/acme"
    assert re.fullmatch(r"flights[a-z0-9]+\.azurecr\.io", registry(azure))
    assert registry(azure + "targets: {registry: ghcr.io/acme}\n") == "ghcr.io/acme"
    with pytest.raises(ConfigError, match="registry"):
        registry("")
    with pytest.raises(ConfigError) as refused:  # it has the account's number in its address
        registry("infrastructure: {provider: aws, id: k7q2m9xd}\n")
    assert "gitops infra apply shared" in str(refused.value.fix)
    for wrong in ("-v", "https://ghcr.io", "ghcr.io/Acme", "ghcr.io/acme/"):
        with pytest.raises(ConfigError, match="a registry is a host"):
            registry(f"targets: {{registry: '{wrong}'}}\n")


def test_a_tag_is_made_from_the_packages_digest() -> None:
    assert names.reference("ghcr.io/acme/flights/late", "ab" * 32) == (
        "ghcr.io/acme/flights/late:" + "ab" * 16
    )


@pytest.mark.parametrize(
    ("said", "absent"),
    [
        ('manifest unknown: manifest tagged by "x" is not found', True),
        ("name unknown: repository name not known to registry", True),
        ("unauthorized: authentication required", False),
        ("dial tcp: connection refused", False),
    ],
)
def test_only_a_registry_that_says_so_lacks_an_image(
    said: str, absent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "skopeo"
    fake.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    one = builder.Builder("/usr/bin/buildah", print)
    if absent:
        assert one.digest("r.example.org/a:b") is None
    else:
        with pytest.raises(ToolError):
            one.digest("r.example.org/a:b")
