"""What each column of a table is for: target, id, time, group, feature, or left out and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import polars as pl

from gitops.errors import ConfigError
from gitops.scaffold import choices as answers
from gitops.scaffold import infer as guess
from gitops.scaffold import leaks, refusals
from gitops.scaffold.choices import Choices
from gitops.scaffold.infer import MAX_CATEGORIES, Facts
from gitops.scaffold.table import Table
from gitops.signature import Task as Task

Split = Literal["random", "time", "group"]
Type = Literal["number", "boolean", "categorical", "datetime"]

_MOST_SLICES = 3
_OTHER_DATE = (
    r"^(\d{4}[/.]\d{1,2}[/.]\d{1,2}"
    r"|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}"
    r"|\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{2,4})"
)
_NOT_ISO = "dates, but not written as 2013-01-31 (ISO 8601)"
_UNCLEAR_DATE = r"^\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}( .*)?$"


@dataclass(frozen=True)
class Feature:
    """A column that the model sees; `calendar`: the parts of a datetime that it sees."""

    name: str
    type: Type
    calendar: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dropped:
    """A column that is left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Roles:
    """The roles of all columns.

    `classes` are canonical texts (binary: negative, positive), none in a regression.
    `notes` say, in a line each, what was inferred and why.
    """

    task: Task
    target: str
    classes: tuple[str, ...]
    positive: str | None
    id: str | None
    time: str | None
    group: str | None
    features: tuple[Feature, ...]
    dropped: tuple[Dropped, ...]
    slices: tuple[str, ...]
    sensitive: tuple[str, ...]
    split: Split
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Seen:
    """All there is to infer from; `notes` grows on the way."""

    table: Table
    facts: Mapping[str, Facts]
    target: str
    chosen: Choices
    notes: list[str]

    def free(self, *taken: str | None) -> list[str]:
        """The columns that have no role yet, by an answer or in `taken`."""
        chosen = {self.target, *self.chosen.drop, *self.chosen.columns.values(), *taken}
        return [name for name in self.facts if name not in chosen]


def infer(table: Table, target: str, *, overrides: Mapping[str, object]) -> Roles:
    """Infer all roles; what `overrides` (answers as of `--set`) say goes before any guess.

    Naming a column's type (`type.NAME`) keeps the column as a feature, whatever the guess.

    Raises:
        ConfigError: no model can be trained on this table, or an answer does not fit it.
    """
    answers.column(table, "target", target)
    facts = guess.facts(table)
    refusals.check_target(table, facts[target])
    chosen = answers.read(table, facts, target, overrides)
    seen = _Seen(table, facts, target, chosen, [])
    task, classes = _task(seen)
    identity = _identity(seen)
    time = _time(seen)
    group = _group(seen, identity)
    split = _split(seen, time, group)
    features, dropped = _features(seen, task, identity, group)
    if local := [
        one.name for one in dropped if one.reason == _NOT_ISO and one.name in table.formats
    ]:
        some = table.frame[local[0]].drop_nulls()[0].strftime(table.formats[local[0]])
        seen.notes.append(
            f"{', '.join(local)}: dates such as {some} aren't used; to have them,"
            f" {refusals.advice(table)}"
        )
    sensitive = chosen.sensitive
    if sensitive is None:
        sensitive = tuple(one.name for one in features if guess.is_sensitive(one.name))
    if sensitive:
        seen.notes.append(
            f"sensitive: {', '.join(sensitive)}: the gate looks for gaps between their groups"
        )
    slices = _slices(seen, features, sensitive)
    if slices:
        seen.notes.append(f"slices: {', '.join(slices)}: each of their groups is judged, too")
    if facts[target].missing:
        seen.notes.append(f"{facts[target].missing:,} rows have no {target} and cannot be used")
    roles = Roles(
        task=task,
        target=target,
        classes=classes,
        positive=classes[1] if task == "binary" else None,
        id=identity,
        time=time,
        group=group,
        features=features,
        dropped=dropped,
        slices=slices,
        sensitive=sensitive,
        split=split,
        notes=tuple(seen.notes),
    )
    refusals.refuse_impossible(table, roles, facts)
    return roles


def _task(seen: _Seen) -> tuple[Task, tuple[str, ...]]:
    fact, column = seen.facts[seen.target], seen.table.frame[seen.target]
    task, why = guess.task(fact)
    if seen.chosen.task:
        task, why = seen.chosen.task, "as asked"
    refusals.check_task(seen.table, fact, task)
    if task != "binary" and seen.chosen.positive is not None:
        message = f"positive: in a {task} no class of {fact.name!r} is the positive one"
        raise ConfigError(message, fix="leave positive away, or say task=binary")
    if task == "regression":
        seen.notes.append(f"task: regression, {fact.name}: {why}")
        return "regression", ()
    classes = guess.values(column)
    shown = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
    seen.notes.append(f"task: {task}, {fact.name} is {shown}: {why}")
    if alone := refusals.lonely_classes(seen.table, seen.target):
        names = ", ".join(alone[:5])
        seen.notes.append(f"one row only is {names}: it is trained on, but cannot be tested")
    if task == "multiclass":
        return "multiclass", classes
    counts = [int((guess.texts(column) == name).sum()) for name in classes]
    positive, why = guess.positive(classes, counts)
    if seen.chosen.positive is not None:
        positive, why = seen.chosen.positive, "as asked"
    if positive not in classes:
        message = f"positive: {fact.name!r} has no class {positive!r}"
        raise ConfigError(message, fix=f"it must be {classes[0]!r} or {classes[1]!r}")
    seen.notes.append(f"positive class: {positive}: {why}")
    return "binary", (classes[0] if positive == classes[1] else classes[1], positive)


def _identity(seen: _Seen) -> str | None:
    if "id" in seen.chosen.columns:
        name = seen.chosen.columns["id"]
        if name is not None:
            refusals.check_id(seen.table, seen.facts[name])
        return name
    ranks = {
        name: rank
        for name in seen.free(*seen.chosen.types)
        if (rank := guess.id_rank(seen.facts[name], seen.table.frame[name])) is not None
    }
    if not ranks:
        return None
    name = min(ranks, key=lambda one: ranks[one])
    seen.notes.append(f"id: {name} is different in every row")
    return name


def _time(seen: _Seen) -> str | None:
    if "time" in seen.chosen.columns:
        name = seen.chosen.columns["time"]
        if name is not None:
            refusals.check_time(seen.table, seen.facts[name])
        return name
    ranks = {
        name: rank
        for name in seen.free(*seen.table.formats)
        if (rank := guess.time_rank(seen.facts[name])) is not None
    }
    if not ranks:
        return None
    name = min(ranks, key=lambda one: ranks[one])
    seen.notes.append(f"time: {name} tells when a row happened")
    return name


def _group(seen: _Seen, identity: str | None) -> str | None:
    if "group" in seen.chosen.columns:
        name = seen.chosen.columns["group"]
        if name is not None:
            refusals.check_group(seen.table, seen.facts[name])
        return name
    for name in seen.free(identity, *seen.chosen.types):
        if guess.is_group(seen.facts[name]):
            count = seen.facts[name].distinct
            seen.notes.append(f"group: each of the {count:,} values of {name} has several rows")
            return name
    return None


def _split(seen: _Seen, time: str | None, group: str | None) -> Split:
    if wanted := seen.chosen.split:
        if (wanted == "time" and time is None) or (wanted == "group" and group is None):
            message = f"split: {wanted} needs a {wanted} column, and none is known"
            raise ConfigError(message, fix=f"--set {wanted}=COLUMN")
        return cast("Split", wanted)
    if time is not None and guess.orders_rows(seen.facts[time]):
        seen.notes.append(f"split: by time, the test set is the latest rows by {time}")
        return "time"
    if group is not None:
        seen.notes.append(f"split: by group, no {group} is both in training and test")
        return "group"
    seen.notes.append("split: random, no column orders or groups the rows")
    return "random"


def _features(
    seen: _Seen, task: Task, identity: str | None, group: str | None
) -> tuple[tuple[Feature, ...], tuple[Dropped, ...]]:
    """The columns that have no other role: features, or left out. A time may be a feature too."""
    reasons = dict.fromkeys(seen.chosen.drop, "left out as asked")
    types = dict(seen.chosen.types)
    names = [n for n in seen.facts if n not in {seen.target, identity, group, *seen.chosen.drop}]
    for name in names:
        if name not in types and (reason := _useless(seen, name)):
            reasons[name] = reason
    suspects = [name for name in names if name not in reasons and name not in types]
    reasons |= leaks.find(seen.table.frame, seen.target, task, suspects)
    features = []
    for name in names:
        if name in reasons:
            continue
        kind = types.get(name) or guess.column_type(seen.facts[name])
        parts: tuple[str, ...] = ()
        if kind == "datetime":
            parts = guess.calendar(seen.facts[name], seen.table.frame[name])
            if task == "regression" and seen.facts[name].distinct > 3:
                # An amount has a level that moves with time; a class mostly follows the season.
                parts = (*parts, "elapsed")
            if not parts:
                reasons[name] = "neither its hours nor its weekdays vary"
                continue
        features.append(Feature(name, cast("Type", kind), parts))
    listed = [Dropped(name, reasons[name]) for name in seen.facts if name in reasons]
    return tuple(features), tuple(listed)


def _useless(seen: _Seen, name: str) -> str:
    """Why a column has nothing to teach; "" if it may have."""
    fact, column = seen.facts[name], seen.table.frame[name]
    if fact.constant:
        return f"it is {guess.values(column)[0]!r} in every row"
    if guess.is_index(fact):
        return "it numbers the rows"
    if guess.id_rank(fact, column) is not None:
        return "it identifies the row"
    if name in seen.table.formats:
        return _NOT_ISO
    if fact.kind == "datetime" and guess.is_birth(name):
        return "a date of birth; an age can be learned from"
    if guess.column_type(fact) == "categorical":
        return _useless_text(seen, fact, column)
    return ""


def _useless_text(seen: _Seen, fact: Facts, column: pl.Series) -> str:
    if fact.kind == "text":
        refusals.check_comma(seen.table, fact)
    if fact.kind == "text" and fact.distinct > 20:
        if column.drop_nulls().str.contains(_OTHER_DATE).all():
            seen.notes.append(f"{column.name}: {_NOT_ISO}; rewrite them for a split by time")
            return _NOT_ISO
        if column.drop_nulls().str.contains(_UNCLEAR_DATE).all():
            return "dates whose day and month cannot be told apart; write them as 2013-01-31"
        if 0.9 < (numbers := guess.share_of_numbers(column)) < 1:  # 1: codes with leading zeros
            return f"a text, though {numbers:.1%} of its values are numbers; mend the others"
        if fact.length > 40:
            return "free text"
    if fact.distinct > max(20, fact.present / 2):
        return f"nearly every value is different ({fact.distinct:,} of {fact.present:,})"
    if fact.distinct > MAX_CATEGORIES:
        return f"{fact.distinct:,} different values are too many categories"
    return ""


def _slices(
    seen: _Seen, features: tuple[Feature, ...], sensitive: tuple[str, ...]
) -> tuple[str, ...]:
    """The columns whose parts are judged on their own: sensitive ones first, then balanced ones."""
    if seen.chosen.slices is not None:
        for name in seen.chosen.slices:
            refusals.check_slice(seen.table, seen.facts[name])
        return seen.chosen.slices
    fitting = [
        one.name
        for one in features
        if one.type in ("boolean", "categorical") and 2 <= seen.facts[one.name].distinct <= 20
    ]

    def rank(name: str) -> tuple[bool, bool]:
        counts = seen.table.frame[name].drop_nulls().value_counts(sort=True)["count"]
        return name not in sensitive, float(counts[1]) < 0.05 * float(counts.sum())

    return tuple(sorted(fitting, key=rank)[:_MOST_SLICES])
