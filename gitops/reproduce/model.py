"""A declared model and where its parts lie in the repository."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitops.config import Config, Model


@dataclass(frozen=True)
class Place:
    """One model: its name, its declaration, and the top folder of its repository."""

    name: str
    declared: Model
    root: Path

    @property
    def folder(self) -> str:
        return self.declared.path

    @property
    def base(self) -> Path:
        return self.root / self.folder

    @property
    def pipeline(self) -> str:
        """The model's dvc.yaml, relative to the repository: the target that DVC is given."""
        return (Path(self.folder) / "dvc.yaml").as_posix()

    @property
    def lock(self) -> Path:
        return self.base / "dvc.lock"

    @property
    def package(self) -> Path:
        return self.base / self.declared.package

    @property
    def evaluation(self) -> Path:
        return self.base / self.declared.evaluation

    @property
    def metrics(self) -> Path:
        return self.base / self.declared.metrics

    def lock_digest(self) -> str:
        """SHA-256 of dvc.lock in hex: the key of the build record; empty if there's none."""
        return hashlib.sha256(self.lock.read_bytes()).hexdigest() if self.lock.is_file() else ""


def places(root: Path, config: Config, name: str | None = None) -> tuple[Place, ...]:
    """The models to work on: `name`, or all of them."""
    if name is not None:
        known, declared = config.model(name)
        return (Place(known, declared, root),)
    return tuple(Place(known, declared, root) for known, declared in config.models.items())
