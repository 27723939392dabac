"""The front of a simulated forge: REST as its official description says, and git over HTTP.

Every request and every answer is held against the description; `problems` lists what was wrong.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests import forge_azure, forge_github
from tests.forge_contract import Contract, Reply, Request
from tests.forge_simulator import OWNER, REPOSITORY, Simulator

_CONTRACTS = {
    "github": Contract("github.json"),
    "azure": Contract("azure.yaml", "azure-settings.yaml"),
}
_FRONTS = {"github": forge_github.answer, "azure": forge_azure.answer}
_PREFIXES = {"/api/v3": "github", "/azure": "azure"}


@dataclass(frozen=True)
class Fault:
    """Answer the next request whose `METHOD path` matches with `reply`; None: break off.

    `after`: the forge does what was asked all the same.
    """

    matches: str
    reply: Reply | None
    after: bool = False


class Server(ThreadingHTTPServer):
    """`with serve(simulator) as server`; addresses and variables are those of the platform."""

    daemon_threads = True

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.simulator = simulator
        self.problems: list[str] = []
        self.requests: list[Request] = []
        self.faults: list[Fault] = []

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def github_url(self) -> str:
        return f"{self.root}/{OWNER}/{REPOSITORY}.git"

    @property
    def azure_url(self) -> str:
        return f"{self.root}/azure/{OWNER}/{REPOSITORY}/_git/{REPOSITORY}"

    @staticmethod
    def login(url: str, user: str) -> str:
        """`url` with credentials in it: without them a push is refused, as forges do."""
        return url.replace("//", f"//{user}:secret@", 1)

    @property
    def github_env(self) -> dict[str, str]:
        """What GitHub Actions sets, and a token."""
        return {
            "GITHUB_SERVER_URL": self.root,
            "GITHUB_API_URL": f"{self.root}/api/v3",
            "GITHUB_TOKEN": "ghs_secret",
            "NO_PROXY": "127.0.0.1",
        }

    @property
    def azure_env(self) -> dict[str, str]:
        """What Azure Pipelines sets, and a token."""
        return {
            "SYSTEM_COLLECTIONURI": f"{self.root}/azure/{OWNER}/",
            "SYSTEM_ACCESSTOKEN": "azure_secret",
            "NO_PROXY": "127.0.0.1",
        }

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A bug of the simulation fails the test; a client that is gone doesn't."""
        if not isinstance(sys.exception(), ConnectionError):
            self.problems.append(traceback.format_exc())

    def fault(self, request: Request) -> Fault | None:
        """The fault that this request meets; each strikes once."""
        for one in self.faults:
            if re.search(one.matches, f"{request.method} {request.path}"):
                self.faults.remove(one)
                return one
        return None

    def reply(self, platform: str, request: Request) -> Reply | None:
        """The answer to a REST request, both checked."""
        contract = _CONTRACTS[platform]
        operation = contract.operation(request.method, request.path)
        shown = f"{request.method} {request.path}"
        wrong = _headers(platform, request)
        if operation is None:
            wrong.append("no such operation")
        else:
            wrong += contract.request(operation, request.query, request.body)
            request = replace(request, operation=operation.body["operationId"])
        self.requests.append(request)
        if wrong or operation is None:
            self.problems += [f"{shown}: {one}" for one in wrong]
            return Reply(422, {"message": "; ".join(wrong)})
        fault = self.fault(request)
        if fault and not fault.after:
            return fault.reply
        values = {name: unquote(value) for name, value in operation.values.items()}
        with self.simulator.lock:
            answered = _FRONTS[platform](self.simulator, self.root, contract, request, values)
        if fault:
            return fault.reply
        wrong = contract.answer(operation, answered.status, answered.body)
        self.problems += [f"{shown}: {one}" for one in wrong]
        return answered


def _headers(platform: str, request: Request) -> list[str]:
    """What GitHub's and Azure's documentation ask of every request's headers."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    wanted = {"authorization": r"(Bearer|Basic) \S+", "user-agent": r".+"}
    if platform == "github":
        wanted |= {
            "accept": r"application/vnd\.github\+json",
            "x-github-api-version": r"2022-11-28",
            "authorization": r"Bearer \S+",
        }
    if request.body is not None:
        wanted["content-type"] = r"application/json"
    return [
        f"header {name}: {headers.get(name)!r}"
        for name, pattern in wanted.items()
        if not re.fullmatch(pattern, headers.get(name, ""))
    ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _serve(self) -> None:
        url = urlsplit(self.path)
        content = self._content()
        for prefix, platform in _PREFIXES.items():
            if url.path.startswith(f"{prefix}/") and "/_git/" not in url.path:
                query = dict(parse_qsl(url.query, keep_blank_values=True))
                body = json.loads(content) if content else None
                path = url.path.removeprefix(prefix)
                headers = dict(self.headers.items())
                reply = self.server.reply(
                    platform, Request(self.command, path, query, headers, body)
                )
                self._send(reply)
                return
        self._git(url.path, url.query, content)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def _content(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, reply: Reply | None) -> None:
        if reply is None:
            self.close_connection = True
            return
        raw = reply.body if isinstance(reply.body, bytes) else b""
        if reply.body is not None and not isinstance(reply.body, bytes):
            raw = json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _git(self, path: str, query: str, content: bytes) -> None:
        """Smart HTTP by git's own program for it."""
        fault = self.server.fault(Request(self.command, path, {}, {}, None))
        if fault and not fault.after:
            self._send(fault.reply)
            return
        repository = self.server.simulator.path
        _, found, rest = path.partition(f"/{REPOSITORY}.git/")
        if not found:
            _, found, rest = path.partition(f"/_git/{REPOSITORY}/")
        if not found:
            self._send(Reply(404))
            return
        user = self._user()
        if not user and "git-receive-pack" in f"{path}{query}":
            self._send(Reply(401, None, {"WWW-Authenticate": 'Basic realm="forge"'}))
            return
        done = subprocess.run(
            ["git", "http-backend"],
            input=content,
            capture_output=True,
            env={
                **os.environ,
                "GIT_PROJECT_ROOT": str(repository),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": f"/{rest}",
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(content)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_USER": user,
            },
        )
        if fault:
            self._send(fault.reply)
            return
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        status = int(headers.pop("Status", "200").split()[0])
        self._send(Reply(status, body, headers))

    def _user(self) -> str:
        """The name in HTTP's basic scheme, or who a bearer is; "" without either.

        Any password is the right one.
        """
        kind, _, text = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return "build-service" if text else ""
        return base64.b64decode(text).decode().partition(":")[0] if kind.lower() == "basic" else ""


@contextmanager
def serve(simulator: Simulator) -> Iterator[Server]:
    """A running front; at the end, what broke a contract fails the test."""
    with Server(simulator) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
    assert not server.problems, "\n".join(server.problems)
