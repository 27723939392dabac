"""Columns that give the target away: no model should learn from them."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

_LEAK = 0.9999
_SAMPLE = 20_000


def find(frame: pl.DataFrame, target: str, task: str, names: Sequence[str]) -> dict[str, str]:
    """The columns among `names` that give the target away, with the reason.

    Looks at no more than 20,000 rows, evenly spaced. Small tables are left alone: in them a good
    column can look perfect by chance.
    """
    frame = frame.select(target, *names).drop_nulls(target)
    frame = frame.gather_every(max(1, frame.height // _SAMPLE))
    if frame.height < 50:
        return {}
    look = _regression_leak if task == "regression" else _class_leak
    found = {name: look(frame, target, name) for name in names}
    return {name: reason for name, reason in found.items() if reason}


def _class_leak(frame: pl.DataFrame, target: str, name: str) -> str:
    smallest = int(frame[target].value_counts()["count"].to_numpy().min())
    classes, distinct = frame[target].n_unique(), frame[name].n_unique()
    same = distinct == classes and smallest >= 5
    if same or (frame.height >= 1000 and smallest >= 20 and distinct <= frame.height / 20):
        by_value = frame.group_by(name).agg(pl.col(target).n_unique().alias("classes"))
        if (by_value["classes"] == 1).all():
            return "gives the target away: each of its values has one class"
    number = frame[name].dtype in (pl.Int64, pl.Float64)
    if number and classes == 2 and frame.height >= 1000 and smallest >= 50:
        area = _area(frame.select(target, name).drop_nulls(), target, name)
        if max(area, 1 - area) > _LEAK:
            return "gives the target away: it separates the classes perfectly"
    return ""


def _area(pairs: pl.DataFrame, target: str, name: str) -> float:
    """The area under the ROC curve of a number, by ranks (Mann and Whitney 1947)."""
    chosen = (pairs[target] == pairs[target].max()).rename("chosen")
    inside, outside = int(chosen.sum()), int((~chosen).sum())
    if inside < 50 or outside < 50:
        return 0.5
    ranks = float(pairs[name].rank("average").filter(chosen).sum())
    return (ranks - inside * (inside + 1) / 2) / (inside * outside)


def _regression_leak(frame: pl.DataFrame, target: str, name: str) -> str:
    if frame[name].dtype not in (pl.Int64, pl.Float64):
        return ""
    pairs = frame.select(target, name).drop_nulls()
    if pairs.height < 100 or min(pairs[target].n_unique(), pairs[name].n_unique()) < 20:
        return ""
    for method in ("pearson", "spearman"):
        value = pairs.select(pl.corr(target, name, method=method)).item()
        if value is not None and abs(value) > _LEAK:
            return f"gives the target away: their correlation is {value:.5f}"
    return ""
