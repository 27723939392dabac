"""The built wheel, installed in an environment of its own, outside of the checkout.

The workers of pytest-xdist share one wheel and one environment, made by the first that comes.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

PROJECT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).parent / "uv"
PYTHON = Path(sys.base_prefix) / "bin" / "python{}.{}".format(*sys.version_info)


@dataclass(frozen=True)
class Ran:
    """What the installed `gitops` answered."""

    code: int
    out: str
    err: str


class Build(Protocol):
    """Builds our distribution into a folder; returns the wheel (or the sdist, if only that)."""

    def __call__(self, target: Path, *options: str) -> Path: ...


class Gitops(Protocol):
    """Runs the installed `gitops` in `cwd`; `env` is added to the isolated environment."""

    def __call__(self, cwd: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Ran: ...


def run(command: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run, and return stdout; a failure fails the test with what was said."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, (
        f"{command} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
    )
    return done.stdout


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers of this run have in common."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def once(folder: Path, what: str) -> Iterator[bool]:
    """Whether `what` has still to be made; the other workers wait meanwhile."""
    with (folder / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / f"{what}.done"
        yield not done.exists()
        done.touch()


@pytest.fixture(scope="session")
def build() -> Build:
    """`build(target, *options)`; without options the sdist, and the wheel from it."""

    def call(target: Path, *options: str) -> Path:
        command: list[str | Path] = [
            UV,
            "build",
            "--quiet",
            "--offline",
            "--no-build-isolation",
            "--python",
        ]
        command += [sys.executable, "--out-dir", target, *options, PROJECT]
        run(command, target.parent, {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"})
        return max(target.iterdir(), key=lambda file: file.suffix == ".whl")

    return call


@pytest.fixture(scope="session")
def wheel(shared: Path, build: Build) -> Path:
    """The wheel of this checkout, built through the sdist as `make wheel` does."""
    with once(shared, "wheel") as first:
        if first:
            build(shared / "dist")
    (found,) = (shared / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(shared: Path, wheel: Path) -> Path:
    """The `bin` folder of an environment: the wheel, what its lock names, and the demo's data."""
    home = shared / "installed"
    with once(shared, "installed") as first:
        if first:
            pip: list[str | Path] = [
                UV,
                "pip",
                "install",
                "--quiet",
                "--compile-bytecode",
                "--python",
                home,
            ]
            export: list[str | Path] = [
                UV,
                "export",
                "--quiet",
                "--locked",
                "--offline",
                "--no-emit-project",
            ]
            run([UV, "venv", "--quiet", "--python", PYTHON, home], shared)
            run(
                [*export, "--no-dev", "--extra", "demo", "--output-file", shared / "demo.txt"],
                PROJECT,
            )
            locks: list[str | Path] = [PROJECT / "requirements" / "tool.txt", shared / "demo.txt"]
            run([*pip, "--require-hashes", *(x for lock in locks for x in ("-r", lock))], shared)
            run([*pip, "--no-deps", wheel], shared)
    return home / "bin"


@pytest.fixture(scope="session")
def uv_cache(shared: Path) -> str:
    """uv's own cache, so that an isolated home doesn't download everything again."""
    return run([UV, "cache", "dir"], shared).strip()


@pytest.fixture
def git_identity(tmp_path: Path, uv_cache: str) -> dict[str, str]:
    """An environment with a test identity and a home of its own, nothing of the user's settings."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Test\n\temail = test@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    # In CI a build commits nothing: tests see what a person at a laptop sees.
    dropped = (
        "CI",
        "GITHUB_",
        "GIT_A",
        "GIT_C",
        "GIT_D",
        "GIT_I",
        "GIT_W",
        "XDG_",
        "DVC_",
        "PYTHON",
    )
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((*dropped, "VIRTUAL_ENV"))
    }
    ours = str(UV.parent)
    path = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder != ours]
    return {
        **kept,
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "UV_CACHE_DIR": uv_cache,
        # The Python under test comes first: a project that asks for exactly it finds it.
        "PATH": os.pathsep.join([str(PYTHON.parent), *path]),
    }


@pytest.fixture
def gitops(installed: Path, git_identity: dict[str, str]) -> Gitops:
    """`gitops(cwd, *arguments, env={})`."""

    def call(cwd: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
        done = subprocess.run(
            [installed / "gitops", *arguments],
            cwd=cwd,
            env={**git_identity, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return call
