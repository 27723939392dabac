"""A small real table that needs no download, for `gitops new` without data."""

from __future__ import annotations

import polars as pl

NAME = "breast-cancer"
TARGET = "diagnosis"


def builtin() -> tuple[pl.DataFrame, str]:
    """The table and its target.

    Wisconsin Diagnostic Breast Cancer (Wolberg, Street and Mangasarian 1995, UCI 17, CC BY 4.0; in
    scikit-learn): 569 tumours, 30 measures of their cells, benign or malignant.
    """
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    columns: dict[str, object] = {
        "tumour_id": [f"T{n:03d}" for n in range(1, len(data.target) + 1)]
    }
    for place, name in enumerate(data.feature_names):
        columns[str(name).replace(" ", "_")] = data.data[:, place]
    columns[TARGET] = [str(data.target_names[label]) for label in data.target]
    return pl.DataFrame(columns), TARGET
