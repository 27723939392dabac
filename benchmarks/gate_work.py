"""One tool's work on one table of predictions: `python -m benchmarks.gate_work TOOL FILE.npz`.

A process of its own for each, so that nothing is shared. `load` only reads the table, and imports
what the tool needs: take that off for the work alone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS, VALUES = 3, 9
Arrays = dict[str, np.ndarray[Any, Any]]


def write(path: str, rows: int) -> None:
    """A binary test set with the scores of two models and three columns of nine values."""
    rng = np.random.default_rng(7)
    label = (rng.random(rows) < 0.3).astype(np.int8)
    signal = 1.5 * label - 1 + rng.normal(size=rows)
    ours, theirs = (1 / (1 + np.exp(-signal - rng.normal(size=rows))) for _ in range(2))
    cut = {f"c{k}": rng.integers(0, VALUES, rows).astype(np.int32) for k in range(COLUMNS)}
    np.savez(path, label=label, ours=ours, theirs=theirs, **cut)  # type: ignore[arg-type]


def gitops(data: Arrays, *, work: bool) -> None:
    """Five metrics on all rows and 27 slices, of both models and paired, with intervals; judged by
    a policy, the reports written."""
    from benchmarks.gate_judged import write_reports
    from gitops.validate.model import Column, Predictions, Table

    def model(score: np.ndarray[Any, Any]) -> Predictions:
        return Predictions((score >= 0.5).astype(np.int8), score)

    names = tuple(str(value) for value in range(VALUES))
    columns = {f"c{k}": Column(data[f"c{k}"], names) for k in range(COLUMNS)}
    table = Table(
        "binary", ("0", "1"), data["label"], model(data["ours"]), model(data["theirs"]),
        columns=columns,
    )  # fmt: skip
    if work:
        with tempfile.TemporaryDirectory(prefix="gitops-bench-") as folder:
            found = write_reports(table, Path(folder))
        shown = [*found.measures, *found.slices]
        assert len(shown) == 5 * (1 + COLUMNS * VALUES) and found.passed
        assert all(one.difference is not None and one.difference.lower for one in shown)


def sklearn(data: Arrays, *, work: bool) -> None:
    """The same five metrics on all rows, of both models: no slices, no intervals."""
    from sklearn import metrics

    for name in ("ours", "theirs") if work else ():
        label, score = data["label"], data[name]
        metrics.accuracy_score(label, score >= 0.5)
        metrics.f1_score(label, score >= 0.5)
        metrics.roc_auc_score(label, score)
        metrics.log_loss(label, score)
        metrics.brier_score_loss(label, score)


def fairlearn(data: Arrays, *, work: bool) -> None:
    """The five metrics of one model on 27 slices: no intervals, no champion."""
    from fairlearn.metrics import MetricFrame
    from sklearn import metrics

    of_class = {"accuracy": metrics.accuracy_score, "f1": metrics.f1_score}
    of_score = {
        "roc_auc": metrics.roc_auc_score,
        "log_loss": metrics.log_loss,
        "brier": metrics.brier_score_loss,
    }
    for column in range(COLUMNS) if work else ():
        groups = {"y_true": data["label"], "sensitive_features": data[f"c{column}"]}
        for calls, predicted in ((of_class, data["ours"] >= 0.5), (of_score, data["ours"])):
            frame = MetricFrame(metrics=calls, y_pred=predicted, **groups)
            assert len(frame.by_group) == VALUES


def evidently(data: Arrays, *, work: bool) -> None:
    """Its report on a classification: one model, all rows, no intervals."""
    import pandas as pd
    from evidently import BinaryClassification, DataDefinition, Dataset, Report
    from evidently.presets import ClassificationPreset

    if work:
        frame = pd.DataFrame({"label": data["label"].astype(int), "score": data["ours"]})
        kind = BinaryClassification(target="label", prediction_probas="score", pos_label=1)
        definition = DataDefinition(classification=[kind])
        Report([ClassificationPreset()]).run(Dataset.from_pandas(frame, definition), None)


def main() -> None:
    tool, _, what = sys.argv[1].partition(":")
    if tool == "write":
        write(sys.argv[2], int(sys.argv[3]))
        return
    with np.load(sys.argv[2]) as file:
        arrays = {name: file[name] for name in file.files}
    tools = {"gitops": gitops, "sklearn": sklearn, "fairlearn": fairlearn, "evidently": evidently}
    tools[tool](arrays, work=what != "load")


if __name__ == "__main__":
    main()
