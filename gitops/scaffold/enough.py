"""Whether the rows to come into the test set are enough for a policy that judges groups of them."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from gitops.scaffold import infer
from gitops.scaffold.roles import Roles
from gitops.scaffold.table import Table

_TEST = 0.2  # of the rows: split.test of params.yaml
_QUARTERS = 4  # as which the gate compares a sensitive column of numbers


def too_few(table: Table, roles: Roles, minimum_rows: int, minimum_per_class: int) -> str:
    """What the policy couldn't judge, with the rows that there are; "" if it has enough.

    `minimum_rows`, and in a binary task `minimum_per_class`: what a slice needs to be judged. One
    slice must be, and of each sensitive column two groups, which need `minimum_rows` alone.
    """
    frame = table.frame.filter(pl.col(roles.target).is_not_null())
    hits = infer.texts(frame[roles.target]) == roles.positive if roles.positive else None
    frame = frame.with_columns(hits.alias("__hit__")) if hits is not None else frame
    positive = round(_TEST * int(hits.sum())) if hits is not None else 0
    found = f"about {_TEST * frame.height:,.0f} test rows"
    found += f", {positive:,} of them {roles.positive!r}," if hits is not None else ""

    def large(group: pl.DataFrame) -> bool:
        rows, good = _TEST * group.height, 0.0
        if hits is not None:
            good = _TEST * float(group["__hit__"].sum())
        fits = hits is None or min(good, rows - good) >= minimum_per_class
        return rows >= minimum_rows and fits

    lacking = []
    groups = [one for name in roles.slices for one in frame.partition_by(name)] or [frame]
    if not any(large(one) for one in groups):
        lacking.append("a slice" if roles.slices else "the model")
    lacking += [
        f"groups of {name}"
        for name in roles.sensitive
        if sum(_TEST * rows >= minimum_rows for rows in _sizes(frame[name])) < 2
    ]
    return f"{found} are too few to judge {', '.join(lacking)}" if lacking else ""


def _sizes(column: pl.Series) -> Iterator[float]:
    """The rows of each group of a sensitive column."""
    known = column.drop_nulls()
    if known.dtype.is_numeric() and known.n_unique() > _QUARTERS:
        yield from [len(known) / _QUARTERS] * _QUARTERS
    else:
        yield from known.value_counts()["count"].to_list()
