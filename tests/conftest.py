"""The built wheel, installed in an environment of its own, outside of the checkout.

The workers of pytest-xdist share one wheel and one environment, made by the first that comes.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import settings

from gitops import proc
from tests.forked import DVC, Forks

# How long an example takes says how busy the machine is.
PROFILE = settings.get_profile(settings.get_current_profile_name())
settings.register_profile("untimed", PROFILE, deadline=None)
settings.register_profile("quick", PROFILE, deadline=None, max_examples=25)
settings.load_profile("untimed")

PROJECT = Path(__file__).resolve().parents[1]
UNIT = PROJECT / "tests" / "unit"
UV = Path(sys.executable).parent / "uv"
GITCONFIG = "[user]\n\tname = Test\n\temail = test@example.org\n[init]\n\tdefaultBranch = main\n"
# In CI a build commits nothing: tests see what a person at a laptop sees.
SETTINGS = ("CI", "GITHUB_", "GIT_", "DVC_", "PYTHON", "NO_COLOR", "VIRTUAL_ENV")
PYTHON = Path(sys.base_prefix) / "bin" / "python{}.{}".format(*sys.version_info)


def pytest_configure() -> None:
    """Nothing of whoever runs us counts: what is ignored, who may read what is written, a name."""
    # Signals that our parent ignores (nohup, a background job) all we start would ignore.
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    proc.name_user()


# What `make test` leaves to `make test-all` beside single tests that are marked, and why.
EXTENDED = {
    "faults": "killed, cut off, full or refused at every step; the road itself is tested without",
    "functional/test_adopt.py": "adoption's parts have tests of their own",
    "functional/test_aws.py": "real tools on a simulated cloud; what is written is read without",
    "functional/test_build_on.py": "jobs' parts have tests of their own",
    "functional/test_build_on_clouds.py": "the same program, started by platforms",
    "functional/test_deploy.py": "rollouts through their steps; the reconciler's are tested apart",
    "functional/test_deploy_azureml.py": "the same, by stand-ins of a cloud",
    "functional/test_deploy_iotedge.py": "the same, by stand-ins of devices",
    "functional/test_docs_typed.py": "pages typed line by line; each line is parsed without",
    "functional/test_image.py": "an image is built, pushed and run",
    "functional/test_ingest.py": "sources' parts have tests of their own",
    "functional/test_kubernetes.py": "a rollout in a simulated cluster",
    "functional/test_monorepo.py": "several models trained",
    "functional/test_overlay.py": "overlays' parts have tests of their own",
    "functional/test_s3.py": "the road again, on another storage",
    "functional/test_secrets.py": "every command, once failing",
    "functional/test_tables.py": "the road again, on other tables",
    "unit/test_sync_random.py": "changes as they may come; each kind of them has tests of its own",
    "functional/test_wrap.py": "two more environments are made, and models trained",
}


MEANWHILE = 200  # unit tests that take as long as it takes to make what is `installed` and `made`


@cache
def why_extended(module: Path) -> tuple[str, ...]:
    """What the table above says of the tests of a module."""
    above = {module, *module.parents}
    return tuple(why for path, why in EXTENDED.items() if PROJECT / "tests" / path in above)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what is in the table above."""
    for why in why_extended(item.path):
        item.add_marker(pytest.mark.extended(why))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long comes first, for every worker: xdist deals the list out in equal parts.

    But the first worker makes what all others' functional tests need; they begin with others.
    """
    assert not [path for path in EXTENDED if not (PROJECT / "tests" / path).exists()]
    for item in items:
        for mark in item.iter_markers("extended"):
            assert mark.args, f"{item.nodeid} doesn't say why it is extended"
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    modules: dict[Path, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    light = [item for item in items if UNIT in item.path.parents]
    parts: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for module, of_module in modules.items():
        if UNIT not in module.parents:
            min(parts, key=len).extend(of_module)
    for number, part in enumerate(parts, start=1):
        room = max(0, len(items) * number // workers - len(items) * (number - 1) // workers)
        fill = light[: max(0, room - len(part))]
        del light[: len(fill)]
        first = fill[:MEANWHILE] if number > 1 else []
        part[:] = first + part + fill[len(first) :]
    items[:] = [item for part in parts for item in part] + light


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

    def __call__(
        self,
        cwd: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        timeout: float = 300,
    ) -> Ran: ...


class Command(Protocol):
    """Runs a program in `cwd`, which must succeed; returns what it wrote on stdout."""

    def __call__(self, cwd: Path, *arguments: str) -> str: ...


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


@pytest.fixture(scope="session", autouse=True)
def nobody(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No settings of the user's, for git and DVC either; what DVC notes of repositories goes."""
    config = tmp_path_factory.mktemp("nobody") / "gitconfig"
    config.write_text(GITCONFIG)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(SETTINGS)]:
            patch.delenv(name)
        patch.setenv("GIT_CONFIG_GLOBAL", str(config))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("DVC_SITE_CACHE_DIR", str(shared / "dvc"))
        yield


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
            # Not compiled: what is imported compiles itself, a small part of it all.
            pip: list[str | Path] = [UV, "pip", "install", "--quiet", "--python", home]
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


def isolated(home: Path, uv_cache: str) -> dict[str, str]:
    """An environment with a test identity and a home of its own, nothing of the user's settings."""
    home.mkdir(parents=True, exist_ok=True)
    (home / ".gitconfig").write_text(GITCONFIG)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((*SETTINGS, "XDG_"))
    }
    ours = str(UV.parent)
    path = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder != ours]
    return {
        **kept,
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        "UV_CACHE_DIR": uv_cache,
        # The Python under test comes first: a project that asks for exactly it finds it.
        "PATH": os.pathsep.join([str(PYTHON.parent), *path]),
    }


@pytest.fixture
def git_identity(tmp_path: Path, uv_cache: str) -> dict[str, str]:
    """The environment of one test; its home is `tmp_path / "home"`."""
    return isolated(tmp_path / "home", uv_cache)


@pytest.fixture(scope="session")
def forks(installed: Path) -> Forks:
    """Starts the installed `gitops`."""
    return Forks(installed / "python", installed / "gitops")


@pytest.fixture
def gitops(forks: Forks, git_identity: dict[str, str]) -> Gitops:
    """`gitops(cwd, *arguments, env={}, timeout=300)`."""

    def call(
        cwd: Path, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 300
    ) -> Ran:
        known = {**git_identity, **(env or {})}
        done = forks.run(arguments, cwd=cwd, env=known, timeout=timeout)
        return Ran(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def git(git_identity: dict[str, str]) -> Command:
    """`git(cwd, *arguments)`: what it said."""
    return lambda cwd, *arguments: run(["git", *arguments], cwd, git_identity).strip()


@pytest.fixture
def dvc(forks: Forks, git_identity: dict[str, str]) -> Command:
    """`dvc(cwd, *arguments)`: what it said."""

    def call(cwd: Path, *arguments: str) -> str:
        env = {**git_identity, "DVC_NO_ANALYTICS": "1"}
        done = forks.run(arguments, code=DVC, cwd=cwd, env=env, timeout=300)
        assert done.returncode == 0, f"dvc {arguments}:\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    return call


# ---------------------------------------------------------------- repositories


@dataclass(frozen=True)
class Repository:
    """A repository of one test, and its storage folder."""

    root: Path
    storage: Path

    def stored(self, md5: str) -> Path:
        """The file in the storage that holds the object of this hash."""
        return self.storage / "files" / "md5" / md5[:2] / md5[2:]


def churn_table(rows: int = 300, seed: int = 7) -> str:
    """A CSV of customers, some of whom leave: the shorter they are here and the dearer it is."""
    drawn = random.Random(seed)
    lines = ["customer,plan,months,fee,calls,left"]
    for number in range(rows):
        plan = drawn.choices(["basic", "plus", "family"], [5, 3, 1])[0]
        months, fee = drawn.randint(1, 72), round(drawn.uniform(5, 90), 2)
        calls = "" if drawn.random() < 0.1 else str(drawn.randint(0, 9))
        tendency = 2.5 - 0.09 * months + 0.03 * fee - (1.5 if plan == "family" else 0)
        left = drawn.random() < 1 / (1 + math.exp(-tendency))
        cells = [f"C{number:05}", plan, months, fee, calls, "yes" if left else "no"]
        lines.append(",".join(map(str, cells)))
    return "\n".join(lines) + "\n"


class Table(Protocol):
    """Writes the text of a table, the same for the same seed."""

    def __call__(self, rows: int = 300, seed: int = 7) -> str: ...


@pytest.fixture(scope="session")
def churn() -> Table:
    """`churn_table`."""
    return churn_table


@pytest.fixture(scope="session")
def made(shared: Path, installed: Path, uv_cache: str) -> Path:
    """One project, by `gitops new` and `gitops build`; tests work on copies of it."""
    folder = shared / "made"
    with once(shared, "made") as first:
        if first:
            env = isolated(shared / "made-home", uv_cache)
            folder.mkdir()
            (folder / "customers.csv").write_text(churn_table())
            options = ["--data", "customers.csv", "--target", "left", "--no-input"]
            run([installed / "gitops", "new", "churn", *options], folder, env)
            run([installed / "gitops", "build"], folder / "churn", env)
    return folder / "churn"


@pytest.fixture
def repository(made: Path, tmp_path: Path, git_identity: dict[str, str]) -> Repository:
    """A copy of a real project, built and pushed, with a storage of its own."""
    return copied(made, tmp_path, git_identity)


@pytest.fixture(scope="session")
def made_light(shared: Path, made: Path, installed: Path, uv_cache: str) -> Path:
    """A repository whose stages only copy what a real project built: fast, and rigged to pause."""
    root = shared / "light" / "churn"
    with once(shared, "light") as first:
        if first:
            env = isolated(shared / "light-home", uv_cache)
            (root / "data").mkdir(parents=True)
            (shared / "light" / "churn-storage").mkdir()
            for file, text in LIGHT.items():
                (root / file).write_text(text)
            shutil.copytree(made / "models" / "package", root / "kept" / "package")
            shutil.copytree(made / "evaluation", root / "kept" / "evaluation")
            shutil.copy(made / "data" / "customers.csv", root / "data")
            dvc: list[str | Path] = [installed / "dvc"]
            run(["git", "init", "--quiet"], root, env)
            run([*dvc, "init", "--quiet"], root, env)
            (root / ".dvc" / "config").write_text(
                "[core]\n    remote = storage\n"
                "['remote \"storage\"']\n    url = ../../churn-storage\n    verify = true\n"
            )
            run([*dvc, "add", "--quiet", "data/customers.csv"], root, env)
            run(["git", "add", "--all"], root, env)
            run(["git", "commit", "--quiet", "-m", "Start"], root, env)
            for branch in ("release/staging", "release/production"):
                run(["git", "branch", branch], root, env)
            run([installed / "gitops", "build"], root, env)
    return root


@pytest.fixture
def light(made_light: Path, tmp_path: Path, git_identity: dict[str, str]) -> Repository:
    """A copy of the repository with stages that only copy."""
    return copied(made_light, tmp_path, git_identity)


def copied(source: Path, tmp_path: Path, env: Mapping[str, str]) -> Repository:
    """A copy of the repository `source` and its storage, of which nothing points back."""
    copy = Repository(tmp_path / source.name, tmp_path / f"{source.name}-storage")
    shutil.copytree(source, copy.root, symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    if (source / ".venv").is_dir():  # large, and only ever read
        shutil.copytree(source / ".venv", copy.root / ".venv", symlinks=True, copy_function=os.link)
    shutil.copytree(source.with_name(copy.storage.name), copy.storage)
    config = copy.root / ".dvc" / "config"
    lines = [
        f"    url = {copy.storage}" if line.strip().startswith("url = ") else line
        for line in config.read_text().splitlines()
    ]
    config.write_text("\n".join(lines) + "\n")
    run(["git", "commit", "--quiet", "--all", "-m", "Move the storage"], copy.root, env)
    return copy


LIGHT = {
    "gitops.yaml": """\
version: 1
project: churn
storage: {remote: ../churn-storage}
models:
  left: {task: binary, framework: custom, data: data/customers.csv}
""",
    ".gitignore": "/models/package\n/evaluation\n/data/prepared.csv\n",
    "settings.json": json.dumps({"seed": 1, "note": "first"}) + "\n",
    "dvc.yaml": """\
stages:
  prepare:
    cmd: python3 stages.py prepare
    deps: [stages.py, data/customers.csv]
    outs: [data/prepared.csv]
  package:
    cmd: python3 stages.py package
    deps: [stages.py, settings.json, kept/package, data/prepared.csv]
    outs: [models/package]
  evaluate:
    cmd: python3 stages.py evaluate
    deps: [stages.py, kept/evaluation, models/package]
    outs: [evaluation]
    metrics:
      - metrics.json: {cache: false}
""",
    "stages.py": '''\
"""Stages that copy. With PAUSE set to a folder, `package` reports there and waits to be let go."""

import json
import os
import pathlib
import random
import shutil
import sys
import time


def prepare():
    text = pathlib.Path("data/customers.csv").read_text()
    pathlib.Path("data/prepared.csv").write_text(text.lower())


def package():
    settings = json.loads(pathlib.Path("settings.json").read_text())
    target = pathlib.Path("models/package")
    target.mkdir(parents=True)
    if pause := os.environ.get("PAUSE"):
        (target / "half").write_text("written")
        with pathlib.Path(pause, "reached").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        for _ in range(600):
            if pathlib.Path(pause, "go").exists():
                break
            time.sleep(0.1)
        (target / "half").unlink()
    if settings["note"] == "fail":
        sys.exit("no such luck")
    shutil.copytree("kept/package", target, dirs_exist_ok=True)
    with (target / "MODEL_CARD.md").open("a") as file:
        file.write(f"{settings['note']} {random.Random(settings['seed']).random()}\\n")


def evaluate():
    shutil.copytree("kept/evaluation", "evaluation")
    pathlib.Path("metrics.json").write_text('{"rows": 60, "accuracy": 0.75}\\n')


globals()[sys.argv[1]]()
''',
}
