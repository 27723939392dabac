"""The systemd unit: what systemd itself says of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gitops.deploy import unit

AWKWARD = 'a b % $HOME "q" \\'


def made(folder: Path, *more: str) -> str:
    command = [sys.executable, "-m", "gitops", "deploy", "production", "--follow", *more]
    return unit.unit("flights", "production", folder, command, {"GITOPS_STATE": AWKWARD})


def test_it_keeps_following_and_leaves_the_server_alone() -> None:
    text = made(Path("/srv/flights"))
    assert "gitops deploy production --follow\n" in text
    assert "Restart=always" in text
    assert "KillMode=process" in text


def test_what_systemd_would_expand_is_quoted() -> None:
    text = made(Path("/srv/100%"), AWKWARD)
    assert "WorkingDirectory=/srv/100%%\n" in text
    assert '"a b %% $$HOME \\"q\\" \\\\"' in text
    assert 'Environment="GITOPS_STATE=a b %% $HOME \\"q\\" \\\\"' in text


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd isn't installed")
@pytest.mark.parametrize(("broken", "code"), [("", 0), ("Typ=exec\nExecStart=nowhere\n", 1)])
def test_systemd_accepts_it(tmp_path: Path, broken: str, code: int) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    file = tmp_path / "flights.service"
    text = made(folder, AWKWARD)
    file.write_text(text.replace("[Install]", f"{broken}[Install]"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(file)],
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if "flights" in line]
    assert (bool(said) or done.returncode != 0) == bool(code), done.stderr
