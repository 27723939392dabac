"""Three-way merges of files, and the contents that are their bases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from gitops import git, proc


def past_blobs(root: Path, paths: Sequence[str]) -> frozenset[str]:
    """Ids of every content that the history of HEAD has had at `paths`."""
    command = ["git", "log", "--format=", "--raw", "--no-abbrev", "--no-renames", "-m", "HEAD"]
    listed = proc.run([*command, "--", *paths], cwd=root, check=False).out
    ids = {one for line in listed.splitlines() if line[:1] == ":" for one in line.split()[2:4]}
    return frozenset(one for one in ids if one.strip("0"))


def fetch_blobs(root: Path, ids: Iterable[str]) -> None:
    """Ask the remotes for blobs that a shallow or partial clone lacks, and then for all history.

    Whether that helped, `blobs` tells.
    """
    wanted = sorted(set(ids))
    quiet = {"GIT_TERMINAL_PROMPT": "0"}
    base = ["git", "fetch", "--quiet", "--no-tags"]
    for remote in git.remotes(root):
        proc.run(
            [*base, "--no-write-fetch-head", remote, *wanted], cwd=root, env=quiet, check=False
        )
        if len(git.blobs(root, wanted)) < len(wanted) and git.is_shallow(root):
            proc.run([*base, "--unshallow", remote], cwd=root, env=quiet, check=False)
        if len(git.blobs(root, wanted)) == len(wanted):
            return


def blob_at(root: Path, revision: str, path: str) -> str | None:
    """The id of the file `path` at `revision`; None if it isn't there."""
    command = ["git", "rev-parse", "--verify", "--quiet", f"{revision}:{path}"]
    return proc.run(command, cwd=root, check=False).out.strip() or None


def keep_blobs(root: Path, files: Sequence[str]) -> None:
    """Put the contents of `files` into the object store, unfiltered."""
    if files:
        command = ["git", "hash-object", "-w", "--no-filters", "--stdin-paths"]
        proc.run(command, cwd=root, input="".join(f"{file}\n" for file in files))


def merge_file(root: Path, yours: Path, base: Path, theirs: Path) -> bool:
    """Merge the changes from `base` to `theirs` into the file `yours`; whether without conflict.

    Conflicts are marked in it, as between `yours` and `gitops`.

    Raises:
        ToolError: git can't merge them (they are binary).
    """
    labels = [part for label in ("yours", "before", "gitops") for part in ("-L", label)]
    files = [str(file) for file in (yours, base, theirs)]
    command = ["git", "merge-file", "--quiet", *labels, *files]
    done = proc.run(command, cwd=root, check=False)
    if done.code < 0 or done.code > 127:
        raise proc.failed(command, done)
    return done.code == 0
