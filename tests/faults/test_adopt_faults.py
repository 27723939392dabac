"""Adoption killed just before each change of the disk: all of it is there then, or nothing."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from gitops import git
from gitops.scaffold import adopt, vendor
from gitops.scaffold.render import tool_file
from tests.unit.scaffolds import contents

_CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}


def killed(planned: adopt.Adoption, at: int) -> bool:
    """Write in a child that is killed at its change `at` of the file system; whether it was."""
    child = os.fork()
    if not child:
        count = 0

        def strike(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            flags = arguments[2] if event == "open" else 0
            if event in _CHANGES or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)):
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(strike)
        try:
            adopt.write(planned)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_killed_at_any_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = [tool_file(".gitops/tool/gitops_ml-0.whl", b"wheel")]
    monkeypatch.setattr(vendor, "vendored", lambda: packed)
    root = tmp_path / "acme"
    git.init(root, "main")
    (root / "train.py").write_text("model.fit()\n")
    (root / ".dvcignore").write_text("theirs\n")
    before = contents(root)
    undone = whole = 0
    for at in range(1, 1000):
        planned = adopt.propose(root, {})
        if not killed(planned, at):
            break
        if adopt.adopted(root):  # what the next command sees
            whole += 1
            break
        assert contents(root) == before
        undone += 1
    assert undone > 20
    now = contents(root)
    assert {path: now[path] for path in before} == before
    assert sorted(now.keys() - before.keys()) == sorted(planned.files)
    assert whole or at < 999
