"""Signs that the model is told the answer: alarms that a policy may block on, and notes.

Looks at the model's inputs on a sample of the test set; rows that both sets share are counted by
row key where the evidence is gathered.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

import gitops.validate.analyses.sample as sample
from gitops.package import Package
from gitops.signature import Input
from gitops.validate.analyses.strength import of_column, of_model
from gitops.validate.model import Array, Finding, Table

ROWS = 50_000
VALUES = 4_000_000  # in all columns together
BOUND = 0.98
CERTAIN = 0.995  # alarms however strong the other columns are
NEW = 0.85  # a new column that beats the whole champion alarms from here on
ENOUGH = 50  # rows; what fewer show is chance
_ID_NAME = re.compile(
    r"(^|[_\W])(id|uuid|guid|key|number|no|nr|index|idx|rowid)$|[a-z](Id|ID)$", re.I
)


def leakage(
    table: Table,
    inputs: sample.Inputs,
    package: Package,
    champion: Package | None = None,
    *,
    seed: int = 0,
    single_feature: float = BOUND,
    rows: int = ROWS,
) -> tuple[Finding, ...]:
    """Findings `leakage-target-like`, `-single-feature`, `-id-like` and `-time-order`.

    `inputs`: raw columns in the row order of `table`. `single_feature`: AUC (regression: share of
    the variance of the label's ranks) from which one column alone predicts too well.
    """
    names = sample.names(package.signature)
    most = max(min(rows, VALUES // max(len(names), 1)), 1000)
    chosen = sample.choose(table.rows, most, seed)
    frame = sample.take(inputs, names, chosen)
    if table.task != "regression":
        known = table.label[chosen] >= 0
        chosen, frame = chosen[known], frame.filter(pl.Series(known, dtype=pl.Boolean))
    columns, _ = sample.typed(frame, package.signature)
    if len(chosen) < ENOUGH or not columns:
        return ()
    label = table.label[chosen]
    copies = {
        name: text for name, one in columns.items() if (text := _copy(one, label, table.task))
    }
    rest = {name: column for name, column in columns.items() if name not in copies}
    found = [
        Finding("leakage-target-like", "alarm", f"{name!r} {text}", name)
        for name, text in copies.items()
    ]
    found += _single(table, chosen, rest, champion, single_feature, seed)
    for item in package.signature.inputs:
        if item.name in rest and (text := _id_like(item, rest[item.name])):
            level = sample.level(not text.startswith("holds"))
            found.append(Finding("leakage-id-like", level, f"{item.name!r} {text}", item.name))
    return (*found, *_time_order(package, columns))


# ---------------------------------------------------------------- one column predicts alone


def _single(
    table: Table,
    chosen: Array,
    columns: dict[str, pl.Series],
    champion: Package | None,
    bound: float,
    seed: int,
) -> list[Finding]:
    label = table.label[chosen]
    measured = {name: of_column(one, label, table.task, seed) for name, one in columns.items()}
    strengths = {name: one for name, one in measured.items() if one is not None}
    rival = None
    if champion is not None and table.champion is not None:
        rival = of_model(table, table.champion, chosen, seed)
    older = sample.names(champion.signature if champion else None)
    found = []
    for name, one in sorted(strengths.items(), key=lambda pair: -pair[1].value):
        others = max((s.value for other, s in strengths.items() if other != name), default=0.5)
        far = one.value >= CERTAIN or 1 - others >= 3 * (1 - one.value)
        alone = far and one.value >= bound and one.lower >= bound - 0.03
        new = rival is not None and name not in older
        beats = new and one.value >= NEW and one.lower > (rival.value if rival else 1)
        if not (alone or beats or one.value >= bound - 0.03):
            continue
        text = (
            f"{name!r} alone predicts the label with {_what(table)} {one.value:.3f}"
            f" (at least {one.lower:.3f}, {len(chosen):,} rows); the next best column reaches"
            f" {others:.3f}"
        )
        if beats and rival:
            text += f"; it is new, and the whole champion reaches {rival.value:.3f}"
        # Without a value it breaks any bound, as what beats the champion does.
        value = None if beats else one.value
        level = sample.level(alone or beats)
        found.append(Finding("leakage-single-feature", level, text, name, value, bound))
    return found


def _what(table: Table) -> str:
    return "an R2 of ranks of" if table.task == "regression" else "an AUC of"


# ---------------------------------------------------------------- the label itself


def _copy(column: pl.Series, label: Array, task: str) -> str:
    """How the column is the label under another name; empty if it isn't."""
    here = column.is_not_null().to_numpy()
    if here.sum() < max(ENOUGH, 0.9 * len(label)):
        return ""
    label, column = label[here], column.drop_nulls()
    if task == "regression":
        return _linear_copy(column, label)
    pairs = pl.DataFrame({"value": column, "label": label}).unique()
    classes = len(np.unique(label))
    counts = np.bincount(label)
    if classes < 2 or np.sort(counts)[-2] < 10 or pairs.height != classes:
        return ""
    one_to_one = pairs["value"].n_unique() == pairs["label"].n_unique() == classes
    return "has one value for each class: it is the label under another name" if one_to_one else ""


def _linear_copy(column: pl.Series, label: Array) -> str:
    if column.dtype == pl.String:
        return ""
    values = column.to_numpy()
    if not np.isfinite(values).all() or values.std() == 0 or label.std() == 0:
        return ""
    slope, start = np.polyfit(values - values.mean(), label, 1)
    error = np.abs(label - start - slope * (values - values.mean())).max()
    return "is the label, scaled or shifted" if error <= 1e-6 * label.std() else ""


# ---------------------------------------------------------------- names of rows


def _id_like(item: Input, column: pl.Series) -> str:
    """What makes the column a name of rows rather than a property of them; empty if nothing."""
    known = column.drop_nulls()
    count, distinct = len(known), known.n_unique()
    if count < 2 * ENOUGH:
        return ""
    if item.type == "categorical" and distinct >= 0.95 * count:
        if sample.share(known.str.contains(r"\S+\s+\S+\s+\S")) > 0.5:
            return f"holds free text: {distinct:,} values in {count:,} rows"
        return f"names the rows: {distinct:,} values in {count:,} rows"
    if item.type != "number" or not item.integer:
        return ""
    span = float(known.max()) - float(known.min()) + 1  # type: ignore[arg-type]
    if not np.isfinite(span) or distinct < 0.999 * count:
        return ""
    # Numbers drawn from a range repeat themselves, those that were given out one by one don't.
    repeated = count - span * -np.expm1(count * np.log1p(-1 / max(span, 1 + 1e-9)))
    if repeated >= 10 and count - distinct <= repeated / 20:
        return (
            f"numbers the rows: {distinct:,} values in {count:,} rows, none given twice by chance"
        )
    return (
        f"names the rows: {distinct:,} values in {count:,} rows"
        if _ID_NAME.search(item.name)
        else ""
    )


# ---------------------------------------------------------------- times


def _time_order(package: Package, columns: dict[str, pl.Series]) -> list[Finding]:
    """Test rows from before the training data's end, where the rows were split by time.

    They were if most test rows lie after that end. The column that splits best is the one that
    they were split by: others may lag behind it.
    """
    shares = {}
    for item in package.signature.inputs:
        if item.type == "datetime" and item.maximum is not None and item.name in columns:
            known = columns[item.name].drop_nulls()
            if len(known) >= ENOUGH:
                shares[item.name] = (sample.share(known < item.maximum), len(known))
    if not shares:
        return []
    name, (early, count) = min(shares.items(), key=lambda pair: pair[1][0])
    if not 0 < early <= 0.5:
        return []
    text = (
        f"{early:.1%} of {count:,} test rows have {name!r} before the latest training row,"
        " though the rest comes after it: the split by time leaks"
    )
    level = sample.level(early >= 0.01)
    return [Finding("leakage-time-order", level, text, name, early, 0.01)]
