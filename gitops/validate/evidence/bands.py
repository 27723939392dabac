"""Columns of groups: categories as codes, and numbers in four readable bands."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl

from gitops import rows
from gitops.validate.model import Array, Column

DISTINCT = 20  # numbers with more values than this are put into bands


def column(codes: Array, values: list[str]) -> Column:
    """A column from int32 codes into `values`; -1, missing, becomes the last value, None."""
    if not (codes < 0).any():
        return Column(codes, tuple(values))
    return Column(np.where(codes < 0, np.int32(len(values)), codes), (*values, None))


def of_numbers(numbers: pl.Series) -> Column:
    """Quartile bands of a Float64 column, as `up to 35`, `over 35 to 47`, `over 60`.

    A band holds its upper edge; quartiles that are equal make fewer bands.
    """
    values = numbers.fill_null(np.nan).to_numpy()
    present = values[np.isfinite(values)]
    quartiles = np.quantile(present, [0.25, 0.5, 0.75], method="lower")
    edges = [edge for edge in np.unique(quartiles) if edge < present.max()]
    codes = np.searchsorted(edges, values, side="left").astype(np.int32)
    codes[np.isnan(values)] = -1
    texts = [rows.label_text(float(f"{edge:.6g}")) for edge in edges]
    if len(set(texts)) < len(texts):
        texts = [rows.label_text(float(edge)) for edge in edges]
    middle = [f"over {low} to {high}" for low, high in pairwise(texts)]
    names = [f"up to {texts[0]}", *middle, f"over {texts[-1]}"] if texts else ["all"]
    return column(codes, names)
