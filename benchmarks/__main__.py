"""`python -m benchmarks [--rounds N] [--only WORD] [--large] [--json FILE]`: a table on stdout."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

from benchmarks import affected, cases, gate, pipelines, predictions, registry, serving, sync
from benchmarks.measure import side_by_side

_PEERS = (
    "gitops-ml", "dvc", "gto", "copier", "cruft", "cookiecutter", "scikit-learn", "fairlearn"
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds, at least 5")
    parser.add_argument("--only", default="", help="cases whose function has this in its name")
    parser.add_argument("--large", action="store_true", help="also the gate at 10M rows: minutes")
    parser.add_argument("--json", type=Path, help="write the results there too")
    parser.add_argument("--soak", type=float, help="ask our server for so many seconds instead")
    options = parser.parse_args()
    if options.rounds < 5:
        parser.error("fewer than 5 rounds say little")
    # Bytecode of our own modules, as an installed wheel has: the peers' is there from the start.
    compileall.compile_dir(cases.PROJECT / "gitops", quiet=1)
    with tempfile.TemporaryDirectory(prefix="gitops-bench-") as temporary:
        folder = Path(temporary).resolve()
        if options.soak:
            print(serving.soak(folder, options.soak, environment(folder)))
            return
        results = list(run(folder, options.rounds, only=options.only, large=options.large))
    facts = machine()
    print(table(facts, results))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": facts, "results": results}, indent=2) + "\n")


def run(folder: Path, rounds: int, *, only: str, large: bool) -> Iterator[dict[str, object]]:
    """Each case's rows: the work, the tool, CPU seconds, peak memory, and for ours the budget."""
    env = environment(folder)
    made: dict[str, Callable[[Path], cases.Case]] = {
        "start_up": cases.start_up,
        "render": cases.render,
        "sync": partial(sync.update, env=env),
        "sync_many": partial(sync.many_models, env=env),
        "unchanged_build": partial(cases.unchanged_build, env=env),
        "affected": partial(affected.change, env=env),
        "pipelines": pipelines.emit,
        "registry_status": registry.show,
        "registry_promote": registry.plan,
        "gate": gate.million,
        "gate_command": gate.command,
        "prediction_log": predictions.write,
        "prediction_join": predictions.join,
    }
    if large:
        made |= {"gate_large": gate.ten_million, "gate_command_large": gate.ten_million_command}
    for name, make in made.items():
        if only not in name:
            continue
        case = make(folder)
        print(f"{case.work} ...", file=sys.stderr)
        counted = case.rounds or rounds
        for taken in side_by_side(case.commands, env, counted, warm=case.rounds is None):
            judged = taken.name == "gitops" and case.budget is not None
            yield {
                "work": case.work,
                "tool": taken.name,
                "median": taken.median,
                "minimum": min(taken.seconds),
                "maximum": max(taken.seconds),
                "rounds": counted,
                "memory_mb": taken.memory,
                "budget": case.budget if judged else None,
                "within": taken.median <= (case.budget or 0) if judged else None,
            }
        if case.check is not None:
            case.check(folder)
    if only in "serving":
        yield from serving.run(folder, rounds, env)


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
    tools = {name: version(name) for name in _PEERS}
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **tools,
    }


def table(facts: dict[str, str], results: list[dict[str, object]]) -> str:
    lines = [", ".join(f"{name} {value}" for name, value in facts.items()), ""]
    lines += ["| work | tool | CPU s, median | min .. max | peak MB | budget | within |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for row in results:
        budget = "" if row["budget"] is None else f"{row['budget']:.2f}"
        within = {None: "", True: "yes", False: "no"}[row["within"]]  # type: ignore[index]
        span = f"{row['minimum']:.3f} .. {row['maximum']:.3f}"
        median, peak = f"{row['median']:.3f}", row["memory_mb"]
        cells = [row["work"], row["tool"], median, span, peak, budget, within]
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
