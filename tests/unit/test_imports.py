"""The direction of docs/ARCHITECTURE.md, read from the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "gitops"
# Who may import whom: a module those of its own layer and of those below it.
CODE = ("pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle", "torch")
STAGES = {
    *("ingest", "scaffold", "pipelines", "reproduce", "validate", "promote"),
    *("serve", "rollout", "deploy", "setup", "infra", "image"),
}
ABOVE = {"cli", "__main__", "doctor", "demo", "demo_acts", "replay"}
# The edges to programs, forges and disks know errors and each other; every other module beside the
# stages is a core value, which may know the edges.
EDGES = {
    *("proc", "daemon", "git", "dvc", "dvcremote", "dvcstore", "uv", "az", "forge"),
    *("content", "hidden", "whole", "sha256", "utc", "jsontext", "yamlfile", "loopback"),
}
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
# What starts a job runs where nothing of ours is.
ALONE = "reproduce.compute.bootstrap"

Modules = Mapping[str, Path]


def modules(package: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name below it (`""`: the package)."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules(PACKAGE)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def imports(path: Path) -> frozenset[str]:
    """Dotted names that a file imports, at once or later; not those that only types need.

    Of `from a import b` both `a` and `a.b`: either may be the module.
    """
    found: set[str] = set()
    todo: list[ast.AST] = [parsed(path)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        todo += ast.iter_child_nodes(node)
    return frozenset(found)


def ours(path: Path, among: Modules) -> set[str]:
    """Modules of ours that a file imports, by their names below `gitops`."""
    names = {n.removeprefix("gitops.") for n in imports(path) if n.startswith("gitops.")}
    return names & set(among)


def top(name: str) -> str:
    """The folder of a stage, or the module itself."""
    return name.split(".")[0]


def layer(name: str) -> int:
    """Errors 0, edges 1, core values 2, stages 3, what a person calls 4."""
    if not name or top(name) in ABOVE:
        return 4
    if top(name) in STAGES:
        return 3
    return 0 if name == "errors" else 1 if top(name) in EDGES else 2


# ---------------------------------------------------------------- rules: what breaks them


def upward(among: Modules) -> set[str]:
    """Imports of a higher layer, and of the insides of another stage."""
    return {
        f"{name} -> {target}"
        for name, path in among.items()
        for target in ours(path, among)
        if layer(target) > layer(name)
        or (layer(name) == layer(target) == 3 and top(name) != top(target) and "." in target)
    }


def cycles(among: Modules) -> set[str]:
    """Circles of imports, at once or later. A package's own modules may know it by name."""
    graph = {
        name: {one for one in ours(path, among) if not f"{name}.".startswith(f"{one}.")}
        for name, path in among.items()
    }
    found: set[str] = set()
    done: set[str] = set()

    def visit(name: str, chain: tuple[str, ...]) -> None:
        if name in chain:
            found.add(" -> ".join((*chain[chain.index(name) :], name)))
        elif name not in done:
            for target in graph[name]:
                visit(target, (*chain, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    return found


def importers(among: Modules, *packages: str) -> set[str]:
    """The modules that import one of `packages`."""
    return {
        name
        for name, path in among.items()
        if any(f"{found}.".startswith(f"{one}.") for found in imports(path) for one in packages)
    }


def callers(among: Modules) -> set[str]:
    """The modules that start processes by other means than `subprocess`."""
    starts = ("exec", "spawn", "posix_spawn", "system", "popen", "fork", "create_subprocess")
    return {
        name
        for name, path in among.items()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value) in ("os", "asyncio")
        and node.attr.startswith(starts)
    }


def starters(among: Modules, program: str) -> set[str]:
    """The modules with a list display that begins as a command line of `program` does."""
    return {
        name
        for name, path in among.items()
        for node in ast.walk(parsed(path))
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


# ---------------------------------------------------------------- they hold


def test_nothing_is_imported_upwards_nor_from_within_another_stage() -> None:
    assert {top(name) for name in MODULES if layer(name) == 3} == STAGES
    assert upward(MODULES) == set()


def test_no_import_cycle() -> None:
    assert cycles(MODULES) == set()


def test_only_commands_speak_to_a_person() -> None:
    assert {top(name) for name in importers(MODULES, "typer", "click", "rich")} == {"cli"}


def test_only_proc_starts_processes() -> None:
    assert ours(MODULES[ALONE], MODULES) == set()
    assert importers(MODULES, "subprocess", "multiprocessing", "pty") == {"proc", ALONE}
    assert callers(MODULES) == {"proc"}


def test_only_git_speaks_git_and_only_dvc_speaks_dvc() -> None:
    assert importers(MODULES, "git") == {"git"}
    assert {top(name) for name in starters(MODULES, "git") - {ALONE}} == {"git"}
    assert importers(MODULES, "dvc", "dvc_data", "dvc_objects") == {"dvcstore"}
    assert starters(MODULES, "dvc") == {"dvc"}
    assert {name for name, path in MODULES.items() if "dvc.cli" in path.read_text()} == {"dvc"}


def test_only_one_module_speaks_http_to_forges() -> None:
    assert importers(MODULES, "requests") == {"forge.client"}
    assert importers(MODULES, "http.client", "urllib.request.urlopen") == {
        *("deploy.ask", "deploy.azureml.ask", "serve.inside", "replay")  # models, on their places
    }


def test_nothing_loads_what_could_be_code() -> None:
    assert importers(MODULES, *CODE) == set()
    texts = {name: path.read_text("utf-8") for name, path in MODULES.items()}
    assert not [name for name, text in texts.items() if "allow_pickle" in text]


# ---------------------------------------------------------------- and would be seen to be broken

BROKEN = {
    "errors.py": "",
    "proc.py": "from gitops import config\n",  # an edge, a core value
    "config.py": "def of():\n    from gitops.serve import plan\n",  # a stage, later
    "serve/__init__.py": "",
    "serve/plan.py": "from gitops.cli import app\nfrom gitops.deploy.state import State\n",
    "deploy/state.py": "import os, subprocess, asyncio\nos.execv\nasyncio.create_subprocess_exec\n",
    "cli/app.py": "from gitops.serve.plan import Plan\nimport typer\n",
    "package.py": "def read():\n    from joblib import load\n",
    "infra/hcl.py": "if TYPE_CHECKING:\n    from gitops.cli import app\n",
    "names.py": (
        "def run(proc, python):\n"
        "    from git import Repo\n"
        "    import requests.sessions, typer\n"
        "    proc.run(['git', 'log'])\n"
        "    proc.run([python, '-m', 'dvc', 'repro'])\n"
    ),
}


def test_each_rule_fires(tmp_path: Path) -> None:
    for name, text in BROKEN.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    broken = modules(tmp_path)
    assert upward(broken) == {
        "proc -> config",
        "config -> serve",
        "config -> serve.plan",
        "serve.plan -> cli.app",
        "serve.plan -> deploy.state",
    }
    (circle,) = cycles(broken)
    assert set(circle.split(" -> ")) == {"serve.plan", "cli.app"}
    assert importers(broken, "typer") == {"cli.app", "names"}
    assert importers(broken, "subprocess") == {"deploy.state"}
    assert callers(broken) == {"deploy.state"}
    assert importers(broken, "git") == {"names"}
    assert importers(broken, *CODE) == {"package"}
    assert importers(broken, "requests") == {"names"}
    assert starters(broken, "git") == starters(broken, "dvc") == {"names"}
    assert starters(broken, "log") == set()


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


def test_a_server_s_processes_read_no_settings() -> None:
    """What each of them loads, each of them loads for every start."""
    for module in ("gitops.serve.start", "gitops.serve.worker"):
        code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        loaded = done.stdout.split()
        assert "msgspec" in loaded
        assert set(loaded) & {"pydantic", "dvc", "jsonschema", "ruamel", "requests"} == set()
