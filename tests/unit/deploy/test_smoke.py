"""Contract tests: what they draw fits the signature, and what they are for they find."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gitops import package
from gitops.deploy import smoke
from gitops.deploy.ask import Answer
from gitops.errors import EvidenceError
from gitops.package import Package
from tests.unit.validate import conftest as tables

Body = bytes | Mapping[str, Any]


@pytest.fixture(scope="module", params=["binary", "multiclass", "regression"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Package:
    folder = tmp_path_factory.mktemp(request.param) / "package"
    return tables.make_package(folder, tables.people(request.param), task=request.param)


def drawn(made: Package) -> list[dict[str, Any]]:
    return smoke.drawn(made.signature, made.reference, seed=made.digest)


def scored(made: Package, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return package.score(made, frame).frame.to_dict(as_series=False)


def answering(made: Package) -> Callable[[Body], Answer]:
    """An endpoint that keeps its contract: it scores, or refuses."""

    def ask(body: Body) -> Answer:
        try:
            rows = (json.loads(body) if isinstance(body, bytes) else body)["rows"]
            found = scored(made, rows)
        except (ValueError, KeyError, EvidenceError, pl.exceptions.PolarsError) as error:
            return Answer(400, {"error": str(error)})
        names = made.signature.score_columns if made.signature.task != "regression" else ()
        each = [list(several) for several in zip(*(found[name] for name in names), strict=True)]
        flat = [one[0] for one in each] if made.signature.task == "binary" else each
        return Answer(200, {"predictions": found["prediction"], "scores": flat or None})

    return ask


def test_rows_are_drawn_within_the_signature_and_always_the_same(made: Package) -> None:
    rows = drawn(made)
    assert rows == drawn(made)
    assert rows != smoke.drawn(made.signature, made.reference, seed="another")
    assert package.score(made, pl.DataFrame(rows, infer_schema_length=None)).warnings == ()
    assert any(value is None for row in rows for value in row.values())


def test_an_endpoint_that_answers_as_its_package_passes(made: Package) -> None:
    rows = drawn(made)
    smoke.require(answering(made), made.signature, rows, scored(made, rows))


def spoiled(made: Package, change: Callable[[Body, Answer], Answer]) -> str:
    """What the tests say of an endpoint whose answers are changed."""
    honest, rows = answering(made), drawn(made)
    with pytest.raises(EvidenceError) as caught:
        smoke.require(
            lambda body: change(body, honest(body)), made.signature, rows, scored(made, rows)
        )
    return caught.value.message


def test_other_answers_are_found(made: Package) -> None:
    def change(body: Body, answer: Answer) -> Answer:
        if answer.status != 200:
            return answer
        wrong = [*answer.body["predictions"][:-1], "no such class"]
        return Answer(200, {**answer.body, "predictions": wrong})

    assert "1 get other answers" in spoiled(made, change)


def test_other_scores_are_found(made: Package) -> None:
    if made.signature.task == "regression":
        pytest.skip("a regression has no scores")

    def change(body: Body, answer: Answer) -> Answer:
        if answer.status != 200:
            return answer
        flip = [1 - one if isinstance(one, float) else one[::-1] for one in answer.body["scores"]]
        return Answer(200, {**answer.body, "scores": flip})

    assert "get other answers" in spoiled(made, change)


@pytest.mark.parametrize("key", ["predictions", "scores"])
def test_missing_answers_are_found(made: Package, key: str) -> None:
    if key == "scores" and made.signature.task == "regression":
        pytest.skip("a regression has no scores")

    def change(body: Body, answer: Answer) -> Answer:
        if answer.status != 200:
            return answer
        return Answer(200, {**answer.body, key: answer.body[key][1:]})

    assert "rows get no" in spoiled(made, change)


def test_valid_rows_that_are_refused_are_found(made: Package) -> None:
    said = spoiled(made, lambda body, answer: Answer(422, {"error": "no"}))
    assert "valid rows are answered with 422" in said


def test_what_must_be_refused_and_isn_t_is_found(made: Package) -> None:
    said = spoiled(
        made, lambda body, answer: answer if answer.status == 200 else Answer(200, answer.body)
    )
    assert "what is no JSON is answered with 200, not refused" in said
    assert "a row without" in said


def test_a_crash_is_no_refusal(made: Package) -> None:
    said = spoiled(
        made, lambda body, answer: answer if answer.status == 200 else Answer(500, answer.body)
    )
    assert "is answered with 500, not refused" in said


def test_with_a_script_of_the_user_s_only_the_shape_counts(made: Package) -> None:
    honest, rows = answering(made), drawn(made)

    def scripted(body: Body) -> Answer:
        answer = honest(body)
        if answer.status != 200:
            return answer
        return Answer(200, {"predictions": ["anything"] * len(rows)})

    smoke.require(scripted, made.signature, rows, None)
    with pytest.raises(EvidenceError, match="predictions"):
        smoke.require(lambda body: Answer(200, {}), made.signature, rows, None)


def test_every_input_is_broken_in_some_way(tmp_path: Path) -> None:
    made = tables.make_package(tmp_path / "package", tables.people())
    broken = dict(smoke.refused(made.signature, drawn(made)[0]))
    for one in made.signature.inputs:
        assert any(what.startswith(f"{one.name}:") for what in broken)
        assert (f"{one.name}: null" in broken) != one.nullable
