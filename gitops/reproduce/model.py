"""A declared model and where its parts lie in the repository; what a build made of it."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops import dvc

if TYPE_CHECKING:
    from gitops.config import Config, Model


Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """One model: its name, its declaration, and the top folder of its repository.

    `apart` are the folders of other models inside its own (a model at the top has them all).
    """

    name: str
    declared: Model
    root: Path
    apart: tuple[str, ...] = ()

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

    def tracked(self) -> tuple[dvc.Tracked, ...]:
        """What DVC tracks of this model, and what its stages depend on; see `dvc.tracked`."""
        return dvc.tracked(self.root, [self.folder], self.apart)


@dataclass(frozen=True)
class Built:
    """What became of one model. `stages` maps a stage to `ran`, `unchanged` or `restored`."""

    model: str
    state: str
    stages: dict[str, str]
    metrics: dict[str, float]
    test_set: str


@dataclass(frozen=True)
class Outcome:
    """What a build did: where it pushed to (or ""), the commit that it made, or what to commit."""

    models: tuple[Built, ...]
    pushed: str
    commit: str | None
    to_commit: tuple[str, ...]
    note: str = ""


def places(root: Path, config: Config, names: Sequence[str] = ()) -> tuple[Place, ...]:
    """The models to work on: `names`, or all of them.

    Raises:
        UsageError: there's no model of such a name.
    """
    wanted = dict(config.model(name) for name in names) if names else config.models
    folders = sorted({model.path for model in config.models.values()})
    return tuple(
        Place(known, declared, root, _inside(declared.path, folders))
        for known, declared in wanted.items()
    )


def tracked(models: Iterable[Place]) -> tuple[dvc.Tracked, ...]:
    """What DVC tracks of all `models`, each path once."""
    found = {item.path: item for place in models for item in place.tracked()}
    return tuple(found[path] for path in sorted(found))


def _inside(folder: str, folders: list[str]) -> tuple[str, ...]:
    if folder == ".":
        return tuple(one for one in folders if one != ".")
    # They are sorted: those inside stand together ("0" comes after "/").
    return tuple(folders[bisect_left(folders, f"{folder}/") : bisect_left(folders, f"{folder}0")])
