"""The test set's inputs against what the package's signature promises."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any

import polars as pl

import gitops.validate.analyses.sample as sample
from gitops.package import Package
from gitops.signature import Input
from gitops.validate.model import Finding

ROWS = 200_000
MISSING, RANGE, UNSEEN = 0.1, 0.05, 0.05
_SOME = 0.01  # notes begin here
CHANCE = 1e-5  # of a finding where there is nothing; there are many columns


def data(
    inputs: sample.Inputs,
    package: Package,
    champion: Package | None = None,
    base_inputs: sample.Inputs | None = None,
    *,
    seed: int = 0,
    missing: float = MISSING,
    outside: float = RANGE,
    unseen: float = UNSEEN,
    rows: int = ROWS,
) -> tuple[Finding, ...]:
    """Findings `data-schema`, `data-missing`, `data-range`, `data-unseen` and `data-constant`.

    `missing`: how far the share of missing values may lie above that of the training data (or of
    `base_inputs`). `outside`, `unseen`: the share of values outside of the training range, or of
    categories that it hadn't. Above these they are alarms. From a sample of `rows`.
    """
    names = sample.names(package.signature, champion.signature if champion else None)
    frame = sample.take(inputs, names, sample.choose(len(inputs), rows, seed))
    columns, faults = sample.typed(frame, package.signature)
    found = [
        Finding("data-schema", "alarm", f"{name!r}: {text}", name) for name, text in faults.items()
    ]
    if champion is not None:
        _, older = sample.typed(frame, champion.signature)
        found += [
            Finding("data-schema", "alarm", f"{name!r}, for the champion: {text}", name)
            for name, text in older.items()
            if name not in faults
        ]
    if base_inputs is not None:
        found += _schema_changes(base_inputs, inputs)
    trained = package.reference["rows"]
    for item in package.signature.inputs:
        column = columns.get(item.name)
        if column is None or not len(column):
            continue
        profile = package.reference["columns"][item.name]
        before = profile["missing"] / max(trained, 1)
        found += _missing(item, column, before, "training", missing)
        if item.type == "categorical":
            found += _unseen(item, column, profile, trained, unseen)
        elif item.type == "number":
            found += _outside(item, column, trained - profile["missing"], outside)
        found += _constant(item, column)
    if base_inputs is not None:
        found += _missing_since_base(base_inputs, columns, package, missing, rows, seed)
    return tuple(sorted(found, key=lambda one: one.level))


def _missing(
    item: Input, column: pl.Series, before: float, since: str, bound: float
) -> list[Finding]:
    now = column.null_count() / len(column)
    refused = now > 0 and not item.nullable
    # Four standard errors: a small test set misses a few more by chance.
    chance = 4 * (max(before * (1 - before), 1 / len(column)) / len(column)) ** 0.5
    more = now - before - chance
    if not refused and more <= _SOME:
        return []
    level = sample.level(refused or more > bound)
    text = f"{item.name!r} is missing in {now:.1%} of {len(column):,} rows, {before:.1%} in {since}"
    if refused:
        text += "; the model takes none missing"
    value = None if refused else now - before
    return [Finding("data-missing", level, text, item.name, value, bound)]


def _unseen(
    item: Input, column: pl.Series, profile: Mapping[str, Any], trained: int, bound: float
) -> list[Finding]:
    known = column.drop_nulls()
    new = sample.share(~known.is_in(item.categories))
    # About as many rows have a new category as have one that came once (Good and Turing), and
    # those are at most the categories that the profile didn't count by themselves.
    rare = min((len(item.categories) - len(profile["counts"])) / max(trained, 1), 1.0)
    chance = rare + 3 * (max(rare * (1 - rare), 1 / max(len(known), 1)) / max(len(known), 1)) ** 0.5
    if new <= max(chance, _SOME):
        return []
    text = f"{item.name!r} has categories unknown to training in {new:.1%} of {len(known):,} rows"
    return [Finding("data-unseen", sample.level(new > bound), text, item.name, new, bound)]


def _outside(item: Input, column: pl.Series, trained: int, bound: float) -> list[Finding]:
    known = column.drop_nulls()
    if item.minimum is None or item.maximum is None or not len(known):
        return []
    counts = [int((known < item.minimum).sum()), int((known > item.maximum).sum())]
    share = sum(counts) / len(known)
    # Of one source, k of m rows lie above the largest of n others with a chance of (m / (n + m))^k.
    chance = log(CHANCE) / log(len(known) / (len(known) + max(trained, 1)))
    if max(counts) <= chance or share <= _SOME:
        return []
    text = (
        f"{item.name!r} is outside of the training range {item.minimum:.6g} to {item.maximum:.6g}"
        f" in {share:.1%} of {len(known):,} rows"
    )
    return [Finding("data-range", sample.level(share > bound), text, item.name, share, bound)]


def _constant(item: Input, column: pl.Series) -> list[Finding]:
    known = column.drop_nulls()
    if len(column) < 2 or known.n_unique() > 1:
        return []
    what = "one value" if len(known) else "no value"
    text = f"{item.name!r} has {what} in all of {len(column):,} rows"
    return [Finding("data-constant", "note", text, item.name)]


def _schema_changes(base: sample.Inputs, head: sample.Inputs) -> list[Finding]:
    before, after = base.collect_schema(), head.collect_schema()
    found = []
    for name in dict.fromkeys((*before.names(), *after.names())):
        old, new = before.get(name), after.get(name)
        if old != new and name != "__id__":
            what = "is new" if old is None else "is gone" if new is None else f"was {old}, is {new}"
            text = f"{name!r} {what} in the test set since the base"
            found.append(Finding("data-schema", "note", text, name))
    return found


def _missing_since_base(
    base_inputs: sample.Inputs,
    columns: dict[str, pl.Series],
    package: Package,
    bound: float,
    rows: int,
    seed: int,
) -> list[Finding]:
    frame = sample.take(base_inputs, list(columns), sample.choose(len(base_inputs), rows, seed))
    before, _ = sample.typed(frame, package.signature)
    found = []
    for item in package.signature.inputs:
        if item.nullable and item.name in before and len(before[item.name]):
            share = before[item.name].null_count() / frame.height
            if len(columns[item.name]):
                found += _missing(item, columns[item.name], share, "the base's test set", bound)
    return found
