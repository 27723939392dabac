"""From the command line to a server, or to the reason why there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import util
from pathlib import Path
from types import SimpleNamespace

import pytest

from gitops import package
from gitops.errors import ToolError, UsageError
from gitops.serve import bench, require_extra, supervisor
from gitops.serve.load import Taken
from gitops.serve.options import Options, parse
from gitops.serve.start import address
from tests.serving import PACKAGES, ROW, serving

CHAMPION = PACKAGES / "binary" / "package"
ONNX = CHAMPION / "model.onnx"


def gitops(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "gitops", "serve", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


def test_options_reach_the_workers_as_they_are(tmp_path: Path) -> None:
    made = Options(
        tmp_path / "plan", tmp_path, timeout=0.5, api_keys=tmp_path / "k", otlp="http://x"
    )
    assert parse(made.text()) == made


@pytest.mark.parametrize(("text", "expected"), [
    ("127.0.0.1:8080", ("127.0.0.1", 8080)),
    ("[::1]:0", ("::1", 0)),
    ("host.example:65535", ("host.example", 65535)),
])  # fmt: skip
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert address(text) == expected


@pytest.mark.parametrize("text", ["", "8080", ":8080", "host:", "host:x", "host:65536", "host:-1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        address(text)


def test_an_address_in_use_is_told() -> None:
    with supervisor.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"can't listen on 127.0.0.1:{port}"):
            supervisor.listen("127.0.0.1", port)


@pytest.mark.parametrize(("arguments", "code", "what"), [
    ((), 2, "give packages, or a plan"),
    ((CHAMPION, "--plan", "x"), 2, "give packages, or a plan"),
    (("--plan", "x"), 2, "add --state DIR"),
    (("nowhere",), 3, "there is no package"),
    (("--bench",), 2, "--bench measures one package"),
    ((CHAMPION, "--bench", "--url", "http://192.0.2.1:80"), 2, "never sent load"),
    ((CHAMPION, "--bench", "--url", "http://127.0.0.1:1"), 4, "doesn't answer"),
    ((CHAMPION, "--tls-cert", ONNX, "--tls-key", ONNX), 3, "can't be used"),
])  # fmt: skip
def test_what_cannot_work_is_told(arguments: tuple[object, ...], code: int, what: str) -> None:
    done = gitops(*arguments)
    assert (done.returncode, what in done.stderr) == (code, True), done.stderr


def test_without_the_extra_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "uvloop" else found(name))
    with pytest.raises(ToolError, match="uvloop") as caught:
        require_extra()
    assert caught.value.fix == "install gitops-ml[serve]"


def test_a_package_is_measured(tmp_path: Path) -> None:
    done = gitops(CHAMPION, "--bench", "--seconds", "0.5", "--json", "--batch", "3")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["model"], report["rows"], report["connections"]) == ("binary", 3, 16)
    for part in (report["full"], report["steady"]):
        assert part["requests"] > 0
        assert part["errors"] == 0
        assert 0 < part["p50"] <= part["p95"] <= part["p99"]
    assert report["steady"]["wanted"] == pytest.approx(0.8 * report["full"]["rate"], rel=0.01)
    assert report["cpu_us"] > 0
    assert report["memory_mb"] > 10


def test_two_servers_have_no_state_in_common(tmp_path: Path) -> None:
    with serving(tmp_path, CHAMPION) as server:
        done = gitops(CHAMPION, "--listen", "127.0.0.1:0", "--state", server.state)
        assert (done.returncode, "another server keeps its state" in done.stderr) == (2, True)
        assert server.predict().status == 200


def test_a_running_server_is_measured_with_rows_of_a_file(tmp_path: Path) -> None:
    with serving(tmp_path, CHAMPION) as server:
        rows = PACKAGES / "binary" / "test.csv"
        done = gitops(
            CHAMPION, "--bench", "--seconds", "0.5", "--url", f"http://{server.url}", "--rows", rows
        )
        assert done.returncode == 0, done.stderr
        assert "80 %, at random" in done.stdout
        assert server.metric("gitops_surprises_total", kind="unknown_category") > 0


def test_rows_of_a_file_are_sent_as_they_are() -> None:
    found = package.read(CHAMPION)
    sent = [json.loads(body) for body in bench.bodies(found, PACKAGES / "binary" / "test.csv", 10)]
    assert [len(one["rows"]) for one in sent] == [10] * 6
    assert sent[0]["rows"][0] == {
        "distance": 331, "delay": 20.88, "holiday": True, "carrier": "ZZ",
        "time": "2013-11-07T20:55:00Z",
    }  # fmt: skip


def test_quantiles_are_of_what_was_answered() -> None:
    taken = Taken(2.0, [number / 1000 for number in range(100, 0, -1)])
    assert (taken.rate, taken.quantile(0.5), taken.quantile(0.99)) == (50.0, 51.0, 100.0)


def test_the_limit_of_open_files_is_raised_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[int, int]] = []
    fake = SimpleNamespace(
        RLIMIT_NOFILE=7, RLIM_INFINITY=-1,
        getrlimit=lambda _: (1024, 4096), setrlimit=lambda _, pair: told.append(pair),
    )  # fmt: skip
    monkeypatch.setattr(supervisor, "resource", fake)
    assert supervisor.raise_limit(100) == 100
    assert supervisor.raise_limit(2000) == 2000
    assert supervisor.raise_limit(12_000) == 4096 - 256
    assert told == [(2256, 4096), (4096, 4096)]


def test_packages_answer_as_the_settings_say_and_tell_status_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container, whose command can't be changed: by the environment."""
    monkeypatch.setenv("GITOPS_SERVE_IN_BODY", "true")
    settings = {"out_of_range": "reject", "ignore": ["gone"]}
    monkeypatch.setenv("GITOPS_SERVE_SETTINGS", json.dumps(settings))
    with serving(tmp_path, CHAMPION) as server:
        path = "/models/binary/predict"
        good = server.post(path, {"row": {**ROW, "gone": 1}})
        assert good.status == 200, good.body
        assert good.json["ms"] > 0
        far = server.post(path, {"row": {**ROW, "distance": 1e9}})
        assert far.status == 422
        assert far.json["error"]["status"] == 422
        assert far.json["error"]["ms"] > 0


def test_without_being_told_to_nothing_of_it_is_in_the_body(tmp_path: Path) -> None:
    with serving(tmp_path, CHAMPION) as server:
        path = "/models/binary/predict"
        assert "ms" not in server.post(path, {"row": ROW}).json
        assert not {"status", "ms"} & set(server.post(path, {"row": {}}).json["error"])


def test_settings_that_are_none_are_refused() -> None:
    done = gitops(CHAMPION, "--settings", '{"ignored": []}', "--listen", "127.0.0.1:0")
    assert done.returncode == 2
    assert "the settings can't be read" in done.stderr
