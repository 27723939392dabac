"""Numbers in files: added up over workers, and never lost with one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gitops.serve import metrics
from gitops.serve.supervisor import metrics_folder

COUNT = """
import os, sys
from pathlib import Path
from gitops.serve import metrics
metrics.keep(Path(sys.argv[1]))
one = metrics.variant("late", "v1", "champion")
for seconds in (0.0004, 0.0005, 0.02, 99.0):
    one.answered(seconds, 3)
one.failed(500)
metrics.add("gitops_surprises", "late", 'a "quoted" \\n column', "unknown_category", number=2)
metrics.put("gitops_connections", 5)
metrics.put("gitops_generation", int(sys.argv[2]))
print(os.getpid(), flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return metrics_folder(tmp_path)


def killed(folder: Path, generation: int) -> int:
    """A process that counts and is killed; its number."""
    command = [sys.executable, "-c", COUNT, str(folder), str(generation)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    return int(done.stdout)


def samples(folder: Path) -> dict[str, float]:
    lines = metrics.text(folder).decode().splitlines()
    parts = [line.rpartition(" ") for line in lines if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in parts}


def test_what_killed_workers_counted_stays_and_their_gauges_do_not(folder: Path) -> None:
    first, _ = killed(folder, 7), killed(folder, 8)
    found = samples(folder)
    of = 'model="late",variant="champion",version="v1"'
    requests = 'gitops_requests_total{{model="late",status="{}",variant="champion",version="v1"}}'
    assert found[requests.format(200)] == 8
    assert found[requests.format(500)] == 2
    assert found[f"gitops_rows_total{{{of}}}"] == 24
    buckets = {
        bound: found[f'gitops_request_seconds_bucket{{le="{bound}",{of}}}']
        for bound in ("0.0005", "0.01", "0.025", "10.0", "+Inf")
    }
    assert buckets == {"0.0005": 4, "0.01": 4, "0.025": 6, "10.0": 6, "+Inf": 8}
    assert found[f"gitops_request_seconds_count{{{of}}}"] == 8
    assert found[f"gitops_request_seconds_sum{{{of}}}"] == pytest.approx(2 * 99.0209)
    assert found["gitops_connections"] == 10
    assert found["gitops_generation"] == 7
    metrics.bury(folder, first)
    after = samples(folder)
    assert after["gitops_connections"] == 5
    assert after["gitops_generation"] == 8
    gauges = ("gitops_connections", "gitops_generation")
    assert {k: v for k, v in after.items() if k not in gauges} == {
        k: v for k, v in found.items() if k not in gauges
    }


def test_labels_are_escaped(folder: Path) -> None:
    killed(folder, 1)
    text = metrics.text(folder).decode()
    assert r'column="a \"quoted\" \n column"' in text


def test_without_workers_there_are_names_and_no_numbers(folder: Path) -> None:
    assert samples(folder) == {}
    assert b"# TYPE gitops_request_seconds histogram" in metrics.text(folder)
