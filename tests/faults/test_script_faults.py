"""A server that is killed leaves no process of its scoring scripts behind, idle or at work."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.serve.projects import project
from tests.unit.serve.test_log import until

SCRIPT = """
import os, pathlib, time
pathlib.Path("pid").write_text(str(os.getpid()))

def before(rows):
    if rows[0]["distance"] == 666:
        pathlib.Path("working").touch()
        time.sleep(600)
    return rows
"""
SERVER = """
import asyncio, sys
from pathlib import Path
from gitops.serve import script
from tests.unit.serve.projects import ROW, body, model, serve

async def main():
    made = await script.start(model(), serve(Path(sys.argv[1]), "scoring.py"))
    Path(sys.argv[1], "ready").touch()
    if sys.argv[2] == "working":
        await made.answer(made.model.decode(body({**ROW, "distance": 666})))
    await asyncio.sleep(600)

asyncio.run(main())
"""


def is_alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return state.stdout.strip()[:1] not in ("", "Z")


@pytest.mark.parametrize("what", ["ready", "working"])
def test_the_end_of_the_server_is_that_of_the_script(tmp_path: Path, what: str) -> None:
    root = project(tmp_path / "project", scoring=SCRIPT)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(root), what], cwd=Path(__file__).parents[2]
    )
    try:
        until((root / what).exists, 60)
        worker = int((root / "pid").read_text())
        assert is_alive(worker)
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    until(lambda: not is_alive(worker), 60)
