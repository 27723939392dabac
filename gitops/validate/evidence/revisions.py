"""Which two commits are compared, by whose settings, and which models that concerns."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gitops import config as configuration
from gitops import dvclock as locks
from gitops import git
from gitops.config import Config, Environment, Model
from gitops.dvclock import Lock
from gitops.errors import EvidenceError, UsageError

# The target branch of a pull request: GitHub's `main`, Azure's `refs/heads/main`.
_TARGET = ("GITHUB_BASE_REF", "SYSTEM_PULLREQUEST_TARGETBRANCH")


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
    branch = _branch(proposed, environment) if base is None else base
    at = git.snapshot(root, _base(root, base, branch, here))
    adopted = configuration.FILE not in at.files
    settings = _without_policies(proposed) if adopted else configuration.load_at(root, at.commit)
    if base is None and not (adopted or _in_ci()):
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


def base_of(root: Path, base: str | None, environment: str | None, head: str = "HEAD") -> str:
    """The commit that `head` is judged against.

    `base` if it's given. Else the tip of the branch that the pull request goes to (as CI says), or
    of the environment's branch: `origin/<branch>` if it's there, else `<branch>`. Where `head` is
    itself that tip: its first parent.

    Raises:
        UsageError: there's no such revision; `head` is the first commit.
        EvidenceError: the clone lacks it.
    """
    here = git.resolve(root, head)
    branch = "" if base else _branch(configuration.load_at(root, here), environment)
    return _base(root, base, branch, here)


def affected(root: Path, base: str, head: str = "HEAD") -> tuple[str, ...]:
    """The models of `head` that its commits since `base` touch; all of them if they touch none.

    A model is touched by a change of its folder (in a monorepo), its declaration in gitops.yaml, or
    anything that its stages depend on.
    """
    here, there = git.resolve(root, head), git.resolve(root, base)
    fork = git.fork_point(root, there, here) or there
    now, before = git.snapshot(root, here), git.snapshot(root, fork)
    config = configuration.load_at(root, here)
    old = configuration.load_at(root, fork) if configuration.FILE in before.files else None
    paths = set(git.changed(root, fork, here))
    found = []
    for name, declared in config.models.items():
        closure = _closure(side_of(now, config, name), before)
        own = [one for one in paths if one in closure or _within(one, declared, closure)]
        if own or old is None or old.models.get(name) != declared:
            found.append(name)
    return tuple(found or config.models)


def side_of(at: git.Snapshot, config: Config, name: str) -> Side:
    """The model `name` of `config` at a commit."""
    _, declared = config.model(name)
    return Side(at, config.project, name, declared, locks.read(at, declared.path))


def _closure(side: Side, before: git.Snapshot) -> set[str]:
    """Files and folders that make the model, now or before."""
    folder = Path(side.declared.path)
    paths = {(folder / name).as_posix() for name in ("dvc.yaml", "dvc.lock", "params.yaml")}
    for lock in (side.lock, locks.read(before, side.declared.path)):
        if lock is not None:
            paths |= lock.deps.keys() | {file for one in lock.stages for file in one.params}
    return paths | {f"{path}.dvc" for path in paths}


def _within(path: str, declared: Model, closure: set[str]) -> bool:
    around = [one.as_posix() for one in Path(path).parents][:-1]
    return (declared.path != "." and declared.path in around) or not closure.isdisjoint(around)


def _branch(config: Config, environment: str | None) -> str:
    """The branch that is the target, by CI or by the environment."""
    for variable in _TARGET:
        if name := os.environ.get(variable):
            return name.removeprefix("refs/heads/")
    chosen = config.environment(environment) if environment else config.environments[0]
    return chosen.branch


def _in_ci() -> bool:
    return any(os.environ.get(variable) for variable in _TARGET)


def _same_branch(settings: Config, environment: str | None, branch: str) -> None:
    """HEAD said where to look for the base: it must be where the base itself says."""
    chosen = settings.environment(environment) if environment else settings.environments[0]
    if chosen.branch != branch:
        raise EvidenceError(
            f"gitops.yaml says that {chosen.name} is the branch {branch}, but the one there says"
            f" {chosen.branch}: a change can't choose what it is judged against",
            fix=f"name it: --base {chosen.branch}",
        )


def _base(root: Path, base: str | None, branch: str, head: str) -> str:
    if base is not None:
        found = git.find(root, base, f"origin/{base}")
        return found or git.resolve(root, base)  # which says what is wrong
    found = git.find(root, f"refs/remotes/origin/{branch}", f"refs/heads/{branch}")
    if found is None:
        depth = "--unshallow " if git.is_shallow(root) else ""
        raise EvidenceError(
            f"the target branch {branch} is not in this clone",
            fix=f"git fetch {depth}origin +refs/heads/{branch}:refs/remotes/origin/{branch}, or"
            " name another with --base (in GitHub Actions: `fetch-depth: 0` of actions/checkout; in"
            " Azure Pipelines: `fetchDepth: 0` of checkout)",
        )
    if found != head:
        return found
    if not (parents := git.parents(root, head)):
        raise UsageError(
            f"{head[:12]} is the first commit: there's nothing to judge it against",
            fix="commit a change, or name another revision with --base",
        )
    return parents[0]


def _without_policies(config: Config) -> Config:
    """The candidate's settings where the base has none: its policies don't count."""
    plain = [one.model_copy(update={"policy": "baseline"}) for one in config.environments]
    return config.model_copy(update={"environments": tuple(plain)})
