"""Every metric equals scikit-learn's, scipy's or its definition: weighted, tied, and by slice."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn import metrics as sk

from gitops.validate.model import Array, Column, Predictions, Slice, Table
from gitops.validate.stats import METRICS, measure, names_of, nearest
from gitops.validate.stats.metrics import BINS

Oracle = Callable[..., float]
ALL = [Slice()]


def binary(rows: int, seed: int = 0, *, weights: bool = False, decimals: int = 2) -> Table:
    """Scores with ties, two models, a column with a missing value."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, rows)
    label[:2] = 0, 1

    def model() -> Predictions:
        score = np.clip(rng.normal(0.4 + 0.2 * label, 0.25), 0, 1).round(decimals)
        return Predictions((score >= 0.5).astype(np.int8), score)

    column = Column(rng.integers(0, 3, rows).astype(np.int32), ("a", "b", None))
    weight = rng.gamma(2.0, 1.0, rows) + 0.01 if weights else None
    return Table("binary", ("no", "yes"), label, model(), model(), weight, columns={"c": column})


def multiclass(rows: int, seed: int = 0, *, weights: bool = False, classes: int = 4) -> Table:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, rows)
    label[:classes] = np.arange(classes)

    def model() -> Predictions:
        strength = rng.random((rows, classes)).round(1) + 0.1
        strength[np.arange(rows), label] += 0.3
        score = strength / strength.sum(axis=1, keepdims=True)
        return Predictions(score.argmax(axis=1), score)

    names = tuple(f"class {number}" for number in range(classes))
    weight = rng.gamma(2.0, 1.0, rows) + 0.01 if weights else None
    column = Column(rng.integers(0, 3, rows).astype(np.int32), ("a", "b", "d"))
    return Table("multiclass", names, label, model(), model(), weight, columns={"c": column})


def regression(rows: int, seed: int = 0, *, weights: bool = False) -> Table:
    rng = np.random.default_rng(seed)
    label = rng.normal(1000.0, 3.0, rows)
    ours, theirs = (Predictions(label + rng.standard_t(4, rows), None) for _ in range(2))
    weight = rng.gamma(2.0, 1.0, rows) + 0.01 if weights else None
    column = Column(rng.integers(0, 3, rows).astype(np.int32), ("a", "b", "d"))
    return Table("regression", (), label, ours, theirs, weight, columns={"c": column})


MAKE = {"binary": binary, "multiclass": multiclass, "regression": regression}


def value(table: Table, metric: str, cut: Slice | None = None) -> float:
    (found,) = measure(table, [metric], [cut or Slice()], seed=1, resamples=20)
    assert found.measure.candidate.estimate is not None, found.measure.undefined
    return found.measure.candidate.estimate


def oracle(metric: str, table: Table, of: Predictions) -> float:
    """The value by the peer that the metric's `source` names."""
    label, guess, score, weight = table.label, of.prediction, of.score, table.weight
    keys, known = {"sample_weight": weight}, np.arange(len(table.classes))
    base, _, way = metric.rpartition("_")
    if way in ("macro", "micro", "weighted"):
        return float(ratio(base)(label, guess, average=way, zero_division=0, **keys))
    if metric in ("precision", "recall", "f1"):
        average = "binary" if table.task == "binary" else "macro"
        return float(ratio(metric)(label, guess, average=average, zero_division=0, **keys))
    if metric.startswith("top_"):
        return float(sk.top_k_accuracy_score(label, score, k=int(way), **keys))
    if metric.startswith("quantile_loss_"):
        return float(sk.mean_pinball_loss(label, guess, alpha=int(way) / 100, **keys))
    if metric == "calibration_error":
        return expected_calibration_error(table, of)
    if metric == "ks":
        return kolmogorov_smirnov(label, score, weight)
    by_name: dict[str, Oracle] = {
        "accuracy": lambda: sk.accuracy_score(label, guess, **keys),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(label, guess, **keys),
        "specificity": lambda: sk.recall_score(label, guess, pos_label=0, **keys),
        "mcc": lambda: sk.matthews_corrcoef(label, guess, **keys),
        "roc_auc": lambda: sk.roc_auc_score(label, score, **keys),
        "roc_auc_ovr": lambda: sk.roc_auc_score(label, score, multi_class="ovr", **keys),
        "pr_auc": lambda: sk.average_precision_score(label, score, **keys),
        "log_loss": lambda: sk.log_loss(label, score, labels=known, **keys),
        "brier": lambda: sk.brier_score_loss(label, score, labels=known, **keys),
        "mae": lambda: sk.mean_absolute_error(label, guess, **keys),
        "rmse": lambda: sk.root_mean_squared_error(label, guess, **keys),
        "mape": lambda: sk.mean_absolute_percentage_error(label, guess, **keys),
        "r2": lambda: sk.r2_score(label, guess, **keys),
        "bias": lambda: np.average(guess - label, weights=weight),
    }
    return float(by_name[metric]())


def ratio(name: str) -> Oracle:
    found: Oracle = getattr(sk, f"{name}_score")
    return found


def expected_calibration_error(table: Table, of: Predictions) -> float:
    """Guo et al.'s definition, bin by bin."""
    assert of.score is not None
    score, right = of.score, table.label == 1
    if score.ndim == 2:
        score, right = score.max(axis=1), table.label == of.prediction
    weight = np.ones(len(score)) if table.weight is None else table.weight
    total = 0.0
    for number in range(BINS):
        inside = (score * BINS).astype(int).clip(0, BINS - 1) == number
        if inside.any():
            share = weight[inside].sum() / weight.sum()
            rate = np.average(right[inside], weights=weight[inside])
            total += share * abs(rate - np.average(score[inside], weights=weight[inside]))
    return total


def kolmogorov_smirnov(label: Array, score: Array | None, weight: Array | None) -> float:
    assert score is not None
    if weight is None:
        return float(scipy_stats.ks_2samp(score[label == 1], score[label == 0]).statistic)
    gaps = []
    for edge in np.unique(score):
        shares = [
            weight[(label == side) & (score <= edge)].sum() / weight[label == side].sum()
            for side in (0, 1)
        ]
        gaps.append(abs(shares[0] - shares[1]))
    return float(max(gaps))


@pytest.mark.filterwarnings("ignore:.*greater than or equal to 'n_classes'")
@pytest.mark.parametrize("weights", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("task", [*MAKE])
def test_every_metric_equals_its_source(task: str, weights: bool) -> None:
    table = MAKE[task](700, 3, weights=weights)
    names = names_of(table.task)
    for found in measure(table, names, ALL, seed=1, resamples=20):
        one = found.measure
        assert table.champion is not None
        assert one.champion is not None and one.difference is not None
        ours, theirs = oracle(one.metric, table, table.candidate), 0.0
        theirs = oracle(one.metric, table, table.champion)
        assert one.candidate.estimate == pytest.approx(ours, rel=1e-12, abs=1e-12), one.metric
        assert one.champion.estimate == pytest.approx(theirs, rel=1e-12, abs=1e-12), one.metric
        assert one.difference.estimate == pytest.approx(ours - theirs, abs=1e-11), one.metric
        assert one.rows == 700
        assert METRICS[one.metric].source


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 4), st.floats(0.1, 9)), min_size=2, max_size=30
    )
)
def test_ties_and_few_rows_equal_the_sources_too(rows: list[tuple[int, int, float]]) -> None:
    label = np.array([one for one, _, _ in rows])
    score = np.array([one / 4 for _, one, _ in rows])
    weight = np.array([one for _, _, one in rows])
    of = Predictions((score >= 0.5).astype(int), score)
    table = Table("binary", ("0", "1"), label, of, None, weight)
    for found in measure(table, names_of("binary"), ALL, seed=1, resamples=5):
        one = found.measure
        if one.undefined:
            assert one.candidate.estimate is None
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = oracle(one.metric, table, of)
        assert one.candidate.estimate == pytest.approx(expected, rel=1e-9, abs=1e-12), one.metric


@pytest.mark.parametrize("weights", [False, True], ids=["plain", "weighted"])
def test_slices_equal_fairlearns(weights: bool) -> None:
    table = binary(900, 5, weights=weights)
    names = ["accuracy", "f1", "roc_auc", "log_loss", "brier", "pr_auc", "mcc"]
    slices = [Slice((("c", one),)) for one in ("a", "b", None)]
    found = {
        (one.measure.metric, one.measure.slice.cut[0][1]): one.measure
        for one in measure(table, names, slices, seed=1)
    }
    for name in names:

        def call(y: Array, p: Array, weight: Array | None = None, name: str = name) -> float:
            of = Predictions((p >= 0.5).astype(int), p)
            return oracle(name, Table("binary", ("0", "1"), y, of, None, weight), of)

        frame = MetricFrame(
            metrics=call,
            y_true=table.label,
            y_pred=table.candidate.score,
            sensitive_features=table.columns["c"].codes,
            sample_params={"weight": table.weight} if weights else None,
        )
        for code, one in enumerate(("a", "b", None)):
            estimate = found[name, one].candidate.estimate
            assert estimate == pytest.approx(frame.by_group[code], rel=1e-11), (name, one)


def test_pairs_of_columns_and_slices_asked_for_twice() -> None:
    table = binary(900, 6)
    other = Column((np.arange(900) % 2).astype(np.int32), ("x", "y"))
    table = replace(table, columns={**table.columns, "d": other})
    both = Slice((("c", "a"), ("d", "y")))
    turned = Slice((("d", "y"), ("c", "a")))
    found = measure(table, ["accuracy"], [both, Slice(), turned], seed=1)
    inside = (table.columns["c"].codes == 0) & (other.codes == 1)
    right = (table.label == table.candidate.prediction)[inside]
    assert [one.measure.slice for one in found] == [both, Slice(), turned]
    assert found[0].measure.rows == found[2].measure.rows == inside.sum()
    assert found[0].measure.candidate.estimate == pytest.approx(right.mean(), rel=1e-14)
    assert found[0].measure.candidate == found[2].measure.candidate


def test_an_unseen_class_is_wrong_everywhere() -> None:
    table = binary(200, 7)
    label = table.label.copy()
    label[10:20] = -1
    table = replace(table, label=label)
    right = (label == table.candidate.prediction).mean()
    assert value(table, "accuracy") == pytest.approx(right)
    three = np.where(label < 0, 2, label)
    expected = sk.matthews_corrcoef(three, table.candidate.prediction)
    assert value(table, "mcc") == pytest.approx(expected)
    of = table.candidate
    assert of.score is not None
    there = np.where(label == 1, of.score, 1 - of.score)
    eps = np.finfo(float).eps
    loss = -np.log(np.clip(np.where(label < 0, 0.0, there), eps, 1 - eps)).mean()
    assert value(table, "log_loss") == pytest.approx(loss)
    many = multiclass(300, 8)
    label = many.label.copy()
    label[50:60] = -1
    many = replace(many, label=label)
    named = np.where(label < 0, 4, label)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sk.f1_score(named, many.candidate.prediction, average="macro")
    assert value(many, "f1") == pytest.approx(expected)
    assert value(many, "top_2") < 1


def test_a_thousand_classes() -> None:
    table = multiclass(2000, 9, classes=1000)
    names = ("f1", "mcc", "top_5", "balanced_accuracy")
    for found in measure(table, names, ALL, seed=1):
        expected = oracle(found.measure.metric, table, table.candidate)
        assert found.measure.candidate.estimate == pytest.approx(expected, rel=1e-10)
        assert found.measure.difference is not None
        assert found.measure.difference.lower is not None


def test_ten_thousand_slices() -> None:
    rng = np.random.default_rng(1)
    table = binary(60_000, 2)
    column = Column(
        rng.integers(0, 10_000, table.rows).astype(np.int32), tuple(map(str, range(10_000)))
    )
    table = replace(table, columns={"c": column})
    slices = [Slice((("c", str(one)),)) for one in range(10_000)]
    found = measure(table, ["accuracy"], slices, seed=1)
    right = np.bincount(column.codes, table.label == table.candidate.prediction, 10_000)
    rows = np.bincount(column.codes, minlength=10_000)
    for at in (0, 17, 9_999):
        one = found[at].measure
        assert one.rows == rows[at]
        assert one.candidate.estimate == pytest.approx(right[at] / rows[at])


def test_names_that_were_probably_meant() -> None:
    assert nearest("auc") == "roc_auc"
    assert nearest("ROC-AUC") == "roc_auc"
    assert nearest("f1_score", "multiclass") == "f1"
    assert nearest("acuracy") == "accuracy"
    assert nearest("mse", "regression") == "rmse"
    assert nearest("zzzz") is None


def test_a_metric_of_another_task_is_refused() -> None:
    with pytest.raises(ValueError, match="mae is not for a binary task"):
        measure(binary(50), ["mae"], ALL, seed=1)
    with pytest.raises(KeyError):
        measure(binary(50), ["nonsense"], ALL, seed=1)
    with pytest.raises(ValueError, match="needs scores"):
        table = binary(50)
        bare = replace(table, candidate=Predictions(table.candidate.prediction, None))
        measure(replace(bare, champion=None), ["log_loss"], ALL, seed=1)


def test_resamples_that_all_agree_leave_the_variance_of_the_value() -> None:
    """Found by the test above: three rows, of which every resample had the same distance."""
    of = Predictions(np.array([0, 0, 0]), np.zeros(3))
    label, weight = np.array([0, 0, 1]), np.array([1.0, 2.0, 4.0])
    for seed in range(20):
        table = Table("binary", ("0", "1"), label, of, None, weight)
        (found,) = measure(table, ["ks"], ALL, seed=seed, resamples=5)
        assert found.measure.candidate.estimate == pytest.approx(0, abs=1e-12)
