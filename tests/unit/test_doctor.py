"""`gitops doctor`: what it says of this machine."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from gitops import doctor

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("free", "state"), [((2 << 30) - 1, "warn"), (3 << 30, "ok")])
def test_a_full_disk_is_said(
    free: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, (1 << 40) - free, free))
    (disk,) = (one for one in doctor.examine(tmp_path) if one.check == "disk")
    assert disk.state == state
    assert bool(disk.fix) == (state == "warn")
