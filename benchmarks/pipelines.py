"""All pipelines of a monorepo of 1,000 models, for both platforms: `... benchmarks.pipelines DIR`.

A whole process, interpreter included, from gitops.yaml to the files. No peer generates pipelines.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.cases import PROJECT, Case
from benchmarks.measure import Command
from gitops import config, pipelines

MODELS = 1000
HEAD = "version: 1\nproject: fleet\nci: [github, azure]\nstorage: {remote: azure://data}\nmodels:\n"


def emit(folder: Path) -> Case:
    fleet = folder / "pipelines"
    fleet.mkdir()
    names = (f"model-{number:04}" for number in range(1, MODELS + 1))
    models = "".join(f"  {name}: {{path: models/{name}, task: binary}}\n" for name in names)
    (fleet / config.FILE).write_text(HEAD + models)
    command = Command("gitops", [sys.executable, "-m", "benchmarks.pipelines", str(fleet)], PROJECT)
    return Case(f"pipelines: {MODELS:,} models, both platforms", 3.0, (command,), check=_check)


def _check(folder: Path) -> None:
    made = sorted((folder / "pipelines").glob(".*/**/*.yml"))
    if len(made) != 10 or not all(
        b"matrix" in one.read_bytes() for one in made if "pull" in one.name
    ):
        raise RuntimeError(f"not all pipelines were written: {len(made)}")


def write(folder: Path) -> None:
    for path, text in pipelines.render(config.load(folder), folder):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
