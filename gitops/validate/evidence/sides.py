"""The package and the evaluation of a commit: brought from the cache or the remote, and proven."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from gitops import dvc, evaluation, objects, package
from gitops import dvclock as locks
from gitops.errors import EvidenceError, GitopsError, Where
from gitops.evaluation import Evaluation
from gitops.package import Command, Package
from gitops.validate.evidence.revisions import Side
from gitops.validate.model import Judged

Say = Callable[[str], None]
# Runs a package's declared command as of a commit: (commit, model) -> what `package.score` calls.
Commands = Callable[[str, str], AbstractContextManager[Command]]
ASKED = 100_000  # rows that a package is asked about again: all of them, in most test sets
ASKED_BY_COMMAND = 2_000


@dataclass(frozen=True)
class Brought:
    """One side with its proven package and evaluation, as links below `folder`."""

    side: Side
    folder: Path
    package: Package
    evaluation: Evaluation

    @property
    def judged(self) -> Judged:
        return Judged(self.side.at.commit, self.side.at.tree, self.package.digest)


def champion(root: Path, side: Side | None, folder: Path, say: Say) -> Brought | None:
    """The base's model; None where there's none, or it was never built. Raises as `_bring`."""
    if side is None or not side.built:
        return None
    try:
        return _bring(root, side, folder, say)
    except GitopsError as error:
        error.message = f"the champion, {side.name} at {side.at.commit[:12]}: {error.message}"
        raise


def candidate(root: Path, side: Side, folder: Path, rival: Brought | None, say: Say) -> Brought:
    """The model that is judged, which must have been built by what is committed.

    Raises:
        EvidenceError: it wasn't, or as `_bring`.
    """
    if side.lock is None or not side.built:
        raise EvidenceError(
            f"model {side.name} was never built at {side.at.commit[:12]}:"
            f" its dvc.lock has no {side.path('package')}",
            fix=f"gitops build {side.name}, then commit dvc.lock",
        )
    if reasons := locks.stale(side.at, side.lock):
        more = f"\n  and {len(reasons) - 10} more" if len(reasons) > 10 else ""
        raise EvidenceError(
            "dvc.lock isn't of this commit:\n  " + "\n  ".join(reasons[:10]) + more,
            fix=f"gitops build {side.name}, then commit dvc.lock with the change",
            where=Where(f"{side.at.commit[:12]}:{side.lock.path}"),
        )
    return _bring(root, side, folder, say, rival.evaluation if rival else None)


def ask(
    model: Brought, trusted: Evaluation | None, commands: Commands | None
) -> pl.DataFrame | None:
    """Prove that the predictions of a model came from its package; its answers, if on all rows.

    `trusted` has the raw columns of the same test set as the base has them.

    Raises:
        EvidenceError: they didn't.
    """
    rows = ASKED if model.package.session is not None else ASKED_BY_COMMAND
    with command(model, commands) as runs:
        return evaluation.ask(
            model.package, model.evaluation, rows=rows, inputs=trusted, command=runs
        )


@contextmanager
def command(model: Brought, commands: Commands | None) -> Iterator[Command | None]:
    """What runs a declared command; None for an ONNX package."""
    if model.package.session is not None:
        yield None
        return
    if commands is None:
        raise EvidenceError(
            f"model {model.side.name} is a declared command, which can't be run here",
            fix="run `gitops gate` in the repository",
        )
    with commands(model.side.at.commit, model.side.name) as runs:
        yield runs


@contextmanager
def renamed(*models: Brought) -> Iterator[None]:
    """Errors name `<commit>:<path>` rather than a link in a temporary folder."""
    with _renamed({one.folder: one.side.at.commit for one in models}):
        yield


def _bring(
    root: Path, side: Side, folder: Path, say: Say, like: Evaluation | None = None
) -> Brought:
    """Raises EvidenceError for what is missing, altered, or contradicts something else."""
    outs = side.lock.outs if side.lock else {}
    wanted = [side.path("package"), side.path("evaluation")]
    if absent := [path for path in wanted if path not in outs or not outs[path].md5]:
        raise EvidenceError(
            f"model {side.name}: dvc.lock has no {', '.join(absent)}",
            fix=f"gitops build {side.name}, then commit dvc.lock",
            where=Where(f"{side.at.commit[:12]}:{side.lock.path if side.lock else 'dvc.lock'}"),
        )
    say(f"{side.name}: reading package and evaluation of {side.at.commit[:12]}")
    objects.lay_out(
        root, [dvc.Tracked(path, outs[path].md5, outs[path].size, None) for path in wanted], folder
    )
    with _renamed({folder: side.at.commit}):
        found = package.read(folder / wanted[0])
        if found.signature.task != side.declared.task:
            raise EvidenceError(
                f"the task is {found.signature.task}, in gitops.yaml it is {side.declared.task}",
                fix="make them agree, and build again",
                where=Where(folder / wanted[0] / "signature.json"),
            )
        table = evaluation.read(folder / wanted[1], found.signature, like)
    return Brought(side, folder, found, table)


@contextmanager
def _renamed(folders: dict[Path, str]) -> Iterator[None]:
    try:
        yield
    except GitopsError as error:
        for folder, commit in folders.items():
            short, prefix = f"{commit[:12]}:", f"{folder}/"
            error.message = error.message.replace(prefix, short)
            if error.where is not None:
                file = str(error.where.file).replace(prefix, short)
                error.where = replace(error.where, file=file)
        raise
