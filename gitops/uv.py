"""The one place that speaks uv: the project's environment, locked and apart from the tool's."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

from gitops import proc
from gitops.errors import ConfigError, ToolError

_TOKENS = ("GITHUB_TOKEN", "GH_TOKEN", "SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT")


def binary() -> str:
    """Path of uv, which comes with us as a dependency.

    Raises:
        ToolError: it isn't there.
    """
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError) as error:
        raise ToolError(
            "uv was not found beside gitops", fix="python -m pip install --force-reinstall uv"
        ) from error


def cache_folder() -> str:
    """Where uv keeps what it has downloaded."""
    return proc.run([binary(), "cache", "dir"]).out.strip()


def python_folder() -> str:
    """Where uv keeps the Pythons that it has installed."""
    return proc.run([binary(), "python", "dir"]).out.strip()


def fixed_environment(root: Path) -> dict[str, str]:
    """What `build.env` fixes: KEY=VALUE lines, `#` comments.

    Raises:
        ConfigError: a line is neither.
    """
    path = root / "build.env"
    if not path.is_file():
        return {}
    fixed = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(f"{path}:{number}: {text!r} is not KEY=VALUE", fix="mend the line")
        fixed[name] = value.strip("\"'")
    return fixed


def stage_environment(root: Path) -> dict[str, str | None]:
    """Changes to our environment for whatever starts stages.

    What `build.env` fixes is dropped here, since uv lets the outer environment win over the file.
    Compiled modules are kept, whatever the shell says: each stage imports the same ones again. The
    forge's tokens are dropped: no stage has to push or to comment.
    """
    return dict.fromkeys([*fixed_environment(root), "PYTHONDONTWRITEBYTECODE", *_TOKENS])


def sync(root: Path) -> None:
    """Bring the project's environment to its lock (exact versions, exact Python).

    Raises:
        ToolError: the lock is stale, or a package or the Python can't be had; says uv's own words.
    """
    done = proc.run([binary(), "sync", "--locked", "--quiet"], cwd=root, check=False)
    if done.code:
        raise ToolError(
            f"uv could not set up the project's environment:\n  {done.err.strip()}",
            fix="`uv lock` if pyproject.toml changed; `uv python install` if the Python is missing",
        )


def run_in(
    root: Path, folder: str, command: list[str], *, timeout: float | None = None
) -> proc.Done:
    """Run `command` in a folder of `root` as a stage is: locked environment, `build.env`."""
    line, env = within(root, command)
    return proc.run(line, cwd=root / folder, env=env, timeout=timeout, check=False)


def within(root: Path, command: list[str]) -> tuple[list[str], dict[str, str | None]]:
    """The command line that runs `command` as a stage of `root` is, and changes to our environment.

    What PYTHONPATH names in `build.env` is meant from the top.
    """
    line = [binary(), "run", "--locked", "--quiet"]
    if (root / "build.env").is_file():
        # uv reads several paths there: a space ends one, unless it is escaped.
        path = str(root / "build.env").replace("\\", "\\\\").replace(" ", "\\ ")
        line += ["--env-file", path]
    env = stage_environment(root)
    if named := fixed_environment(root).get("PYTHONPATH"):
        env["PYTHONPATH"] = os.pathsep.join(str(root / one) for one in named.split(os.pathsep))
    return [*line, "--", *command], env


def to_lock(root: Path) -> str:
    """What to type so that the project gets a `uv.lock`; uv reads the table `[project]` alone."""
    file = root / "pyproject.toml"
    listed = (root / "requirements.txt").is_file()
    add = "uv add -r requirements.txt" if listed else "uv add PACKAGE..."
    if not file.is_file():
        return f"uv init --bare && {add}"
    try:
        described = tomllib.loads(file.read_text("utf-8"))
    except ValueError:
        return "mend pyproject.toml, which is no TOML; then uv lock"
    project = described.get("project")
    if project is None and "poetry" in described.get("tool", {}):
        return "uvx migrate-to-uv"
    if project is None:
        return f"write [project] with name, version, requires-python in pyproject.toml; then {add}"
    return "uv lock" if "dependencies" in (*project, *project.get("dynamic", ())) else add


def add(root: Path, packages: list[str]) -> None:
    """Add `packages` to the project and lock it.

    Raises:
        ToolError: they can't be had, or don't go with what is there; in uv's own words.
    """
    done = proc.run([binary(), "add", "--quiet", "--no-sync", *packages], cwd=root, check=False)
    if done.code:
        raise ToolError(f"uv could not add {', '.join(packages)}:\n  {done.err.strip()}")


def environment_of(folder: Path, requirements: Path, wheel: Path) -> Path:
    """A new environment with a wheel of ours and the pinned `requirements`; its `gitops`.

    Raises:
        ToolError: a package can't be had, or isn't what its hash says.
    """
    python = folder / "bin" / "python"
    proc.run([binary(), "venv", "--quiet", "--python", sys.executable, str(folder)])
    install = [binary(), "pip", "install", "--quiet", "--python", str(python)]
    proc.run([*install, "--require-hashes", "--requirement", str(requirements)])
    proc.run([*install, "--no-deps", "--offline", str(wheel)])
    return folder / "bin" / "gitops"
