"""The demo on a terminal, as a person watches it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pexpect
import pytest


@pytest.mark.extended("installs an environment and trains; tests of proc hold what ends processes")
def test_ctrl_c_in_the_middle_of_it_leaves_nothing_running(
    installed: Path, tmp_path: Path, git_identity: dict[str, str]
) -> None:
    folder = tmp_path / "demo"
    words = ["demo", str(folder)]
    terminal = pexpect.spawn(
        str(installed / "gitops"), words, env=git_identity, timeout=600, encoding="utf-8"
    )
    terminal.expect("2/16 . Build")
    terminal.expect("late: train")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    deadline = time.monotonic() + 60
    while (left := running(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    again = subprocess.run(
        [installed / "gitops", "demo", folder], env=git_identity, capture_output=True, text=True
    )
    assert again.returncode == 2
    assert f"look around in {folder / 'flights'}" in again.stderr


def running(folder: Path) -> list[str]:
    """The command lines of processes that are about the folder."""
    listed = subprocess.run(["ps", "-axo", "args="], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(folder) in line]
