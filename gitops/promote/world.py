"""What a remote says now: refs, registry, records, and the settings of an environment's branch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gitops import config as configuration
from gitops import git
from gitops.config import Config, Environment
from gitops.errors import ConfigError, EvidenceError, UsageError, Where
from gitops.git import remote as gitremote
from gitops.git.remote import Refs
from gitops.promote import records as recorded
from gitops.promote import registry as registered
from gitops.promote.closure import Closure
from gitops.promote.closure import of as closure_of
from gitops.promote.records import Records
from gitops.promote.registry import Registry
from gitops.promote.statement import Revision

SIGNERS = ".gitops/allowed_signers"


@dataclass(frozen=True)
class World:
    """A remote at one moment. Nothing here comes from local branches or tags."""

    root: Path
    refs: Refs

    @cached_property
    def registry(self) -> Registry:
        return registered.read(self.refs)

    @cached_property
    def records(self) -> Records:
        return recorded.of(self.root, self.refs)

    @cached_property
    def url(self) -> str:
        return gitremote.url(self.root, self.refs.remote)

    def tip(self, environment: Environment) -> git.Snapshot:
        """The tip of an environment's branch.

        Raises:
            EvidenceError: the remote has no such branch.
        """
        commit = self.refs.heads.get(environment.branch)
        if commit is None:
            remote, branch = self.refs.remote, environment.branch
            raise EvidenceError(
                f"the remote {remote} has no branch {branch}, so there is no {environment.name}",
                fix=f"git push {remote} {self._lost(environment)}:refs/heads/{branch}",
            )
        return git.snapshot(self.root, commit)

    def settings(self, tip: git.Snapshot, environment: Environment) -> Config:
        """gitops.yaml at the tip of an environment's branch: what rules a promotion to it.

        Raises:
            EvidenceError: it has none.
            ConfigError: it is wrong, or means another branch.
        """
        where = Where(f"{tip.commit[:12]}:{configuration.FILE}")
        if configuration.FILE not in tip.files:
            raise EvidenceError(
                f"{environment.branch} has no gitops.yaml: nothing says how {environment.name}"
                " is judged",
                fix=f"merge the commit that brought gitops.yaml into {environment.branch}, once",
                where=where,
            )
        config = configuration.load_at(self.root, tip.commit)
        known = [one for one in config.environments if one.name == environment.name]
        if not known or known[0].branch != environment.branch:
            raise ConfigError(
                f"{environment.name} isn't the branch {environment.branch} there",
                fix="bring the same `environments` to all branches first: merge the change of"
                " gitops.yaml into each",
                where=where,
            )
        return config

    def signers(self, tip: git.Snapshot) -> bytes | None:
        """`.gitops/allowed_signers` at a commit: where it is, signatures are required."""
        return tip.read([SIGNERS]).get(SIGNERS)

    def _lost(self, environment: Environment) -> str:
        """What the branch should be made of: what was assigned last, or the first commit."""
        for model in self.registry.entries:
            if (entry := self.registry.assigned(model, environment.name)) is not None:
                return entry.commit[:12]
        return "COMMIT"


def read(root: Path, wanted: str | None = None) -> World:
    """The remote `wanted` (None: origin, or the only one) as it is now.

    Raises:
        ConfigError, UsageError: which remote is meant isn't clear.
        ToolError: it can't be reached.
    """
    remote = gitremote.choose(root, wanted)
    return World(root, gitremote.read(root, remote))


def before(config: Config, target: Environment) -> Environment | None:
    """The environment that `target` is promoted from; None for the first."""
    at = [one.name for one in config.environments].index(target.name)
    return config.environments[at - 1] if at else None


def pair(config: Config, source: str, target: str) -> tuple[Environment, Environment]:
    """Two environments by name, the second right after the first.

    Raises:
        UsageError: there's no such environment, or one between them is left out.
    """
    one, other = config.environment(source), config.environment(target)
    needed = before(config, other)
    if needed is None:
        raise UsageError(
            f"{target} is the first environment: nothing is promoted to it",
            fix="merge pull requests into it; a hotfix comes back by --bring-forward",
        )
    if needed.name != one.name:
        raise UsageError(
            f"{target} is promoted from {needed.name}, not from {source}",
            fix=f"gitops promote {needed.name} {target}",
        )
    return one, other


def closures(root: Path, at: git.Snapshot, config: Config) -> dict[str, Closure]:
    """Every model of a commit."""
    return {model: closure_of(at, config, model) for model in config.models}


def closure_at(world: World, commit: str, model: str) -> Closure | None:
    """A model where a tag stands, which may be anywhere: None if it isn't there, or can't be read.

    Other tools, and earlier times, have tags on commits without gitops.yaml, or on no commit.
    """
    if git.find(world.root, commit) is None:
        return None
    try:
        return closure_of(
            git.snapshot(world.root, commit), configuration.load_at(world.root, commit), model
        )
    except (ConfigError, EvidenceError, UsageError):
        return None


def revision(at: git.Snapshot) -> Revision:
    return Revision(at.commit, at.tree)
