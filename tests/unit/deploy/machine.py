"""A machine that deploys: a real repository behind a bare remote, and `gitops` as a process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, ClassVar

from gitops.deploy import state as states
from gitops.deploy.ask import Answer, Endpoint
from gitops.deploy.state import State
from gitops.errors import ToolError
from tests.forked import GITOPS, HERE
from tests.unit.promote.line import Line
from tests.unit.validate import conftest as tables

SECONDS = 90  # until something that must happen has happened
PACE = 0.005  # seconds between two requests of a client: more of them would only take the processor
PLACES = """\
environments:
  - {{name: dev, branch: main, listen: "127.0.0.1:{0}"}}
  - {{name: staging, branch: release/staging, policy: lax, listen: "127.0.0.1:{1}"}}
  - name: production
    branch: release/production
    policy: lax
    listen: "127.0.0.1:{2}"
    rollout: {rollout}
"""
LAX = """version: 1
name: lax
description: A gate that lets a bad model pass, so that its traffic must find it.
checks:
  - {metric: roc_auc, task: binary, no_worse_than_champion: {margin: 0.9}}
slices: {minimum_rows: 100, minimum_per_class: 30}
on_inconclusive: warn
"""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass(frozen=True)
class Machine:
    """`line` is the repository; what is deployed is kept in `home`."""

    line: Line
    home: Path
    program: ClassVar[str] = GITOPS

    def deploy(self, environment: str, *words: str) -> Ran:
        """`gitops deploy` to its end."""
        return self.gitops("deploy", environment, *words)

    def gitops(self, *words: str) -> Ran:
        return self.ran(self.program, *words)

    def ran(self, program: str, *words: str) -> Ran:
        """What a program of this code said on this machine."""
        done = HERE.run(words, code=program, cwd=self.line.root, env=self.env, timeout=SECONDS * 3)
        return Ran(done.returncode, done.stdout, done.stderr)

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "GITOPS_STATE": str(self.home)}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """`gitops`, which goes on."""
        return subprocess.Popen(
            [sys.executable, "-c", self.program, *words],
            cwd=self.line.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def state(self, environment: str) -> State:
        (found,) = self.home.glob(f"*/{environment}") if self.home.is_dir() else [None]
        return State(found) if found else states.of("demo", str(self.line.origin), environment)

    def endpoint(self, environment: str) -> Endpoint:
        return Endpoint(*self.line.config.listen(environment))

    def ask(self, environment: str, rows: int = 1, **headers: str) -> Answer:
        return self.endpoint(environment).post(
            "/models/demo/predict", {"rows": people(rows)}, **headers
        )

    def release(self, environment: str) -> str:
        """What answers now."""
        answer = self.ask(environment)
        assert answer.status == 200, answer.body
        return str(answer.body["release"])

    def server(self, environment: str) -> int:
        found = self.state(environment).read("server.json")
        assert found is not None
        return int(found["pid"])

    def records(self) -> list[dict[str, Any]]:
        """The deployment records of the remote, in their order."""
        here = self.line.world().records
        paths = sorted(
            here.names("deployments"), key=lambda path: int(path[:-5].rpartition("-")[2])
        )
        found = here.many(paths)
        return sorted((found[path] for path in paths), key=lambda one: str(one["finished"]))

    def happened(self, environment: str) -> list[tuple[str, str]]:
        """What the records say of an environment: release and state."""
        return [
            (one["release"], one["state"])
            for one in self.records()
            if one["environment"] == environment
        ]

    def stop(self) -> None:
        """No server stays behind."""
        for environment in ("staging", "production"):
            if list(self.home.glob(f"*/{environment}")):
                self.deploy(environment, "--stop")


def people(count: int, seed: int = 5) -> list[dict[str, Any]]:
    """Raw rows as a client sends them."""
    frame = tables.people(count=count, seed=seed).drop("id", "sex", "label")
    rows: list[dict[str, Any]] = json.loads(frame.write_json())
    for row in rows:
        row["joined"] = row["joined"].replace(" ", "T")[:19] + "Z"
    return rows


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with_ports = [socket.socket() for _ in range(count)]
    try:
        for one in with_ports:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in with_ports]
    finally:
        for one in with_ports:
            one.close()


def until(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Wait for a condition; what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} seconds"
        time.sleep(0.05)


@contextmanager
def meanwhile(step: Callable[[], None], pause: float = PACE) -> Iterator[None]:
    """Do `step` again and again beside the test, with so many seconds between two of them."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(pause):
            step()

    client = threading.Thread(target=run)
    client.start()
    try:
        yield
    finally:
        ended.set()
        client.join()


@contextmanager
def asking(machine: Machine, environment: str) -> Iterator[list[tuple[int, str]]]:
    """A client that asks all the while; status and release of each answer."""
    seen: list[tuple[int, str]] = []

    def ask() -> None:
        try:
            answer = machine.ask(environment)
        except ToolError as error:
            seen.append((0, error.message))
            return
        told = answer.body if isinstance(answer.body, dict) else {}
        seen.append((answer.status, str(told.get("release"))))

    with meanwhile(ask):
        yield seen


@contextmanager
def in_use(machine: Machine, environment: str, *, seed: int = 11) -> Iterator[list[int]]:
    """Users of an environment: rows and, after each answer, what came true; statuses of all."""
    frame = tables.people(count=4000, seed=seed)
    rows, labels = people(4000, seed), frame["label"].to_list()
    seen: list[int] = []
    users = cycle(zip(rows, labels, strict=True))

    def use() -> None:
        row, label = next(users)
        try:
            answer = machine.endpoint(environment).post("/models/demo/predict", {"rows": [row]})
            seen.append(answer.status)
            if answer.status == 200:
                said = {"labels": [{"id": answer.body["id"], "row": 0, "label": label}]}
                seen.append(machine.endpoint(environment).post("/labels", said).status)
        except ToolError:
            seen.append(0)

    with meanwhile(use):
        yield seen
