"""Another process on this machine, which knows nothing but the storage."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from gitops import daemon
from gitops.reproduce.compute.platform import Handle, Order, Seen


class Process:
    """It outlives us. It is found by the ticket in its command line, whoever started it."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._words = ("--job", order.ticket.text())

    def documents(self) -> dict[str, bytes]:
        return {"ticket.json": f"{self._order.ticket.text()}\n".encode()}

    def submit(self, folder: Path) -> Handle:
        command = [sys.executable, "-m", "gitops", "build", *self._words]
        daemon.start(command, log=folder / "process.log", cwd=folder, env=self._order.env)
        return {"host": socket.gethostname()}

    def look(self, handle: Handle) -> Seen:
        host = handle.get("host", socket.gethostname())
        if host != socket.gethostname():
            return Seen("running", f"a process of {host}")
        found = daemon.find(*self._words)
        if not found:
            return Seen("ended", "its process has ended")
        return Seen("running", f"process {found[0].pid}")

    def cancel(self, handle: Handle) -> None:
        for one in daemon.find(*self._words):
            daemon.end(one)

    def tidy(self, handle: Handle) -> None:
        pass

    def logs(self, handle: Handle) -> str:
        return f"cat .git/gitops/jobs/{self._order.job.id}/process.log"
