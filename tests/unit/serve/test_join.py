from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops import signature
from gitops.errors import EvidenceError
from gitops.serve.join import join
from gitops.serve.labels import Label
from gitops.serve.log import Prediction
from gitops.signature import Signature

PACKAGES = Path(__file__).parents[2] / "contracts" / "packages"
BINARY = signature.read(PACKAGES / "binary/package/signature.json")
MULTICLASS = signature.read(PACKAGES / "multiclass/package/signature.json")
REGRESSION = signature.read(PACKAGES / "regression/package/signature.json")
OLD, NEW = "late@v1.2.0", "late@v1.3.0"


def prediction(id: str, at: float = 0.0, **changes: Any) -> Prediction:
    fields: dict[str, Any] = {
        "v": 1, "id": id, "at": at, "model": "late", "release": OLD, "variant": "champion",
        "key": None, "share": None, "salt": None, "rows": 1, "features": msgspec.Raw(b"null"),
        "predictions": ["true"], "scores": [0.75], "ms": 1.0, "status": 200, "error": None,
    }  # fmt: skip
    return Prediction(**{**fields, **changes})


def label(id: str, given: Any = "true", at: float = 1.0, row: int = 0, **more: Any) -> Label:
    return Label(1, id, row, given, more.get("value"), at, more.get("model"))


def both(task: Signature = BINARY) -> dict[str, Signature]:
    return {OLD: task, NEW: task}


def test_each_row_of_answers_and_shadows_has_its_label() -> None:
    lines = [
        prediction("a", 1, rows=2, predictions=["true", "false"], scores=[0.75, 0.25]),
        prediction("a", 2, variant="shadow", release=NEW, rows=2, predictions=["false", "false"],
                   scores=[0.5, 0.1]),
        prediction("b", 3, variant="challenger", release=NEW, share=5.0, salt="s", key="k"),
        prediction("c", 4, status=500, predictions=None, scores=None, error="E"),
    ]  # fmt: skip
    frame, report = join(lines, [label("a", row=1, given="false"), label("b", value=2.5)], both())
    assert frame.select("id", "row", "arm", "prediction", "score", "label", "value").rows() == [
        ("a", 0, "champion", "true", 0.75, None, None),
        ("a", 1, "champion", "false", 0.25, "false", None),
        ("a", 0, "shadow", "false", 0.5, None, None),
        ("a", 1, "shadow", "false", 0.1, "false", None),
        ("b", 0, "challenger", "true", 0.75, "true", 2.5),
        ("c", 0, "champion", None, None, None, None),
    ]
    assert frame.select("release", "share", "salt", "key", "ms", "status").row(4) == (
        NEW, 5.0, "s", "k", 1.0, 200,
    )  # fmt: skip
    assert (report.requests, report.labelled, report.unknown.count) == (4, 3, 0)


def test_columns_are_typed_by_the_task_even_without_rows() -> None:
    frame, _ = join([], [], both())
    assert [str(frame.schema[name]) for name in ("score", "label")] == ["Float64", "String"]
    frame, _ = join([], [], both(REGRESSION))
    assert [str(frame.schema[name]) for name in ("prediction", "label")] == ["Float64"] * 2
    assert "score" not in frame.columns


def test_a_regression_has_numbers() -> None:
    lines = [prediction(id, predictions=[2.5], scores=None) for id in "abc"]
    said = [label("a", "3.5"), label("b", 4), label("c", "nan")]
    frame, report = join(lines, said, both(REGRESSION))
    assert frame["prediction"].to_list() == [2.5] * 3
    assert frame["label"].to_list() == [3.5, 4.0, None]
    assert report.strange.first == ["c"]


def test_scores_of_classes_that_only_one_release_has() -> None:
    fewer = replace(MULTICLASS, classes=MULTICLASS.classes[:2])
    width = len(MULTICLASS.classes)
    lines = [
        prediction("a", 1, predictions=[MULTICLASS.classes[0]], scores=[[1 / width] * width]),
        prediction("b", 2, release=NEW, predictions=[MULTICLASS.classes[1]], scores=[[0.5, 0.5]]),
    ]
    frame, report = join(lines, [], {OLD: MULTICLASS, NEW: fewer})
    assert report.requests == 2
    assert [name for name in frame.columns if name.startswith("score_")] == [
        *MULTICLASS.score_columns
    ]
    assert frame[MULTICLASS.score_columns[-1]].to_list() == [1 / width, None]
    assert frame[MULTICLASS.score_columns[0]].to_list() == [1 / width, 0.5]


@pytest.mark.parametrize(
    ("said", "canonical"),
    [("true", "true"), (True, "true"), ("True", "true"), ("maybe", None), (1, None), (1.0, None)],
)
def test_labels_are_canonical_or_strange(said: Any, canonical: str | None) -> None:
    frame, report = join([prediction("a")], [label("a", said)], both())
    assert frame["label"].to_list() == [canonical]
    assert report.strange.count == (canonical is None)


@pytest.mark.parametrize("said", [1, 1.0, "1", "1.0", True])
def test_classes_that_are_numbers(said: Any) -> None:
    numbers = replace(BINARY, classes=("0", "1"))
    frame, report = join([prediction("a", predictions=["1"])], [label("a", said)], both(numbers))
    assert frame["label"].to_list() == [None if said is True else "1"]
    assert report.strange.count == (said is True)


def test_a_label_twice_counts_once_and_another_is_a_conflict() -> None:
    said = [
        label("a", "false", at=3),
        label("a", "true", at=1),
        label("a", True, at=2, value=5.0),
        label("a", None, at=4, value=6.0),
    ]
    frame, report = join([prediction("a")], said, both())
    assert frame.select("label", "value").rows() == [("true", 5.0)]
    assert (report.repeated_labels, report.conflicts.count, report.conflicts.first) == (
        1, 2, ["a", "a"],
    )  # fmt: skip


def test_unknown_labels_are_named() -> None:
    said = [label("a"), label("a", row=1), label("z"), label("o"), label("m", model="other")]
    lines = [prediction("a"), prediction("o", release="late@v1.0.0")]
    _, report = join(lines, said, both())
    assert report.other == 1
    assert report.unknown.first == ["a row 1", "z"]


def test_a_request_that_was_answered_twice_counts_once() -> None:
    lines = [
        prediction("a", 2, variant="challenger", release=NEW),
        prediction("a", 1),
        prediction("a", 5, variant="shadow", release=NEW),
    ]
    frame, report = join(lines, [], both())
    assert frame["arm"].to_list() == ["champion", "shadow"]
    assert (report.requests, report.repeated) == (2, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"predictions": ["maybe"]},
        {"predictions": [1.0]},
        {"predictions": None},
        {"rows": 2},
        {"scores": None},
        {"scores": [0.1, 0.2]},
        {"scores": [[0.1, 0.9]]},
        {"status": 500},
    ],
)
def test_answers_that_the_signature_does_not_have_are_counted(wrong: dict[str, Any]) -> None:
    frame, report = join([prediction("a", **wrong)], [], both())
    assert (frame.height, report.unusable) == (0, 1)
    scores = [[0.5] * (len(MULTICLASS.classes) - 1)]
    lines = [prediction("a", predictions=[MULTICLASS.classes[0]], scores=scores)]
    assert join(lines, [], both(MULTICLASS))[1].unusable == 1
    assert join([prediction("a", scores=None)], [], both(REGRESSION))[1].unusable == 1


def test_releases_of_different_tasks_are_refused() -> None:
    with pytest.raises(EvidenceError, match="binary, regression"):
        join([], [], {OLD: BINARY, NEW: REGRESSION})
    with pytest.raises(EvidenceError, match="no task"):
        join([], [], {})


IDS = st.sampled_from("abcd")
LINES = st.builds(
    lambda id, at, variant, release, failed: prediction(
        id, at, variant=variant, release=release,
        **({"status": 500, "predictions": None, "scores": None} if failed else {}),
    ),
    IDS, st.integers(0, 3), st.sampled_from(["champion", "challenger", "shadow"]),
    st.sampled_from([OLD, NEW, "late@v0.1.0"]), st.booleans(),
)  # fmt: skip
LABELS = st.builds(
    lambda id, given, at, row, value: label(id, given, at, row, value=value),
    IDS, st.sampled_from(["true", "false", True, "maybe", None]), st.integers(0, 3),
    st.integers(0, 1), st.sampled_from([None, 1.0, 2.0]),
)  # fmt: skip


@given(st.lists(LINES, max_size=12), st.lists(LABELS, max_size=12), st.randoms())
def test_the_order_of_lines_changes_nothing(
    lines: list[Prediction], said: list[Label], chance: random.Random
) -> None:
    frame, report = join(lines, said, both())
    mixed, mixed_said = list(lines), list(said)
    chance.shuffle(mixed)
    chance.shuffle(mixed_said)
    again, report_again = join(mixed, mixed_said, both())
    assert again.equals(frame)
    assert report_again == report
    # Every line and every label is accounted for.
    assert report.requests + report.repeated + report.other + report.unusable == len(lines)
    units = frame.select("id", pl.col("arm") == "shadow").unique().height
    assert units == frame.height == report.requests
    assert join([*lines, *lines], [*said, *said], both())[0].equals(frame)
