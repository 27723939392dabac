"""git itself: which one it is, who commits by it, and what it exports to its hooks."""

from __future__ import annotations

import os
from pathlib import Path

from gitops import proc
from gitops.errors import ConfigError, ToolError

# With what others wrote: none of their hooks, no transport that runs a command.
WARY = ("git", "-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never")
QUIET = {"GIT_TERMINAL_PROMPT": "0"}  # a remote that asks for a password gets none
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
