"""What a server survives: bad requests, bad clients, killed workers, broken plans; under load."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from gitops.serve import plan as plans
from tests.serving import PACKAGES, ROW, Server, plan, serving, stricter, until, variant

CHAMPION = PACKAGES / "binary" / "package"
PATH = "/models/binary/predict"
HEAD = (
    b"POST /models/binary/predict HTTP/1.1\r\nHost: x\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("faults"), CHAMPION) as found:
        yield found
        assert found.predict().json["predictions"] == ["true"]
        assert "bug" not in {line["event"] for line in found.said()}


# ---------------------------------------------------------------- bodies

MALFORMED = [
    (b"", 400, "not JSON"),
    (b"{", 400, "not JSON"),
    (b"\xff\xfe{}", 400, "not UTF-8"),
    (b'{"row": {"distance": \xff}}', 400, "not UTF-8"),
    (b"[" * 100_000, 400, "nested too deeply"),
    (b'{"row": ' + b'{"a":' * 50_000, 400, "nested too deeply"),
    (b'{"rows": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400, "nested too deeply"),
    (b"[]", 422, "not an object"),
    (b"null", 422, "not an object"),
    (b"{}", 422, "no rows"),
    (b'{"rows": {}}', 422, "not a list"),
    (b'{"rows": [1]}', 422, "not an object"),
    (b'{"rows": []}', 422, "no rows"),
    (b'{"columns": []}', 422, "not an object"),
    (b'{"columns": {}}', 422, "missing"),
    (b'{"rows": [{}]}', 422, "missing"),
    (b'{"instances": [[1]]}', 422, "unknown key"),
    (json.dumps({"row": {**ROW, "carrier": "\ud800"}}).encode(), 400, "surrogate"),
    (json.dumps({"row": ROW, "rows": [ROW]}).encode(), 422, "row and rows"),
    (json.dumps({"row": ROW}).encode()[:-1], 400, "not JSON"),
    (json.dumps({"row": ROW}).encode() + b"{}", 400, "not JSON"),
]


@pytest.mark.parametrize(("body", "status", "what"), MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_body_is_told_why(server: Server, body: bytes, status: int, what: str) -> None:
    found = server.post(PATH, body)
    assert (found.status, what in found.json["error"]["message"]) == (status, True), found.body
    assert len(found.body) < 1000


VALUES: list[tuple[str, Any, str]] = [
    ("distance", "far", "not a number"),
    ("distance", True, "not a number"),
    ("distance", None, "missing value"),
    ("distance", float("nan"), "not a finite number"),
    ("distance", float("-inf"), "not a finite number"),
    ("distance", 10**400, "not a finite number"),
    ("distance", [1], "not a number"),
    ("holiday", 1, "not a boolean"),
    ("holiday", "true", "not a boolean"),
    ("carrier", 5, "not text"),
    ("carrier", {"a": 1}, "not text"),
    ("time", 1.5, "no time"),
    ("time", "yesterday", "no time"),
    ("time", "", "missing value"),
    ("time", "2013-02-30", "no time"),
    ("distance", "x" * 100_000, "not a number"),
]


@pytest.mark.parametrize("form", ["rows", "columns", "row"])
@pytest.mark.parametrize(("column", "value", "what"), VALUES, ids=range(len(VALUES)))
def test_a_wrong_value_is_named_with_its_place(
    server: Server, form: str, column: str, value: Any, what: str
) -> None:
    rows = [ROW, {**ROW, column: value}]
    bodies: dict[str, dict[str, Any]] = {
        "rows": {"rows": rows},
        "columns": {"columns": {name: [row[name] for row in rows] for name in ROW}},
        "row": {"row": rows[1]},
    }
    found = server.post(PATH, bodies[form])
    error = found.json["error"]
    assert found.status == 422
    assert (error["model"], error["row"], error["column"]) == ("binary", int(form != "row"), column)
    assert what in error["message"]
    assert error["fix"]
    assert len(found.body) < 600


def test_unknown_and_missing_columns_are_named_with_the_nearest(server: Server) -> None:
    odd = server.post(PATH, {"rows": [ROW, {**ROW, "distence": 3}]}).json["error"]
    assert (odd["message"], odd["row"], odd["value"]) == ("unknown column", 1, "'distence'")
    assert "did you mean 'distance'?" in odd["fix"]
    less = {name: value for name, value in ROW.items() if name != "time"}
    error = server.post(PATH, {"rows": [ROW, less]}).json["error"]
    assert (error["message"], error["row"], error["column"]) == ("the column is missing", 1, "time")
    columns = {name: [value] for name, value in ROW.items()} | {"time": []}
    uneven = server.post(PATH, {"columns": columns}).json["error"]
    assert (uneven["column"], "0 values" in uneven["message"]) == ("time", True)


def test_too_many_rows_and_bytes_are_refused(server: Server) -> None:
    found = server.post(PATH, {"columns": {name: [value] * 10_001 for name, value in ROW.items()}})
    assert found.status == 413
    assert "at most 10,000 rows" in found.json["error"]["fix"]
    before = memory(server)
    found = server.post(PATH, b" " * 100_000_000)  # announced
    assert found.status == 413
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    with suppress(ConnectionError):  # it may hang up while we still send
        connection.request(
            "POST", PATH, iter([b" " * 100_000] * 1000), {"content-type": "application/json"}
        )
    assert connection.getresponse().status == 413
    connection.close()
    assert memory(server) - before < 40_000_000


def memory(server: Server) -> int:
    """Resident bytes of the workers."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in server.workers()]
    return sum(pages) * resource.getpagesize()


# ---------------------------------------------------------------- clients


def raw(server: Server, data: bytes = b"") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    made.sendall(data)
    return made


def reply(connection: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    parts = []
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@contextmanager
def limited(folder: Path, files: int | None = None, **limits: object) -> Iterator[Server]:
    """A server with other limits than the command line offers; `files`: that it may open."""
    code = (
        "import resource, sys\n"
        f"files = {files}\n"
        "if files: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))\n"
        "from pathlib import Path\n"
        "from gitops.serve import start\n"
        "_, _, package, _, state, _, listen = sys.argv\n"
        "start.serve([Path(package)], plan=None, state=Path(state), listen=listen,"
        f" settings={limits!r}, say=lambda text: print(text, file=sys.stderr, flush=True))\n"
    )
    with serving(folder, CHAMPION, code=code) as found:
        yield found


def test_slow_heads_bodies_and_readers_are_sent_away(tmp_path: Path) -> None:
    with limited(tmp_path, head_timeout=0.5, body_timeout=1.0, idle_timeout=2.0) as server:
        head = raw(server, b"POST /models/binary/predict HTTP/1.1\r\nHost: x\r\n")
        body = raw(
            server,
            b"POST /models/binary/predict HTTP/1.1\r\nHost: x\r\ncontent-length: 500\r\n\r\n{",
        )
        idle, breaks = raw(server), raw(server, b"\r\n\r\n")
        early = raw(server, HEAD % 10**9 + b"{")  # is refused at once, and never sends the rest
        trickle = raw(server, b"GET /v2/health/live HTTP/1.1\r\n")
        sent = 0
        with suppress(OSError):
            while sent < 200:  # a byte now and then keeps nobody in
                trickle.sendall(b"x")
                sent += 1
                time.sleep(0.05)
        assert sent < 200
        assert server.predict().status == 200
        assert reply(head).startswith(b"HTTP/1.1 408 ")
        assert reply(body).startswith(b"HTTP/1.1 408 ")
        assert reply(idle) == reply(breaks) == b""
        assert reply(early).count(b"HTTP/1.1 ") == 1
        until(lambda: server.metric("gitops_connections") <= 1)


def test_a_head_without_end_is_cut_off(server: Server) -> None:
    connection = raw(server, b"GET /v2 HTTP/1.1\r\nHost: x\r\n")
    sent = 0
    with suppress(OSError):
        while sent < 10_000_000:
            connection.sendall(b"x-more: " + b"y" * 10_000 + b"\r\n")
            sent += 10_000
    assert sent < 10_000_000
    assert server.predict().status == 200


def test_requests_in_a_row_are_all_answered_wherever_they_are_cut(server: Server) -> None:
    body = json.dumps({"row": ROW}).encode()
    one, number = HEAD % len(body) + body, 1500  # more than a head may have
    connection = raw(server)
    sender = threading.Thread(target=connection.sendall, args=(one * number,))
    sender.start()
    got = b""
    while got.count(b"HTTP/1.1 ") < number or not got.endswith(b"}"):
        part = connection.recv(65536)
        assert part, got[-300:]
        got += part
    sender.join()
    connection.close()
    assert got.count(b"HTTP/1.1 200 ") == number


def test_bodies_that_come_slowly_keep_nobody_out(tmp_path: Path) -> None:
    with limited(tmp_path, active=8, bodies=1_000_000) as server:
        slow = [raw(server, HEAD % 500 + b"{") for _ in range(50)]
        until(lambda: server.metric("gitops_connections") >= 50)
        assert server.predict().status == 200
        size = 600_000
        slow += [raw(server, HEAD % size + b" " * (size - 1)) for _ in range(2)]
        until(lambda: server.metric("gitops_refused_total", status="503") == 1)  # no room for both
        assert server.predict().status == 200
        for connection in slow:
            connection.close()
        until(lambda: server.metric("gitops_connections") <= 1)
        body = json.dumps({"rows": [ROW] * 2000}).encode()
        assert server.post(PATH, body).status == 200  # the room was given back


def test_garbage_is_no_request(server: Server) -> None:
    for data in (b"\0" * 1000, b"GET\r\n\r\n", b"SSH-2.0-x\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        connection = raw(server, data)
        connection.shutdown(socket.SHUT_WR)
        assert reply(connection)[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 404 ", b"")
    assert server.predict().status == 200


def test_who_hangs_up_midway_leaves_nothing_behind(server: Server) -> None:
    body = json.dumps({"rows": [ROW] * 2000}).encode()
    for cut in (1, 1000, len(body) - 1, len(body)):
        for _ in range(5):
            raw(server, HEAD % len(body) + body[:cut]).close()
    until(lambda: server.metric("gitops_connections") <= 1)
    until(lambda: server.metric("gitops_queued_requests") == 0)
    assert server.predict().status == 200


def test_thousands_of_idle_connections_keep_nobody_out(tmp_path: Path) -> None:
    wanted = 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted + 300:
        wanted = hard - 300
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted + 300, hard), hard))
    connections: list[socket.socket] = []
    try:
        with serving(tmp_path, CHAMPION) as server:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted + 300, hard), hard))
            for _ in range(wanted):
                connections.append(raw(server))
            until(lambda: server.metric("gitops_connections") >= wanted)
            for _ in range(50):
                assert server.predict().status == 200
            assert memory(server) < 600_000_000
            for connection in connections:
                connection.close()
            until(lambda: server.metric("gitops_connections") <= 1)
    finally:
        for connection in connections:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("limits", [{"connections": 20}, {"files": 276}], ids=["ours", "system's"])
def test_beyond_its_connections_a_server_says_so(tmp_path: Path, limits: dict[str, Any]) -> None:
    with limited(tmp_path, **limits) as server:
        idle = [raw(server) for _ in range(20)]
        until(lambda: reply_of(server).startswith(b"HTTP/1.1 503 "))
        for connection in idle:
            connection.close()
        until(lambda: server.predict().status == 200)


def reply_of(server: Server) -> bytes:
    connection = raw(
        server, b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nconnection: close\r\n\r\n"
    )
    try:
        return reply(connection)
    finally:
        connection.close()


# ---------------------------------------------------------------- load


@dataclass
class Load:
    """Clients that ask all the while, each over one connection that it opens again if need be."""

    server: Server
    body: bytes
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    wrong: list[bytes] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    right: Callable[[Any], bool] = lambda answer: answer["predictions"] == ["true"]

    def run(self) -> None:
        connection: HTTPConnection | None = None
        while not self.stop.is_set():
            try:
                if connection is None:
                    connection = HTTPConnection("127.0.0.1", self.server.port, timeout=60)
                connection.request("POST", PATH, self.body, {"content-type": "application/json"})
                found = connection.getresponse()
                text = found.read()
            except (OSError, HTTPException):
                self.broken += 1
                if connection is not None:
                    connection.close()
                connection = None
                continue
            self.statuses[found.status] += 1
            if found.status == 200 and not self.right(json.loads(text)):
                self.wrong.append(text)
        if connection is not None:
            connection.close()


@contextmanager
def under_load(server: Server, clients: int = 6, body: object = None) -> Iterator[Load]:
    load = Load(server, json.dumps(body or {"row": ROW}).encode())
    threads = [threading.Thread(target=load.run, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: load.statuses[200] > 50)
        yield load
        seen = load.statuses[200]
        until(lambda: load.statuses[200] > seen + 50)
    finally:
        load.stop.set()
        for thread in threads:
            thread.join(60)


def test_a_killed_worker_is_started_again_and_the_others_go_on(tmp_path: Path) -> None:
    with serving(tmp_path, CHAMPION, "--workers", "2") as server:
        until(lambda: len(server.workers()) == 2)
        with under_load(server) as load:
            for _ in range(3):
                before = server.workers()
                victim = before[0]
                os.kill(victim, signal.SIGKILL)
                seen = load.statuses[200]
                until(lambda seen=seen: load.statuses[200] > seen + 50)  # type: ignore[misc]
                until(
                    lambda victim=victim: (
                        len(server.workers()) == 2  # type: ignore[misc]
                        and victim not in server.workers()
                    )
                )
        assert load.wrong == []
        assert set(load.statuses) == {200}
        assert load.broken <= 3 * 6  # at most what the killed ones had in hand
        deaths = [line for line in server.said() if line["event"] == "worker died"]
        assert [line["code"] for line in deaths] == [-signal.SIGKILL] * 3


def test_a_worker_that_cannot_start_is_tried_ever_less_often(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("0" * 64)
    with serving(tmp_path, CHAMPION, "--api-keys", keys) as server:
        keys.unlink()
        os.kill(server.workers()[0], signal.SIGKILL)

        def pauses() -> list[float]:
            return [said["again_in"] for said in server.said() if said["event"] == "worker died"]

        until(lambda: len(pauses()) >= 4)
        assert pauses()[:4] == [0.0, 0.5, 1.0, 2.0]
        why = [said["why"] for said in server.said() if said["event"] == "can't serve"]
        assert "the API keys can't be read" in why[0]
        keys.write_text("0" * 64)
        until(lambda: server.get("/v2/health/ready").status == 200, 60)


def test_who_does_not_read_the_answers_is_sent_away(tmp_path: Path) -> None:
    with limited(tmp_path, body_timeout=1.0, idle_timeout=2.0) as server:
        body = json.dumps({"rows": [ROW] * 2000}).encode()
        one = HEAD % len(body) + body
        greedy = raw(server)
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.settimeout(60)
        sent = 0
        with suppress(OSError):
            while sent < 2000:  # asks, and never looks at what comes
                greedy.sendall(one)
                sent += 1
        assert sent < 2000
        assert server.predict().status == 200
        until(lambda: server.metric("gitops_connections") <= 1)
        greedy.close()


def test_without_a_place_for_the_log_answers_go_on(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "log").write_text("no folder")
    with serving(tmp_path, CHAMPION) as server:
        assert server.predict().status == 200
        until(lambda: "prediction log" in {said["event"] for said in server.said()})
        (said,) = [said for said in server.said() if said["event"] == "prediction log"]
        assert (said["level"], said["model"]) == ("error", "binary")
        assert server.predict().status == 200


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path, CHAMPION, "--workers", "2") as server:
        until(lambda: len(server.workers()) == 2)
        workers = server.workers()
        server.process.kill()
        server.process.wait()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
        with pytest.raises(ConnectionRefusedError):
            raw(server)


def test_plans_are_swapped_under_load_without_a_lost_request(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    champion = variant(CHAMPION, "binary@v1.0.0")
    other = variant(stricter(tmp_path / "other"), "binary@v1.1.0")
    quiet = plans.Serve(log=plans.Log(sample=0))
    plans.write(file, plan(1, binary=plans.Served(champion, serve=quiet)))
    with serving(tmp_path, "--plan", file, "--workers", "2") as server:
        until(lambda: len(server.workers()) == 2)
        with under_load(server) as load:
            for generation in range(2, 12):
                one = champion if generation % 2 else other
                plans.write(file, plan(generation, binary=plans.Served(one, serve=quiet)))
                until(lambda g=generation: server.serves(g))  # type: ignore[misc]
                assert server.predict().json["release"] == one.release
        assert (set(load.statuses), load.broken, load.wrong) == ({200}, 0, [])


def test_a_broken_package_under_load_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    champion = variant(CHAMPION, "binary@v1.0.0")
    broken = variant(stricter(tmp_path / "broken"), "binary@v1.1.0")
    (tmp_path / "broken" / "model.onnx").write_bytes(b"broken")
    lost = replace(broken, folder=tmp_path / "lost")
    plans.write(file, plan(1, binary=plans.Served(champion)))
    with serving(tmp_path, "--plan", file, "--workers", "2") as server:
        until(lambda: len(server.workers()) == 2)
        with under_load(server) as load:
            for generation, one in ((2, broken), (3, lost)):
                plans.write(file, plan(generation, binary=plans.Served(one)))
                until(
                    lambda g=generation: all(  # type: ignore[misc]
                        (said["wanted"], said["generation"]) == (g, 1) and said["error"]
                        for said in states(server)
                    )
                )
        assert (set(load.statuses), load.broken, load.wrong) == ({200}, 0, [])
        assert server.get("/v2/health/ready").status == 200
        # A worker that starts now finds only the broken plan: it says so, and isn't ready.
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(server.workers()) == 2 and victim not in server.workers())
        assert sorted(str(said["generation"]) for said in states(server)) == ["1", "None"]


def states(server: Server) -> list[dict[str, Any]]:
    files = (server.state / "workers").glob("[0-9]*.json")
    return [json.loads(path.read_text()) for path in files]


def test_what_is_under_way_is_answered_before_the_server_ends(tmp_path: Path) -> None:
    with serving(tmp_path, CHAMPION) as server:
        body = json.dumps({"rows": [ROW] * 10_000}).encode()
        connection = raw(server, HEAD % len(body) + body[:-10])
        until(lambda: server.metric("gitops_connections") >= 1)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: "draining" in {line["event"] for line in server.said()})
        connection.sendall(body[-10:])
        found = reply(connection)
        assert found.startswith(b"HTTP/1.1 200 OK")
        assert found.count(b'"true"') == 10_000
        assert server.process.wait(60) == 0


def test_large_requests_wait_in_a_bounded_queue_and_small_ones_pass_by(tmp_path: Path) -> None:
    with limited(tmp_path, queue=2) as server:
        body = {"rows": [ROW] * 10_000}
        load = Load(
            server, json.dumps(body).encode(), right=lambda a: len(a["predictions"]) == 10_000
        )
        threads = [threading.Thread(target=load.run, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: load.statuses[503] > 20 and load.statuses[200] > 3)
            for _ in range(30):
                assert server.predict().status == 200
        finally:
            load.stop.set()
            for thread in threads:
                thread.join(60)
        assert (set(load.statuses), load.wrong) == ({200, 503}, [])
        busy = server.metric("gitops_refused_total", status="503")
        assert busy == load.statuses[503]


def test_an_overloaded_server_says_when_to_come_again(tmp_path: Path) -> None:
    with limited(tmp_path, active=0) as server:
        found = server.predict()
        assert (found.status, found.headers["retry-after"]) == (503, "1")
        assert server.get("/v2/health/live").status == 200


def test_a_request_that_takes_too_long_is_told_so(tmp_path: Path) -> None:
    with limited(tmp_path, timeout=0.001) as server:
        found = server.post(PATH, {"rows": [ROW] * 10_000})
        assert found.status == 504
        assert server.predict().status == 200
