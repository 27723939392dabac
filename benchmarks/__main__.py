"""`python -m benchmarks [--rounds N] [--only WORD] [--large] [--write FILE]`: a table on stdout.

What fails is told, and costs none of the others; then the exit code is 1. A missed budget isn't a
failure: the table says it.
"""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import (
    affected,
    cases,
    gate,
    pipelines,
    predictions,
    registry,
    report,
    serving,
    sync,
)
from benchmarks.measure import Failed, Row, row_of, side_by_side

_PEERS = (
    "dvc", "gto", "copier", "cruft", "cookiecutter", "scikit-learn", "fairlearn"
)  # fmt: skip
# They don't go together with our lock: a variable names a Python that has them.
_ELSEWHERE = {"Evidently": gate.EVIDENTLY, "FastAPI, MLflow and BentoML": serving.PEERS}


def main() -> None:
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=about)
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds, at least 5")
    parser.add_argument("--only", default="", help="cases whose function has this in its name")
    parser.add_argument("--large", action="store_true", help="also the gate at 10M rows: minutes")
    parser.add_argument("--write", type=Path, help="write the page there too, if all was run")
    parser.add_argument("--soak", type=float, help="ask our server for so many seconds instead")
    options = parser.parse_args()
    if options.rounds < 5:
        parser.error("fewer than 5 rounds say little")
    if lacking := [name for name in _PEERS if not _installed(name)]:
        parser.error(f"not installed: {', '.join(lacking)}; fix: make .venv/ready")
    # Bytecode of our own modules, as an installed wheel has: the peers' is there from the start.
    compileall.compile_dir(cases.PROJECT / "gitops", quiet=1)
    with tempfile.TemporaryDirectory(prefix="gitops-bench-") as temporary:
        folder = Path(temporary).resolve()
        if options.soak:
            print(serving.soak(folder, options.soak, environment(folder)))
            return
        found = list(run(folder, options.rounds, only=options.only, large=options.large))
    absent = [who for who, variable in _ELSEWHERE.items() if variable not in os.environ]
    text = report.page(machine(), found, absent)
    print(text)
    if options.write and not options.only:
        options.write.write_text(text, "utf-8")
    if any(isinstance(one, Failed) for one in found):
        sys.exit(1)


def run(folder: Path, rounds: int, *, only: str, large: bool) -> Iterator[Row | Failed]:
    """The rows of each case, as they come."""
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
    taken = {name: partial(_case, name, make, folder, env, rounds) for name, make in made.items()}
    for name, take in {**taken, "serving": partial(serving.run, folder, rounds, env)}.items():
        if only not in name:
            continue
        try:
            yield from take()
        except Exception as error:  # the others are measured even so
            print(f"{name} FAILED: {error}", file=sys.stderr)
            yield Failed(name, str(error))


def _case(
    name: str,
    make: Callable[[Path], cases.Case],
    folder: Path,
    env: Mapping[str, str],
    rounds: int,
) -> Iterator[Row]:
    case = make(folder)
    print(f"{case.work} ...", file=sys.stderr)
    counted = case.rounds or rounds
    rows = [
        row_of(name, case.work, one.name, one.seconds, one.memory, case.budget)
        for one in side_by_side(case.commands, env, counted, warm=case.rounds is None)
    ]
    if case.check is not None:
        case.check(folder)
    yield from rows


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
    """What the seconds were taken on, when, and of which versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(terse=True),
        "Python": platform.python_version(),
        "git": git.split()[2],
        "gitops": version("gitops-ml"),
        **{name: version(name) for name in _PEERS},
    }


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


if __name__ == "__main__":
    main()
