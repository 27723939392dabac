"""signature.json: what a model takes and gives."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from gitops import contracts
from gitops.errors import EvidenceError, Where

Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class Input:
    """A raw column that the model takes; `minimum` and `maximum` of a datetime are seconds."""

    name: str
    tensor: str
    type: Literal["number", "categorical", "boolean", "datetime"]
    nullable: bool
    categories: tuple[str, ...] = ()
    integer: bool = False
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Runtime:
    """`onnx` has `file` and `output`, `command` has `command`."""

    kind: Literal["onnx", "command"]
    file: str = ""
    output: str = ""
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Framework:
    name: str
    version: str
    python: str


@dataclass(frozen=True)
class Signature:
    """signature.json: `classes` is empty in a regression, `threshold` None unless binary."""

    model: str
    task: Task
    target: str
    id: str | None
    runtime: Runtime
    inputs: tuple[Input, ...]
    classes: tuple[str, ...]
    threshold: float | None
    framework: Framework

    @property
    def score_columns(self) -> tuple[str, ...]:
        """The columns with probabilities, in the order of the classes; none in a regression."""
        if self.task == "binary":
            return ("score",)
        return tuple(f"score_{name}" for name in self.classes)


def package_digest(files: Mapping[str, str]) -> str:
    """SHA-256 over what `sha256sum` prints for a package's files, sorted by path."""
    lines = "".join(f"{files[path]}  {path}\n" for path in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def read(path: Path) -> Signature:
    """Read and check signature.json on its own.

    Raises:
        EvidenceError: it breaks the contract `signature`, or contradicts itself.
    """
    document: Any = contracts.read_json(path)
    contracts.validate("signature", document, Where(path))
    command = tuple(document["runtime"].get("command", ()))
    runtime = {**document["runtime"], "command": command}
    signature = Signature(
        model=document["model"],
        task=document["task"],
        target=document["target"],
        id=document["id"],
        runtime=Runtime(**runtime),
        inputs=tuple(_input(item) for item in document["inputs"]),
        classes=tuple(document.get("classes", ())),
        threshold=document.get("threshold"),
        framework=Framework(**document["framework"]),
    )
    if fault := _contradiction(signature):
        raise EvidenceError(fault, fix="build the package again", where=Where(path))
    return signature


def _input(item: dict[str, Any]) -> Input:
    changed: dict[str, Any] = {
        name: datetime.fromisoformat(item[name]).timestamp()
        if item["type"] == "datetime"
        else item[name]
        for name in ("minimum", "maximum")
        if name in item
    }
    changed["categories"] = tuple(item.get("categories", ()))
    return Input(**(item | changed))


def _contradiction(signature: Signature) -> str:
    """What the schema can't see; empty if all is well."""
    for what in ("name", "tensor"):
        values = [getattr(item, what) for item in signature.inputs]
        for value in values:
            if values.count(value) > 1:
                return f"two inputs have the {what} {value!r}"
    for role in ("target", "id"):
        if getattr(signature, role) in [item.name for item in signature.inputs]:
            return f"the {role} {getattr(signature, role)!r} is among the inputs"
    for item in signature.inputs:
        if item.minimum is not None and item.maximum is not None and item.minimum > item.maximum:
            return (
                f"input {item.name!r}: minimum {item.minimum:g} is above maximum {item.maximum:g}"
            )
    return ""
