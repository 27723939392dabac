"""Serving one linear model beside the peers: all servers run at once, and are asked in turns."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from benchmarks import serving_model
from benchmarks.cases import BIN, PROJECT
from benchmarks.measure import Row, row_of
from gitops.serve import plan as plans
from gitops.serve import start

PEERS = "GITOPS_BENCH_SERVING"  # a Python that has FastAPI, MLflow and BentoML
_CONNECTIONS = 16
_SECONDS = 3.0


@dataclass
class Contender:
    """A server: where it answers, how rows are sent to it, and where its scores are."""

    name: str
    command: Sequence[str]
    path: str
    wrap: Callable[[list[dict[str, float]]], object]
    scores: Callable[[Any], list[float]]
    env: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    pid: int = 0
    cpu: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    batch: list[float] = field(default_factory=list)
    tail: list[float] = field(default_factory=list)
    memory: int = 0


def run(folder: Path, rounds: int, env: Mapping[str, str]) -> Iterator[Row]:
    """Rows for the table; a peer that can't be had is left out, and said so."""
    home = folder / "serving"
    serving_model.write(home / "package")
    contenders = _contenders(home)
    with ExitStack() as stack:
        for one in contenders:
            print(f"serving: starting {one.name} ...", file=sys.stderr)
            stack.enter_context(_running(one, home, env))
        for number in range(rounds + 1):  # the first warms up
            for one in contenders:
                _measure(one, counted=number > 0)
        for one in contenders:
            if one.name != "echo":
                _tail(one)
            one.memory = sum(_pss(pid) for pid in _tree(one.pid)) // 1_000_000
    for work, what, budget in (
        ("10,000 predictions over HTTP, 16 connections", "cpu", 1.2),
        ("1,000 rows in a request: wall time of 1,000 such, p50", "batch", 3.0),
        ("p99 of 1,000 predictions at 80 % load, wall", "tail", None),
    ):
        for one in contenders:
            if values := getattr(one, what):
                yield row_of(f"serving_{what}", work, one.name, values, one.memory, budget)


def soak(folder: Path, seconds: float, env: Mapping[str, str]) -> str:
    """Ask our server all the while; its memory (PSS), the median of each minute."""
    home = folder / "serving"
    serving_model.write(home / "package")
    one = _contenders(home)[0]
    seen: list[tuple[float, float]] = []
    with _running(one, home, env):
        started = time.monotonic()
        answered = errors = 0
        while (now := time.monotonic() - started) < seconds:
            taken = _load(one, _bodies(one, 1), 10.0)
            answered, errors = answered + taken["requests"], errors + taken["errors"]
            seen.append((now, sum(_pss(pid) for pid in _tree(one.pid)) / 1e6))
    minutes: dict[int, list[float]] = {}
    for at, size in seen:
        minutes.setdefault(int(at // 60), []).append(size)
    told = ", ".join(f"{statistics.median(sizes):.1f}" for sizes in minutes.values())
    return f"soak of {seconds:.0f} s: {answered:,} requests, {errors} errors; MB by minute: {told}"


def _contenders(home: Path) -> list[Contender]:
    def rows(given: list[dict[str, float]]) -> object:
        return {"rows": given}

    ours, plan = str(BIN / "gitops"), home / "plan.json"
    plans.write(plan, start.plan_of([home / "package"], logged=False))
    plain = _uvicorn(sys.executable)
    onnx = {"MODEL": str(home / "package" / "model.onnx")}
    found = [
        Contender(
            "gitops", [ours, "serve", "--plan", str(plan), "--state", str(home / "state"),
                       "--listen", "127.0.0.1:{port}"],
            "/models/linear/predict", rows, lambda answer: answer["scores"],
        ),
        Contender("echo", [*plain, "serving_peers:echo"], "/", rows, lambda answer: []),
        Contender(
            "asgi+onnx", [*plain, "--factory", "serving_peers:bare"], "/", rows,
            lambda answer: answer["scores"], onnx,
        ),
    ]  # fmt: skip
    python = os.environ.get(PEERS)
    if not python:
        print(f"peers are skipped: {PEERS} names no Python that has them", file=sys.stderr)
        return found
    peers = Path(__file__).with_name("serving_peers.py")
    numbers = [json.dumps(serving_model.COEFFICIENTS), str(serving_model.INTERCEPT)]
    subprocess.run([python, str(peers), "make", str(home), *numbers], check=True, cwd=home)
    bin_ = Path(python).parent
    mlflow = [
        "models",
        "serve",
        "-m",
        str(home / "mlflow"),
        "-p",
        "{port}",
        "--env-manager",
        "local",
    ]
    bento = ["serve", "serving_peers:Service", "--host", "127.0.0.1", "--port", "{port}"]
    tools = {"PATH": f"{bin_}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true",
             "BENTOML_DO_NOT_TRACK": "1", "DO_NOT_TRACK": "1",
             "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false"}  # fmt: skip
    return [
        *found,
        Contender(
            "fastapi+onnx", [*_uvicorn(python), "--factory", "serving_peers:fast"], "/", rows,
            lambda answer: answer["scores"], onnx,
        ),
        Contender(
            "mlflow", [str(bin_ / "mlflow"), *mlflow, "--workers", "1"], "/invocations",
            lambda given: {"dataframe_records": given},
            lambda answer: [one[1] for one in answer["predictions"]], tools,
        ),
        Contender(
            "bentoml", [str(bin_ / "bentoml"), *bento], "/predict", rows, lambda answer: answer,
            {**tools, "MODEL": str(home / "model.joblib"), "GITOPS_BENCH_BENTO": "1",
             "BENTOML_HOME": str(home / "bento")},
        ),
    ]  # fmt: skip


def _uvicorn(python: str) -> list[str]:
    options = "--loop uvloop --http httptools --no-access-log --lifespan off --log-level error"
    line = (
        f"-m uvicorn --host 127.0.0.1 --port {{port}} --no-server-header --no-date-header {options}"
    )
    return [python, *line.split()]


@contextmanager
def _running(one: Contender, home: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Start it, and see that it says what the model says."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        one.port = free.getsockname()[1]
    work = home / f"run-{one.name}"
    work.mkdir()
    shutil.copy(PROJECT / "benchmarks" / "serving_peers.py", work)
    command = [part.format(port=one.port) for part in one.command]
    with (work / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=work, env={**env, **one.env}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    one.pid = process.pid
    try:
        _prove(one, process, work / "log")
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _prove(one: Contender, process: subprocess.Popen[bytes], log: Path) -> None:
    given = [serving_model.row(number) for number in range(5)]
    body = json.dumps(one.wrap(given))
    deadline = time.monotonic() + 120
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{one.name} doesn't answer:\n{log.read_text()[-3000:]}")
        connection = HTTPConnection("127.0.0.1", one.port, timeout=30)
        try:
            connection.request("POST", one.path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        except OSError:
            time.sleep(0.2)
            continue
        finally:
            connection.close()
        if answer.status == 200:
            break
        time.sleep(0.2)
    found = one.scores(json.loads(text))
    expected = [serving_model.score(row) for row in given][: len(found)]
    if one.name != "echo" and len(found) != len(given):
        raise RuntimeError(f"{one.name} answers {len(found)} rows of {len(given)}")
    if any(abs(a - b) > 1e-6 for a, b in zip(found, expected, strict=True)):
        raise RuntimeError(f"{one.name} answers {found}, not {expected}")


def _measure(one: Contender, *, counted: bool) -> None:
    before = _cpu(one.pid)
    single = _load(one, _bodies(one, 1), _SECONDS)
    spent = _cpu(one.pid) - before
    large = _load(one, _bodies(one, 1000), _SECONDS / 2, connections=1)
    if single["errors"] or large["errors"]:
        raise RuntimeError(f"{one.name} failed {single['errors']} and {large['errors']} requests")
    if counted:
        one.cpu.append(spent / single["requests"] * 10_000)
        one.rates.append(single["rate"])
        one.batch.append(large["p50"])


def _tail(one: Contender) -> None:
    rate = 0.8 * statistics.median(one.rates)
    one.tail.append(_load(one, _bodies(one, 1), 2 * _SECONDS, rate=rate)["p99"])


def _bodies(one: Contender, rows: int) -> list[str]:
    count = 200 if rows == 1 else 4
    each = [[serving_model.row(n * rows + at) for at in range(rows)] for n in range(count)]
    return [json.dumps(one.wrap(given)) for given in each]


def _load(
    one: Contender,
    bodies: list[str],
    seconds: float,
    *,
    connections: int = _CONNECTIONS,
    rate: float | None = None,
) -> dict[str, Any]:
    """From a process of its own, as clients are."""
    job = {"port": one.port, "path": one.path, "bodies": bodies, "seconds": seconds,
           "connections": connections, "rate": rate}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving_load"],
        input=json.dumps(job), cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _tree(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for one in found:
        for path in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(child) for child in path.read_text().split()]
            except OSError:
                continue
    return found


def _cpu(pid: int) -> float:
    ticks = 0
    for one in _tree(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))  # with what ended meanwhile
    return ticks / os.sysconf("SC_CLK_TCK")


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
