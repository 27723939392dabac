"""A repository on its way through the environments: real git, a bare remote, real packages."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gitops import config, git
from gitops.cli.hands import hands
from gitops.promote import finish, forward, partial, plan, registry, request, rollback, run, world
from gitops.promote.run import Promoted
from gitops.promote.world import World
from tests.unit.validate.gate_repo import ENV, GateRepo, Made

TIME = "2026-01-31T12:00:00Z"
DIGEST = "a" * 64
MD5 = hashlib.md5(b"id,label\n").hexdigest()
BRANCHES = ("main", "release/staging", "release/production")


@dataclass(frozen=True)
class Line:
    """`repo` pushes to the bare repository `origin`; models are built by laying out packages."""

    repo: GateRepo
    forge: Path | None = None

    @property
    def root(self) -> Path:
        return self.repo.root

    @property
    def origin(self) -> Path:
        return self.forge or self.root.with_name("origin.git")

    def git(self, *words: str) -> str:
        return self.repo.git(*words)

    def start(self) -> Line:
        self.repo.start()
        raw = b"id,label\n"
        self.repo.keep(MD5, raw)
        self.repo.write(
            "data.csv.dvc",
            f"outs:\n- md5: {MD5}\n  size: {len(raw)}\n  hash: md5\n  path: data.csv\n",
        )
        self.repo.write(
            ".dvc/config",
            "[core]\n    remote = storage\n['remote \"storage\"']\n    url = ../../storage\n",
        )
        self.repo.commit("Data")
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(self.origin)], check=True)
        self.git("remote", "add", "origin", str(self.origin))
        for branch in BRANCHES[1:]:
            self.git("branch", branch)
        self.git("push", "-q", "origin", *BRANCHES)
        return self

    def copied(self, folder: Path) -> Line:
        """The same in another folder: repository, remote and storage."""
        for place in (self.root, self.origin, self.repo.storage):
            shutil.copytree(place, folder / place.name, symlinks=True)
        copy = Line(GateRepo(folder / self.root.name))
        copy.git("remote", "set-url", "origin", str(copy.origin))
        return copy

    def behind(self, forge: Path) -> Line:
        """The same with another bare repository as its remote, which gets all that it had."""
        self.git("--git-dir", str(self.origin), "push", "-q", "--mirror", str(forge))
        self.git("remote", "set-url", "origin", str(forge))
        return Line(self.repo, forge)

    def clone(self, name: str) -> Line:
        """A clone with the same storage and build records."""
        folder = self.root.with_name(name)
        remote_git(self.origin, "clone", "-q", str(self.origin), str(folder))
        records = git.private(self.root) / "records"
        shutil.copytree(records, git.private(folder) / "records")
        return Line(GateRepo(folder), self.origin)

    def at(self, branch: str) -> None:
        """Check out what the remote has there, on a branch of one's own."""
        self.git("fetch", "-q", "origin")
        self.git("switch", "-q", "-c", "hotfix", "--no-track", f"origin/{branch}")

    def build(self, made: Made, depth: int = 3, *, push: bool = True) -> str:
        """Commit a build of the present files, keep its record, push objects and branch."""
        self.repo.write("params.yaml", f"train: {{depth: {depth}}}\n")
        prepared = self.repo.store(made.folder / "prepared")
        commit = self.repo.built(
            made.folder / "package", made.folder / "evaluation", prepared=prepared
        )
        write_record(self.root, made)
        copy_objects(self.repo)
        if push:
            self.git("push", "-q", "origin", "HEAD")
        return commit

    def world(self) -> World:
        return world.read(self.root)

    @property
    def config(self) -> config.Config:
        return config.load(self.root)

    def plan(
        self, source: str, target: str, promoter: str = "Test <test@example.org>"
    ) -> plan.Plan:
        return plan.promotion(self.world(), self.config, source, target, promoter=promoter)

    def promote(self, source: str, target: str, *, model: str | None = None) -> Promoted:
        there = self.world()
        found = plan.promotion(
            there, self.config, source, target, promoter="Test <test@example.org>"
        )
        tip = None
        if model is not None:
            found = partial.of(found, model)
            tip = partial.tip(there, found)
        return run.run(there, found, hands(self.root), why="a test", tip=tip)

    def finish(self, environment: str) -> Promoted:
        there = self.world()
        found = finish.plan(there, self.config, environment, promoter="Test <test@example.org>")
        tip = there.tip(self.config.environment(environment)).commit
        return run.run(there, found, hands(self.root), why="merged", tip=tip)

    def rollback(self, environment: str, to: str | None = None) -> Promoted:
        there = self.world()
        found = rollback.plan(there, self.config, environment, to=to, model=None)
        return rollback.carry_out(there, found, hands(self.root), why="a test")

    def release_hold(self, environment: str) -> str:
        return rollback.release_hold(self.world(), self.config, environment, "a test")

    def bring_forward(self, environment: str) -> forward.Forward:
        from gitops.git import remote

        there = self.world()
        found = forward.bring(there, self.config, environment)
        remote.push(self.root, there.refs, [found.update])
        return found

    def request(self, source: str, target: str) -> request.Requested:
        there = self.world()
        found = self.plan(source, target)
        return request.propose(there, found, hands(self.root), alone=None, forge=None, why="a test")

    def refs(self) -> dict[str, str]:
        """What the remote has, read by git alone."""
        listed = remote_git(self.origin, "for-each-ref", "--format=%(refname) %(objectname)")
        return dict(line.split() for line in listed.splitlines())

    def tree(self, name: str) -> str:
        return remote_git(self.origin, "rev-parse", f"{name}^{{tree}}")

    def runs(self, environment: str) -> str:
        """The version that an environment has, by the registry."""
        found = registry.read(self.world().refs)
        entry = found.assigned("demo", environment)
        return str(found.version_of(entry)) if entry else ""


def remote_git(origin: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "--git-dir", str(origin), *words],
        env={**os.environ, **ENV},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def copy_objects(repo: GateRepo) -> None:
    """What `dvc push` does."""
    shutil.copytree(repo.cache, repo.storage / "files" / "md5", dirs_exist_ok=True)


def write_record(root: Path, made: Made, model: str = "demo", lock: str = "dvc.lock") -> None:
    """The build record that `gitops build` would have left for the present lock."""
    raw = (root / lock).read_bytes()
    stages = json.loads(raw)["stages"]
    folder = lock.removesuffix("dvc.lock")
    outputs = [out for stage in stages.values() for out in stage["outs"]]
    document: Mapping[str, object] = {
        "version": 1,
        "model": model,
        "revision": {"commit": None, "tree": None, "dirty": True},
        "lock": hashlib.sha256(raw).hexdigest(),
        "builder": {"kind": "laptop", "id": "Test <test@example.org>"},
        "tool": {"version": "0.1.0"},
        "fingerprint": {
            "python": "3.11.7",
            "implementation": "CPython",
            "platform": "Linux",
            "machine": "x86_64",
            "cpu_features": ["avx2"],
            "blas": "openblas",
            "threads": 1,
            "env_lock": DIGEST,
        },
        "stages": [{"name": name, "result": "ran"} for name in stages],
        "inputs": [{"path": f"{folder}data.csv", "md5": MD5, "size": 9}],
        "outputs": [_output(one, folder, made) for one in outputs],
        "metrics": {"rows": 60, "accuracy": 0.75},
        "test_set": DIGEST,
        "started": TIME,
        "finished": TIME,
    }
    digest = hashlib.sha256(raw).hexdigest()
    path = git.private(root) / "records" / "builds" / model / f"{digest}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def _output(one: Mapping[str, object], folder: str, made: Made) -> dict[str, object]:
    found = {"path": f"{folder}{one['path']}", "md5": one["md5"], "size": 1}
    if one["path"] != "models/package":
        return found
    files = sorted(file for file in (made.folder / "package").rglob("*") if file.is_file())
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return {**found, "nfiles": len(files), "files": digests}
