"""`python -m tests.fuzz [LOADER...] [--seconds N]`: bytes that lead to new code, one after another.

What makes a loader raise anything but an error of ours, or be silent for 20 seconds, is kept in
tests/fuzz/crashes/LOADER/, where test_fuzz.py tries it from then on.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Each loader in a process of its own; the number of those with a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("loaders", nargs="*")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        _inside(given.loaders[0], given.seconds)
        return 0
    from tests.fuzz.loaders import LOADERS

    failed = []
    for name in given.loaders or LOADERS:
        print(f"{name}: {given.seconds} seconds", flush=True)
        command = [sys.executable, "-m", "tests.fuzz", name, "--inside"]
        done = subprocess.run([*command, "--seconds", str(given.seconds)], cwd=HERE.parents[1])
        if done.returncode:
            failed.append(name)
        with suppress(OSError):  # nothing was found
            (HERE / "crashes" / name).rmdir()
    print(f"faults in: {', '.join(failed)}" if failed else "no fault")
    return len(failed)


def _inside(name: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["gitops"]):
        from tests.fuzz.loaders import LOADERS, accepts
    from tests.fuzz.shapes import shaken

    loader = LOADERS[name]
    crashes = HERE / "crashes" / name
    crashes.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus, work = Path(folder, "corpus"), Path(folder, "work")
        corpus.mkdir()
        work.mkdir()
        for at, seed in enumerate(loader.seeds()):
            (corpus / str(at)).write_bytes(seed)
        load = loader.make(work)
        options = [f"-max_total_time={seconds}", "-timeout=20", "-max_len=65536"]
        options += [
            f"-artifact_prefix={crashes}{os.sep}",
            "-rss_limit_mb=4096",
            "-print_final_stats=1",
        ]
        options += ["-verbosity=0", "-len_control=0"]

        def one(data: bytes) -> None:
            accepts(load, data)

        def altered(data: bytes, most: int, seed: int) -> bytes:
            drawn = random.Random(seed)
            made = shaken(data, drawn) if drawn.random() < 0.7 else None
            return made if made and len(made) <= most else atheris.Mutate(data, most)

        atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=altered)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
