"""The local target: a server on this machine, which follows the plan in the state folder.

The server is a process of its own that outlives us. We talk to it by the plan file, by what each of
its workers writes about itself, and over HTTP.
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gitops import __version__, proc
from gitops.deploy.ask import Answer, Endpoint
from gitops.deploy.model import Observed, Plan
from gitops.deploy.state import State
from gitops.errors import EvidenceError, ToolError, Where
from gitops.proc import Started

Json = dict[str, Any]
_SERVER = "server.json"
_LOOK = 0.05  # seconds between two looks at what the workers say
_PATIENCE = 120.0  # seconds until every worker serves a plan
_SAID = 12  # lines of the server's log that an error shows


@dataclass
class Local:
    """A server for `state`; `workers` None: as many as it takes by itself."""

    state: State
    endpoint: Endpoint
    workers: int | None
    say: Callable[[str], None]

    def place(self, listen: tuple[str, int]) -> None:
        self.endpoint = Endpoint(*listen)

    def listening(self) -> str:
        return self.endpoint.url

    def observe(self) -> Observed:
        server = self._server()
        started = self.state.read(_SERVER) or {}
        known = self._workers()
        served = {pid: int(one["generation"] or 0) for pid, one in known.items()}
        errors = [str(one["error"]) for one in known.values() if one.get("error")]
        generations = set(served.values())
        return Observed(
            pid=server.pid if server else None,
            listen=str(started.get("listen", "")),
            generation=generations.pop() if server and len(generations) == 1 else None,
            workers=served,
            error=errors[0] if errors else "",
        )

    def apply(self, plan: Plan) -> None:
        self.state.put_plan(plan)
        self.start()
        self._wait(plan.generation)

    def start(self) -> bool:
        """Start the server if there's none, or one of another address; whether one was started."""
        known = self.state.read(_SERVER)
        wanted = {"listen": self.endpoint.url, "workers": self.workers, "tool": __version__}
        server = self._server()
        if self.workers is None and known:
            wanted["workers"] = known.get("workers")
        if server and known and all(known.get(key) == one for key, one in wanted.items()):
            return False
        if server:
            self.say(f"restarting the server (process {server.pid}): it is to answer otherwise")
            self.stop()
        self._end_orphans()
        log = self.state.server_log
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > 1 << 24:
            log.replace(log.with_suffix(".log.1"))
        started = proc.detached(self._command(), log=log, cwd=self.state.folder)
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
        return {}

    def stop(self) -> bool:
        server = self._server()
        if server is not None:
            proc.end(server)
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

    def _command(self) -> list[str]:
        host, port = self.endpoint.host, self.endpoint.port
        listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        words = ["serve", "--plan", str(self.state.plan_file), "--state", str(self.state.folder)]
        more = ["--workers", str(self.workers)] if self.workers else []
        return [sys.executable, "-m", "gitops", *words, "--listen", listen, *more]

    def _server(self) -> Started | None:
        known = self.state.read(_SERVER)
        if known is None:
            return None
        found = Started(int(known["pid"]), str(known["since"]))
        return found if proc.is_alive(found) else None

    def _workers(self) -> dict[int, Json]:
        """What each live worker says of itself, by its process."""
        found = {}
        for path in (self.state.folder / "workers").glob("*.json"):
            try:
                told = json.loads(path.read_bytes())
            except (OSError, ValueError):
                continue  # it has just ended
            if proc.since(int(path.stem)) is not None:
                found[int(path.stem)] = told
        return found

    def _end_orphans(self) -> None:
        """Workers whose server was killed: they would go on answering beside the next one."""

    def _wait(self, generation: int) -> None:
        """Until every worker serves the generation, and the server says that it is ready."""
        deadline = time.monotonic() + _PATIENCE
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
                        f"the server can't serve this: {one['error']}",
                        fix="what ran goes on running",
                        where=Where(self.state.plan_file),
                    )
            reached = [int(one["generation"] or 0) >= generation for one in told.values()]
            if reached and all(reached) and self.ready():
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


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
