"""Repositories for builds on other machines, and jobs of them, in the test's own process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gitops import config, mailbox, sha256
from gitops.mailbox import Mailbox
from gitops.reproduce.compute import submit
from gitops.reproduce.compute.submit import Request
from gitops.reproduce.compute.waiting import Patience
from gitops.reproduce.model import Outcome, places

if TYPE_CHECKING:
    from tests.conftest import Repository

COMPUTE = "compute:\n  here: {process: {}}\n"
QUICK = Patience(poll=0.1, look=0.3, silence=60, ends=3, claim=timedelta(seconds=60))


def git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def wait(condition: Callable[[], object], what: str, seconds: float = 300) -> None:
    """Until `condition` holds; too long without it fails the test."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.1)


@dataclass
class Elsewhere:
    """A repository with a compute, the folder of its storage (if it is one), and what was said."""

    root: Path
    storage: Path
    said: list[str] = field(default_factory=list)

    @property
    def request(self) -> Request:
        found = config.load(self.root)
        return Request(self.root, found, places(self.root, found), next(iter(found.compute)))

    def build(self, patience: Patience = QUICK) -> Outcome:
        """`gitops build --on NAME`."""
        return submit.build_on(self.request, commit=True, say=self.said.append, patience=patience)

    def submit(self) -> submit.Submitted:
        """`gitops build --on NAME --detach`."""
        with mailbox.opened(self.root) as files:
            return submit.submit(self.request, files, self.said.append, QUICK)

    @contextmanager
    def box(self, name: str) -> Iterator[Mailbox]:
        with mailbox.opened(self.root) as files:
            yield Mailbox(self.root, files, name)

    @property
    def boxes(self) -> list[Path]:
        """The mailboxes of a storage that is a folder."""
        return sorted((self.storage / "jobs").iterdir())

    @property
    def state(self) -> tuple[str, str, bytes]:
        """What must be as it was where a build is refused."""
        lock = (self.root / "dvc.lock").read_bytes()
        return git(self.root, "rev-parse", "HEAD"), git(self.root, "status", "--porcelain"), lock

    def change(self, **settings: object) -> None:
        """Change the settings that the stages read, and commit."""
        path = self.root / "settings.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}) + "\n")
        git(self.root, "commit", "--quiet", "--all", "-m", "Change the settings")


def environment(monkeypatch: pytest.MonkeyPatch, env: Mapping[str, str]) -> None:
    """Make the environment of this process exactly `env`."""
    for name in set(os.environ) - env.keys():
        if name not in ("PYTEST_CURRENT_TEST",):
            monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)


def declared(root: Path, compute: str = COMPUTE) -> None:
    """Declare a compute, and commit."""
    with (root / "gitops.yaml").open("a") as file:
        file.write(compute)
    git(root, "commit", "--quiet", "--all", "-m", "Declare a compute")


@pytest.fixture
def fresh(
    light: Repository, git_identity: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Elsewhere:
    """A repository with a compute and a change that nobody has built."""
    environment(monkeypatch, git_identity)
    declared(light.root)
    place = Elsewhere(light.root, light.storage)
    place.change(note="second")
    return place


def moved(source: Elsewhere, target: Path) -> Elsewhere:
    """A copy of the repository and its storage: the same commits, another place."""
    root, storage = target / "churn", target / "churn-storage"
    shutil.copytree(source.root, root, symlinks=True)
    shutil.copytree(source.storage, storage)
    at(root, {"url": str(storage)})
    return Elsewhere(root, storage)


def at(root: Path, options: Mapping[str, str]) -> None:
    """Let this clone's default remote be another one than its commits say."""
    lines = "".join(f"    {name} = {value}\n" for name, value in options.items())
    (root / ".dvc" / "config.local").write_text("['remote \"storage\"']\n" + lines)


def rewritten(box: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Change a file of a mailbox, and the digests in result.json, as who can write there could."""
    path = box / name
    old = path.read_bytes()
    if path.suffix == ".json":
        document = json.loads(old)
        path.write_text(json.dumps(change(document) or document))
    else:
        path.write_bytes(change(old.decode()).encode())
    result = box / "result.json"
    if name != "result.json":
        text = result.read_text()
        before, after = sha256.of(old), sha256.of(path.read_bytes())
        assert before != after
        result.write_text(text.replace(before, after))
