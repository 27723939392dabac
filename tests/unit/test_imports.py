"""The direction of docs/ARCHITECTURE.md, read from the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "gitops"
STAGES = (
    "ingest",
    "scaffold",
    "pipelines",
    "reproduce",
    "validate",
    "promote",
    "serve",
    "rollout",
    "deploy",
    "setup",
    "infra",
    "image",
)
EDGES = (
    "errors",
    "proc",
    "git",
    "dvc",
    "dvcremote",
    "dvcstore",
    "uv",
    "content",
    "forge",
)
HEAVY = (
    "dvc",
    "numpy",
    "sklearn",
    "polars",
    "pydantic",
    "git",
    "onnxruntime",
    "jsonschema",
    "ruamel",
    "requests",
)


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below `gitops` (`""`: the package)."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path, *, top: bool = False) -> Iterator[str]:
    """Dotted names that a file imports (`top`: as soon as it is imported itself).

    Of `from a import b` both `a` and `a.b`: either may be the module.
    """
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path, *, top: bool = False) -> set[str]:
    """Modules of ours that a file imports, by their names below `gitops`."""
    names = {n.removeprefix("gitops.") for n in imports(path, top=top) if n.startswith("gitops.")}
    return names & set(MODULES)


def importers(*packages: str, among: Mapping[str, Path] = MODULES) -> set[str]:
    """The modules that import one of `packages`."""
    return {
        name
        for name, path in among.items()
        if any(found.split(".")[0] in packages for found in imports(path))
    }


@pytest.mark.parametrize("edge", EDGES)
def test_edges_import_only_errors_and_edges(edge: str) -> None:
    alone = edge in ("errors", "proc", "content")
    allowed = {"errors"} if alone else {*EDGES, "yamlfile", "hidden"}
    inside = {name for name in MODULES if f"{name}.".startswith(f"{edge}.")}
    for name in inside:
        assert ours(MODULES[name]) - inside <= allowed


@pytest.mark.parametrize("stage", STAGES)
def test_stages_import_neither_the_cli_nor_each_others_insides(stage: str) -> None:
    inside = {name: path for name, path in MODULES.items() if name.split(".")[0] == stage}
    assert inside
    foreign = {
        f"{name} -> {target}"
        for name, path in inside.items()
        for target in ours(path)
        if target.split(".")[0] == "cli"
        or (target.split(".")[0] in STAGES and target.split(".")[0] != stage and "." in target)
    }
    assert foreign == set()


def test_core_values_import_no_stage_and_no_command() -> None:
    """Modules directly under gitops/ are below the stages; only the doctor looks at all."""
    core = {name: path for name, path in MODULES.items() if "." not in name and name not in STAGES}
    upward = {
        f"{name} -> {target}"
        for name, path in core.items()
        if name not in ("", "cli", "__main__", "doctor")
        for target in ours(path)
        if target.split(".")[0] in (*STAGES, "cli")
    }
    assert upward == set()


def test_no_import_cycle_at_run_time() -> None:
    # `from gitops.validate.stats import counts` within that package names the package too.
    graph = {
        name: {target for target in ours(path, top=True) if not f"{name}.".startswith(f"{target}.")}
        for name, path in MODULES.items()
    }
    done: set[str] = set()

    def visit(name: str, chain: tuple[str, ...]) -> None:
        assert name not in chain, f"cycle: {' -> '.join((*chain, name))}"
        if name not in done:
            for target in graph[name]:
                visit(target, (*chain, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_only_proc_starts_processes() -> None:
    # What starts a job runs where nothing of ours is.
    elsewhere = {"reproduce.compute.bootstrap"}
    assert ours(MODULES["reproduce.compute.bootstrap"]) == set()
    assert importers("subprocess", "multiprocessing", "pty") - elsewhere == {"proc"}
    callers = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr.startswith(("exec", "spawn", "posix_spawn", "system", "popen", "fork"))
    }
    assert callers <= {"proc"}


def test_only_git_speaks_git_and_only_dvc_speaks_dvc() -> None:
    assert importers("git") == {"git"}
    assert importers("requests") == {"forge.client"}
    assert importers("dvc", "dvc_data", "dvc_objects") == {"dvcstore"}
    elsewhere = {"reproduce.compute.bootstrap"}
    speakers = {name for name in MODULES if f"{name}.".startswith("git.")}
    assert starters("git") - elsewhere <= speakers
    assert starters("dvc") == {"dvc"}


def starters(program: str, among: Mapping[str, Path] = MODULES) -> set[str]:
    """The modules with a list display that begins as a command line of `program` does."""
    return {
        name
        for name, path in among.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.List)
        and program in [item.value for item in node.elts[:3] if isinstance(item, ast.Constant)]
        and _is_command(node, program)
    }


def _is_command(node: ast.List, program: str) -> bool:
    """`["git", ...]` or `[python, "-m", "dvc", ...]`."""
    first = node.elts[0]
    return (isinstance(first, ast.Constant) and first.value == program) or any(
        isinstance(item, ast.Constant) and item.value == "-m" for item in node.elts[1:2]
    )


def test_the_readers_of_these_tests_see_what_they_look_for(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import os, subprocess\n"
        "def run(proc, python):\n"
        "    from git import Repo\n"
        "    proc.run(['git', 'log'])\n"
        "    proc.run([python, '-m', 'dvc', 'repro'])\n"
    )
    among = {"bad": bad}
    assert importers("subprocess", among=among) == {"bad"}
    assert importers("git", among=among) == {"bad"}
    assert starters("git", among) == {"bad"}
    assert starters("dvc", among) == {"bad"}
    assert starters("log", among) == set()
    bad.write_text("from gitops import git\nfrom gitops.cli import app\n")
    assert importers("git", among=among) == set()
    assert ours(bad) == {"git", "cli", "cli.app"}


def test_the_version_is_answered_without_anything_heavy() -> None:
    code = """
import sys
sys.argv = ["gitops", "--version"]
from gitops.cli import main
try:
    main()
finally:
    print(*{name.split(".")[0] for name in sys.modules}, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("gitops ")
    loaded = done.stderr.split()
    assert "typer" in loaded
    assert set(loaded) & set(HEAVY) == set()
