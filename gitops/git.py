"""The one place that speaks git.

Repository handling goes through GitPython; questions on the hot path and bulk reading of refs go
straight to one git process (5,000 tags: GitPython a minute, `git for-each-ref` 0.15 s).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops import proc
from gitops.errors import ConfigError, EvidenceError, ToolError, UsageError

if TYPE_CHECKING:
    from git import Repo

# Set by git for hooks; inherited, they would aim our commands at another repository.
_HOOK_VARIABLES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
)


@dataclass(frozen=True)
class Head:
    """Where a work tree stands: commit and tree ids, and the branch if not detached."""

    commit: str
    tree: str
    branch: str | None


def forget_hook() -> None:
    """Drop what git exports to its hooks, so that `gitops` works inside one."""
    for name in _HOOK_VARIABLES:
        os.environ.pop(name, None)


def version() -> str:
    """Which git is on PATH, as `2.39.5`.

    Raises:
        ToolError: none.
    """
    try:
        return proc.run(["git", "--version"]).out.split()[2]
    except ToolError as error:
        raise ToolError(
            "git was not found", fix="install git 2.28 or newer: https://git-scm.com/downloads"
        ) from error


def require() -> None:
    """Raise ToolError if there's no git that we can use (2.28 knows `init -b`)."""
    known = version()
    major, minor = known.split(".")[:2]
    if (int(major), int(minor)) < (2, 28):
        raise ToolError(f"git {known} is too old", fix="install git 2.28 or newer")


def require_identity(cwd: Path) -> None:
    """Raise ConfigError if git doesn't know whose commits these are."""
    for key in ("name", "email"):
        variables = (f"GIT_AUTHOR_{key.upper()}", f"GIT_COMMITTER_{key.upper()}")
        if all(os.environ.get(variable) for variable in variables):
            continue
        if not proc.run(["git", "config", f"user.{key}"], cwd=cwd, check=False).out.strip():
            example = "Your Name" if key == "name" else "you@example.org"
            raise ConfigError(
                f"git doesn't know your {key}, so it cannot commit",
                fix=f'git config --global user.{key} "{example}"',
            )


def identity(root: Path) -> str:
    """`Name <e-mail>` of whoever commits here, or `unknown`."""
    parts = [
        os.environ.get(f"GIT_AUTHOR_{key.upper()}")
        or proc.run(["git", "config", f"user.{key}"], cwd=root, check=False).out.strip()
        for key in ("name", "email")
    ]
    return f"{parts[0]} <{parts[1]}>" if all(parts) else "unknown"


def root(cwd: Path) -> Path:
    """The top folder of the work tree that holds `cwd`.

    Raises:
        ConfigError: there is none.
    """
    for folder in (cwd.resolve(), *cwd.resolve().parents):
        if (folder / ".git").exists():
            return folder
    raise ConfigError(
        f"{cwd} is not in a git repository",
        fix="run `gitops new DIR` to make one, or `git init` here",
    )


def private(root: Path) -> Path:
    """Our own folder inside the git folder: shared by work trees, never committed."""
    dot_git = root / ".git"
    if dot_git.is_dir():
        return dot_git / "gitops"
    common = proc.run(["git", "rev-parse", "--git-common-dir"], cwd=root).out.strip()
    return (root / common).resolve() / "gitops"


def private_to_tree(root: Path) -> Path:
    """Our own folder for this work tree alone, on the file system of its git folder."""
    own = proc.run(["git", "rev-parse", "--git-dir"], cwd=root).out.strip()
    return (root / own).resolve() / "gitops"


def is_ignored(root: Path, path: str) -> bool:
    """Whether git ignores `path`."""
    return proc.run(["git", "check-ignore", "-q", path], cwd=root, check=False).code == 0


def is_tracked(root: Path, path: str) -> bool:
    """Whether git has `path` in its index."""
    done = proc.run(["git", "ls-files", "--error-unmatch", path], cwd=root, check=False)
    return done.code == 0


def head(root: Path) -> Head:
    """What is checked out.

    Raises:
        EvidenceError: there's no commit yet.
    """
    done = proc.run(["git", "rev-parse", "HEAD", "HEAD^{tree}"], cwd=root, check=False)
    if done.code:
        raise EvidenceError(
            "this repository has no commit yet", fix="git add -A && git commit -m 'Start'"
        )
    commit, tree = done.out.split()
    name = proc.run(["git", "symbolic-ref", "-q", "--short", "HEAD"], cwd=root, check=False)
    return Head(commit, tree, name.out.strip() or None)


def changes(root: Path) -> tuple[str, ...]:
    """Paths that differ from HEAD or are untracked (ignored ones excluded), relative to the top."""
    done = proc.run(
        ["git", "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames"], cwd=root
    )
    return tuple(sorted(entry[3:] for entry in done.out.split("\0") if entry))


def resolve(root: Path, revision: str) -> str:
    """The commit id (40 hex digits) that `revision` names.

    Raises:
        UsageError: it names none; a shallow clone says how to get the rest.
    """
    if not revision.startswith("-"):
        done = proc.run(
            ["git", "rev-parse", "--verify", "-q", f"{revision}^{{commit}}"], cwd=root, check=False
        )
        if not done.code:
            return done.out.strip()
    fix = "name a commit, a branch or a tag: `git log --oneline --all`"
    if is_shallow(root):
        fix = "this clone is shallow: git fetch --unshallow"
    raise UsageError(f"there's no revision {revision!r} here", fix=fix)


def is_shallow(root: Path) -> bool:
    """Whether history was cut off (a clone with --depth)."""
    return proc.run(["git", "rev-parse", "--is-shallow-repository"], cwd=root).out.strip() == "true"


def show(root: Path, revision: str, path: str) -> str | None:
    """The text of `path` at `revision`; None if it isn't there."""
    done = proc.run(["git", "show", f"{revision}:{path}"], cwd=root, check=False)
    return None if done.code else done.out


def remotes(root: Path) -> tuple[str, ...]:
    """Names of the git remotes."""
    return tuple(proc.run(["git", "remote"], cwd=root).out.split())


def branches(root: Path) -> dict[str, str]:
    """Commit id by branch name; a branch that only a remote has appears as `remote/name`."""
    done = proc.run(
        [
            "git",
            "for-each-ref",
            "--format=%(refname)%00%(objectname)",
            "refs/heads",
            "refs/remotes",
        ],
        cwd=root,
    )
    found = {}
    for line in done.out.splitlines():
        name, commit = line.split("\0")
        found[name.split("/", 2)[2]] = commit
    return found


def describe(root: Path, revision: str) -> tuple[str, str]:
    """Date (RFC 3339) and subject line of a commit."""
    done = proc.run(["git", "log", "-1", "--format=%cI%x00%s", revision], cwd=root)
    date, subject = done.out.rstrip("\n").split("\0", 1)
    return date, subject


def init(folder: Path, branch: str) -> None:
    """Make a repository whose first branch is `branch`."""
    with _repository_errors():
        from git import Repo

        Repo.init(folder, initial_branch=branch).close()


def commit(folder: Path, message: str, paths: Sequence[str] | None = None) -> str:
    """Commit `paths` (None: everything that isn't ignored) and return the commit id."""
    with _opened(folder) as repo:
        if paths is None:
            repo.git.add("--all")
            repo.git.commit("--quiet", "-m", message)
        else:
            repo.git.add("--", *paths)
            repo.git.commit("--quiet", "-m", message, "--", *paths)
        return repo.head.commit.hexsha


def create_branches(folder: Path, names: Sequence[str]) -> None:
    """Create branches at HEAD; those that exist stay where they are."""
    with _opened(folder) as repo:
        existing = {head.name for head in repo.heads}
        for name in names:
            if name not in existing:
                repo.create_head(name)


def switch_new(folder: Path, name: str) -> None:
    """Create branch `name` at HEAD and check it out.

    Raises:
        ToolError: it exists, or git refuses the name.
    """
    with _opened(folder) as repo:
        repo.git.switch("-c", name)


def clone(source: Path, target: Path, revision: str) -> None:
    """A clean clone of `revision`, detached, that shares nothing writable with `source`."""
    with _repository_errors():
        from git import Repo

        with Repo.clone_from(str(source), str(target), no_checkout=True, no_hardlinks=True) as repo:
            known = proc.run(["git", "cat-file", "-e", revision], cwd=target, check=False)
            if known.code:  # on no branch or tag of the source: ask for it by its id
                repo.git.fetch("--quiet", str(source), revision)
            repo.git.checkout("--quiet", "--detach", revision)


@contextmanager
def _opened(folder: Path) -> Iterator[Repo]:
    with _repository_errors():
        from git import Repo

        with Repo(folder) as repo:
            yield repo


@contextmanager
def _repository_errors() -> Iterator[None]:
    from git.exc import GitError

    try:
        yield
    except GitError as error:
        said = str(getattr(error, "stderr", "") or error).strip().removeprefix("stderr: ")
        raise ToolError(f"git refused: {said.strip(chr(39)).strip()}") from error
