from __future__ import annotations

import importlib.util
from pathlib import Path

import polars as pl
import pytest

from gitops import demo
from gitops.errors import ToolError, UsageError


def test_the_table_holds_only_what_is_known_before_departure(tmp_path: Path) -> None:
    flights = pl.read_csv(demo.prepare(tmp_path))
    assert flights.height == 327_346
    assert not {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"} & set(flights.columns)
    assert 0.24 < flights["late"].mean() < 0.25  # type: ignore[operator]


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match="not empty"):
        demo.play(tmp_path, print)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_the_data_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError) as error:
        demo.play(tmp_path / "new", print)
    assert "gitops-ml[demo]" in error.value.fix
    assert not (tmp_path / "new").exists()
