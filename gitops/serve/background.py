"""Rows like those of the training data, drawn from a package's profile (reference.json).

Each column is drawn on its own: a bin by its count and a value within it uniformly, a category by
its count, missing as often as it was. How columns go together is not in the profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gitops.package import Array, Package
from gitops.serve.rows import moment
from gitops.signature import Input, Signature

Columns = Mapping[str, Array]


def draw(package: Package, count: int, chance: np.random.Generator) -> dict[str, Array]:
    """`count` values of each input: categories as texts (missing ""), all else float64 (missing
    NaN; booleans 0 and 1, times seconds since 1970)."""
    profiles = package.reference["columns"]
    return {
        item.name: _values(item, profiles[item.name], count, chance)
        for item in package.signature.inputs
    }


def tensors(columns: Columns, signature: Signature) -> dict[str, Array]:
    """Columns as the model's inputs, by tensor name, each of shape (n, 1)."""
    kinds = {"categorical": object, "datetime": np.float64}
    return {
        item.tensor: columns[item.name].astype(kinds.get(item.type, np.float32)).reshape(-1, 1)
        for item in signature.inputs
    }


def documents(columns: Columns, signature: Signature) -> list[dict[str, Any]]:
    """Columns as rows that a caller would send."""
    each = [[_plain(value, item) for value in columns[item.name]] for item in signature.inputs]
    names = [item.name for item in signature.inputs]
    return [dict(zip(names, row, strict=True)) for row in zip(*each, strict=True)]


def _values(
    item: Input, profile: Mapping[str, Any], count: int, chance: np.random.Generator
) -> Array:
    missing = profile["missing"] if item.nullable else 0
    if item.type == "categorical":
        names = [name for name in profile["counts"] if name in item.categories]
        counts = [profile["counts"][name] for name in names]
        # The profile folds rare categories into one number; which they are the signature knows.
        if rare := [name for name in item.categories if name not in profile["counts"]]:
            names, counts = names + rare, counts + [profile["other"] / len(rare)] * len(rare)
        drawn = np.array([*names, ""], dtype=object)[_choose([*counts, missing], count, chance)]
        return np.asarray(drawn, dtype=object)
    edges = np.array(profile["edges"], dtype=np.float64)
    chosen = _choose([*profile["counts"], missing], count, chance)
    bins = np.minimum(chosen, len(edges) - 2)
    values = edges[bins] + chance.random(count) * (edges[bins + 1] - edges[bins])
    if item.type == "boolean":
        values = (values >= 0.5).astype(np.float64)
    elif item.integer:
        values = np.round(values)
    if item.minimum is not None and item.type != "boolean":
        values = np.clip(values, item.minimum, item.maximum)
    return np.where(chosen == len(edges) - 1, np.nan, values)


def _choose(weights: list[float], count: int, chance: np.random.Generator) -> Array:
    """Positions, each as often as its weight says; the last one if nothing has any."""
    total = np.cumsum(np.array(weights, dtype=np.float64))
    if not total[-1]:
        return np.full(count, len(weights) - 1)
    return np.asarray(np.searchsorted(total, chance.random(count) * total[-1], side="right"))


def _plain(value: Any, item: Input) -> object:  # noqa: ANN401
    if item.type == "categorical":
        return value or None
    if np.isnan(value):
        return None
    if item.type == "boolean":
        return bool(value)
    if item.type == "datetime":
        return moment(float(value), item)
    return round(value) if item.integer else float(value)
