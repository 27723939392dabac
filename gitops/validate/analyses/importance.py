"""Permutation importance of a package's inputs (Breiman 2001; Fisher, Rudin, Dominici 2019).

A column is shuffled among sampled rows, and the metric gets worse by its importance. The interval
covers the choice of the rows, those that are judged and those that give the shuffled values, and
the shuffling. The champion is asked about the same shuffled rows: its change is paired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import polars as pl

import gitops.validate.analyses.sample as sample
from gitops import package as packages
from gitops.package import Command, Package
from gitops.validate.model import Array, Importance, Interval, Table

ROWS, REPEATS = 20_000, 3
SCORED = 300_000  # rows that one model scores in all: seconds, not minutes
SCORED_BY_COMMAND = 100_000
# Rows times bytes of the model: a forest of ten classes takes a hundred times as long as a line.
WORK = 3e11
METRICS = {
    "binary": ("roc_auc", "log_loss", "brier"),
    "multiclass": ("log_loss", "brier"),
    "regression": ("rmse", "mae"),
}
_TINY = 1e-7  # probabilities are float32


@dataclass(frozen=True)
class Explained:
    """Importances, the largest first; from how many rows; why there are none, else ""."""

    columns: tuple[Importance, ...]
    metric: str
    rows: int
    why: str = ""


@dataclass(frozen=True)
class _Rows:
    """The sampled rows: labels (codes or numbers), weights (sum 1), codes of groups or None."""

    label: Array
    weight: Array
    group: Array | None
    classes: tuple[str, ...]


def importance(
    table: Table,
    inputs: sample.Inputs,
    package: Package,
    champion: Package | None = None,
    *,
    metric: str | None = None,
    seed: int = 0,
    rows: int = ROWS,
    repeats: int = REPEATS,
    level: float = 0.9,
    command: Command | None = None,
    champion_command: Command | None = None,
) -> Explained:
    """How much worse `metric` (the first of METRICS) gets without each input of either model.

    `inputs`: raw columns in the row order of `table`. `command`s run declared-command models.
    """
    models = [(package, command), (champion, champion_command)]
    asked = [(one, run) for one, run in models if one is not None]
    named = sample.names(*(one.signature for one, _ in asked))
    limit = min(_affordable(one) for one, _ in asked)
    most = max(min(rows, limit // (repeats * max(len(named), 1))), 200)
    chosen, weight = sample.stratified(table, most, seed)
    part = _Rows(
        table.label[chosen],
        weight,
        None if table.group is None else table.group[chosen],
        table.classes,
    )
    metric = metric or _default(table, part)
    if why := _refusal(asked, part, metric, table.task):
        return Explained((), metric, len(chosen), why)
    frame = sample.take(inputs, named, chosen)
    givers = _givers(part.weight, repeats, seed)
    shares = [_shares(one, run, frame, part, metric, givers) for one, run in asked]
    nothing = np.zeros(givers.shape)  # what a model doesn't take makes no difference to it
    found = []
    for name in named:
        own = [share.get(name, nothing) for share in shares]
        change = _interval(own[0] - own[1], givers, part, level) if champion else None
        intervals = [_interval(one, givers, part, level) for one in own]
        found.append(
            Importance(name, metric, intervals[0], intervals[1] if champion else None, change)
        )
    found.sort(key=lambda one: (one.candidate.estimate is None, -(one.candidate.estimate or 0)))
    return Explained(tuple(found), metric, len(chosen))


def _affordable(package: Package) -> int:
    """Rows that it may score: by its size and not by a clock, so that it's the same everywhere."""
    if package.session is None:
        return SCORED_BY_COMMAND
    size = (package.folder / package.signature.runtime.file).stat().st_size
    return min(SCORED, int(WORK / size))


def _default(table: Table, part: _Rows) -> str:
    one_class = table.task == "binary" and len(np.unique(part.label)) < 2
    return METRICS[table.task][1 if one_class else 0]


def _refusal(
    asked: list[tuple[Package, Command | None]], part: _Rows, metric: str, task: str
) -> str:
    if metric not in METRICS[task]:
        return f"importance by {metric} is not defined here, only by {', '.join(METRICS[task])}"
    if len(part.label) < 2:
        return f"{len(part.label)} rows are too few"
    if metric == "roc_auc" and len(np.unique(part.label)) < 2:
        return "there is only one class"
    if any(one.session is None and run is None for one, run in asked):
        return "a model is a declared command, which costs too much to ask so often"
    return ""


def _givers(weight: Array, repeats: int, seed: int) -> Array:
    """For each repeat (row of the result) the row that gives each row its shuffled value.

    Each row gives as often as its weight says: once each where all weigh the same.
    """
    count = len(weight)
    draw = np.random.default_rng([seed, count])
    found = []
    for _ in range(repeats):
        order = draw.permutation(count)
        steps = (np.arange(count) + draw.uniform(0.01, 0.99)) / count
        places = np.searchsorted(np.cumsum(weight[order]), steps).clip(max=count - 1)
        found.append(draw.permutation(order[places]))
    return np.stack(found)


def _shares(
    package: Package,
    command: Command | None,
    frame: pl.DataFrame,
    part: _Rows,
    metric: str,
    givers: Array,
) -> dict[str, Array]:
    """By input, each row's share of the loss that shuffling it costs, (repeats, n)."""
    repeats, shuffled = len(givers), givers.ravel()
    classes = package.signature.classes
    many = pl.concat([frame.select(sample.names(package.signature))] * repeats)
    if package.session is None:
        answers = _by_command(package, command, many, shuffled)
    else:
        answers = _by_session(package, many, shuffled)
    base = _losses(next(answers)[: frame.height], classes, part, metric)
    shares = {}
    for item, answered in zip(package.signature.inputs, answers, strict=True):
        parts = answered.reshape(repeats, frame.height, -1)
        losses = [_losses(one, classes, part, metric) for one in parts]
        shares[item.name] = np.stack(losses) - base
    return shares


def _by_session(package: Package, many: pl.DataFrame, shuffled: Array) -> Iterator[Array]:
    """Answers (rows, outputs) for the rows as they are, then with each input shuffled."""
    signature = package.signature
    feed = packages.tensors(many, signature)
    yield packages.answer(package, feed)
    for item in signature.inputs:
        changed = {**feed, item.tensor: feed[item.tensor][shuffled]}
        yield packages.answer(package, changed)


def _by_command(
    package: Package, command: Command | None, many: pl.DataFrame, shuffled: Array
) -> Iterator[Array]:
    """The same in one run of the command."""
    signature = package.signature
    frames = [many]
    for item in signature.inputs:
        frames.append(many.with_columns(many[item.name].gather(shuffled)))
    answered = packages.score(package, pl.concat(frames), command=command).frame
    names = list(signature.score_columns) or ["prediction"]
    values = answered.select(names).to_numpy()
    if signature.task == "binary":
        values = np.column_stack([1 - values, values])
    return iter(np.split(values, len(frames)))


def _losses(answers: Array, classes: tuple[str, ...], part: _Rows, metric: str) -> Array:
    """Each row's share (n) of the metric, up is worse; their weighted mean is the metric.

    rmse and roc_auc aren't means over rows: theirs is the value plus the row's influence on it
    (for the AUC the placement values of DeLong 1988).
    """
    answers = answers.astype(np.float64)
    losses: Array
    if not part.classes:
        error = answers[:, 0] - part.label
        if metric == "mae":
            losses = np.abs(error)
            return losses
        mean = float((part.weight * error**2).sum())
        root = max(mean**0.5, np.finfo(float).tiny)
        losses = root + (error**2 - mean) / (2 * root)
        return losses
    if metric == "roc_auc":
        return -_placements(answers[:, 1], part.label == 1, part.weight)
    codes = {name: code for code, name in enumerate(classes)}
    own = np.array([codes.get(name, -1) for name in part.classes])[part.label]
    right = np.where(own < 0, 0.0, answers[np.arange(len(own)), own])
    if metric == "log_loss":
        losses = -np.log(np.clip(right, _TINY, 1))
    elif len(part.classes) == 2:
        losses = (1 - right) ** 2
    else:
        losses = (answers**2).sum(axis=1) - 2 * right + 1
    return losses


def _placements(score: Array, positive: Array, weight: Array) -> Array:
    """Values (n) whose weighted mean is the weighted AUC, ties counting half."""
    _, place = np.unique(score, return_inverse=True)
    up = np.bincount(place, weight * positive)
    down = np.bincount(place, weight * ~positive)
    share = up.sum()
    below = (np.cumsum(down) - down / 2) / (1 - share)
    above = (share - np.cumsum(up) + up / 2) / share
    own = np.where(positive, below[place], above[place])
    value = float((weight * own)[positive].sum()) / share
    values: Array = value + (own - value) / np.where(positive, share, 1 - share)
    return values


def _interval(shares: Array, givers: Array, part: _Rows, level: float) -> Interval:
    """Weighted mean and its normal interval; rows of a group count as one.

    A row pulls the mean as one that is judged and as one that gives values (a sum of pairs, as in
    Hoeffding 1948). Both hold the noise of the pairing, of which one part too many is taken off.
    """
    if not np.isfinite(shares).all():
        return Interval(None, level=level)
    repeats = len(shares)
    mean = float((part.weight * shares.mean(axis=0)).sum())
    pairs = part.weight * (shares - mean) / repeats
    pulls: Array = pairs.sum(axis=0)
    given = np.bincount(givers.ravel(), pairs.ravel(), minlength=len(pulls))
    if part.group is not None:
        _, place = np.unique(part.group, return_inverse=True)
        pulls, given = np.bincount(place, pulls), np.bincount(place, given)
    if len(pulls) < 2:
        return Interval(mean, level=level)
    twice = float(((pulls + given) ** 2).sum() - (pairs**2).sum())
    deviation = max(twice, float((pulls**2).sum())) ** 0.5
    reach = NormalDist().inv_cdf((1 + level) / 2) * deviation
    return Interval(mean, mean - reach, mean + reach, level)
