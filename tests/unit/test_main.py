"""What every command has in common."""

from __future__ import annotations

import os
import sys

import pytest

from gitops import cli


@pytest.mark.parametrize(("given", "then"), [(None, "1"), ("0", "0")])
def test_no_library_reports_what_runs(
    given: str | None, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", given or "")
    if given is None:
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    monkeypatch.setattr(sys, "argv", ["gitops", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert os.environ["ORT_DISABLE_TELEMETRY"] == then
