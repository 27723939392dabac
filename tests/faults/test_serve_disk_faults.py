"""A server whose state folder is lost, or whose disk is full: it answers on; new workers, too."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.serving import PACKAGES, serving, until
from tests.small_disk import file_system

CHAMPION = PACKAGES / "binary" / "package"


def test_without_its_state_folder_a_server_answers(tmp_path: Path) -> None:
    with serving(tmp_path, CHAMPION) as server:
        shutil.rmtree(server.state)
        assert server.predict().status == 200
        assert server.post("/models/binary/predict", b"{").status == 400
        assert server.get("/metrics").status == 200


def test_a_worker_that_starts_after_the_state_folder_is_lost_serves_the_packages(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, CHAMPION) as server:
        (worker,) = server.workers()
        shutil.rmtree(server.state)
        os.kill(worker, signal.SIGKILL)
        until(lambda: server.workers() not in ([], [worker]) and server.predict().status == 200)


def test_a_dead_worker_keeps_its_counts_and_no_more_room(tmp_path: Path) -> None:
    with serving(tmp_path, CHAMPION) as server:
        (worker,) = server.workers()
        for _ in range(3):
            assert server.predict().status == 200
        os.kill(worker, signal.SIGKILL)
        until(lambda: server.workers() not in ([], [worker]) and server.predict().status == 200)
        (values,) = (server.state / "metrics").glob(f"{worker}-*.values")
        assert 0 < values.stat().st_size < 4096
        counted = server.get("/metrics").body.decode()
        assert 'gitops_rows_total{model="binary"' in counted
        (line,) = [one for one in counted.splitlines() if one.startswith("gitops_rows_total{")]
        assert float(line.rpartition(" ")[2]) >= 4


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with file_system(tmp_path / "small", "2m") as folder:
        yield folder


def test_on_a_full_disk_a_killed_worker_is_replaced(small: Path) -> None:
    with serving(small, CHAMPION) as server:
        (worker,) = server.workers()
        with (small / "fill").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096) == 4096:
                pass
        assert server.predict().status == 200
        os.kill(worker, signal.SIGKILL)  # what is said of it finds no room in the server's log
        until(lambda: server.predict().status == 200)
        assert server.post("/models/binary/predict", b"{").status == 400
        (small / "fill").unlink()
        until(lambda: server.workers() not in ([], [worker]))  # it says what it serves, after all
        assert server.predict().status == 200
