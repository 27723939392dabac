"""What every command has in common."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ASKED = """
import os, sys
from gitops import cli
sys.argv = ["gitops", "--version"]
try:
    cli.main()
except SystemExit as ended:
    print(ended.code, os.environ["ORT_DISABLE_TELEMETRY"])
"""


@pytest.mark.parametrize(("given", "then"), [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")])
def test_no_library_reports_what_runs(given: dict[str, str], then: str) -> None:
    env = {name: text for name, text in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", ASKED], env=env | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"0 {then}"
