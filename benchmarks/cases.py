"""What is measured, against whom, and the budget (CPU seconds)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import templates
from benchmarks.measure import Command

BIN = Path(sys.executable).parent
PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Case:
    """A piece of work: ours first, then the peers; `budget` is for ours, None: only measured.

    `rounds`: fewer than asked for where a peer takes minutes; then nothing warms up. `check` raises
    RuntimeError unless all have done the same.
    """

    work: str
    budget: float | None
    commands: tuple[Command, ...]
    rounds: int | None = None
    check: Callable[[Path], None] | None = None


def start_up(folder: Path) -> Case:
    tools = ("gitops", "dvc", "copier")
    commands = tuple(Command(name, [str(BIN / name), "--version"], folder) for name in tools)
    return Case("start-up: --version", 0.15, commands)


def render(folder: Path) -> Case:
    """Whole processes, interpreter included, from a plain folder into a new one."""
    source, out = folder / "templates", folder / "rendered"
    lines: dict[str, tuple[Callable[[Path], None], list[str]]] = {
        "gitops": (
            templates.write_ours,
            [sys.executable, "-m", "benchmarks.render_ours", "{source}", "{out}/flights"],
        ),
        "cookiecutter": (
            templates.write_cookiecutter,
            [str(BIN / "cookiecutter"), "--no-input", "--output-dir", "{out}", "{source}"],
        ),
        "copier": (
            templates.write_copier,
            [str(BIN / "copier"), "copy", "--defaults", "--quiet", "{source}", "{out}/flights"],
        ),
    }
    commands = []
    for name, (write, line) in lines.items():
        (source / name).mkdir(parents=True)
        write(source / name)
        paths = {"source": source / name, "out": out / name}
        arguments = [part.format_map(paths) for part in line]
        commands.append(Command(name, arguments, PROJECT, partial(_empty, out / name)))
    return Case(f"render {templates.FILES} files", 0.5, tuple(commands), check=same_trees)


def same_trees(folder: Path) -> None:
    """Raise RuntimeError unless all three tools have rendered the same bytes."""
    trees = {tool.name: _tree(tool / "flights") for tool in (folder / "rendered").iterdir()}
    ours = trees["gitops"]
    wrong = [name for name, tree in trees.items() if tree != ours]
    if wrong or len(ours) != templates.FILES or len(trees) != 3:
        raise RuntimeError(f"the trees differ ({', '.join(wrong)}): nothing can be compared")


def unchanged_build(folder: Path, env: Mapping[str, str]) -> Case:
    """In a repository of `gitops new`, built once, with nothing changed since."""
    repository = folder / "repository"
    for arguments in (["new", str(repository), "--no-input"], ["build"]):
        cwd = repository if repository.is_dir() else folder
        line = [str(BIN / "gitops"), *arguments]
        done = subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"`{' '.join(line)}` failed:\n{done.stdout}{done.stderr}")
    commands = (
        Command("gitops", [str(BIN / "gitops"), "build"], repository),
        Command("dvc", [str(BIN / "dvc"), "repro"], repository),
    )
    return Case("unchanged build", 0.3, commands)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _tree(folder: Path) -> dict[str, bytes]:
    """The rendered files; what a tool keeps for itself starts with a dot."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.py")
        if path.is_file()
    }
