"""A PostgreSQL of a test's own: made in a folder, on a free port of this machine, stopped after."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.programs import has_name

PASSWORD = "t0p-s3cret:p@ss/word"
_PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


@dataclass(frozen=True)
class Server:
    """A server that answers on 127.0.0.1; `user` has the password above, and may read all."""

    port: int
    top: str  # the URL of whoever may do everything, by a socket

    def url(
        self, user: str = "reader", password: str = "t0p-s3cret%3Ap%40ss%2Fword", **other: str
    ) -> str:
        host, database = other.get("host", "127.0.0.1"), other.get("database", "flights")
        port = other.get("port", str(self.port))
        return f"postgresql://{user}:{password}@{host}:{port}/{database}"


@contextmanager
def server() -> Iterator[Server]:
    """A running server with the database `flights`; skips where PostgreSQL isn't installed."""
    programs = {name: _program(name) for name in ("initdb", "postgres")}
    if not all(programs.values()):
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    who = _who()
    if not has_name():
        pytest.skip("PostgreSQL takes no user whose id has no name (/etc/passwd)")
    with TemporaryDirectory(prefix="gitops-pg-", dir="/tmp") as folder:
        if who:
            shutil.chown(folder, "nobody")
        data, secret = Path(folder, "data"), Path(folder, "password")
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}"]
        options += ["--username=top", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [*who, str(programs["initdb"]), *options, str(data)], check=True, capture_output=True
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": folder}
        settings |= {"port": str(port), "fsync": "off", "timezone": "Asia/Tokyo"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        running = subprocess.Popen(
            [*who, str(programs["postgres"]), "-D", str(data), *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            found = Server(port, f"postgresql://top@/flights?host={folder}&port={port}")
            _prepare(found, folder, running)
            yield found
        finally:
            running.terminate()
            running.wait(60)


def _prepare(found: Server, folder: str, running: subprocess.Popen[bytes]) -> None:
    import psycopg

    first = f"postgresql://top@/postgres?host={folder}&port={found.port}"
    end = time.monotonic() + 60
    while True:
        try:
            with psycopg.connect(first, autocommit=True) as top:
                top.execute("create database flights")
                top.execute(f"create role reader login password '{PASSWORD}'".encode())
                top.execute("grant pg_read_all_data to reader")
            return
        except psycopg.OperationalError:
            assert running.poll() is None, "the server ended"
            assert time.monotonic() < end, "the server doesn't answer"
            time.sleep(0.1)


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *map(str, _PLACES)]))


def _who() -> Sequence[str]:
    """Words that run a command as somebody else: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return ()
    return ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--pdeathsig=TERM")


def emptied(connection: Any) -> None:
    """No table is left, and the reader may read those to come."""
    connection.execute("drop schema public cascade")
    connection.execute("create schema public")
    connection.execute("grant usage on schema public to reader")
