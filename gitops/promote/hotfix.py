"""Commits that were made on a release branch, and aren't where it is promoted from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gitops.git import write
from gitops.git.write import Commit
from gitops.promote.world import World


def pending(world: World, tip: str, sources: Sequence[str]) -> tuple[Commit, ...]:
    """The hotfixes on a release branch that none of the commits `sources` has, oldest first.

    A commit of the branch's own is none if its tree was seen before: in the source's history
    (a promotion, however the forge merged it), or earlier on the branch (a rollback). Promotions of
    a single model make trees of their own; those are on record. A promoted commit that the source
    no longer has counts too: its history was rewritten.
    """
    own = write.chain(world.root, tip, without=sources)
    if not own:
        return ()
    known = write.trees(world.root, sources)
    promoted = promotions(world)
    oldest = own[-1].parents[0] if own[-1].parents else None
    earlier = {one.tree for one in write.chain(world.root, oldest)} if oldest else set()
    found = []
    for commit in reversed(own):
        first = not commit.parents  # a branch that shares nothing with its source
        alone = commit.id[:16] in promoted and "\nGitops-" in commit.message
        if commit.tree not in known | earlier and not alone and not first:
            found.append(commit)
        earlier.add(commit.tree)
    return tuple(found)


def promotions(world: World) -> set[str]:
    """The commits that promotions on record have put on release branches, 16 digits of each."""
    return {Path(path).stem[-16:] for path in world.records.names("promotions")}


def recorded(world: World) -> set[str]:
    """Those, and the hotfixes that were judged and recorded where they are."""
    return promotions(world) | {Path(path).stem[-16:] for path in world.records.names("hotfixes")}


def shown(commit: Commit) -> str:
    """A commit in a line."""
    return f"{commit.id[:10]} {commit.message.splitlines()[0] if commit.message else ''}"
