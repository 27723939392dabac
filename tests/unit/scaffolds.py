"""A small repository that was generated, and its generator: what `gitops sync` works on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from gitops import __version__, config
from gitops.scaffold import desired, generator, lock

CONFIG = """\
version: 1
project: churn
ci: []
storage: {remote: ../storage}
models:
  left: {task: binary}
"""
ANSWERS: dict[str, object] = {"project": "churn", "package": "churn", "storage": "../storage"}
ANSWERS["storage_url"] = "/storage"
WHEEL = PurePosixPath(".gitops/tool/gitops.whl")
_ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Test"), ("EMAIL", "test@example.org"))
    },
}


def git(folder: Path, *arguments: str) -> str:
    """What git says."""
    command = ["git", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=_ENVIRONMENT, check=True, capture_output=True, text=True
    )
    return done.stdout


def write(top: Path, path: str, content: bytes, *, executable: bool = False) -> Path:
    at = top / path
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_bytes(content)
    at.chmod(0o755 if executable else 0o644)
    return at


@dataclass(frozen=True)
class Scaffold:
    """The repository `root`, and the generator `gen` that it was made by.

    What lies under `t/` is the tool's, all else the user's.
    """

    root: Path
    gen: Path

    def template(self, path: str, content: bytes | None, *, executable: bool = False) -> None:
        """Set a template file (as it is, no Jinja unless it ends in .j2), or take it away."""
        if content is None:
            (self.gen / "template" / path).unlink()
        else:
            write(self.gen / "template", path, content, executable=executable)

    def settings(self, **more: object) -> None:
        """Write generator.yaml."""
        rules = [{"path": "t/**", "owner": "tool"}]
        data = {"version": 1, "name": "gen", "description": "a test", "files": rules, **more}
        (self.gen / "generator.yaml").write_text(yaml.safe_dump(data))

    def put(self, path: str, content: bytes, *, executable: bool = False) -> Path:
        """Write a file of the repository."""
        return write(self.root, path, content, executable=executable)

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def commit(self) -> None:
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--allow-empty", "-m", "x")

    def lock(self) -> lock.Lock:
        return lock.read(self.root / lock.PATH)

    def files(self) -> dict[str, object]:
        """Everything outside .git: bytes and executable bit, or where a symlink leads."""
        found: dict[str, object] = {}
        for folder, folders, names in os.walk(self.root):
            if ".git" in folders:
                folders.remove(".git")
            for name in [*names, *(one for one in folders if Path(folder, one).is_symlink())]:
                at = Path(folder, name)
                what: object = at.readlink() if at.is_symlink() else None
                if what is None:
                    what = (at.read_bytes(), bool(at.stat().st_mode & 0o100))
                found[str(at.relative_to(self.root))] = what
        return found

    def clone(self, *options: str) -> Scaffold:
        """Another clone of the repository, beside it."""
        target = self.root.with_name("clone")
        shutil.rmtree(target, ignore_errors=True)
        git(self.root.parent, "clone", "--quiet", *options, self.root.as_uri(), str(target))
        return Scaffold(target, self.gen)


def scaffold(
    top: Path, templates: Mapping[str, bytes], answers: Mapping[str, object] = ANSWERS
) -> Scaffold:
    """Generate and commit a repository in `top/repo` by a generator in `top/gen`."""
    made = Scaffold(top / "repo", top / "gen")
    (made.gen / "template").mkdir(parents=True)
    made.settings()
    for path, content in templates.items():
        made.template(path, content)
    made.root.mkdir()
    git(made.root, "init", "--quiet", "--template=", "-b", "main")
    git(made.root, "config", "core.fsync", "none")  # nobody cuts the power of a test
    made.put("gitops.yaml", CONFIG.encode())
    made.put(str(WHEEL), b"PK\0 the tool")
    packed = {WHEEL: lock.FileLock("tool", "gitops", lock.blob(b"PK\0 the tool"))}
    known = lock.Lock(__version__, (), {}, packed)
    generators = generator.compose([made.gen])
    wanted = desired.build(made.root, config.load(made.root), generators, answers, tool_of=known)
    for file in wanted.files:
        made.put(str(file.path), file.content, executable=file.executable)
    made.put(str(lock.PATH), lock.dump(wanted.lock))
    made.commit()
    return made


def tree(top: Path) -> dict[str, object]:
    """All under `top`: content and executable bit, a link's destination, None for a folder."""
    found: dict[str, object] = {}
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = os.readlink(path)  # noqa: PTH115
        elif path.is_dir():
            found[name] = None
        else:
            found[name] = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return found


def contents(root: Path) -> dict[str, bytes]:
    """All files of a work tree by their paths, but for git's own."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }
