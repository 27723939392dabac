"""Starts a job on a machine that has Python, git and an index of packages, and nothing of ours.

It is handed over as it is, with requirements.txt beside it, so it needs the standard library alone.
What it runs is held against hashes that came with it: packages against requirements.txt, job.json
against the ticket, the commit's pack against job.json, and the tool, which is in the commit,
against requirements.txt.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def main(ticket_text: str, here: Path) -> None:
    """Install what the tool needs, then go on in that environment.

    Raises:
        RuntimeError: something isn't what its hash says, or a step failed.
    """
    # The identity of an Azure ML cluster, as its machines call it.
    identity = os.environ.get("DEFAULT_IDENTITY_CLIENT_ID")
    if identity:
        os.environ.setdefault("AZURE_CLIENT_ID", identity)
    work = Path(tempfile.mkdtemp(prefix="gitops-bootstrap-"))
    try:
        lines = (here / "requirements.txt").read_text("utf-8").splitlines(keepends=True)
        own = [line for line in lines if line.startswith("./")]
        others, tool = work / "packages.txt", work / "tool.txt"
        others.write_text("".join(line for line in lines if line not in own), "utf-8")
        tool.write_text("".join(own), "utf-8")
        home = work / "tool"
        python = str(home / "bin" / "python")
        _environment(home)
        _install(python, others, work)
        _run([python, str(here / "bootstrap.py"), "fetch", ticket_text, str(work)])
        if own:
            _install(python, tool, work / "commit")
        _run([str(home / "bin" / "gitops"), "build", "--job", ticket_text])
    finally:
        shutil.rmtree(work, ignore_errors=True)


def fetch(ticket_text: str, work: Path) -> None:
    """Get the commit's pack out of the storage, and of it what holds the tool."""
    ticket = json.loads(ticket_text)
    files, top = _storage(ticket["url"], ticket["options"])
    box = "{}/jobs/{}".format(top, ticket["id"])
    raw = files.cat_file(box + "/job.json")
    _hold(raw, ticket["digest"], "job.json")
    job = json.loads(raw)
    pack = files.cat_file("{}/{}.pack".format(box, job["pack"]["sha256"]))
    _hold(pack, job["pack"]["sha256"], "the commit's pack")
    commit, target = job["commit"], work / "commit"
    git = ["git", "-C", str(target)]
    _run(["git", "init", "--quiet", "--template=", str(target)])
    (target / ".git" / "shallow").write_text(commit + "\n")
    kept = target / ".git" / "objects" / "pack" / "pack-0.pack"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(pack)
    _run([*git, "index-pack", "--strict", str(kept)])
    _run([*git, "checkout", "--quiet", commit, "--", ".gitops/tool"])


def _storage(url: str, options: dict[str, str]) -> tuple[Any, str]:
    """The file system of the storage, and our top in it; it logs in as the machine does."""
    fsspec = importlib.import_module("fsspec")
    scheme, _, top = url.partition("://")
    if not top:
        return fsspec.filesystem("file"), url
    if scheme == "s3":
        named = {"endpoint_url": options.get("endpointurl"), "region_name": options.get("region")}
        settings = {name: value for name, value in named.items() if value}
        return fsspec.filesystem("s3", client_kwargs=settings), top
    account = {"account_name": options["account_name"]} if "account_name" in options else {}
    return fsspec.filesystem("abfs", anon=False, **account), top


def _environment(home: Path) -> None:
    if shutil.which("uv"):
        _run(["uv", "venv", "--quiet", "--python", sys.executable, str(home)])
    else:
        _run([sys.executable, "-m", "venv", str(home)])


def _install(python: str, requirements: Path, cwd: Path) -> None:
    """Install by hash alone; a path in the file is meant from `cwd`."""
    options = ["--quiet", "--no-deps", "--require-hashes", "--requirement", str(requirements)]
    if shutil.which("uv"):
        _run(["uv", "pip", "install", "--python", python, *options], cwd)
    else:
        _run([python, "-m", "pip", "install", "--disable-pip-version-check", *options], cwd)


def _hold(content: bytes, digest: str, what: str) -> None:
    if hashlib.sha256(content).hexdigest() != digest:
        raise RuntimeError(what + " isn't what was submitted")


def _run(command: list[str], cwd: Path | None = None) -> None:
    code = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL).returncode
    if code:
        raise RuntimeError("{} ended with exit code {}".format(" ".join(command[:3]), code))


if __name__ == "__main__":
    if sys.argv[1] == "fetch":
        fetch(sys.argv[2], Path(sys.argv[3]))
    else:
        # Databricks runs a file without saying which one it is.
        main(sys.argv[1], Path(sys._getframe().f_code.co_filename).resolve().parent)
