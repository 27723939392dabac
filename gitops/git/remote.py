"""A git remote as the truth: read whole, mirrored apart from the user's refs, written atomically.

The mirror is `refs/gitops/remotes/<remote>/{heads,tags}/*`: what the remote had when it was last
read. The user's own branches and tags are neither trusted nor moved.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitops import git, proc
from gitops.errors import AnswerNo, ConfigError, ToolError, UsageError
from gitops.git import ci, graph
from gitops.git.program import QUIET

# A server that accepts the connection and then says nothing is given up on.
_PATIENT = ("-c", "http.lowSpeedLimit=100", "-c", "http.lowSpeedTime=30")
_SECONDS = 120.0
_TRIES = 3
_LOOSE = 500
_SECRET = re.compile(r"(\w+://)[^/@\s]+@")


@dataclass(frozen=True)
class Refs:
    """All branches and tags of a remote at one moment.

    `heads` and `tags` map short names to object ids, of an annotated tag its own; `peeled` maps
    annotated tags to the commit that they stand on.
    """

    remote: str
    heads: Mapping[str, str]
    tags: Mapping[str, str]
    peeled: Mapping[str, str]

    def id_of(self, ref: str) -> str | None:
        """The object id of a full ref name; None if the remote doesn't have it."""
        kind, _, name = ref.removeprefix("refs/").partition("/")
        return {"heads": self.heads, "tags": self.tags}[kind].get(name)


@dataclass(frozen=True)
class Update:
    """A ref (full name) that moves from `old` (None: it must not exist) to `new`."""

    ref: str
    old: str | None
    new: str

    @property
    def name(self) -> str:
        """The branch or tag without `refs/heads/` or `refs/tags/`."""
        return _short(self.ref)


def choose(root: Path, wanted: str | None = None) -> str:
    """The remote to work with: `wanted`, `origin`, or the only one.

    Raises:
        ConfigError: there's none, or several without an `origin`.
        UsageError: there's none of that name.
    """
    known = git.remotes(root)
    if wanted is not None:
        if wanted not in known:
            raise UsageError(
                f"there's no git remote {wanted!r}", fix=f"there are: {', '.join(known) or 'none'}"
            )
        return wanted
    if "origin" in known or len(known) == 1:
        return "origin" if "origin" in known else known[0]
    if not known:
        raise ConfigError(
            "this repository has no git remote: environments are branches of one",
            fix="git remote add origin URL, then git push --all origin",
        )
    raise ConfigError(
        f"which git remote has the environments? There are {', '.join(known)}",
        fix="name it with --remote",
    )


def url(root: Path, remote: str) -> str:
    """Where the remote is, without a user name or password in it."""
    found = proc.run(["git", "remote", "get-url", remote], cwd=root).out.strip()
    return _SECRET.sub(r"\1", found)


def place(root: Path, remote: str) -> str:
    """`url`; of a folder the absolute path, which is the same from every clone.

    Also of a folder that is gone for now: what is kept by this name must be found even so.
    """
    found = url(root, remote)
    elsewhere = "://" in found or re.match(r"[^/]+:", found)  # git's own rule for host:path
    return found if elsewhere else str((root / found).resolve())


def read(root: Path, remote: str) -> Refs:
    """The remote's refs now, with all their objects here.

    A shallow clone gets the history that it lacks.

    Raises:
        ToolError: the remote can't be reached, or moves faster than it can be read.
    """
    for _ in range(_TRIES):
        refs = peek(root, remote)
        if _mirrored(root, remote) == {**_named("heads", refs), **_named("tags", refs)}:
            if not git.is_shallow(root):
                return refs
            _fetch(root, remote, "--unshallow")
            continue
        _fetch(root, remote)
    raise ToolError(f"the remote {remote} changed all the while it was read", fix="run it again")


def peek(root: Path, remote: str) -> Refs:
    """The remote's refs now; nothing is fetched. Raises as `read` does."""
    listed = _asked(root, remote, ["ls-remote", "--", remote])
    found: dict[str, dict[str, str]] = {"heads": {}, "tags": {}}
    peeled = {}
    for line in listed.splitlines():
        one, name = line.split("\t", 1)
        kind, _, short = name.removeprefix("refs/").partition("/")
        if kind not in found:
            continue
        if short.endswith("^{}"):
            peeled[short.removesuffix("^{}")] = one
        else:
            found[kind][short] = one
    return Refs(remote, found["heads"], found["tags"], peeled)


def push(root: Path, refs: Refs, updates: Sequence[Update]) -> Refs:
    """Move all refs of `updates`, or none; what the remote has then, read back.

    Whatever the push reports, the remote is asked afterwards: a connection may break when all is
    done, and a server may say yes and mean no.

    Raises:
        AnswerNo: one of the refs was moved by somebody else meanwhile: nothing was changed.
        ToolError: the remote can't be reached, or refuses.
    """
    # What is pushed was pushed before, or made here of what was: hooks of the user's have seen it.
    command = ["push", "--porcelain", "--atomic", "--no-verify", "--no-recurse-submodules"]
    command += [f"--force-with-lease={one.ref}:{one.old or ''}" for one in updates]
    command += [refs.remote, *(f"{one.new}:{one.ref}" for one in updates)]
    try:
        done = proc.run(
            ["git", *_PATIENT, *command], cwd=root, env=_env(), check=False, timeout=_SECONDS
        )
    except ToolError as error:  # it took too long, and may have been done even so
        done = proc.Done(1, "", f"fatal: {error.message}")
    now = peek(root, refs.remote)
    if all(_is_there(root, now, one) for one in updates):
        return now
    moved = [one.ref for one in updates if now.id_of(one.ref) != one.old]
    if not done.code and len(moved) < len(updates):
        missing = [one.ref for one in updates if one.ref not in moved]
        raise ToolError(
            f"the remote {refs.remote} said yes, and yet has not moved {', '.join(missing)}",
            fix="look for a hook or a rule of the server that undoes pushes, then run it again",
        )
    if moved:
        raise AnswerNo(
            f"somebody else moved {', '.join(_short(ref) for ref in moved)} meanwhile:"
            " nothing was changed",
            fix="look at what they did (`gitops status`), then run it again if it still applies",
        )
    raise ToolError(
        f"the remote {refs.remote} refused: {_said(done)}",
        fix="whoever pushes needs the right to update these refs:"
        f" {', '.join(one.name for one in updates)};"
        " a promotion may go by a pull request instead: gitops promote --pr",
    )


def _is_there(root: Path, now: Refs, one: Update) -> bool:
    """Whether the ref is where we moved it, or a branch already beyond."""
    found = now.id_of(one.ref)
    if found == one.new or found is None or not one.ref.startswith("refs/heads/"):
        return found == one.new
    _fetch(root, now.remote)
    return graph.is_ancestor(root, one.new, found)


def _said(done: proc.Done) -> str:
    """What the server said, without the lines that say nothing."""
    lines = [line.split("\t")[-1] for line in done.out.splitlines() if line.startswith("!")]
    named = [line for line in lines if "atomic" not in line]
    words = [
        line.removeprefix("remote:").strip()
        for line in done.err.splitlines()
        if line.startswith(("remote:", "fatal:"))
    ]
    found = [_SECRET.sub(r"\1", line) for line in [*words, *(named or lines)] if line]
    return "; ".join(dict.fromkeys(found[:8])) or f"exit code {done.code}"


def _asked(root: Path, remote: str, words: Sequence[str]) -> str:
    command = ["git", *_PATIENT, *words]
    done = proc.run(command, cwd=root, env=_env(), check=False, timeout=_SECONDS)
    if done.code:
        raise ToolError(
            f"the git remote {remote} ({url(root, remote)}) can't be read: {_said(done)}",
            fix=f"check the address and the credentials: git ls-remote {remote}",
        )
    return done.out


def _env() -> dict[str, str]:
    return {**QUIET, **ci.credentials(os.environ)}


def _fetch(root: Path, remote: str, *options: str) -> None:
    specs = [f"+refs/{kind}/*:{mirror(remote)}{kind}/*" for kind in ("heads", "tags")]
    get = ["fetch", "--quiet", "--no-tags", "--prune", "--no-write-fetch-head"]
    _asked(root, remote, [*get, "--no-recurse-submodules", *options, remote, *specs])
    # A file for each of thousands of refs would be opened by every command from now on.
    folder = git.private(root).parent / mirror(remote) / "tags"
    if folder.is_dir() and len(list(folder.iterdir())) > _LOOSE:
        proc.run(["git", "pack-refs", "--all"], cwd=root, check=False)


def mirror(remote: str) -> str:
    """Where what a remote had is kept: the prefix of its `heads/` and `tags/`."""
    return f"refs/gitops/remotes/{remote}/"


def _mirrored(root: Path, remote: str) -> dict[str, str]:
    top = mirror(remote)
    command = ["git", "for-each-ref", "--format=%(objectname) %(refname)", top]
    lines = proc.run(command, cwd=root).out.splitlines()
    return {name.removeprefix(top): one for one, name in (line.split(" ", 1) for line in lines)}


def _named(kind: str, refs: Refs) -> dict[str, str]:
    return {f"{kind}/{name}": one for name, one in getattr(refs, kind).items()}


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
