"""Repositories that nobody here vouches for: no hooks, and no transport that runs a command."""

from __future__ import annotations

from pathlib import Path

from gitops import git, proc
from gitops.errors import UsageError
from gitops.git.program import QUIET, WARY


def is_repository(place: str) -> bool:
    """Whether a local folder is a git repository by itself, with a work tree or bare."""
    folder = Path(place)
    bare = (folder / "HEAD").is_file() and (folder / "refs").is_dir()
    return bare or (folder / ".git").exists()


def refs(url: str) -> dict[str, str]:
    """Branches and tags of a repository elsewhere: full name -> commit (of an annotated tag too).

    Raises:
        ToolError: it can't be reached.
    """
    listed = proc.run([*WARY, "ls-remote", "--", url], env=QUIET).out
    found: dict[str, str] = {}
    for line in listed.splitlines():
        commit, name = line.split("\t", 1)
        found[name.removesuffix("^{}")] = commit  # the peeled tag comes after the tag
    return found


def take(url: str, revision: str, store: Path) -> str:
    """Fetch a revision of a repository elsewhere into the new bare repository `store`; its commit.

    Nothing of it is checked out: no hook, filter or submodule runs.

    Raises:
        ToolError: it can't be reached.
        UsageError: there's no such revision.
    """
    proc.run([*WARY, "init", "--quiet", "--bare", "--template=", str(store)])
    get = [*WARY, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules"]
    shallow = [*get, "--depth", "1", "--", url, revision]
    if proc.run(shallow, cwd=store, env=QUIET, check=False).code == 0:
        return proc.run(
            ["git", "rev-parse", "--verify", "FETCH_HEAD^{commit}"], cwd=store
        ).out.strip()
    # A commit that the server gives only with all of its history, or no such revision.
    everything = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    proc.run([*get, "--", url, *everything], cwd=store, env=QUIET)
    commit = git.find(store, revision)
    if commit is None:
        raise UsageError(
            f"{url} has no revision {revision!r}", fix="name a branch, a tag or a commit of it"
        )
    return commit
