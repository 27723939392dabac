"""`python -m benchmarks.evidence ROWS [--changed]`: CPU, time and memory of the gate's evidence.

A repository with two packages and evaluations of that many rows is made in a temporary folder, then
read by a process of its own. `--changed`: the candidate has another test set.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from gitops import evaluation, package
from gitops.validate import evidence
from tests.unit.validate.conftest import make_package, people
from tests.unit.validate.gate_repo import GateRepo


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=__doc__)
    parser.add_argument("rows", type=float)
    parser.add_argument("--changed", action="store_true")
    parser.add_argument("--repository", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.repository:
        measure(options.repository)
        return
    with tempfile.TemporaryDirectory(prefix="gitops-bench-") as temporary:
        root = make(Path(temporary), int(options.rows), changed=options.changed)
        again = [sys.executable, "-m", "benchmarks.evidence", "0", "--repository", str(root)]
        subprocess.run(again, check=True)


def make(folder: Path, rows: int, *, changed: bool) -> Path:
    """A repository with a champion on main and a candidate on `feature`."""
    repo = GateRepo(folder / "repo").start()
    raw, train = table(rows), people(count=2000, seed=1)
    for name, ruin in (("champion", 0.0), ("candidate", 0.1)):
        home = folder / name
        made = make_package(home / "package", train, ruin=ruin)
        if changed and name == "candidate":
            raw = raw.with_columns(
                age=pl.when(pl.int_range(pl.len()) == 0).then(44).otherwise("age")
            )
        (home / "evaluation").mkdir()
        pl.DataFrame({"id": raw["id"], "label": raw["label"]}).hstack(
            package.score(made, raw).frame
        ).with_columns(slice_region=raw["region"], slice_sex=raw["sex"]).write_parquet(
            home / "evaluation" / evaluation.PREDICTIONS
        )
        raw.rename({"id": "__id__"}).write_parquet(home / "evaluation" / evaluation.INPUTS)
        repo.built(home / "package", home / "evaluation")
        if name == "champion":
            repo.git("switch", "-qc", "feature")
    return repo.root


def table(rows: int) -> pl.DataFrame:
    """Rows as `people` has them, shuffled, made by column."""
    draw = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "id": pl.Series(draw.permutation(rows)).cast(pl.String).str.zfill(8),
            "income": draw.lognormal(10, 0.5, rows).round(2),
            "age": draw.integers(18, 90, rows),
            "region": draw.choice(["north", "south", "east"], rows),
            "member": draw.random(rows) < 0.3,
            "sex": draw.choice(["female", "male"], rows),
            "label": pl.Series(draw.random(rows) < 0.4).cast(pl.String),
        }
    ).with_columns(
        joined=pl.datetime(2024, 1, 1, time_zone="UTC")
        + pl.duration(minutes=pl.int_range(pl.len()))
    )


def measure(root: Path) -> None:
    cpu, wall = time.process_time(), time.perf_counter()

    def say(line: str) -> None:
        # getrusage would give the parent's peak where that was larger.
        status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
        peak = int(status.split()[0]) / 1e6
        spent = time.process_time() - cpu, time.perf_counter() - wall
        print(f"{spent[0]:7.2f} s CPU {spent[1]:7.2f} s {peak:5.2f} GB  {line}")

    with evidence.gather(root, "demo", base="main", say=say) as found:
        say(f"{found.test_set.rows:,} rows, test set changed: {found.test_set.changed}")


if __name__ == "__main__":
    main()
