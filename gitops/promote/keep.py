"""Which commits the storage must serve: environments and their past, tags, recent branches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gitops import git
from gitops.config import Config
from gitops.config.values import RECORDS
from gitops.git import write
from gitops.promote.world import World


def commits(world: World, local: Config, days: int) -> tuple[str, ...]:
    """The commits whose data and models are kept.

    Every tip that a release branch ever had, so that each rollback stays possible; every tag; each
    branch whose last commit is younger than `days`; what the integration branch had in that time;
    and the branches of this clone. Dates in the future count as young.
    """
    since = datetime.now(UTC) - timedelta(days=days)
    first, *releases = local.environments
    kept = dict.fromkeys(_tags(world))
    for environment in releases:
        if tip := world.refs.heads.get(environment.branch):
            kept |= dict.fromkeys(one.id for one in write.chain(world.root, tip))
    if tip := world.refs.heads.get(first.branch):
        kept |= dict.fromkeys([tip, *write.since(world.root, tip, since)])
    for branch, tip in world.refs.heads.items():
        if branch != RECORDS and (
            branch.startswith("gitops/") or write.since(world.root, tip, since, most=1)
        ):
            kept[tip] = None
    kept |= dict.fromkeys(git.branches(world.root).values())
    kept[git.head(world.root).commit] = None
    return tuple(kept)


def _tags(world: World) -> list[str]:
    """The commits that tags stand on."""
    lightweight = [one for name, one in world.refs.tags.items() if name not in world.refs.peeled]
    found = [*world.refs.peeled.values(), *lightweight]
    return [one for one in found if git.find(world.root, one) is not None]
