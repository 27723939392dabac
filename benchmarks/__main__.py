"""`python -m benchmarks [--rounds N] [--json FILE]`: a table on stdout, and JSON in a file."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

from benchmarks import cases, gate, registry, sync
from benchmarks.measure import side_by_side


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds, at least 5")
    parser.add_argument("--json", type=Path, help="write the results there too")
    options = parser.parse_args()
    if options.rounds < 5:
        parser.error("fewer than 5 rounds say little")
    # Bytecode of our own modules, as an installed wheel has: the peers' is there from the start.
    compileall.compile_dir(cases.PROJECT / "gitops", quiet=1)
    with tempfile.TemporaryDirectory(prefix="gitops-bench-") as temporary:
        results = list(run(Path(temporary).resolve(), options.rounds))
    facts = machine()
    print(table(facts, results))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": facts, "results": results}, indent=2) + "\n")


def run(folder: Path, rounds: int) -> Iterator[dict[str, object]]:
    """Each case's rows: the work, the tool, CPU seconds, and for ours the budget."""
    env = environment(folder)
    made = (
        cases.start_up,
        cases.render,
        partial(sync.update, env=env),
        partial(sync.many_models, env=env),
        partial(cases.unchanged_build, env=env),
        registry.show,
        registry.plan,
        gate.million,
        gate.ten_million,
    )
    for make in made:
        case = make(folder)
        print(f"{case.work} ...", file=sys.stderr)
        counted = case.rounds or rounds
        for taken in side_by_side(case.commands, env, counted):
            ours = taken.name == "gitops"
            yield {
                "work": case.work,
                "tool": taken.name,
                "median": taken.median,
                "minimum": min(taken.seconds),
                "maximum": max(taken.seconds),
                "rounds": counted,
                "budget": case.budget if ours else None,
                "within": taken.median <= case.budget if ours else None,
            }
        if case.check is not None:
            case.check(folder)


def environment(folder: Path) -> dict[str, str]:
    """No user settings, no analytics, an identity for the first commit."""
    home = folder / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Bench\n\temail = bench@example.org\n")
    uv = subprocess.run([cases.BIN / "uv", "cache", "dir"], capture_output=True, text=True)
    dropped = ("CI", "PYTHON", "GIT_A", "GIT_C", "XDG_", "DVC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    path = os.pathsep.join([str(Path(sys.base_prefix) / "bin"), kept["PATH"]])
    own = {"HOME": str(home), "PATH": path, "UV_CACHE_DIR": uv.stdout.strip()}
    return {**kept, **own, "DVC_NO_ANALYTICS": "1"}


def machine() -> dict[str, str]:
    """What the seconds were taken on, and of which versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    names = ("gitops-ml", "dvc", "gto", "copier", "cruft", "cookiecutter")
    tools = {name: version(name) for name in names}
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **tools,
    }


def table(facts: dict[str, str], results: list[dict[str, object]]) -> str:
    lines = [", ".join(f"{name} {value}" for name, value in facts.items()), ""]
    lines += ["| work | tool | CPU s, median | min .. max | budget | within |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for row in results:
        budget = "" if row["budget"] is None else f"{row['budget']:.2f}"
        within = {None: "", True: "yes", False: "no"}[row["within"]]  # type: ignore[index]
        span = f"{row['minimum']:.3f} .. {row['maximum']:.3f}"
        cells = [row["work"], row["tool"], f"{row['median']:.3f}", span, budget, within]
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
