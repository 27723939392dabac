"""All that one verdict is based on, from two commits: proven, aligned, and nothing else."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from gitops import config as configuration
from gitops import evaluation, git
from gitops.config import Environment
from gitops.errors import EvidenceError, GitopsError, Where
from gitops.evaluation import RawRows
from gitops.git import graph
from gitops.package import Package
from gitops.validate.evidence import changes, differences, notes, sides, tables
from gitops.validate.evidence.revisions import Side, Target, side_of, target
from gitops.validate.evidence.sides import Brought, Commands, Say
from gitops.validate.evidence.tables import Judging
from gitops.validate.model import Array, Finding, Judged, Predictions, Table, Task, TestSet

_DOUBLES = 0.01  # share of test rows that training has by chance: as the shipped policies allow


@dataclass(frozen=True)
class Evidence:
    """What is known about a candidate and its champion, rows sorted by id.

    `environment` and `sensitive` are the base's. `release`: the environment isn't the first one.
    `notes` come first in a report; `findings` are judged like those of the analyses. `inputs` are
    the raw columns of the test set in the order of `table`, read when taken; `base_inputs` those of
    the base's test set where it is another. `trained_on` counts rows that a model had in its
    training, by `candidate` and `champion`, of the `looked_at` rows. Links to the
    cache live until `close`, or the end of the process.
    """

    model: str
    project: str
    task: Task
    environment: Environment
    release: bool
    base: tuple[str, str]
    candidate: Judged
    champion: Judged | None
    test_set: TestSet
    notes: tuple[Finding, ...]
    findings: tuple[Finding, ...]
    changes: tuple[str, ...]
    sensitive: tuple[str, ...]
    table: Table = field(repr=False)
    candidate_package: Package = field(repr=False)
    champion_package: Package | None = field(repr=False)
    inputs: RawRows = field(repr=False)
    base_inputs: RawRows | None = field(repr=False)
    trained_on: dict[str, int] = field(repr=False)
    looked_at: int = field(repr=False)
    _home: _Home = field(repr=False)

    def close(self) -> None:
        """Remove the links to the cache: inputs can't be read afterwards."""
        self._home.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Home:
    """A folder for links to the cache, gone at the latest with the process."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="gitops-gate-")).resolve()
        self.close = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def gather(
    root: Path,
    model: str,
    *,
    base: str | None = None,
    environment: str | None = None,
    head: str = "HEAD",
    say: Say,
    commands: Commands | None = None,
) -> Evidence:
    """The evidence about `model` at `head`, against the base (see `basis.of`).

    The test set unchanged: ids, labels, weights, slices and inputs are the base's, only predictions
    the candidate's. Changed: the champion is scored on the candidate's, without rows that either
    was trained on. The work tree isn't touched.

    Raises:
        UsageError: there's no such model, environment or revision.
        ConfigError: gitops.yaml, or DVC's configuration, of a commit is wrong.
        EvidenceError: anything is missing, altered, stale, or contradicts something else.
        ToolError: the remote can't be reached; a declared command failed.
    """
    found = target(root, base=base, environment=environment, head=head)
    home = _Home()
    try:
        pair = _pair(root, model, found, home, say, commands)
        judging, looked = _judging(pair)
        say(f"{model}: aligning {judging.of.rows:,} rows")
        with sides.renamed(*pair.both):
            predictions = _predictions(pair, judging, commands, say)
            sensitive = (pair.old or pair.candidate.side).declared.sensitive
            table, crowded = tables.table(judging, *predictions, sensitive)
        shown = [*_shown(root, pair, judging, table), *(notes.crowded(one) for one in crowded)]
        shown += [one for one in notes.never_predicted(table) if one.level == "note"]
        if not pair.changed:  # else such rows are left out
            shown += [one for one in notes.overlap(looked) if _makes_it_look_better(one)]
        if head == "HEAD":
            shown += notes.of_work_tree(root)
        return _evidence(pair, judging, looked, table, sensitive, tuple(shown), home)
    except BaseException:
        home.close()
        raise


def text_at(root: Path, commit: str, path: str) -> str | None:
    """The text of a committed file; None if it isn't there.

    Raises:
        EvidenceError: it's not UTF-8.
    """
    raw = git.snapshot(root, commit).read([path]).get(path)
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError as error:
        where = Where(f"{commit[:12]}:{path}")
        message = f"the byte 0x{raw[error.start] if raw else 0:02x} is not UTF-8"
        raise EvidenceError(message, fix="save the file as UTF-8", where=where) from error


@dataclass(frozen=True)
class _Pair:
    """Both sides; `old` is the base's model, built or not; `paths` changed since they parted.

    `answers`: what the candidate's package says of all rows, sorted by id, if it was asked.
    """

    target: Target
    old: Side | None
    candidate: Brought
    champion: Brought | None
    fork: str
    paths: dict[str, tuple[int, int]]
    answers: pl.DataFrame | None = field(default=None, repr=False)

    @property
    def both(self) -> tuple[Brought, ...]:
        return (self.candidate, self.champion) if self.champion else (self.candidate,)

    @cached_property
    def changed(self) -> bool:
        """Whether the candidate was evaluated on another test set than the champion."""
        return len({one.evaluation.test_set for one in self.both}) > 1

    @cached_property
    def classes(self) -> tuple[str, ...]:
        old = self.champion.package.signature if self.champion else None
        return tables.classes_of(self.candidate.package.signature, old)


def _pair(
    root: Path, model: str, found: Target, home: _Home, say: Say, commands: Commands | None
) -> _Pair:
    """Both models, the candidate's asked whether its predictions are its own."""
    side = side_of(found.head, found.proposed, model)
    known = not found.adopted and model in found.settings.models
    old = side_of(found.base, found.settings, model) if known else None
    champion = sides.champion(root, old, home.path / "champion", say)
    candidate = sides.candidate(root, side, home.path / "candidate", champion, say)
    fork = graph.fork_point(root, found.base.commit, found.head.commit) or found.base.commit
    paths = git.changed(root, fork, found.head.commit)
    pair = _Pair(found, old, candidate, champion, fork, paths)
    trusted = champion.evaluation if champion and not pair.changed else None
    say(f"{model}: asking the candidate's package about its predictions")
    with sides.renamed(*pair.both):
        return replace(pair, answers=sides.ask(candidate, trusted, commands))


def _judging(pair: _Pair) -> tuple[Judging, dict[str, Array]]:
    """The rows to judge on, and which of all were in a model's training (`tables.trained_on`)."""
    base = pair.champion if pair.champion and not pair.changed else pair.candidate
    judging = Judging(base.evaluation, pair.classes)
    looked: dict[str, Array] = {}
    keys: dict[object, tables.RowKeys] = {}
    for name, one in zip(("candidate", "champion"), pair.both, strict=False):
        with sides.renamed(*pair.both), _scoring(pair, name):
            like = one.package.signature, one.side.project
            if (shape := tables.key_shape(*like)) not in keys:
                keys[shape] = tables.row_keys(judging, *like, all_rows=pair.changed)
            looked[name] = tables.trained_on(keys[shape], one.package)
    if not pair.changed:
        return judging, looked
    kept = np.logical_and.reduce([one != 1 for one in looked.values()])
    if not kept.any():
        raise EvidenceError(
            f"all {len(kept):,} rows of the changed test set are among the training rows of the"
            " candidate or the champion",
            fix="keep the test set of the target branch, or add rows that no model has seen",
        )
    return replace(judging, kept=kept), looked


def _predictions(
    pair: _Pair, judging: Judging, commands: Commands | None, say: Say
) -> tuple[Predictions, Predictions | None]:
    """Both models' predictions for the judged rows.

    The candidate's are its package's own answers where there are all of them: within the tolerance
    of `evaluation.ask` a forged table could still order rows of equal scores by their labels.
    """
    candidate, champion = pair.candidate, pair.champion
    new = candidate.evaluation
    table, order = new.predictions, new.order
    if pair.answers is not None:
        table, order = pair.answers.lazy(), np.arange(new.rows, dtype=np.uint32)
    own = judging.predictions(table, order, candidate.package.signature)
    if champion is None:
        return own, None
    old, signature = champion.evaluation, champion.package.signature
    if not pair.changed:
        theirs = judging.predictions(old.predictions, old.order, signature)
        # The last bits of a build elsewhere are no difference.
        return (theirs if candidate.package.digest == champion.package.digest else own), theirs
    say(f"{candidate.side.name}: the test set changed: scoring the champion on it")
    with sides.command(champion, commands) as runs, _scoring(pair, "champion"):
        scored = tables.scored(champion.package, new, runs)
    return own, judging.predictions(scored.lazy(), new.input_order, signature)


@contextmanager
def _scoring(pair: _Pair, name: str) -> Iterator[None]:
    """The champion may meet a test set that was made for another model."""
    try:
        yield
    except EvidenceError as error:
        if name == "candidate" or not pair.changed:
            raise
        raise EvidenceError(
            f"the champion can't be scored on the changed test set: {error.message}",
            fix="keep the raw columns that the champion takes, as they were, until a model without"
            " them is on the target branch (a raw column needn't be a feature)",
            where=Where(pair.candidate.evaluation.folder / evaluation.INPUTS),
        ) from error


def _shown(root: Path, pair: _Pair, judging: Judging, table: Table) -> list[Finding]:
    """What comes first in a report."""
    candidate, champion = pair.candidate, pair.champion
    found: list[Finding] = []
    if champion is None:
        found.append(notes.first_model(pair.target, candidate.side))
    else:
        excluded = judging.of.rows - table.rows
        found += differences.findings(champion.evaluation, candidate.evaluation, excluded)
        one, other = candidate.package.signature.classes, champion.package.signature.classes
        found += notes.other_classes(one, other)
    before = _settings_at(root, pair)
    found += notes.of_commits(pair.target, candidate.side, pair.paths, before)
    return found + notes.unseen(judging.of, pair.classes)


def _evidence(
    pair: _Pair,
    judging: Judging,
    looked: dict[str, Array],
    table: Table,
    sensitive: tuple[str, ...],
    shown: tuple[Finding, ...],
    home: _Home,
) -> Evidence:
    candidate, champion, found = pair.candidate, pair.champion, pair.target
    older = champion.package if champion else None
    excluded = judging.of.rows - table.rows
    other = Judging(champion.evaluation, pair.classes) if champion and pair.changed else None
    return Evidence(
        model=candidate.side.name,
        project=candidate.side.project,
        task=candidate.package.signature.task,
        environment=found.environment,
        release=found.release,
        base=(found.base.commit, found.base.tree),
        candidate=candidate.judged,
        champion=champion.judged if champion else None,
        test_set=TestSet(judging.of.test_set, table.rows, excluded, pair.changed),
        notes=shown,
        findings=(
            *(one for one in notes.overlap(looked) if one not in shown),
            *(one for one in notes.never_predicted(table) if one.level == "alarm"),
        ),
        changes=changes.lines(pair.old, candidate.side, pair.paths, older, candidate.package),
        sensitive=sensitive,
        table=table,
        candidate_package=candidate.package,
        champion_package=older,
        inputs=_inputs(judging),
        base_inputs=_inputs(other) if other else None,
        trained_on={name: int((one == 1).sum()) for name, one in looked.items()},
        looked_at=int((looked["candidate"] >= 0).sum()),
        _home=home,
    )


def _makes_it_look_better(overlap: Finding) -> bool:
    """Whether the champion has seen so many of the rows that a reviewer must know it first."""
    return overlap.level == "note" and (overlap.value or 0) > _DOUBLES


def _inputs(judging: Judging) -> RawRows:
    return RawRows(judging.of.inputs.drop("__id__"), judging.positions())


def _settings_at(root: Path, pair: _Pair) -> configuration.Config:
    """gitops.yaml where the branches parted; the base's where it wasn't (rightly) there."""
    settings = pair.target.settings
    if pair.fork == pair.target.base.commit:
        return settings
    try:
        return configuration.load_at(root, pair.fork)
    except GitopsError:
        return settings
