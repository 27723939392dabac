from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops import contracts
from gitops.config.serving import Log
from gitops.errors import Where
from gitops.serve import log, segments
from gitops.serve.segments import Position
from gitops.serve.writer import Writer

ROW = b'{"rows":[{"carrier":"AA","distance":17.5}]}'


def line(id: str = "r1", **changes: Any) -> bytes:
    given: dict[str, Any] = {
        "id": id,
        "model": "late",
        "release": "late@v1.2.0",
        "variant": "champion",
        "rows": 1,
        "features": msgspec.Raw(ROW),
        "predictions": ["true"],
        "scores": [0.75],
        "ms": 0.4123,
    }
    return log.line(**{**given, **changes})


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it didn't come true"
        time.sleep(0.005)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(tmp_path / "log", sync_seconds=0.02, segment_bytes=10_000, keep_bytes=40_000)
    yield made
    made.close()


def ids(folder: Path, since: Position | None = None) -> list[str]:
    return [found.id for found in log.read(folder, since)[0]]


def test_a_line_is_one_line_and_keeps_the_contract() -> None:
    for made in (
        line(key="c1", share=5, salt="late#production#8", at=1764100000.123456),
        line(features=None, predictions=None, scores=None, status=500, error="KeyError"),
        line(scores=[[0.2, 0.8]]),
        line(predictions=[1.5], scores=None, variant="shadow"),
    ):
        assert made.endswith(b"}\n")
        assert made.count(b"\n") == 1
        contracts.validate("prediction", json.loads(made), Where("line"))


def test_the_line_in_the_guide_keeps_the_contract() -> None:
    guide = Path(__file__).parents[3] / "docs" / "guides" / "predictions.md"
    example = guide.read_text("utf-8").split("```json\n")[1].split("```")[0]
    contracts.validate("prediction", json.loads(example), Where(guide))


def test_features_are_embedded_as_they_came() -> None:
    raw = b'[{"a": 1.50,\n "b":"x\\ny"}]'
    kept = log.features("rows", raw)
    assert kept is not None
    assert bytes(kept) == b'{"rows":[{"a": 1.50,  "b":"x\\ny"}]}'
    assert log.features("columns", b" " * (log.LONGEST_FEATURES + 1)) is None


@pytest.mark.parametrize("name", [b'"name"', b'"n\\u0061me"'])
def test_values_of_redacted_columns_are_not_in_the_line(name: bytes) -> None:
    secret = b'"Jane\\n Doe"'
    rows = b'[{%b:%b,"n": 1},{"n":2,%b:%b,%b:%b}]' % (name, secret, name, secret, name, secret)
    made = line(features=log.features("rows", rows, {"name"}))
    assert b"Jane" not in made
    assert json.loads(made)["features"] == {"rows": [{"n": 1}, {"n": 2}]}
    columns = b'{%b:[%b],"n":[1]}' % (name, secret)
    made = line(features=log.features("columns", columns, {"name"}))
    assert json.loads(made)["features"] == {"columns": {"n": [1]}}


def test_what_can_not_be_redacted_is_left_out() -> None:
    assert log.features("rows", b'{"name":"Jane"}', {"name"}) is None
    assert log.features("columns", b'["Jane"]', {"name"}) is None


def test_a_pseudonym_stays_the_same_in_a_state_folder(tmp_path: Path) -> None:
    secret = log.secret(tmp_path / "a")
    assert log.pseudonym(secret, "c1") == log.pseudonym(log.secret(tmp_path / "a"), "c1")
    assert log.pseudonym(secret, "c1") != log.pseudonym(secret, "c2")
    assert log.pseudonym(secret, "c1") != log.pseudonym(log.secret(tmp_path / "b"), "c1")
    assert (tmp_path / "a" / "log-secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["log-secret"]


def test_sampling_is_by_the_id_and_nothing_else() -> None:
    kept = [f"r{n}" for n in range(20_000) if log.sampled(f"r{n}", 0.25)]
    assert abs(len(kept) - 5_000) < 400
    assert set(kept) >= {f"r{n}" for n in range(20_000) if log.sampled(f"r{n}", 0.1)}
    assert log.sampled("r1", 1)
    assert not log.sampled("r1", 0)
    # BLAKE2b of "r1" begins with b3: 0.70
    assert [log.sampled("r1", share) for share in (0.1, 0.95)] == [False, True]


def test_what_is_added_is_read(writer: Writer) -> None:
    assert all(writer.add(line(f"r{n}")) for n in range(10))
    until(lambda: writer.state.written == 10)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in writer.folder.iterdir())
    found, position = log.read(writer.folder)
    assert [one.id for one in found] == [f"r{n}" for n in range(10)]
    assert bytes(found[0].features) == ROW
    assert (found[0].ms, found[0].scores) == (0.412, [0.75])
    assert abs(found[0].at - time.time()) < 60
    assert log.read(writer.folder, position) == ([], position)
    writer.add(line("later"))
    until(lambda: writer.state.written == 11)
    assert ids(writer.folder, position) == ["later"]


def test_an_idle_writer_touches_nothing(writer: Writer) -> None:
    assert writer.close().written == 0
    assert not writer.folder.exists()


def test_durable_waits_for_the_disk(tmp_path: Path) -> None:
    made = log.open(tmp_path, "late", Log(sync_seconds=0))

    async def ask(number: int) -> bool:
        made.add(line(f"r{number}"))
        answer = await made.durable()
        assert f"r{number}" in ids(tmp_path / "log" / "late")
        return answer

    async def many() -> list[bool]:
        return await asyncio.gather(*(ask(number) for number in range(50)))

    assert asyncio.run(many()) == [True] * 50
    assert made.close().written == 50
    assert asyncio.run(made.durable())


def test_segments_rotate_and_the_oldest_closed_ones_go(writer: Writer) -> None:
    big = line(features=msgspec.Raw(b'"' + b"x" * 4_000 + b'"'))
    for number in range(60):
        writer.add(big)
        until(lambda number=number: writer.state.written == number + 1)  # type: ignore[misc]
    there = segments.listing(writer.folder)
    assert [number for number, _ in there] == list(range(there[0][0], 21))
    assert there[0][0] > 10
    sizes = [(writer.folder / name).stat().st_size for _, name in there]
    assert sum(sizes[:-1]) <= 40_000
    assert writer.state.segment == there[-1][1]


def test_segments_are_bounded_in_number_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MOST", 5)
    for number in range(8):
        made = Writer(tmp_path, sync_seconds=0.02, segment_bytes=10**6, keep_bytes=10**6)
        made.add(line(f"r{number}"))
        made.close()
    assert ids(tmp_path) == [f"r{number}" for number in range(3, 8)]


def test_the_open_segment_of_another_writer_stays(writer: Writer) -> None:
    writer.add(line("other"))
    until(lambda: writer.state.written == 1)
    mine = Writer(writer.folder, sync_seconds=0.02, segment_bytes=1, keep_bytes=1)
    for number in range(5):
        mine.add(line(f"r{number}"))
        until(lambda number=number: mine.state.written == number + 1)  # type: ignore[misc]
    mine.close()
    assert ids(writer.folder) == ["other", "r4"]
    assert writer.close().segment == segments.listing(writer.folder)[0][1]
    another = Writer(writer.folder, sync_seconds=0.02, segment_bytes=1, keep_bytes=1)
    another.add(line("new"))
    another.close()
    assert ids(writer.folder) == ["new"]


def test_what_does_not_fit_the_buffer_is_counted_and_never_waited_for(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitops.serve.writer._BUFFER", 1_000)
    assert not writer.add(b"x" * 1_001)
    assert writer.add(line())
    until(lambda: writer.state.written == 1)
    assert not writer.add(b"x" * (segments.LONGEST + 1))
    assert writer.state.dropped == 2
    writer.close()
    assert not writer.add(line())
    assert writer.close().dropped == 3


def test_reading_is_bounded(writer: Writer) -> None:
    for number in range(300):
        writer.add(line(f"r{number}"))
    writer.close()
    found: list[str] = []
    position = Position()
    while True:
        some, position = log.read(writer.folder, position, most=1)
        if not some:
            break
        found += [one.id for one in some]
    assert found == [f"r{n}" for n in range(300)]


def write(folder: Path, number: int, data: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"20260101T000000Z-1-{number:06}.jsonl"
    path.write_bytes(data)
    return path


def test_the_order_is_that_of_the_numbers_not_of_the_clock(tmp_path: Path) -> None:
    for number, start in (
        (1, "20300101T000000Z"),
        (2, "20260101T000000Z"),
        (10, "20250101T000000Z"),
    ):
        (tmp_path / f"{start}-99-{number:06}.jsonl").write_bytes(line(f"r{number}"))
    assert ids(tmp_path) == ["r1", "r2", "r10"]


def test_a_torn_line_is_not_read_until_it_is_whole(tmp_path: Path) -> None:
    whole, torn = line("whole"), line("torn")
    path = write(tmp_path, 1, whole + torn[:40])
    found, position = log.read(tmp_path)
    assert ([one.id for one in found], position.bad) == (["whole"], 0)
    assert log.read(tmp_path, position) == ([], position)
    with path.open("ab") as file:
        file.write(torn[40:])
    assert ids(tmp_path, position) == ["torn"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{}",
        b"\x00\xff\x00",
        line().replace(b'"v":1', b'"v":2'),
        line(variant="other"),
        line(share=101),
        line(rows=-1),
        b"[" * 100_000,
    ],
)
def test_garbage_is_skipped_and_counted(tmp_path: Path, garbage: bytes) -> None:
    write(tmp_path, 1, line("a") + garbage.rstrip(b"\n") + b"\n" + line("b"))
    found, position = log.read(tmp_path)
    assert [one.id for one in found] == ["a", "b"]
    assert position.bad == 1


def test_a_line_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "LONGEST", 2_000_000)
    write(tmp_path, 1, line("a") + b"x" * 9_000_000 + b"\n" + line("b"))
    found, position = log.read(tmp_path, most=1_000)
    assert [one.id for one in found] == ["a"]
    found, position = log.read(tmp_path, position)
    assert [one.id for one in found] == ["b"]
    assert position.bad > 0


@given(
    st.lists(
        st.one_of(
            st.just(None), st.binary(max_size=60).map(lambda data: data.replace(b"\n", b" "))
        ),
        max_size=30,
    ),
    st.integers(0, 200),
    st.integers(1, 2_000),
)
def test_whatever_lies_there_every_whole_line_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes | None], cut: int, most: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    wanted = [f"r{at}" for at, piece in enumerate(pieces) if piece is None]
    lines = [line(f"r{at}") if piece is None else piece + b"\n" for at, piece in enumerate(pieces)]
    half = len(lines) // 2
    torn = line("torn")
    write(folder, 1, b"".join(lines[:half]) + torn[: min(cut, len(torn) - 1)])
    write(folder, 2, b"".join(lines[half:]))
    found: list[str] = []
    position = Position()
    while True:
        some, position = log.read(folder, position, most)
        if not some:
            break
        found += [one.id for one in some]
    assert found == wanted
    assert position.bad == len(pieces) - len(wanted)
