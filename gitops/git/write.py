"""Git objects made without the work tree, the index or a ref: what a push then names."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gitops import git, proc
from gitops.errors import ToolError


@dataclass(frozen=True)
class Commit:
    """A commit: its id, its tree, its parents (the first the branch merged into), its message."""

    id: str
    tree: str
    parents: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class File:
    """A file of a tree: its mode as git writes it (100644, 100755, 120000), and its blob's id."""

    mode: str
    blob: str


def blob(root: Path, raw: bytes) -> str:
    """Put bytes into the object store, unfiltered; the id."""
    command = ["git", "hash-object", "-w", "--no-filters", "--stdin"]
    return proc.output(command, cwd=root, input=raw).decode().strip()


def tree(root: Path, base: str | None, changes: Mapping[str, File | None]) -> str:
    """The id of the tree `base` (None: the empty one) with `changes` by path; None removes."""
    with tempfile.TemporaryDirectory(prefix="gitops-index-") as folder:
        env = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        start = ["read-tree", base] if base else ["read-tree", "--empty"]
        proc.run(["git", *start], cwd=root, env=env)
        lines = [
            f"{file.mode} {file.blob}\t{path}" if file else f"0 {'0' * 40}\t{path}"
            for path, file in changes.items()
        ]
        command = ["git", "update-index", "-z", "--index-info"]
        proc.run(command, cwd=root, env=env, input="".join(f"{line}\0" for line in lines))
        return proc.run(["git", "write-tree"], cwd=root, env=env).out.strip()


def commit(root: Path, tree: str, parents: Sequence[str], message: str) -> str:
    """The id of a new commit on no branch, signed where the user's git signs commits."""
    sign = ["-S"] if _setting(root, "commit.gpgSign") == "true" else []
    words = [word for parent in parents for word in ("-p", parent)]
    return proc.run(
        ["git", "commit-tree", *sign, *words, tree], cwd=root, input=message
    ).out.strip()


def tag(root: Path, name: str, target: str, message: str, *, sign: bool) -> str:
    """The id of a new annotated tag object that no ref names.

    It is made in a git folder of its own that shares the object store, so that no local tag is
    left behind if the push fails. Signed by git's own settings (`gpg.format`, `user.signingKey`).

    Raises:
        ToolError: git can't sign.
    """
    common = proc.run(["git", "rev-parse", "--git-common-dir"], cwd=root).out.strip()
    store = (root / common).resolve()
    with tempfile.TemporaryDirectory(prefix="gitops-tag-") as folder:
        scratch = Path(folder)
        (scratch / "refs").mkdir()
        (scratch / "HEAD").write_text("ref: refs/heads/none\n")
        (scratch / "config").write_text(
            f'[core]\n\trepositoryformatversion = 0\n[include]\n\tpath = "{store / "config"}"\n'
            "[core]\n\tbare = true\n"
        )
        env = {"GIT_OBJECT_DIRECTORY": str(store / "objects"), "GIT_DIR": str(scratch)}
        kind = "-s" if sign else "-a"
        command = ["git", "tag", kind, "--cleanup=verbatim", "-F", "-", "--", name, target]
        done = proc.run(command, cwd=scratch, env=env, input=message, check=False)
        if done.code:
            said = "; ".join(done.err.strip().splitlines()[-3:])
            raise ToolError(
                f"git could not make the tag {name}: {said}",
                fix="check user.signingKey and gpg.format: `git tag -s try` must work"
                if sign
                else "check user.name and user.email",
            )
        command = ["git", "rev-parse", "--verify", f"refs/tags/{name}"]
        return proc.run(command, cwd=scratch, env=env).out.strip()


def signs(root: Path) -> bool:
    """Whether the user's git is set up to sign tags."""
    return (
        _setting(root, "tag.gpgSign") == "true"
        or bool(_setting(root, "user.signingKey"))
        or bool(_setting(root, "gpg.ssh.defaultKeyCommand"))
    )


def keep_tags(root: Path, tags: Mapping[str, str]) -> None:
    """Give the user's clone these tags (name -> object); one that is there stays as it is."""
    listed = proc.run(["git", "for-each-ref", "--format=%(refname)", "refs/tags"], cwd=root).out
    there = set(listed.splitlines())
    lines = [
        f"create refs/tags/{name} {one}\n"
        for name, one in tags.items()
        if f"refs/tags/{name}" not in there
    ]
    proc.run(["git", "update-ref", "--stdin"], cwd=root, input="".join(lines), check=False)


def chain(root: Path, tip: str, *, without: Sequence[str] = (), most: int = 0) -> list[Commit]:
    """Commits from `tip` back along first parents, the newest first, as far as not in `without`."""
    command = ["git", "log", "--first-parent", "-z", "--format=%H%x01%T%x01%P%x01%B", tip]
    command += [f"-n{most}"] if most else []
    listed = proc.run([*command, *(f"^{one}" for one in without)], cwd=root).out
    found = []
    for entry in listed.split("\0"):
        if entry:
            one, tree, parents, message = entry.split("\x01", 3)
            found.append(Commit(one, tree, tuple(parents.split()), message))
    return found


_texts: dict[str, str] = {}
_MANY = 500


def tag_texts(root: Path, objects: Sequence[str]) -> dict[str, str]:
    """The raw text of tag objects, header, message and signature, by id."""
    read = git.batch(root, sorted(set(objects) - _texts.keys()))
    found = {
        one: raw.decode("utf-8", "replace") for one, (kind, raw) in read.items() if kind == "tag"
    }
    if len(found) <= _MANY:  # by their ids: they never change
        _texts.update(found)
    return found | {one: _texts[one] for one in objects if one in _texts}


def _setting(root: Path, name: str) -> str:
    return proc.run(["git", "config", name], cwd=root, check=False).out.strip()


def verified(root: Path, object: str, allowed: bytes) -> tuple[str, int]:
    """What git says of a tag's signature, held against a file of allowed signers; its exit code."""
    with tempfile.TemporaryDirectory(prefix="gitops-signers-") as folder:
        file = Path(folder) / "allowed_signers"
        file.write_bytes(allowed)
        command = ["git", "-c", f"gpg.ssh.allowedSignersFile={file}", "verify-tag", "--raw", object]
        done = proc.run(command, cwd=root, check=False)
        return f"{done.out}\n{done.err}", done.code


def trees(root: Path, tips: Sequence[str]) -> frozenset[str]:
    """The trees of all commits in the history of `tips`."""
    return frozenset(proc.run(["git", "log", "--format=%T", *tips], cwd=root).out.split())


def with_tree(root: Path, tip: str, tree: str) -> str | None:
    """The newest commit in the history of `tip` that has this tree."""
    listed = proc.run(["git", "log", "--format=%H %T", tip], cwd=root).out.splitlines()
    return next((line.split()[0] for line in listed if line.endswith(tree)), None)


def picked(root: Path, onto: str, commits: Sequence[Commit]) -> tuple[str, tuple[str, ...]]:
    """The tree of `onto` with the changes of `commits`, and the paths in conflict (then no tree).

    Done in a work tree of its own; no hook runs, and nothing is signed.
    """
    quiet = ["git", "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"]
    env = {"GIT_LFS_SKIP_SMUDGE": "1", "GIT_EDITOR": "true"}
    with tempfile.TemporaryDirectory(prefix="gitops-pick-") as folder:
        there = Path(folder) / "tree"
        proc.run(
            [*quiet, "worktree", "add", "--quiet", "--detach", str(there), onto], cwd=root, env=env
        )
        try:
            for one in commits:
                side = ["-m", "1"] if len(one.parents) > 1 else []
                pick = ["cherry-pick", "--allow-empty", "--keep-redundant-commits", *side, one.id]
                done = proc.run([*quiet, *pick], cwd=there, env=env, check=False)
                if done.code:
                    return "", _unmerged(there) or (f"commit {one.id[:12]}",)
            return proc.run(["git", "rev-parse", "HEAD^{tree}"], cwd=there).out.strip(), ()
        finally:
            remove = ["git", "worktree", "remove", "--force", str(there)]
            proc.run(remove, cwd=root, check=False)


def _unmerged(there: Path) -> tuple[str, ...]:
    listed = proc.run(["git", "diff", "--name-only", "-z", "--diff-filter=U"], cwd=there).out
    return tuple(path for path in listed.split("\0") if path)


def since(root: Path, tip: str, moment: datetime, *, most: int = 0) -> tuple[str, ...]:
    """Commits in the history of `tip` that were made after a moment, by their own dates."""
    limit = [f"-n{most}"] if most else []
    command = ["git", "rev-list", f"--since={moment.isoformat()}", *limit, tip]
    return tuple(proc.run(command, cwd=root).out.split())
