"""What the forge has merged into a release branch: proven, judged and recorded.

The first step of the deploy workflow, and of nobody else: without a forge `run.run` pushes the
branch and the tags together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gitops import git
from gitops.config import Config, Environment
from gitops.errors import EvidenceError, UsageError
from gitops.git import graph, write
from gitops.promote import rollback, signatures
from gitops.promote.plan import (
    Change,
    Plan,
    along,
    approved,
    chain_stops,
    changes,
    hotfix_stops,
    standing,
)
from gitops.promote.world import World, before

# Those of an environment's approvers who approved the pull request whose head is this commit.
Reviewers = Callable[[str, Environment], Iterable[str]]


@dataclass(frozen=True)
class Past:
    """A release branch's first-parent line, its tip first, and the tips that stage tags vouch for,
    oldest first."""

    line: tuple[str, ...]
    vouched_for: tuple[str, ...]

    @property
    def recorded(self) -> bool:
        """Whether stage tags vouch for the present tip."""
        return self.line[0] in self.vouched_for

    def before(self) -> str:
        """The last tip that a stage tag vouches for, or what the branch was before its last commit.

        Raises:
            EvidenceError: there was nothing before.
        """
        tip, *earlier = self.line
        if not earlier:
            raise EvidenceError(
                f"{tip[:12]} is the branch's first commit: nothing says what it was before",
                fix="let the branch start at a commit that every environment has",
            )
        known = [one for one in self.vouched_for if one != tip]
        return known[-1] if known else earlier[0]


def plan(
    world: World,
    local: Config,
    environment: str,
    *,
    promoter: str,
    reviewers: Reviewers | None = None,
    past: Past | None = None,
) -> Plan:
    """The plan for the tip that the branch has: whatever came since the last that is on record.

    A tip whose tree is one of the source's commits is a promotion, whichever way the forge merged
    it; any other is a hotfix, which is judged as it is. `reviewers` tells who of the approvers has
    approved the pull request of a commit. `past` is read where it isn't given.

    Raises:
        UsageError: it's the first environment.
        EvidenceError: the branch has but one commit, so that nothing says what it was before.
    """
    target = local.environment(environment)
    tip = world.tip(target)
    base = git.snapshot(world.root, (past or read(world, target)).before())
    settings = world.settings(base, target)
    source = before(settings, target)
    if source is None:
        raise UsageError(
            f"{environment} is the first environment: nothing is promoted to it",
            fix="gitops build --register writes its versions",
        )
    there = world.tip(source)
    at = _source(world, tip, there)
    proposed = world.settings(at or tip, target)
    governing = settings.environment(environment)
    found = changes(world, at or tip, base, proposed, settings, target)
    beside = along(world.root, base, at or tip, found)
    promoted = at is not None or _alone(world, settings, base, source, there, found, beside)
    stops = standing(world, governing, base)
    if at is not None:
        stops += hotfix_stops(world, base, at, governing)
    if promoted:
        stops += chain_stops(world, settings, source, found, world.signers(base))
    names, missing = approved(world, governing, base, at or tip, promoter)
    if missing and reviewers is not None:
        reviewed = [one for head in _heads(world, tip) for one in reviewers(head, governing)]
        names, missing = (tuple(sorted(set(reviewed))), ()) if reviewed else (names, missing)
    return Plan(
        kind="promotion" if promoted else "hotfix",
        source=source if promoted else None,
        target=governing,
        base=base,
        at=at or tip,
        settings=settings,
        proposed=proposed,
        changes=found,
        along=beside,
        fast_forward=False,
        stops=(*stops, *missing),
        approved=names,
    )


def _heads(world: World, tip: git.Snapshot) -> tuple[str, ...]:
    """What a reviewer can have approved: the tip (squashed, or moved), or what it merged."""
    (commit,) = write.chain(world.root, tip.commit, most=1)
    return (*commit.parents[1:], tip.commit)


def read(world: World, environment: Environment) -> Past:
    """What a release branch was, by its stage tags.

    A tip's rules are read where the last one stood, so it must not be up to whoever may write
    records: each tag is held against the signers that the tip before it allows.
    """
    tip = world.tip(environment)
    line = [one.id for one in write.chain(world.root, tip.commit)]
    signers = world.signers(git.snapshot(world.root, line[-1]))
    found = []
    for one in reversed(rollback.history(world, environment.name, tip)):
        if all(signatures.counts(world.root, each, signers) for each, _ in one.assigned.values()):
            found.append(one.tip)
            signers = world.signers(git.snapshot(world.root, one.tip))
    return Past(tuple(line), tuple(found))


def _alone(
    world: World,
    settings: Config,
    base: git.Snapshot,
    source: Environment,
    there: git.Snapshot,
    found: Sequence[Change],
    beside: Sequence[str],
) -> bool:
    """Whether the branch got models of the source, each as it is there, and nothing else."""
    known = [one for one in found if one.version is not None]
    if not found or beside or len(known) < len(found):
        return False
    if before(settings, source) is None:
        return all(graph.is_ancestor(world.root, one.commit, there.commit) for one in found)
    return not chain_stops(world, settings, source, found, world.signers(base))


def _source(world: World, tip: git.Snapshot, source: git.Snapshot) -> git.Snapshot | None:
    """The source's newest commit with the tip's tree."""
    found = write.with_tree(world.root, source.commit, tip.tree)
    return git.snapshot(world.root, found) if found else None
