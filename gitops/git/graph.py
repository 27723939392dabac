"""History read in bulk: one process for a question about many commits or many files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gitops import git, proc
from gitops.errors import EvidenceError


@dataclass(frozen=True)
class Graph:
    """Commits and their parents; every commit stands before its parents."""

    parents: Mapping[str, tuple[str, ...]]

    @cached_property
    def _known(self) -> dict[str, frozenset[str]]:
        return {}

    def history(self, tip: str) -> frozenset[str]:
        """What `tip` descends from, and itself; nothing if the graph doesn't have it."""
        if tip not in self._known:
            found, todo = set(), [tip] if tip in self.parents else []
            while todo:
                one = todo.pop()
                if one not in found:
                    found.add(one)
                    todo += self.parents.get(one, ())
            self._known[tip] = frozenset(found)
        return self._known[tip]

    def lacking(self, pairs: Iterable[tuple[str, tuple[str, ...]]]) -> list[frozenset[str]]:
        """For each pair (tip, others): the commits that `tip` has and none of the others.

        One walk for all pairs: each commit gets the set, as bits, of those that descend from it.
        """
        wanted = list(pairs)
        ends = dict.fromkeys(one for tip, others in wanted for one in (tip, *others))
        bits = {one: 1 << at for at, one in enumerate(ends)}
        above: dict[str, int] = {}
        alike: dict[int, list[str]] = {}
        for one, parents in self.parents.items():
            mask = above.pop(one, 0) | bits.get(one, 0)
            if mask:
                alike.setdefault(mask, []).append(one)
                for parent in parents:
                    above[parent] = above.get(parent, 0) | mask
        found: dict[tuple[int, int], frozenset[str]] = {}
        for tip, others in wanted:
            yes, no = bits[tip], sum({bits[one] for one in others})
            if (yes, no) not in found:
                found[yes, no] = frozenset(
                    one
                    for mask, several in alike.items()
                    if mask & yes and not mask & no
                    for one in several
                )
        return [found[bits[tip], sum({bits[one] for one in others})] for tip, others in wanted]


def read(root: Path, tips: Sequence[str]) -> Graph:
    """The history of `tips`, as far as the clone has it."""
    if not tips:
        return Graph({})
    command = ["git", "rev-list", "--topo-order", "--parents", *dict.fromkeys(tips)]
    lines = (line.split() for line in proc.run(command, cwd=root).out.splitlines())
    return Graph({one: tuple(parents) for one, *parents in lines})


def contents(root: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The bytes of those files, named `<commit>:<path>`, that are there."""
    found = git.batch(root, names)
    return {name: raw for name, (kind, raw) in found.items() if kind == "blob"}


def dates(root: Path, commits: Iterable[str]) -> dict[str, str]:
    """The committer's date (RFC 3339) of commits."""
    wanted = sorted(set(commits))
    if not wanted:
        return {}
    command = ["git", "log", "--no-walk=unsorted", "--stdin", "--format=%H %cI"]
    listed = proc.run(command, cwd=root, input="".join(f"{one}\n" for one in wanted)).out
    return dict(line.split(" ", 1) for line in listed.splitlines())


def trees(root: Path, commits: Iterable[str]) -> dict[str, str]:
    """The tree of each of those commits that the clone has."""
    wanted = sorted(set(commits))
    if not wanted:
        return {}
    lines = "".join(f"{one}^{{tree}}\n" for one in wanted).encode()
    command = ["git", "cat-file", "--batch-check=%(objectname)"]
    listed = proc.output(command, cwd=root, input=lines).decode().splitlines()
    answers = zip(wanted, listed, strict=True)
    return {one: tree for one, tree in answers if not tree.endswith(("missing", "ambiguous"))}


def touched(root: Path, commits: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The paths that each commit changed against its parent; of merges none."""
    wanted = sorted(set(commits))
    if not wanted:
        return {}
    command = ["git", "diff-tree", "--stdin", "--root", "-r", "-z", "--name-only", "--no-renames"]
    lines = "".join(f"{one}\n" for one in wanted).encode()
    found: dict[str, list[str]] = {one: [] for one in wanted}
    at = wanted[0]
    for word in proc.output(command, cwd=root, input=lines).decode("utf-8", "replace").split("\0"):
        at = word if word in found else at
        if word and word not in found:
            found[at].append(word)
    return {one: tuple(paths) for one, paths in found.items()}


def parents(root: Path, commit: str) -> tuple[str, ...]:
    """Ids of a commit's parents, the first the branch that was merged into.

    Raises:
        EvidenceError: the clone is shallow and ends here.
    """
    raw = proc.run(["git", "cat-file", "commit", commit], cwd=root).out.split("\n\n")[0]
    found = tuple(line.split()[1] for line in raw.splitlines() if line.startswith("parent "))
    if found and git.find(root, found[0]) is None:
        raise EvidenceError(
            f"this clone is shallow: {commit[:12]} is here, but not what was before it",
            fix="git fetch --unshallow (in GitHub Actions: `fetch-depth: 0` of actions/checkout;"
            " in Azure Pipelines: `fetchDepth: 0` of checkout)",
        )
    return found


def fork_point(root: Path, one: str, other: str) -> str | None:
    """The commit where two revisions parted (the best merge base); None: they share nothing."""
    done = proc.run(["git", "merge-base", one, other], cwd=root, check=False)
    return done.out.strip() or None


def is_ancestor(root: Path, one: str, other: str) -> bool:
    """Whether `one` is in the history of `other` (or is it)."""
    command = ["git", "merge-base", "--is-ancestor", one, other]
    return proc.run(command, cwd=root, check=False).code == 0
