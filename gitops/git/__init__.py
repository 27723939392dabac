"""The one place that speaks git.

Repository handling goes through GitPython; questions on the hot path and bulk reading of refs go
straight to one git process (5,000 tags: GitPython a minute, `git for-each-ref` 0.15 s).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from gitops import proc
from gitops.errors import ConfigError, EvidenceError, ToolError, UsageError

if TYPE_CHECKING:
    from git import Repo

# Small blobs that were read before, by repository and id: they never change.
_small: dict[tuple[Path, str], bytes] = {}
_SMALL, _MANY = 1 << 16, 2000


@dataclass(frozen=True)
class Head:
    """Where a work tree stands: commit and tree ids, and the branch if not detached."""

    commit: str
    tree: str
    branch: str | None


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
    if (root / ".git").is_dir():
        return root / ".git" / "gitops"
    own = proc.run(["git", "rev-parse", "--git-dir"], cwd=root).out.strip()
    return (root / own).resolve() / "gitops"


def blobs(root: Path, ids: Iterable[str]) -> dict[str, bytes]:
    """The contents of those blobs that the repository has."""
    wanted = set(ids)
    found = {one: _small[root, one] for one in wanted if (root, one) in _small}
    others = batch(root, sorted(wanted - found.keys()))
    found |= {one: raw for one, (kind, raw) in others.items() if kind == "blob"}
    if len(_small) > _MANY:
        _small.clear()
    _small.update({(root, one): raw for one, raw in found.items() if len(raw) <= _SMALL})
    return found


def batch(root: Path, names: Iterable[str]) -> dict[str, tuple[str, bytes]]:
    """Kind and contents of those objects that are there, named by id or as `<commit>:<path>`."""
    wanted = [name for name in dict.fromkeys(names) if "\n" not in name]
    if not wanted:
        return {}
    lines = "".join(f"{name}\n" for name in wanted).encode()
    data = proc.output(["git", "cat-file", "--batch"], cwd=root, input=lines)
    found, at = {}, 0
    for name in wanted:
        end = data.index(b"\n", at)
        head, at = data[at:end].rsplit(b" ", 2), end + 1
        # Else git says `<name> missing`, or that it is ambiguous.
        if len(head) == 3 and head[1] in (b"blob", b"tree", b"commit", b"tag"):
            size = int(head[2])
            found[name] = head[1].decode(), data[at : at + size]
            at += size + 1
    return found


def files(root: Path) -> tuple[str, ...]:
    """Every file that git tracks or would track, relative to the top."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    return tuple(sorted({path for path in proc.run(command, cwd=root).out.split("\0") if path}))


def has_crlf(root: Path) -> bool:
    """Whether git keeps a file with CRLF line ends, which `eol=lf` would show as changed."""
    listed = proc.run(["git", "ls-files", "--eol"], cwd=root).out.splitlines()
    return any(line.startswith(("i/crlf", "i/mixed")) for line in listed)


def is_ignored(root: Path, path: str) -> bool:
    """Whether git ignores `path`."""
    return bool(ignoring(root, [path]))


def ignoring(root: Path, paths: Iterable[str]) -> list[tuple[str, str]]:
    """Those of `paths` that git ignores, each with the rule (`FILE:LINE:PATTERN`)."""
    command = ["git", "check-ignore", "--verbose", "-z", "--stdin"]
    given = "\0".join(paths)
    said = proc.run(command, cwd=root, input=given, check=False).out.split("\0")
    found = zip(said[0::4], said[1::4], said[2::4], said[3::4], strict=False)
    return [
        (path, f"{file}:{line}:{pattern}")
        for file, line, pattern, path in found
        if not pattern.startswith("!")
    ]


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


def branch(root: Path) -> str | None:
    """The branch that is checked out, one without a commit too; None if HEAD is detached."""
    done = proc.run(["git", "symbolic-ref", "-q", "--short", "HEAD"], cwd=root, check=False)
    return done.out.strip() or None


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


@dataclass(frozen=True)
class Snapshot:
    """A commit as git keeps it: `files` maps the path of each file to its blob's id.

    `links` does the same for symbolic links, whose blob is what they lead to.
    """

    root: Path
    commit: str
    tree: str
    files: Mapping[str, str]
    links: Mapping[str, str]

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The bytes of those of `paths` that are there.

        Raises:
            EvidenceError: the clone is partial, and can't get them.
        """
        wanted = {path: self.files[path] for path in paths if path in self.files}
        if not wanted:
            return {}
        found = blobs(self.root, wanted.values())
        if lost := [path for path, one in wanted.items() if one not in found]:
            raise EvidenceError(
                f"this clone lacks {', '.join(lost[:5])} of {self.commit[:12]}",
                fix="git fetch --refetch, or clone again without --filter",
            )
        return {path: found[one] for path, one in wanted.items()}


def snapshot(root: Path, commit: str) -> Snapshot:
    """The files of a commit, without touching the work tree."""
    return _snapshot(root, commit) if len(commit) == 40 else _snapshot.__wrapped__(root, commit)


@lru_cache(maxsize=8)  # by its id: it never changes
def _snapshot(root: Path, commit: str) -> Snapshot:
    tree = proc.run(["git", "rev-parse", f"{commit}^{{tree}}"], cwd=root).out.strip()
    listed = proc.run(["git", "ls-tree", "-r", "-z", "--full-tree", commit], cwd=root).out
    files, links = {}, {}
    for entry in listed.split("\0")[:-1]:
        head, path = entry.split("\t", 1)
        mode, _, blob = head.split(" ")
        if mode.startswith("100"):
            files[path] = blob
        elif mode == "120000":
            links[path] = blob
    return Snapshot(root, commit, tree, files, links)


def find(root: Path, *revisions: str) -> str | None:
    """The commit id of the first of `revisions` that is here."""
    for revision in revisions:
        try:
            return resolve(root, revision)
        except UsageError:
            continue
    return None


def changed(root: Path, before: str, after: str) -> dict[str, tuple[int, int]]:
    """Paths that differ between two commits, with the lines added and removed (binary: 0, 0)."""
    plain = ["--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv"]
    done = proc.run(["git", "diff", *plain, before, after], cwd=root)
    found = {}
    for entry in done.out.split("\0")[:-1]:
        added, removed, path = entry.split("\t", 2)
        found[path] = (0, 0) if added == "-" else (int(added), int(removed))
    return found


def changed_paths(root: Path, before: str, after: str) -> tuple[str, ...]:
    """Paths that differ between two commits."""
    plain = ["-r", "-z", "--name-only", "--no-renames"]
    return tuple(
        proc.run(["git", "diff-tree", *plain, before, after], cwd=root).out.split("\0")[:-1]
    )


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


def leave(folder: Path, branch: str, back: Head) -> None:
    """Check out what was checked out before `branch`, and forget that."""
    with _opened(folder) as repo:
        repo.git.switch(back.branch) if back.branch else repo.git.switch("--detach", back.commit)
        repo.git.branch("--quiet", "-D", branch)


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


def modes(store: Path, commit: str) -> dict[str, str]:
    """The mode of every file of a commit, as git writes it: 100644, 100755, 120000, 160000."""
    listed = proc.run(["git", "ls-tree", "-r", "-z", "--full-tree", commit], cwd=store).out
    entries = (entry.split("\t", 1) for entry in listed.split("\0")[:-1])
    return {path: head.split(" ", 1)[0] for head, path in entries}
