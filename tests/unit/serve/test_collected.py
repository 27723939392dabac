"""What Azure ML collects, as lines of our log: only what is sure counts as evidence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitops import contracts
from gitops.errors import EvidenceError, Where
from gitops.serve import labels, log
from gitops.serve.collected import LATE, NEAR, Collected
from tests.serving import PACKAGES, ROW

Json = dict[str, Any]
START = 1_800_000_000.0  # the traffic became what it is
NOW = START + 10_000
OLD = {"deployment": "v1", "release": "late@v1.0.0", "package": "a" * 64}
NEW = {"deployment": "v2", "release": "late@v1.1.0", "package": "b" * 64}
ANSWER: Json = {
    "id": "r1", "model": "late", "release": "late@x", "variant": "champion",
    "predictions": ["true"], "scores": [1], "ms": 3.5,
}  # fmt: skip


def shift(begun: float = START, settled: float | None = START + 5, **more: object) -> Json:
    split = {"champion": OLD, "challenger": NEW, "share": 20, "shadow": False, "salt": "s#1"}
    return {"begun": begun, "settled": settled, **split, **more}


def event(kind: str, at: float, data: object, correlation: str) -> str:
    """As the official page shows it."""
    time = datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
    common = {"specversion": "1.0", "id": f"{kind}-{correlation}", "time": time}
    common |= {"type": f"azureml.inference.{kind}", "datacontenttype": "application/json"}
    return json.dumps({**common, "data": data, "correlationid": correlation, "xrequestid": "x"})


class Blobs:
    """A state folder into which collected files were brought."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.collected = Collected(folder, "late")
        for one in (OLD, NEW):
            shutil.copytree(PACKAGES / "binary" / "package", folder / "packages" / one["package"])

    def add(
        self, deployment: str, at: float, answer: object, asked: object = None, n: int = 0
    ) -> None:
        asked = {"rows": [ROW]} if asked is None else asked
        for kind, data in (("request", asked), ("response", answer)):
            if data is not None:
                path = self.folder / "collected" / "late" / deployment / kind / "2027/01/15/08"
                path.mkdir(parents=True, exist_ok=True)
                with (path / "i.jsonl").open("a") as file:
                    file.write(event(kind, at, data, f"{deployment}-{at}-{n}") + "\n")

    def take(self, *shifts: Mapping[str, Any], now: float = NOW) -> list[Json]:
        self.collected.take(list(shifts) or [shift()], now)
        return self.lines()

    def lines(self) -> list[Json]:
        found = [
            json.loads(line)
            for path in sorted((self.folder / "log" / "late").glob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        for one in found:
            contracts.validate("prediction", one, Where("line"))
        return sorted(found, key=lambda one: (one["at"], one["variant"]))


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path)


def test_an_answer_becomes_a_line_of_the_split_as_it_was(blobs: Blobs) -> None:
    blobs.add("v1", START + 100, ANSWER)
    blobs.add("v2", START + 200, {**ANSWER, "id": "r2"})
    first, second = blobs.take()
    assert first == {
        "v": 1, "id": "r1", "at": START + 100, "model": "late", "release": "late@v1.0.0",
        "variant": "champion", "key": None, "share": 20, "salt": "s#1", "rows": 1,
        "features": {"rows": [ROW]}, "predictions": ["true"], "scores": [1.0], "ms": 3.5,
        "status": 200, "error": None,
    }  # fmt: skip
    assert (second["variant"], second["release"]) == ("challenger", "late@v1.1.0")
    (one, _), _ = log.read(blobs.folder / "log" / "late")
    assert isinstance(one.scores[0], float)  # type: ignore[index]


@pytest.mark.parametrize(
    ("asked", "features"),
    [
        ({"row": ROW}, {"rows": [ROW]}),
        ({"columns": {"distance": [1]}}, {"columns": {"distance": [1]}}),
        (json.dumps({"rows": [ROW]}), {"rows": [ROW]}),  # as a text
        ("no JSON", None),
    ],
)
def test_every_form_of_a_request(blobs: Blobs, asked: object, features: object) -> None:
    blobs.add("v1", START + 100, ANSWER, asked)
    (line,) = blobs.take()
    assert line["features"] == features


def test_a_shadow_has_the_id_of_the_answer_and_no_share(blobs: Blobs) -> None:
    blobs.add("v1", START + 100, ANSWER)
    blobs.add("v2", START + 100, ANSWER)
    lines = blobs.take(shift(share=None, shadow=True))
    told = [(one["variant"], one["id"], one["share"], one["salt"]) for one in lines]
    assert told == [("champion", "r1", None, "s#1"), ("shadow", "r1", None, "s#1")]


@pytest.mark.parametrize(
    ("at", "counts"),
    [
        (START - 1, False),  # before the change
        (START + 5 + NEAR - 1, False),  # Azure says so, but for how long?
        (START + 5 + NEAR + 1, True),
        (START + 5000 - NEAR - 1, True),
        (START + 5000 - NEAR + 1, False),  # the next change is near
        (START + 5001, False),
        (START + 5005 + NEAR + 1, True),
    ],
)
def test_near_a_change_nobody_knows_the_split(blobs: Blobs, at: float, counts: bool) -> None:
    blobs.add("v1", at, ANSWER)
    (line,) = blobs.take(shift(), shift(START + 5000, START + 5005, share=50))
    assert (line["salt"] is not None) is counts
    assert line["share"] == ((50 if at > START + 5000 else 20) if counts else None)


def test_a_change_that_was_never_confirmed_is_no_evidence(blobs: Blobs) -> None:
    blobs.add("v1", START + 6000, ANSWER)
    assert blobs.take(shift(), shift(START + 5000, None, share=50)) == []  # it may be yet
    (line,) = blobs.take(
        shift(), shift(START + 5000, None, share=50), shift(START + 9000, START + 9001)
    )
    assert line["salt"] is None


def test_who_asks_a_version_by_its_name_is_no_evidence(blobs: Blobs) -> None:
    blobs.add("v2", START + 200, ANSWER)
    (line,) = blobs.take(shift(share=0))
    assert (line["variant"], line["share"], line["salt"]) == ("challenger", None, None)


def test_failures_count_and_refusals_do_not(blobs: Blobs) -> None:
    failed = {"error": {"message": "the model failed", "status": 500, "ms": 2.0, "id": "r"}}
    refused = {"error": {"message": "no number", "column": "distance", "status": 422, "ms": 1.0}}
    wrong = {"rows": [{**ROW, "distance": "far"}]}
    blobs.add("v1", START + 100, failed)
    blobs.add("v1", START + 200, refused, wrong)  # the caller's fault
    blobs.add("v2", START + 300, refused, wrong)
    blobs.add("v2", START + 400, refused)  # which the champion takes: the challenger's
    lines = blobs.take()
    assert [(one["at"] - START, one["status"], one["error"]) for one in lines] == [
        (100, 500, "the model failed"),
        (400, 500, "rows refused: no number (column 'distance')"),
    ]
    assert all(one["predictions"] is None for one in lines)


def test_a_request_without_an_answer_is_a_failure_when_it_is_late(blobs: Blobs) -> None:
    blobs.add("v2", START + 100, None)
    blobs.add("v2", START + 200, None, {"rows": []})  # which nobody would have answered
    assert blobs.take(now=START + 200 + LATE - 101) == []
    (line,) = blobs.take(now=START + 200 + LATE + 1)
    assert (line["status"], line["error"]) == (504, "no answer was collected")


@pytest.mark.parametrize(
    "answer",
    [
        {name: value for name, value in ANSWER.items() if name != "ms"},  # how slow was it?
        {"error": {"message": "which status?"}},
        "https://account.blob.core.windows.net/a-large-one",
        {"predictions": None},
    ],
)
def test_what_does_not_say_enough_is_counted_and_no_evidence(blobs: Blobs, answer: object) -> None:
    blobs.add("v1", START + 100, answer)
    assert blobs.take() == []
    assert blobs.collected.unusable == 1


def test_nothing_is_written_twice_not_even_by_another_machine(blobs: Blobs) -> None:
    blobs.add("v1", START + 100, ANSWER)
    assert len(blobs.take()) == len(blobs.take()) == 1
    blobs.add("v1", START + 101, {**ANSWER, "id": "r2"})
    assert len(blobs.take()) == 2
    blobs.collected = Collected(blobs.folder, "late")
    assert len(blobs.take()) == 2


def test_half_a_line_waits_for_its_end(blobs: Blobs) -> None:
    blobs.add("v1", START + 100, ANSWER)
    path = next((blobs.folder / "collected").rglob("response/**/*.jsonl"))
    whole = path.read_text()
    path.write_text(whole[:-20])
    assert blobs.take(now=START + 200) == []
    path.write_text(whole)
    assert len(blobs.take()) == 1


def test_labels_that_were_brought_are_labels(blobs: Blobs) -> None:
    (blobs.folder / "brought").mkdir()
    (blobs.folder / "brought" / "may.csv").write_text("id,label\nr1,true\n")
    blobs.take()
    blobs.take()
    found, _ = labels.read(blobs.folder / "labels")
    assert [(one.id, one.label) for one in found] == [("r1", "true")]
    (blobs.folder / "brought" / "june.csv").write_text("no,label\n")
    with pytest.raises(EvidenceError):
        blobs.take()
