"""A hotfix comes back to the integration branch, before the next promotion may overwrite it."""

from __future__ import annotations

from dataclasses import dataclass

from gitops.config import Config, Environment
from gitops.errors import AnswerNo
from gitops.git import program, write
from gitops.git.remote import Update
from gitops.git.write import Commit
from gitops.promote import hotfix
from gitops.promote.world import World


@dataclass(frozen=True)
class Forward:
    """The hotfixes of `source`, and the commit on top of `target` that has them."""

    source: Environment
    target: Environment
    hotfixes: tuple[Commit, ...]
    update: Update


def bring(world: World, local: Config, source: str) -> Forward:
    """Pick the hotfixes of an environment onto the integration branch; nothing is pushed yet.

    The commit's parents are the integration branch and the release branch, so that ancestry proves
    that nothing is pending. It is no plain merge: that would bring rollbacks along.

    Raises:
        AnswerNo: there's none, or they conflict.
    """
    release, target = local.environment(source), local.environments[0]
    tip, onto = world.tip(release), world.tip(target)
    found = hotfix.pending(world, tip.commit, [onto.commit])
    if not found:
        raise AnswerNo(f"{source} has no hotfix that {target.name} lacks", fix="nothing to do")
    picked, conflicts = write.picked(world.root, onto.commit, found)
    if conflicts:
        names = " ".join(one.id[:12] for one in found)
        raise AnswerNo(
            f"the hotfix conflicts with {target.branch} in {', '.join(conflicts)}",
            fix=f"git switch -c bring-forward {onto.commit[:12]} && git cherry-pick {names}, mend"
            " it, `gitops build` if dvc.lock is among them, then"
            f" `git merge -s ours {tip.commit[:12]}` and a pull request to {target.branch}",
        )
    lines = "".join(f"- {hotfix.shown(one)}\n" for one in found)
    text = f"Bring forward from {source}\n\n{lines}\nGitops-Bring-Forward: {source} {tip.commit}\n"
    program.require_identity(world.root)
    made = write.commit(world.root, picked, [onto.commit, tip.commit], text)
    return Forward(release, target, found, Update(f"refs/heads/{target.branch}", onto.commit, made))
