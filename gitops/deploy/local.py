"""The local target: a server on this machine, which follows the plan in the state folder.

The server is a process of its own that outlives us. We talk to it by the plan file, by what each of
its workers writes about itself, and over HTTP.
"""

from __future__ import annotations

import errno
import json
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gitops import __version__, daemon, jsontext
from gitops.daemon import Started
from gitops.deploy.ask import Answer, Endpoint
from gitops.deploy.model import Desired, Observed, Plan
from gitops.deploy.state import State
from gitops.errors import EvidenceError, ToolError, Where

Json = dict[str, Any]
_SERVER = "server.json"
_LOOK = 0.05  # seconds between two looks at what the workers say
_PATIENCE = 300.0  # seconds until a plan is served: a model's own code has an environment to make
_LETTING_GO = 35.0  # seconds until a server that was killed has answered what it had begun
_SAID = 12  # lines of the server's log that an error shows


@dataclass
class Local:
    """A server for `state`; `workers` None: as many as it was started with, else one."""

    state: State
    endpoint: Endpoint
    workers: int | None
    say: Callable[[str], None]
    kind: str = "local"

    def recall(self) -> None:
        """The state folder is on this machine already."""

    def place(self, desired: Desired) -> None:
        self.endpoint = Endpoint(*desired.listen)

    def listening(self) -> str:
        return self.endpoint.url

    def observe(self) -> Observed:
        server, started = self._server(), self.state.read(_SERVER) or {}
        known = self._workers()
        served = {pid: int(one["generation"] or 0) for pid, one in known.items()}
        errors = [str(one["error"]) for one in known.values() if one.get("error")]
        generations = set(served.values())
        return Observed(
            runs=server is not None,
            fits=self._fits(started),
            generation=generations.pop() if server and len(generations) == 1 else None,
            workers={str(pid): one for pid, one in served.items()},
            error=errors[0] if errors else "",
        )

    def documents(self, plan: Plan) -> Mapping[str, str]:
        return {self.state.plan_file.name: json.dumps(plan.as_json(), indent=1) + "\n"}

    def apply(self, plan: Plan) -> None:
        self.state.put_plan(plan)
        self.start()
        self._wait(plan.generation)

    def start(self) -> bool:
        """Start the server if there's none, or one of another address; whether one was started."""
        known = self.state.read(_SERVER) or {}
        server = self._server()
        if server and self._fits(known):
            return False
        if server:
            self.say(f"restarting the server (process {server.pid}): it is to answer otherwise")
            self.stop()
        self._end_orphans()
        log = self.state.server_log
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > 1 << 24:
            log.replace(log.with_suffix(".log.1"))
        wanted = self._wanted(known)
        command = self._command(wanted["workers"])
        started = daemon.start(command, log=log, cwd=self.state.folder)
        self.state.write(_SERVER, {"pid": started.pid, "since": started.since, **wanted})
        return True

    def ask(self, model: str, version: str, body: bytes | Mapping[str, Any]) -> Answer:
        return self.endpoint.post(f"/models/{model}/versions/{version}/predict", body)

    @contextmanager
    def aside(self, plan: Plan) -> Iterator[Local]:
        state = State(self.state.folder / "aside")
        shutil.rmtree(state.folder, ignore_errors=True)
        beside = Local(state, Endpoint("127.0.0.1", _free_port()), 1, self.say)
        try:
            beside.apply(plan)
            yield beside
        finally:
            beside.stop()
            shutil.rmtree(state.folder, ignore_errors=True)

    def mark(self, model: str) -> Json:
        folders = {"log": self.state.folder / "log" / model, "labels": self.state.folder / "labels"}
        return {
            kind: {path.name: path.stat().st_size for path in folder.glob("*.jsonl")}
            for kind, folder in folders.items()
        }

    def collect(self, model: str) -> None:
        """The server writes its log into the state folder already."""

    def stop(self) -> bool:
        server = self._server()
        if server is not None:
            daemon.end(server)
        self._end_orphans()
        (self.state.folder / _SERVER).unlink(missing_ok=True)
        return server is not None

    def ready(self) -> bool:
        """Whether it answers that it is ready."""
        try:
            return self.endpoint.get("/v2/health/ready", seconds=5).status == 200
        except ToolError:
            return False

    # ------------------------------------------------------------ the process

    def _wanted(self, known: Json) -> Json:
        """How the server is to be started, given how it was."""
        return {
            "address": {"host": self.endpoint.host, "port": self.endpoint.port},
            "workers": self.workers or known.get("workers") or 1,
            "tool": __version__,
        }

    def _fits(self, known: Json) -> bool:
        return all(known.get(key) == one for key, one in self._wanted(known).items())

    def _command(self, workers: int) -> list[str]:
        host, port = self.endpoint.host, self.endpoint.port
        listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        words = ["serve", "--plan", str(self.state.plan_file), "--state", str(self.state.folder)]
        words += ["--listen", listen, "--workers", str(workers)]
        return [sys.executable, "-m", "gitops", *words]

    def _server(self) -> Started | None:
        known = self.state.read(_SERVER)
        if known is None:
            return None
        found = Started(int(known["pid"]), str(known["since"]))
        return found if daemon.is_alive(found) else None

    def _workers(self) -> dict[int, Json]:
        """What each live worker says of itself, by its process."""
        found = {}
        for path in (self.state.folder / "workers").glob("*.json"):
            try:
                told = jsontext.loads(path.read_bytes())
            except (OSError, ValueError):
                continue  # it has just ended
            if daemon.since(int(path.stem)) is not None:
                found[int(path.stem)] = told
        return found

    def _end_orphans(self) -> None:
        """Servers of this plan that nothing remembers: whoever started one was killed.

        A killed server's workers end by themselves, and let go of the address when they have;
        another server's are not waited for.
        """
        for one in daemon.find("serve", "--plan", str(self.state.plan_file)):
            daemon.end(one)
        deadline = time.monotonic() + _LETTING_GO
        state = json.dumps(str(self.state.folder))  # as a worker is told it, see serve/options
        while not _is_free(self.endpoint) and daemon.find("gitops.serve.worker", text=state):
            if time.monotonic() > deadline:
                return  # another program's address: the server says so
            time.sleep(_LOOK)

    def _wait(self, generation: int) -> None:
        """Until every worker serves the generation, and the server says that it is ready."""
        deadline = time.monotonic() + _PATIENCE
        workers = int((self.state.read(_SERVER) or {}).get("workers") or 1)
        while True:
            server = self._server()
            if server is None:
                raise ToolError(
                    f"the server has ended: {self._said()}",
                    fix=f"see {self.state.server_log}; is {self.endpoint.url} free?",
                )
            told = self._workers()
            for one in told.values():
                if one.get("error") and int(one.get("wanted") or 0) >= generation:
                    raise EvidenceError(
                        f"the server can't serve this: {str(one['error']).splitlines()[0]}",
                        fix="what ran goes on running",
                        where=Where(self.state.plan_file),
                    )
            reached = [int(one["generation"] or 0) >= generation for one in told.values()]
            if len(reached) >= workers and all(reached) and self.ready():
                return
            if time.monotonic() > deadline:
                raise ToolError(
                    f"the server doesn't serve generation {generation} after {_PATIENCE:.0f}"
                    f" seconds: {self._said()}",
                    fix=f"see {self.state.server_log}",
                )
            time.sleep(_LOOK)

    def _said(self) -> str:
        try:
            raw = self.state.server_log.read_bytes()[-8000:]
        except OSError:
            return "it has said nothing"
        lines = raw.decode("utf-8", "replace").strip().splitlines()[-_SAID:]
        return "\n  ".join(["it said:", *lines]) if lines else "it has said nothing"


def remembered(state: State) -> Endpoint | None:
    """Where the server was started to answer; None: none was."""
    known = state.read(_SERVER)
    return Endpoint(**known["address"]) if known else None


def _is_free(endpoint: Endpoint) -> bool:
    """Whether one could listen there; what can't be a matter of waiting counts as free."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    with socket.socket(family) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((endpoint.host, endpoint.port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
