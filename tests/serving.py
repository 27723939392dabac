"""A real server of ours: started, asked, followed, and ended."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gitops import package
from gitops.serve import plan as plans

PACKAGES = Path(__file__).parent / "contracts" / "packages"
ROW = {
    "distance": 2004.0,
    "delay": 44.72,
    "holiday": False,
    "carrier": "AA",
    "time": "2013-03-01T21:19:00Z",
}


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A running `gitops serve`."""

    process: subprocess.Popen[bytes]
    log: Path
    state: Path
    port: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        named = {"content-type": "application/json"} if raw is not None else {}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, raw, {**self.headers, **named})
            reply = connection.getresponse()
            return Reply(reply.status, reply.read(), {k.lower(): v for k, v in reply.getheaders()})
        finally:
            connection.close()

    def post(self, path: str, body: object, **headers: str) -> Reply:
        return self.ask("POST", path, body, **headers)

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, **headers)

    def predict(self, model: str = "binary", **headers: str) -> Reply:
        return self.post(f"/models/{model}/predict", {"row": ROW}, **headers)

    def said(self) -> list[dict[str, Any]]:
        """The lines of the server's log so far."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def workers(self) -> list[int]:
        """The processes that serve now."""
        return sorted(int(path.stem) for path in (self.state / "workers").glob("[0-9]*.json"))

    def serves(self, generation: int) -> bool:
        """Whether every worker serves this generation."""
        found = [
            json.loads(path.read_text())["generation"]
            for path in (self.state / "workers").glob("[0-9]*.json")
        ]
        return bool(found) and set(found) == {generation}

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of a metric with these labels."""
        total = 0.0
        for line in self.get("/metrics").body.decode().splitlines():
            found = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if found and all(
                f'{key}="{value}"' in (found[1] or "") for key, value in labels.items()
            ):
                total += float(found[2])
        return total

    def end(self, seconds: float = 60) -> int:
        """Ask it to end; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for a condition; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, ValueError, http.client.HTTPException):
            pass  # not yet
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.02)


@contextmanager
def serving(
    folder: Path, *arguments: str | Path, ready: bool = True, code: str = ""
) -> Iterator[Server]:
    """`gitops serve ARGUMENTS` on a free port, its state in `folder`, until the block ends.

    `code`: a program that does it instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log, state = folder / "server.log", folder / "state"
    words = [*map(str, arguments), "--state", str(state), "--listen", "127.0.0.1:0"]
    with log.open("wb") as file:
        program = ["-c", code] if code else ["-m", "gitops"]
        process = subprocess.Popen(
            [sys.executable, *program, "serve", *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    server = Server(process, log, state)

    def listening() -> bool:
        assert process.poll() is None, log.read_text()
        found = re.search(r"listening on https?://127\.0\.0\.1:(\d+)", log.read_text())
        if found:
            server.port = int(found[1])
        return bool(found)

    try:
        until(listening, 60)
        if ready:
            until(lambda: server.get("/v2/health/ready").status == 200, 60)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                pytest.fail(f"the server didn't end:\n{log.read_text()[-3000:]}")


def variant(folder: Path, release: str, assignment: str = "") -> plans.Variant:
    """A package as a variant of a plan."""
    return plans.Variant(release, assignment, folder.absolute(), package.read(folder).digest)


def plan(generation: int = 1, **models: plans.Served) -> plans.Plan:
    return plans.Plan(generation, "flights", "production", models)


def changed(folder: Path, change: Callable[[dict[str, Any]], object], task: str = "binary") -> Path:
    """A copy of a package with another signature.json."""
    shutil.copytree(PACKAGES / task / "package", folder)
    document = json.loads((folder / "signature.json").read_text("utf-8"))
    change(document)
    (folder / "signature.json").write_text(json.dumps(document), "utf-8")
    return folder


def stricter(folder: Path) -> Path:
    """A package of `binary` that takes no missing delay, and is positive from 0.9 on."""

    def change(document: dict[str, Any]) -> None:
        document["threshold"] = 0.9
        next(item for item in document["inputs"] if item["name"] == "delay")["nullable"] = False

    return changed(folder, change)


def lines(state: Path, model: str = "binary") -> list[dict[str, Any]]:
    """The lines of a model's prediction log, in no order."""
    found = sorted((state / "log" / model).glob("*.jsonl"))
    return [json.loads(line) for path in found for line in path.read_text().splitlines()]
