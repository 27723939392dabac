"""What a crash, a full disk, a lost folder or a wrong clock may do to the prediction log: nothing
but what docs/guides/predictions.md says."""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gitops.serve import labels, log, segments
from gitops.serve import plan as plans
from gitops.serve.refusal import Refusal
from gitops.serve.segments import Position
from gitops.serve.writer import Writer
from tests.serving import PACKAGES, ROW, plan, serving, until, variant
from tests.small_disk import file_system
from tests.unit.serve.test_log import ids, line

PROJECT = Path(__file__).parents[2]

# Acknowledges each line with its time: at once, or when it is on the disk. Ends by being killed.
LOAD = """
import asyncio, sys, time
from pathlib import Path
from gitops.serve.writer import Writer
from tests.unit.serve.test_log import line

folder, seconds = Path(sys.argv[1]), float(sys.argv[2])

async def ask(writer, number):
    assert writer.add(line(f"r{number}"))
    if not seconds:
        assert await writer.durable()
    sys.stdout.write(f"{number} {time.monotonic()}\\n")

async def main():
    writer = Writer(folder, sync_seconds=seconds, segment_bytes=200_000, keep_bytes=10**9)
    number = 0
    while True:
        await asyncio.gather(*(ask(writer, number + at) for at in range(20)))
        number += 20
        sys.stdout.flush()
        await asyncio.sleep(0.001)

asyncio.run(main())
"""


def killed_under_load(
    folder: Path, sync_seconds: float, run_seconds: float
) -> tuple[dict[str, float], int]:
    """The age in seconds, when the process was killed, of each line that it had acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD, str(folder), str(sync_seconds)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said: list[str] = []
    end = None
    try:
        for text in process.stdout:
            said.append(text)
            end = end or time.monotonic() + run_seconds
            if len(said) >= 2_000 and time.monotonic() > end:
                break
    finally:
        process.send_signal(signal.SIGKILL)
        now = time.monotonic()
    said += process.stdout.read().splitlines(keepends=True)
    process.wait()
    whole = [text.split() for text in said if text.endswith("\n")]
    return {f"r{number}": now - float(at) for number, at in whole}, process.pid


@pytest.mark.parametrize("sync_seconds", [0.0, 0.2])
def test_a_kill_loses_what_is_younger_than_the_interval_and_spoils_nothing(
    tmp_path: Path, sync_seconds: float
) -> None:
    kept: dict[int, list[str]] = {}
    for _ in range(3):
        run_seconds = 1.5 if sync_seconds else 0.1
        ages, pid = killed_under_load(tmp_path, sync_seconds, run_seconds)
        mine = [name for _, name in segments.listing(tmp_path) if f"-{pid}-" in name]
        kept[pid] = [id for name in mine for id in ids_in(tmp_path / name)]
        # All lines up to some point, in their order, and each once.
        assert kept[pid] == [f"r{number}" for number in range(len(kept[pid]))]
        # With an interval: half a second more, for a disk that many use.
        due = {id for id, age in ages.items() if not sync_seconds or age > sync_seconds + 0.5}
        assert len(due) > 1_000
        assert due <= set(kept[pid])
        assert len(mine) > 1
    # Nobody has appended to the segments of the dead, and all of it can be read.
    assert all(
        [
            id
            for _, name in segments.listing(tmp_path)
            if f"-{pid}-" in name
            for id in ids_in(tmp_path / name)
        ]
        == found
        for pid, found in kept.items()
    )
    everything = [one.id for one in log.everything(tmp_path)]
    assert everything == [id for found in kept.values() for id in found]


def test_every_answer_of_a_killed_server_is_in_its_log(tmp_path: Path) -> None:
    """With sync_seconds 0: workers are killed under load, and others take their place."""
    serve = plans.Serve(log=plans.Log(sync_seconds=0))
    champion = variant(PACKAGES / "binary" / "package", "binary@v1.0.0", "binary#production#1")
    plans.write(tmp_path / "plan.json", plan(binary=plans.Served(champion, serve=serve)))
    answered: list[str] = []
    with serving(tmp_path, "--plan", tmp_path / "plan.json") as server:

        def load(client: int) -> None:
            for number in range(200):
                id = f"{client}-{number}"
                with suppress(OSError, http.client.HTTPException):
                    body = {"row": ROW, "id": id}
                    if server.post("/models/binary/predict", body).status == 200:
                        answered.append(id)

        clients = [threading.Thread(target=load, args=(client,)) for client in range(4)]
        for client in clients:
            client.start()
        for wanted in (100, 200):
            until(lambda wanted=wanted: len(answered) > wanted)  # type: ignore[misc]
            for pid in server.workers():
                os.kill(pid, signal.SIGKILL)
            until(lambda: server.post("/models/binary/predict", {"row": ROW}).status == 200, 60)
        for client in clients:
            client.join()
    folder = server.state / "log" / "binary"
    assert set(answered) <= {one.id for one in log.everything(folder)}
    assert log.read(folder)[1].bad == 0


MANY = """
import sys
from pathlib import Path
from gitops.serve.writer import Writer
from tests.unit.serve.test_log import line, until

writer = Writer(Path(sys.argv[1]), sync_seconds=0.01, segment_bytes=5_000, keep_bytes=50_000)
for number in range(1_000):
    assert writer.add(line(f"{sys.argv[2]}-{number}"))
    if number % 20 == 0:
        until(lambda: writer.state.waiting == 0)
print(writer.close())
"""


def test_several_processes_write_rotate_and_remove_while_one_reads(tmp_path: Path) -> None:
    words = [sys.executable, "-c", MANY, str(tmp_path)]
    writers = [
        subprocess.Popen([*words, str(number)], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    found: list[str] = []
    position = Position()
    while True:
        ended = all(writer.poll() is not None for writer in writers)
        some, position = log.read(tmp_path, position)
        found += [one.id for one in some]
        if ended and not some:
            break
    for writer in writers:
        assert "trouble='', written=1000, waiting=0, dropped=0" in writer.communicate()[0]
    assert position.bad == 0
    assert len(found) == len(set(found)) > 100
    for number in range(3):
        mine = [int(id.split("-")[1]) for id in found if id.startswith(f"{number}-")]
        assert mine == sorted(mine)
        assert mine[-1] == 999
    sizes = [(tmp_path / name).stat().st_size for _, name in segments.listing(tmp_path)]
    assert sum(sizes) < 50_000 + 3 * 15_000


def ids_in(path: Path) -> list[str]:
    """The ids of a segment's whole lines, each of which must be one."""
    return [json.loads(text)["id"] for text in path.read_bytes().split(b"\n")[:-1]]


def test_a_torn_line_of_the_dead_is_not_read_and_not_continued(tmp_path: Path) -> None:
    dead = tmp_path / "20260101T000000Z-1-000001.jsonl"
    torn = line("whole") + line("torn")[:50]
    dead.write_bytes(torn)
    writer = Writer(tmp_path, sync_seconds=0.01, segment_bytes=10**6, keep_bytes=10**6)
    writer.add(line("new"))
    writer.close()
    assert dead.read_bytes() == torn
    found, position = log.read(tmp_path)
    assert [one.id for one in found] == ["whole", "new"]
    assert position.bad == 0


# ---------------------------------------------------------------- a full disk


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with file_system(tmp_path / "small", "1m") as folder:
        yield folder


def fill(path: Path) -> None:
    """Take all the space that is left."""
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 512, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)


def test_a_full_disk_stops_the_log_and_not_the_answers(small: Path) -> None:
    folder = small / "log"
    writer = Writer(folder, sync_seconds=0.02, segment_bytes=10**6, keep_bytes=10**7)
    try:
        writer.add(line("before"))
        until(lambda: writer.state.written == 1)
        fill(small / "filler")
        for number in range(50):
            assert writer.add(line(f"r{number}"))
        until(lambda: "disk full" in writer.state.trouble)
        assert (writer.state.waiting, writer.state.dropped) == (50, 0)
        # No half line stays, and the attempts leave no crowd of files.
        assert ids(folder) == ["before"]
        assert all(
            not data or data.endswith(b"\n") for data in (p.read_bytes() for p in folder.iterdir())
        )
        assert len(segments.listing(folder)) <= 2
        (small / "filler").unlink()
        until(lambda: writer.state.healthy)
        assert writer.state.waiting == 0
        assert ids(folder) == ["before", *(f"r{number}" for number in range(50))]
    finally:
        writer.close()


def test_an_answer_that_waits_for_a_full_disk_goes_out_and_is_told_so(small: Path) -> None:
    fill(small / "filler")
    writer = Writer(small / "log", sync_seconds=0, segment_bytes=10**6, keep_bytes=10**7)
    writer.add(line("r1"))
    assert not asyncio.run(writer.durable())
    (small / "filler").unlink()
    until(lambda: writer.state.healthy and writer.state.written == 1)
    assert asyncio.run(writer.durable())
    assert writer.close().dropped == 0


LIMITED = """
import resource, sys, time
from pathlib import Path
from gitops.serve.writer import Writer
from tests.unit.serve.test_log import line, until

resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
writer = Writer(Path(sys.argv[1]), sync_seconds=0.02, segment_bytes=10**6, keep_bytes=10**7)
writer.add(line("r0", features=None))
until(lambda: writer.state.written == 1)
for number in range(1, 30):
    writer.add(line(f"r{number}"))
until(lambda: "disk full" in writer.state.trouble)
assert writer.state.written == 1 and writer.state.dropped == 0
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
until(lambda: writer.state.healthy and writer.state.written == 30)
writer.close()
"""


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """As a full disk, for who may mount nothing: a write goes half way, then fails."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "log")],
        cwd=PROJECT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ids(tmp_path / "log") == [f"r{number}" for number in range(30)]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_disk_that_fails_now_and_then_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Each third call fails; a failed write has written a part before."""
    real, count = getattr(os, call), 0
    lock = threading.Lock()

    def failing(file: int, *data: memoryview) -> int | None:
        nonlocal count
        with lock:
            count += 1
            fails = count % 3 == 0
        if fails and data:
            real(file, data[0][: len(data[0]) // 2])
        if fails:
            raise OSError(errno.EIO, "Input/output error")
        made: int | None = real(file, *data)
        return made

    monkeypatch.setattr("gitops.serve.writer._RETRY_SECONDS", 0.01)
    writer = Writer(tmp_path, sync_seconds=0.01, segment_bytes=2_000, keep_bytes=10**7)
    monkeypatch.setattr(f"os.{call}", failing)
    for number in range(40):
        writer.add(line(f"r{number}"))
        until(lambda number=number: writer.state.written == number + 1)  # type: ignore[misc]
    monkeypatch.undo()
    assert count > 10
    assert writer.close().dropped == 0
    assert ids(tmp_path) == [f"r{number}" for number in range(40)]


def test_what_can_not_be_cut_off_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first write goes half way, and its half stays where it is."""
    write, fails = os.write, [True]

    def half(file: int, data: memoryview) -> int:
        if fails and fails.pop():
            write(file, data[: len(data) // 2])
            raise OSError(errno.EIO, "Input/output error")
        return write(file, data)

    def never(file: int, size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.write", half)
    monkeypatch.setattr("os.ftruncate", never)
    writer = Writer(tmp_path, sync_seconds=0.01, segment_bytes=10**6, keep_bytes=10**7)
    writer.add(line("r1"))
    until(lambda: writer.state.written == 1)
    writer.close()
    found, position = log.read(tmp_path)
    assert ([one.id for one in found], position.bad) == (["r1"], 0)


def test_who_waits_is_answered_though_others_keep_coming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path, sync_seconds=0, segment_bytes=10**6, keep_bytes=10**7)
    fsync, coming = os.fsync, [True]

    def busy(file: int) -> None:
        fsync(file)
        if coming:
            writer.add(line("another"))

    monkeypatch.setattr("os.fsync", busy)

    async def ask() -> bool:
        writer.add(line("mine"))
        return await asyncio.wait_for(writer.durable(), 20)

    assert asyncio.run(ask())
    coming.clear()
    assert writer.close().dropped == 0


def test_a_full_disk_for_long_drops_lines_and_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitops.serve.writer._BUFFER", 5_000)
    (tmp_path / "log").write_text("a file in the way")
    writer = Writer(tmp_path / "log", sync_seconds=0.01, segment_bytes=10**6, keep_bytes=10**7)
    taken = sum(writer.add(line(f"r{number}")) for number in range(100))
    until(lambda: bool(writer.state.trouble))
    assert 0 < taken < 100
    assert (writer.state.waiting, writer.state.dropped) == (taken, 100 - taken)
    (tmp_path / "log").unlink()
    until(lambda: writer.state.healthy)
    writer.close()
    assert ids(tmp_path / "log") == [f"r{number}" for number in range(taken)]


# ---------------------------------------------------------------- a lost folder, a wrong clock


@pytest.mark.parametrize("how", [shutil.rmtree, lambda folder: folder.rename(f"{folder}.old")])
def test_a_folder_that_is_lost_is_made_again(tmp_path: Path, how: Callable[[Path], object]) -> None:
    folder = tmp_path / "log" / "late"
    writer = Writer(folder, sync_seconds=0.02, segment_bytes=10**6, keep_bytes=10**7)
    for number in range(3):
        writer.add(line(f"r{number}"))
        until(lambda number=number: writer.state.written == number + 1)  # type: ignore[misc]
        assert ids(folder) == [f"r{number}"]
        how(folder if number % 2 else folder.parent)
        shutil.rmtree(f"{folder}.old", ignore_errors=True)
        shutil.rmtree(f"{folder.parent}.old", ignore_errors=True)
    writer.add(line("last"))
    state = writer.close()
    assert (state.written, state.dropped, state.trouble) == (4, 0, "")
    assert ids(folder) == ["last"]


def test_a_clock_that_jumps_changes_neither_order_nor_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter((4e9, 1e9, 2e9, 5e8))
    monkeypatch.setattr(time, "time", lambda: next(times))
    position = Position()
    for number in range(4):
        made = line(f"r{number}")
        start = datetime.fromtimestamp(json.loads(made)["at"], UTC)
        monkeypatch.setattr(
            segments, "datetime", type("Clock", (), {"now": lambda _, at=start: at})
        )
        writer = Writer(tmp_path, sync_seconds=0.02, segment_bytes=1, keep_bytes=10**7)
        writer.add(made)
        until(lambda: writer.state.written == 1)  # noqa: B023
        writer.close()
        found, position = log.read(tmp_path, position)
        assert [one.id for one in found] == [f"r{number}"]
    monkeypatch.undo()
    names = [name for _, name in segments.listing(tmp_path)]
    assert names != sorted(names)
    assert ids(tmp_path) == ["r0", "r1", "r2", "r3"]
    # The oldest go by their number, too.
    segments.prune(tmp_path, keep=700, below=10)
    assert ids(tmp_path) == ["r2", "r3"]


def test_labels_that_can_not_be_written_are_not_acknowledged(small: Path) -> None:
    writer = labels.open(small)
    fill(small / "filler")
    body = b'{"labels": [{"id": "r1", "label": true}]}'
    with pytest.raises(Refusal, match="can't be kept"):
        asyncio.run(labels.take(writer, body))
    (small / "filler").unlink()
    until(lambda: writer.state.healthy)
    assert asyncio.run(labels.take(writer, body)) == 1
    writer.close()
    # The first attempt was written in the end: twice, which counts once.
    assert {(one.id, one.label) for one in labels.read(small / "labels")[0]} == {("r1", True)}
