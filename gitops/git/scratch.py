"""A remote to rehearse on: what the true one has, in a bare repository that is thrown away."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gitops import proc
from gitops.errors import AnswerNo
from gitops.git import remote as remotes
from gitops.git.program import WARY

_WHO = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "gitops ci"), ("EMAIL", "gitops-ci@localhost"))
}
# A hook has the environment of whoever pushes to a folder.
_GUARD = """\
#!/bin/sh
test "$GITOPS_CI_PUSH" = {word} && exit 0
echo "error: this step may not push: its job has no contents: write, or it no token" >&2
exit 1
"""
PULL = "refs/pull/1/merge"


def mirror(root: Path, target: Path, remote: str | None) -> None:
    """Make the bare repository `target` with all branches and tags of `remote`.

    Without one: with those of this clone. Objects are borrowed from `root`.

    Raises:
        ToolError: the remote can't be reached.
    """
    top = "refs/"
    if remote is not None:
        remotes.read(root, remote)
        top = remotes.mirror(remote)
    common = proc.run(["git", "rev-parse", "--git-common-dir"], cwd=root).out.strip()
    proc.run([*WARY, "init", "--quiet", "--bare", "--template=", str(target)])
    (target / "objects" / "info").mkdir(exist_ok=True)
    store = (root / common).resolve() / "objects"
    (target / "objects" / "info" / "alternates").write_text(f"{store}\n")
    specs = [f"+{top}{kind}/*:refs/{kind}/*" for kind in ("heads", "tags")]
    proc.run([*WARY, "fetch", "--quiet", "--no-tags", str(root), *specs], cwd=target)


def guard(store: Path, word: str) -> None:
    """Refuse each push to `store` but those with GITOPS_CI_PUSH=`word` in their environment."""
    hook = store / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(_GUARD.format(word=word))
    hook.chmod(0o755)


def tip(store: Path, branch: str) -> str | None:
    """The commit of a branch."""
    command = ["git", "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}"]
    return proc.run(command, cwd=store, check=False).out.strip() or None


def branches(store: Path) -> tuple[str, ...]:
    """All branches of the repository."""
    command = ["git", "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads"]
    return tuple(proc.run(command, cwd=store).out.split())


def address(root: Path, remote: str) -> str:
    """Where a remote is, from anywhere on this machine; with a password, if there is one in it."""
    found = proc.run(["git", "remote", "get-url", remote], cwd=root).out.strip()
    folder = root / found
    return str(folder.resolve()) if folder.is_dir() else found


def put(store: Path, branch: str, commit: str) -> None:
    """Move, or make, a branch; the first one is what a clone takes."""
    proc.run(["git", "update-ref", f"refs/heads/{branch}", commit], cwd=store)


def merge(store: Path, branch: str, base: str, head: str) -> str:
    """The commit that merging `head` into `base` gives, as the ref `PULL`.

    Raises:
        AnswerNo: they conflict.
    """
    with tempfile.TemporaryDirectory(prefix="gitops-merge-") as temporary:
        tree = Path(temporary) / "tree"
        proc.run([*WARY, "clone", "--quiet", "--no-checkout", "--shared", str(store), str(tree)])
        proc.run([*WARY, "checkout", "--quiet", "--detach", base], cwd=tree)
        words = ["merge", "--quiet", "--no-ff", "-m", f"Merge {head[:12]} into {branch}", head]
        done = proc.run([*WARY, *words], cwd=tree, env=_WHO, check=False)
        if done.code:
            command = ["git", "diff", "--name-only", "-z", "--diff-filter=U"]
            files = proc.run(command, cwd=tree).out.split("\0")[:-1]
            if not files:
                raise proc.failed(["git", *words], done)
            raise AnswerNo(
                f"HEAD conflicts with {branch} in {', '.join(files[:5])}:"
                " a pull request has no merge result to run on",
                fix=f"git merge {branch}; where dvc.lock conflicts, gitops build says what to do",
            )
        proc.run([*WARY, "push", "--quiet", str(store), f"HEAD:{PULL}"], cwd=tree)
        return proc.run(["git", "rev-parse", "HEAD"], cwd=tree).out.strip()


def clone(store: Path, target: Path, commit: str, branch: str | None, origin: str) -> None:
    """A clean clone at `commit`, on `branch` (None: detached), whose remote is `origin`."""
    proc.run([*WARY, "clone", "--quiet", "--no-checkout", str(store), str(target)])
    known = proc.run(["git", "cat-file", "-e", commit], cwd=target, check=False)
    if known.code:  # on no branch: the merge result
        proc.run([*WARY, "fetch", "--quiet", "origin", PULL], cwd=target)
    place = ["-B", branch] if branch else ["--detach"]
    proc.run([*WARY, "checkout", "--quiet", *place, commit], cwd=target)
    proc.run(["git", "remote", "set-url", "origin", origin], cwd=target)
