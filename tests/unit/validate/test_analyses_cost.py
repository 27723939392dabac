from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitops import proc
from gitops.errors import ToolError
from gitops.validate.analyses import cost

Make = Callable[..., Any]


def test_both_models_are_measured_in_one_run(
    tmp_path: Path, people: Make, make_package: Make
) -> None:
    frame = people("binary", 300, 1)
    new = make_package(tmp_path / "new", frame)
    old = make_package(tmp_path / "old", frame[:100], features=["income"])
    found = {one.name: one for one in cost(new, old, people("binary", 50, 2))}
    assert set(found) >= {"package_bytes", "single_row_ms", "batch_ms"}
    size = found["package_bytes"]
    whole = sum(path.stat().st_size for path in new.folder.iterdir())
    assert (size.candidate, size.measured, size.unit) == (whole, False, "B")
    assert size.champion is not None and size.champion < whole
    for name in found.keys() - {"package_bytes"}:
        assert found[name].measured
        assert found[name].candidate > 0
        assert found[name].champion is not None
    assert found["batch_ms"].candidate > found["single_row_ms"].candidate
    if Path("/proc/self/status").exists():
        assert 0 < found["memory_mib"].candidate < 500


def test_what_cannot_be_measured_is_left_out(
    tmp_path: Path, people: Make, make_package: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = people("binary", 300, 1)
    model = make_package(tmp_path / "p", frame)
    declared = replace(model, session=None)
    assert [one.name for one in cost(declared, model, frame)] == ["package_bytes"]
    assert [one.name for one in cost(model, None, frame[:0])] == ["package_bytes"]

    def fail(*_: object, **__: object) -> proc.Done:
        raise ToolError("no process")

    monkeypatch.setattr(proc, "run", fail)
    found = cost(model, declared, frame[:1])
    assert [one.name for one in found] == ["package_bytes", "single_row_ms", "batch_ms"]
    assert found[0].champion == found[0].candidate
    assert found[1].champion is None
