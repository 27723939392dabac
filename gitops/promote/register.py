"""Versions of what the integration branch has: the step of CI after a build."""

from __future__ import annotations

from collections.abc import Sequence

from gitops import git
from gitops.config import Config
from gitops.errors import AnswerNo
from gitops.git import graph, program, write
from gitops.promote import marks, records, release, signatures
from gitops.promote.closure import of as closure_of
from gitops.promote.closure import require_built
from gitops.promote.plan import version_at
from gitops.promote.release import Release
from gitops.promote.run import Hands
from gitops.promote.world import World
from gitops.version import Bump, Version


def register(
    world: World,
    local: Config,
    commit: str,
    models: Sequence[str],
    hands: Hands,
    wanted: Version | Bump | None = None,
) -> dict[str, tuple[str, str]]:
    """Write the version tags that models of a commit lack; version and reason by model.

    A model that has a version already keeps it.

    Raises:
        AnswerNo: the commit isn't on the integration branch of the remote.
        EvidenceError, ToolError: as `release.prepare` and `records.push`.
    """
    first = local.environments[0]
    tip = world.tip(first)
    if not graph.is_ancestor(world.root, commit, tip.commit):
        raise AnswerNo(
            f"{commit[:12]} is not on {world.refs.remote}/{first.branch}: versions are given to"
            " what was merged",
            fix=f"git push {world.refs.remote} HEAD:{first.branch}, or merge the pull request",
        )
    allowed = world.signers(tip)
    marks.require_signing(world, allowed, "versions")
    program.require_identity(world.root)
    at = git.snapshot(world.root, commit)
    config = world.settings(at, first)
    found: dict[str, tuple[str, str]] = {}
    made: list[Release] = []
    for model in models:
        closure = closure_of(at, config, model)
        require_built(closure, at)
        known = version_at(world, at, closure, allowed)
        if known is not None and signatures.counts(world.root, known[1], allowed):
            found[model] = (str(known[0]), "registered already")
            continue
        hands.say(f"{model}: proving its objects in the remote")
        hands.prove(at, [model])
        one = release.prepare(world, at, closure, hands.builds, wanted)
        made.append(one)
        found[model] = (str(one.version), one.bump)
    if made:
        updates = [one.tag for one in made]
        marks.require_counting(world, updates, allowed)
        documents = dict(one.record for one in made)
        records.push(world.root, world.refs, documents, "Record builds", updates)
        write.keep_tags(world.root, {one.name: one.new for one in updates})
    return found
