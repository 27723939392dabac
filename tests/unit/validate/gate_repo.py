"""Repositories for the tests of the gate: git and DVC's files written by hand, in milliseconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gitops import dvc
from gitops.package import Package
from tests.unit.validate import conftest as made

CONFIG = """\
version: 1
project: demo
models:
  demo: {{task: {task}{extra}}}
"""
PIPELINE = """\
stages:
  prepare:
    {cmd: python prepare.py, deps: [src/prepare.py, data.csv], outs: [prepared]}
  package:
    cmd: python train.py
    deps: [src/train.py, prepared]
    params: [train.depth]
    outs: [models/package]
  evaluate:
    cmd: python evaluate.py
    deps: [src/evaluate.py, prepared, models/package]
    outs: [evaluation]
"""
ENV = {
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{role}_NAME": "Test" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "test@example.org" for role in ("AUTHOR", "COMMITTER")},
}


@dataclass(frozen=True)
class GateRepo:
    """A repository with one model, whose objects lie in its cache (and, pushed, in `storage`)."""

    root: Path
    task: str = "binary"

    @property
    def storage(self) -> Path:
        return self.root.with_name("storage")

    @property
    def cache(self) -> Path:
        return self.root / ".dvc" / "cache" / "files" / "md5"

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=self.root,
            env={**os.environ, **ENV},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start(self) -> GateRepo:
        """The first commit: everything but a build."""
        (self.root / ".dvc").mkdir(parents=True)
        self.storage.mkdir()
        self.write(".dvc/config", "[core]\n    remote = storage\n['remote \"storage\"']\n")
        with (self.root / ".dvc" / "config").open("a") as file:
            file.write(f"    url = {self.storage}\n")
        self.write(".dvc/.gitignore", "/config.local\n/tmp\n/cache\n")
        self.write(".gitignore", "/models/package\n/evaluation\n/prepared\n/data.csv\n")
        self.settings()
        self.write("dvc.yaml", PIPELINE)
        self.write("params.yaml", "train: {depth: 3}\n")
        for name in ("prepare", "train", "evaluate"):
            self.write(f"src/{name}.py", f"# {name}\n")
        self.write(
            "data.csv.dvc", f"outs:\n- md5: {'a' * 32}\n  size: 9\n  hash: md5\n  path: data.csv\n"
        )
        subprocess.run(["git", "init", "-q", "-b", "main", str(self.root)], check=True)
        self.commit("Start")
        return self

    def settings(self, extra: str = "", more: str = "") -> None:
        """Write gitops.yaml: `extra` of the model, `more` at the end."""
        extra = f", {extra}" if extra else ""
        self.write("gitops.yaml", CONFIG.format(task=self.task, extra=extra) + more)

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def store(self, folder: Path) -> str:
        """Put a folder into the cache, as DVC does; its hash."""
        files = {}
        for file in sorted(one for one in folder.rglob("*") if one.is_file()):
            md5 = dvc.file_md5(file)
            files[file.relative_to(folder).as_posix()] = md5
            self.keep(md5, file.read_bytes())
        listing = [{"md5": files[name], "relpath": name} for name in sorted(files, key=_parts)]
        md5 = dvc.listing_md5(files)
        self.keep(md5, json.dumps(listing, sort_keys=True).encode())
        return md5

    def keep(self, md5: str, raw: bytes) -> None:
        target = self.cache / md5[:2] / md5[2:]
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.write_bytes(raw)

    def push(self) -> None:
        """All objects to the storage, none left in the cache."""
        shutil.copytree(self.cache, self.storage / "files" / "md5", dirs_exist_ok=True)
        shutil.rmtree(self.cache.parents[1])

    def built(
        self,
        package: Path,
        evaluation: Path,
        message: str = "Build",
        prepared: str = f"{'b' * 32}.dir",
    ) -> str:
        """Commit a dvc.lock of the present files, with this package and evaluation."""
        outs = {"models/package": self.store(package), "evaluation": self.store(evaluation)}
        outs["prepared"] = prepared
        data = (self.root / "data.csv.dvc").read_text().split("md5: ")[1][:32]
        depth = (self.root / "params.yaml").read_text().split("depth: ")[1].split("}")[0]

        def entry(path: str) -> dict[str, object]:
            md5 = outs.get(path) or (data if path == "data.csv" else dvc.file_md5(self.root / path))
            return {"path": path, "hash": "md5", "md5": md5, "size": 1}

        def stage(cmd: str, deps: list[str], out: str) -> dict[str, object]:
            return {"cmd": cmd, "deps": [entry(one) for one in deps], "outs": [entry(out)]}

        stages = {
            "prepare": stage("python prepare.py", ["src/prepare.py", "data.csv"], "prepared"),
            "package": stage("python train.py", ["src/train.py", "prepared"], "models/package"),
            "evaluate": stage(
                "python evaluate.py",
                ["src/evaluate.py", "prepared", "models/package"],
                "evaluation",
            ),
        }
        stages["package"]["params"] = {"params.yaml": {"train.depth": json.loads(depth)}}
        self.write("dvc.lock", json.dumps({"schema": "2.0", "stages": stages}, indent=1))
        return self.commit(message)


@dataclass(frozen=True)
class Made:
    """A package and its evaluation, in folders of their own."""

    package: Package
    folder: Path

    @property
    def evaluation(self) -> Path:
        return self.folder / "evaluation"


def model(
    folder: Path,
    train: pl.DataFrame,
    test: pl.DataFrame,
    *,
    task: str = "binary",
    ruin: float = 0.0,
    features: list[str] | None = None,
    slices: tuple[str, ...] = ("region", "sex"),
    **columns: pl.Series,
) -> Made:
    """Train on one table, evaluate on the other."""
    package = made.make_package(folder / "package", train, task=task, ruin=ruin, features=features)
    made.make_evaluation(folder / "evaluation", package, test, slices=slices, **columns)
    return Made(package, folder)


def _parts(path: str) -> list[str]:
    return path.split("/")
