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

from benchmarks.gate_judged import POLICY
from gitops import evaluation, package
from gitops.validate import evidence
from tests.unit.validate.conftest import make_package, people
from tests.unit.validate.gate_repo import GateRepo

SLICES, VALUES = ("c0", "c1", "c2"), 9


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=__doc__)
    parser.add_argument("rows", type=float)
    parser.add_argument("--changed", action="store_true")
    parser.add_argument("--make", type=Path, metavar="DIR", help="only make the repository, here")
    parser.add_argument("--repository", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.repository:
        measure(options.repository)
        return
    if options.make:
        make(options.make, int(options.rows), changed=options.changed)
        return
    with tempfile.TemporaryDirectory(prefix="gitops-bench-") as temporary:
        root = make(Path(temporary), int(options.rows), changed=options.changed)
        again = [sys.executable, "-m", "benchmarks.evidence", "0", "--repository", str(root)]
        subprocess.run(again, check=True)


def make(folder: Path, rows: int, *, changed: bool = False) -> Path:
    """A repository with a champion on main and a candidate on `feature`, judged by POLICY."""
    repo = GateRepo(folder / "repo").start()
    repo.settings(more="environments: [{name: dev, branch: main, policy: five}]\n")
    policy = POLICY.replace("checks:", "extends: baseline\nchecks:")
    repo.write(".gitops/policies/five.yaml", policy)
    raw, train = table(rows), people(count=2000, seed=1)
    for name, ruin in (("champion", 0.0), ("candidate", 0.02)):
        home = folder / name
        made = make_package(home / "package", train, ruin=ruin)
        if changed and name == "candidate":
            raw = raw.with_columns(
                age=pl.when(pl.int_range(pl.len()) == 0).then(44).otherwise("age")
            )
        (home / "evaluation").mkdir()
        pl.DataFrame({"id": raw["id"], "label": raw["label"]}).hstack(
            package.score(made, raw).frame
        ).with_columns(**{f"slice_{column}": raw[column] for column in SLICES}).write_parquet(
            home / "evaluation" / evaluation.PREDICTIONS
        )
        raw.rename({"id": "__id__"}).write_parquet(home / "evaluation" / evaluation.INPUTS)
        repo.built(home / "package", home / "evaluation")
        if name == "champion":
            repo.git("switch", "-qc", "feature")
    return repo.root


def table(rows: int) -> pl.DataFrame:
    """Rows like those of `people`, later than its training rows, shuffled, made by column."""
    draw = np.random.default_rng(0)
    income, age = draw.lognormal(10, 0.5, rows).round(2), draw.integers(18, 90, rows)
    region, member = draw.choice(["north", "south", "east"], rows), draw.random(rows) < 0.3
    level = np.log(income) * 2 - 20 + (age - 54) / 30 + member - (region == "east")
    label = level + draw.normal(0, 1, rows) > 0.3
    return pl.DataFrame(
        {
            "id": pl.Series(draw.permutation(rows)).cast(pl.String).str.zfill(8),
            "income": income,
            "age": age,
            "region": region,
            "member": member,
            "sex": draw.choice(["female", "male"], rows),
            "label": pl.Series(label).cast(pl.String),
            **{c: pl.Series(draw.integers(0, VALUES, rows)).cast(pl.String) for c in SLICES},
        }
    ).with_columns(
        joined=pl.datetime(2024, 1, 1, time_zone="UTC")
        + pl.duration(minutes=2000 + pl.int_range(pl.len()) % 2000)
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
