"""Which two commits are compared, by whose settings, and which models that concerns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gitops import basis, git
from gitops import config as configuration
from gitops import dvclock as locks
from gitops.config import Config, Environment, Model
from gitops.dvclock import Lock
from gitops.errors import EvidenceError


@dataclass(frozen=True)
class Target:
    """What is judged against what.

    `settings` are the base's; where that has no gitops.yaml (`adopted`), the candidate's with the
    baseline policy. `environment` is of the settings. `proposed` is the candidate's gitops.yaml.
    """

    base: git.Snapshot
    head: git.Snapshot
    settings: Config
    proposed: Config
    environment: Environment
    adopted: bool

    @property
    def release(self) -> bool:
        """Whether the environment is any but the first."""
        return self.environment.name != self.settings.environments[0].name


@dataclass(frozen=True)
class Side:
    """A model at a commit; `lock` is None where it was never built."""

    at: git.Snapshot
    project: str
    name: str
    declared: Model
    lock: Lock | None

    def path(self, of: str) -> str:
        """The path of an output (`package`, `evaluation`, `metrics`) in the repository."""
        return (Path(self.declared.path) / str(getattr(self.declared, of))).as_posix()

    @property
    def built(self) -> bool:
        """Whether the lock has a package."""
        return self.lock is not None and self.path("package") in self.lock.outs


def target(root: Path, *, base: str | None, environment: str | None, head: str = "HEAD") -> Target:
    """The two commits and the settings. Without `environment`: the one whose branch is the target.

    Raises:
        UsageError: there's no such revision or environment.
        ConfigError: gitops.yaml of either commit is wrong.
        EvidenceError: the clone lacks the base; a release environment without settings at base.
    """
    here = git.resolve(root, head)
    proposed = configuration.load_at(root, here)
    branch = basis.branch(proposed, environment) if base is None else base
    at = git.snapshot(root, basis.commit(root, base, branch, here))
    adopted = configuration.FILE not in at.files
    settings = _without_policies(proposed) if adopted else configuration.load_at(root, at.commit)
    if base is None and not (adopted or basis.in_ci()):
        _same_branch(settings, environment, branch)
    if environment is None:
        known = [e for e in settings.environments if e.branch == branch.removeprefix("origin/")]
        chosen = known[0] if known else settings.environments[0]
    else:
        chosen = settings.environment(environment)
    found = Target(at, git.snapshot(root, here), settings, proposed, chosen, adopted)
    if adopted and found.release:
        raise EvidenceError(
            f"{at.commit[:12]} has no gitops.yaml: nothing says how {chosen.name} is judged",
            fix=f"bring gitops.yaml to {settings.environments[0].branch} first",
        )
    return found


def side_of(at: git.Snapshot, config: Config, name: str) -> Side:
    """The model `name` of `config` at a commit."""
    _, declared = config.model(name)
    return Side(at, config.project, name, declared, locks.read(at, declared.path))


def _same_branch(settings: Config, environment: str | None, branch: str) -> None:
    """HEAD said where to look for the base: it must be where the base itself says."""
    chosen = settings.environment(environment) if environment else settings.environments[0]
    if chosen.branch != branch:
        raise EvidenceError(
            f"gitops.yaml says that {chosen.name} is the branch {branch}, but the one there says"
            f" {chosen.branch}: a change can't choose what it is judged against",
            fix=f"name it: --base {chosen.branch}",
        )


def _without_policies(config: Config) -> Config:
    """The candidate's settings where the base has none: its policies don't count."""
    plain = [one.model_copy(update={"policy": "baseline"}) for one in config.environments]
    return config.model_copy(update={"environments": tuple(plain)})
