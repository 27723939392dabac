"""How a new table differs from the one that a model was trained on, and what that would break."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import polars as pl

from gitops.scaffold import infer as guess
from gitops.scaffold.infer import MAX_CATEGORIES, Facts
from gitops.scaffold.table import Table

_SHOWN = 8
_MISSING_CHANGE = 0.01
_SHRUNK = 0.5  # of the rows: most likely a part was meant to be added


@dataclass(frozen=True)
class Retyped:
    """A column whose values are of another type than before (number, boolean, datetime or text)."""

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class Categories:
    """Categories of a column that only the new, or only the old table has, as canonical texts."""

    name: str
    appeared: tuple[str, ...]
    vanished: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """The share of missing values, before and now."""

    name: str
    old: float
    new: float


@dataclass(frozen=True)
class Range:
    """A column that goes beyond its old range: (low, high) before and now; dates in ISO 8601."""

    name: str
    old: tuple[float | str, float | str]
    new: tuple[float | str, float | str]


@dataclass(frozen=True)
class SchemaDiff:
    """The differences.

    `rows`: before and now; `known`: rows of the new table that the old one has as well, by the
    columns that both have with one type; `breaks`: what the training would fail on, in sentences.
    """

    rows: tuple[int, int]
    known: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    retyped: tuple[Retyped, ...]
    categories: tuple[Categories, ...]
    missing: tuple[Missing, ...]
    ranges: tuple[Range, ...]
    breaks: tuple[str, ...]

    def text(self) -> str:
        """For people, a line per difference."""
        old, new = self.rows
        lines = [f"rows: {old:,} -> {new:,}, {self.known:,} of them in the old table too"]
        if new < _SHRUNK * old:
            lines.append(f"less than half of the rows: the file replaces all {old:,}, adds nothing")
        lines += [f"added: {_listed(self.added)}"] if self.added else []
        lines += [f"removed: {_listed(self.removed)}"] if self.removed else []
        lines += [f"{one.name}: was {one.old}, is {one.new}" for one in self.retyped]
        for one in self.categories:
            lines += [f"{one.name}: new {_listed(one.appeared)}"] if one.appeared else []
            lines += [f"{one.name}: no longer {_listed(one.vanished)}"] if one.vanished else []
        lines += [f"{one.name}: missing {one.old:.1%} -> {one.new:.1%}" for one in self.missing]
        for span in self.ranges:
            lines.append(f"{span.name}: {_ends(span.old)} -> {_ends(span.new)}")
        lines += [f"breaks the training: {sentence}" for sentence in self.breaks]
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return asdict(self)


def compare(
    old: Table,
    new: Table,
    *,
    target: str | None,
    features: Mapping[str, str],
    classes: Sequence[str] | None = None,
) -> SchemaDiff:
    """Compare two tables of one model.

    Args:
        old: the table that is tracked.
        new: the table that is to replace it.
        target: the column to predict, if it is known.
        features: number, boolean, categorical or datetime by the name of each feature, if known.
        classes: of the target, none in a regression; without it they are those of the old table.
    """
    before, after = guess.facts(old), guess.facts(new)
    both = [name for name in before if name in after]
    retyped = tuple(
        Retyped(name, before[name].kind, after[name].kind)
        for name in both
        if before[name].kind != after[name].kind and before[name].distinct and after[name].distinct
    )
    same = [name for name in both if before[name].kind == after[name].kind]
    compared = [
        _categories(name, guess.values(old.frame[name]), guess.values(new.frame[name]))
        for name in both
        if features.get(name) in ("categorical", "boolean")
        if max(before[name].distinct, after[name].distinct) <= MAX_CATEGORIES
    ]
    labels = None
    if target is not None and target in same:
        if classes is None and guess.task(before[target])[0] != "regression":
            classes = guess.values(old.frame[target])
        if classes:
            labels = _categories(target, classes, guess.values(new.frame[target]))
            compared.append(labels)
    return SchemaDiff(
        rows=(old.frame.height, new.frame.height),
        known=_known(old, new, same),
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        retyped=retyped,
        categories=tuple(one for one in compared if one.appeared or one.vanished),
        missing=tuple(gap for name in both if (gap := _missing(before[name], after[name]))),
        ranges=tuple(
            one
            for name in same
            if name in features or name == target
            if not (labels and name == target) and (one := _range(before[name], after[name]))
        ),
        breaks=(
            *_target_breaks(target, labels, before, after),
            *_feature_breaks(new, after, features),
        ),
    )


def _categories(name: str, old: Iterable[str], new: Iterable[str]) -> Categories:
    had, has = set(old), set(new)
    return Categories(name, tuple(sorted(has - had)), tuple(sorted(had - has)))


def _missing(before: Facts, after: Facts) -> Missing | None:
    old, new = before.missing / before.rows, after.missing / after.rows
    changed = abs(new - old) >= _MISSING_CHANGE or (old == 0) != (new == 0)
    return Missing(before.name, old, new) if changed else None


def _range(before: Facts, after: Facts) -> Range | None:
    if before.low is None or before.high is None or after.low is None or after.high is None:
        return None
    if after.low >= before.low and after.high <= before.high:  # type: ignore[operator]
        return None
    return Range(before.name, before.span, after.span)


def _known(old: Table, new: Table, names: list[str]) -> int:
    """How many rows of `new` are in `old`, cell for cell."""
    if not names:
        return 0
    hashes = [
        table.frame.select(_comparable(table.frame[name]) for name in names).hash_rows(seed=7)
        for table in (old, new)
    ]
    return int(hashes[1].is_in(hashes[0].unique().implode()).sum())


def _comparable(column: pl.Series) -> pl.Series:
    return column.cast(pl.Float64) + 0.0 if column.dtype.is_numeric() else column


def _target_breaks(
    target: str | None,
    labels: Categories | None,
    before: Mapping[str, Facts],
    after: Mapping[str, Facts],
) -> list[str]:
    if target is None:
        return []
    if target not in after:
        return [f"the target {target} is gone"]
    if not after[target].distinct:
        return [f"the target {target} has no value in any row"]
    if target in before and before[target].kind != after[target].kind:
        return [f"the target {target} was {before[target].kind}, is {after[target].kind}"]
    found = []
    if labels and labels.appeared:
        found.append(f"the target {target} has new classes: {_listed(labels.appeared)}")
    if labels and labels.vanished:
        found.append(f"the target {target} has lost classes: {_listed(labels.vanished)}")
    return found


def _feature_breaks(
    new: Table, after: Mapping[str, Facts], features: Mapping[str, str]
) -> list[str]:
    found = []
    for name, wanted in features.items():
        if name not in after:
            found.append(f"the feature {name} is gone")
        elif not after[name].distinct:
            found.append(f"the feature {name} has no value in any row")
        elif problem := guess.misfit(new, after[name], wanted):
            found.append(f"the feature {name} is no longer {wanted}: {problem}")
    return found


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown}, and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else shown


def _ends(span: tuple[float | str, float | str]) -> str:
    low, high = (f"{end:.10g}" if isinstance(end, float) else end for end in span)
    return f"{low} .. {high}"
