"""The folder that an image is built from: the Containerfile, the tool, and one package."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from gitops import sha256, signature
from gitops.content import TOOL as TOOL
from gitops.errors import ConfigError, EvidenceError, Where

CONTAINERFILE = "deploy/Containerfile"
# What `gitops serve` imports of the tool's dependencies, and what those need. A test holds this
# against the environment's own metadata: building and training need five times as much.
SERVING = frozenset(
    (
        *("annotated-doc", "annotated-types", "attrs", "click", "flatbuffers", "h11", "httptools"),
        *("jsonschema", "jsonschema-specifications", "markdown-it-py", "mdurl", "msgspec", "numpy"),
        *("onnxruntime", "packaging", "polars", "polars-runtime-32", "prometheus-client"),
        *("protobuf", "pydantic", "pydantic-core", "pygments", "pyyaml", "referencing", "rich"),
        *("rpds-py", "shellingham", "typer", "typing-extensions", "typing-inspection", "uvicorn"),
        "uvloop",
    )
)
_BLOCK = re.compile(r"^(?=\S)", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def lay_out(
    folder: Path, containerfile: bytes, tool: Mapping[str, bytes], package: Path, digest: str
) -> str:
    """Put what an image is built from into `folder`; the model's name.

    `tool`: the files of .gitops/tool by name; `package`: the package's folder, of this digest.

    Raises:
        EvidenceError: the package isn't the one of the digest, or can't be served from an image.
        ConfigError: the tool's files lack what serving needs.
    """
    require_servable(package)
    copy = folder / "package"
    shutil.copytree(package, copy)
    files = sha256.of_files(copy)
    if signature.package_digest(files) != digest:
        raise EvidenceError(
            f"the package in {package} isn't {digest[:12]}",
            fix="fetch it again: nothing is built from bytes that weren't judged",
            where=Where(package),
        )
    for path in (copy, *copy.rglob("*")):  # another user reads it
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "Containerfile").write_bytes(containerfile)
    (folder / "tool").mkdir()
    for name, content in tool.items():
        if name.endswith(".whl"):
            (folder / "tool" / name).write_bytes(content)
    text = tool.get("requirements.txt", b"").decode()
    (folder / "tool" / "requirements.txt").write_text(requirements(text), "utf-8")
    return signature.read(copy / "signature.json").model


def requirements(text: str) -> str:
    """Of the tool's locked requirements those that serving needs, each with its hashes.

    Raises:
        ConfigError: one of them isn't there.
    """
    kept, found = [], set()
    for block in _BLOCK.split(text):
        if block.startswith("./"):  # the wheel itself, by its path in the repository
            kept.append(block.replace(f"./{TOOL}/", "/tool/", 1))
            found.add("./")
        elif (name := _NAME.match(block)) and _normal(name[0]) in SERVING:
            kept.append(block)
            found.add(_normal(name[0]))
    if lacking := sorted((SERVING | {"./"}) - found):
        raise ConfigError(
            f"{TOOL}/requirements.txt lacks what an image needs: {', '.join(lacking)}",
            fix="gitops upgrade brings the tool's files",
        )
    return "".join(kept)


def require_servable(package: Path) -> None:
    """Raise EvidenceError if a package needs more than gitops itself to answer."""
    found = signature.read(package / "signature.json")
    if found.runtime.kind != "onnx":
        raise code_of_its_own(found.model)


def code_of_its_own(model: str) -> EvidenceError:
    """Why a model with a script or a command has no image."""
    return EvidenceError(
        f"{model} answers by code of its own, which needs its checkout and environment: no image"
        " of it is built",
        fix="deploy it to a machine (deploy.target: local), or export it to ONNX",
    )


def _normal(name: str) -> str:
    """A project's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
